"""Who is who from one frame to the next: people keep their number while boxes overlap and points lie where they are expected.

P people, T tracks, K points. Boxes are x0 y0 x1 y1 px, outer edges; points are x px, y px, score.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

SIGMA = 0.05  # for points of a table without sigmas: between a wrist and a shoulder in COCO
TRUSTED = 0.3  # the score from which poses are drawn
PATIENCE_S = 1.0  # half a second passes behind a lamp post or another person
LEAST = 0.15  # of the mean of IoU and OKS: boxes that overlap by a third though no point agrees, or points that do
INERTIA = 0.7  # of the pace of a box; its centre trembles
COAST_S = 0.5  # for how long an unseen person is expected to walk on
WIDEN = 2.0  # sides per second by which boxes grow meanwhile: who is half hidden has half a box, and the pace is off


@dataclass
class _Track:
    number: int
    box: np.ndarray  # (4,)
    points: np.ndarray  # (K,3)
    seconds: float  # when last seen
    pace: np.ndarray  # (2,) px per second


class Tracker:
    """Numbers for the people of consecutive frames: from 1 on, never given twice.

    People are expected where their pace would have brought them, the longer unseen the less exactly. The most alike pair of an
    expected and a found person is joined first, then the next; who is left over is somebody new.

    Args:
        sigmas: K spreads as COCO's OKS defines them; None where the table of points has none.
        patience_s: for how many seconds without being seen somebody keeps the number.
        least: similarity, from 0 to 1, below which two are not the same.
    """

    def __init__(self, sigmas: Sequence[float] | None, *, patience_s: float = PATIENCE_S, least: float = LEAST) -> None:
        self.sigmas, self.patience_s, self.least = sigmas, patience_s, least
        self._tracks: list[_Track] = []
        self._given = 0

    def __call__(self, boxes: np.ndarray, points: np.ndarray, *, seconds: float) -> np.ndarray:
        """The numbers (P,) int of the people of the next frame.

        Args:
            boxes: (P,4).
            points: (P,K,3).
            seconds: of this frame.
        """
        self._tracks = [track for track in self._tracks if seconds - track.seconds <= self.patience_s + 1e-6]
        numbers = np.zeros(len(boxes), int)
        alike = self._alike(boxes, points, seconds)
        pairs = []
        while alike.size and alike.max() >= self.least:
            t, p = np.unravel_index(alike.argmax(), alike.shape)
            pairs.append((self._tracks[t], p))
            alike[t], alike[:, p] = -1, -1
        for track, p in pairs:
            numbers[p] = track.number
            self._follow(track, boxes[p], points[p], seconds)
        for p in np.flatnonzero(numbers == 0):
            self._given += 1
            numbers[p] = self._given
            self._tracks.append(_Track(self._given, boxes[p].astype(float), points[p].astype(float), seconds, np.zeros(2)))
        return numbers

    @property
    def alive(self) -> set[int]:
        """Numbers that may still come back."""
        return {track.number for track in self._tracks}

    def _alike(self, boxes: np.ndarray, points: np.ndarray, seconds: float) -> np.ndarray:
        """Similarity (T,P) of the expected and the found."""
        if not self._tracks or not len(boxes):
            return np.zeros((len(self._tracks), len(boxes)))
        unseen = np.array([min(seconds - track.seconds, COAST_S) for track in self._tracks])
        shift = np.stack([track.pace for track in self._tracks]) * unseen[:, None]  # (T,2)
        expected = np.stack([track.box for track in self._tracks]) + np.tile(shift, 2)
        poses = np.stack([track.points for track in self._tracks])
        poses[..., :2] += shift[:, None]
        near = WIDEN * unseen[:, None]
        overlap = overlaps(_grown(expected[:, None], near), _grown(boxes[None].astype(float), near))
        similar = similarities(poses, points, _areas(boxes), self.sigmas)
        return np.where(np.isnan(similar), overlap, (overlap + similar) / 2)

    @staticmethod
    def _follow(track: _Track, box: np.ndarray, points: np.ndarray, seconds: float) -> None:
        past = seconds - track.seconds
        if past > 0:
            moved = (box[:2] + box[2:] - track.box[:2] - track.box[2:]) / 2
            track.pace = INERTIA * track.pace + (1 - INERTIA) * moved / past
        track.box, track.points, track.seconds = box.astype(float), points.astype(float), seconds


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union: (...,4) and (...,4), broadcast, -> (...), 0 where both are empty."""
    low, high = np.maximum(boxes[..., :2], others[..., :2]), np.minimum(boxes[..., 2:], others[..., 2:])
    shared = (high - low).clip(min=0).prod(-1)
    union = _areas(boxes) + _areas(others) - shared
    return shared / np.where(union > 0, union, 1)


def similarities(poses: np.ndarray, others: np.ndarray, areas: np.ndarray, sigmas: Sequence[float] | None) -> np.ndarray:
    """COCO's object keypoint similarity of every pair, over the points that both show: (T,K,3), (P,K,3) -> (T,P), NaN without.

    Args:
        poses: (T,K,3).
        others: (P,K,3).
        areas: (P,) px^2 of the others' boxes.
        sigmas: K spreads, or None.
    """
    spread = 2 * np.asarray(sigmas if sigmas is not None else [SIGMA] * poses.shape[1], float)
    shown = [np.isfinite(points).all(-1) & (points[..., 2] >= TRUSTED) for points in (poses, others)]
    both = shown[0][:, None] & shown[1][None]  # (T,P,K)
    apart = np.where(both[..., None], poses[:, None, :, :2] - others[None, :, :, :2], 0)
    near = np.exp(-(apart**2).sum(-1) / (2 * spread**2 * areas[None, :, None].clip(min=1)))
    count = both.sum(-1)
    return np.where(count > 0, (near * both).sum(-1) / count.clip(min=1), np.nan)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2:] - boxes[..., :2]).clip(min=0).prod(-1)


def _grown(boxes: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Boxes (...,4) that reach further in every direction by a share (...) of their sides."""
    more = (boxes[..., 2:] - boxes[..., :2]) * share[..., None]
    return np.concatenate([boxes[..., :2] - more, boxes[..., 2:] + more], -1)


def draw_numbers(picture: np.ndarray, boxes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The number of each person at the upper left of the box, in a size that follows the box: (H,W,3) uint8.

    Args:
        picture: (H,W,3) uint8.
        boxes: (P,4).
        numbers: (P,) int.
    """
    picture = picture.copy()
    for (x0, y0, x1, y1), number in zip(boxes.astype(float), numbers):
        high = float(np.clip(max(x1 - x0, y1 - y0) / 14, 8, picture.shape[0] / 8))  # pixels; below 8 nobody can read
        face, scale, line = cv2.FONT_HERSHEY_SIMPLEX, high / 22, max(1, round(high / 11))
        wide = cv2.getTextSize(str(number), face, scale, line)[0][0]
        left = int(np.clip(x0 + high / 4, 0, max(picture.shape[1] - wide, 0)))
        base = int(np.clip(y0 + 1.3 * high, high, picture.shape[0] - 1))
        for colour, width in (((25, 25, 25), line + 2 * max(1, line // 2)), ((255, 255, 255), line)):
            cv2.putText(picture, str(number), (left, base), face, scale, colour, width, cv2.LINE_AA)
    return picture
