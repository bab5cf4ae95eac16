"""Maps of a video that hold still where the picture does: parts, depth and normals follow what moves and are averaged over time.

    frame before --flow--> what of it is still seen, and where --> the average so far, carried along --+--> the average, given out
    frame ------------------------------------------------------> its own answer, brought into line --+

What the frame before does not show (a cut, what was hidden, what the flow got wrong) is answered by the frame alone, so nothing is
smeared over it. Letters as in docs/conventions.md: H W pixels of the frame, h w of the small one that flow is looked for in.
"""

from collections.abc import Mapping, Sequence
from math import exp

import cv2
import numpy as np

from shared.data.fields import FIELDS
from shared.task import Task

# Chosen on clips of noise and of a square that crosses them: tests/shared/infer/test_steady.py holds it to what docs/log.md says.
CALM_S = 0.2  # the average forgets with this time constant: at 25 frames a second a frame has 18 % of it
SETTLE_S = 1.0  # scale and shift of relative depth come back to the frames' own with this one
LONGEST = 640  # pixels of the longer side of the small frame
TOLERATED = (4.0, 16.0)  # levels of 255 that a pixel may differ from where it came from: at least, at most
CUT = 0.3  # share of the picture that is still seen; with less it is another picture
BLOCKS = 24  # along the longer side, whose means tell scale and shift
FEWEST = 8  # blocks that were seen before; with fewer they tell nothing
STRETCH = 2.0  # depth is not stretched by more
KINDS = ("label", "scalar", "vector")  # of the fields whose maps are steadied


def steadied(tasks: Sequence[Task]) -> list[Task]:
    """Those that answer maps of parts, depth or normals."""
    return [task for task in tasks if task.answers == "map" and not task.lengths and FIELDS[task.field].kind in KINDS]


class Steady:
    """The maps of one video, frame by frame.

    Args:
        tasks: who answers; those without a map of parts, depth or normals are passed through.
        calm_s: how long the average remembers, seconds.
    """

    def __init__(self, tasks: Sequence[Task], *, calm_s: float = CALM_S) -> None:
        self.tasks = steadied(tasks)
        self.calm_s = calm_s
        self._small: np.ndarray | None = None  # (h,w,3) uint8, the frame before
        self._when = 0.0
        self._age = np.empty(0)  # (H,W) float32, frames that the average has seen of a pixel
        self._held: dict[str, np.ndarray] = {}  # the averages
        self._votes: dict[str, np.ndarray] = {}  # (H,W) float32, by how many frames a label leads
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def __call__(self, image: np.ndarray, answers: Mapping[str, np.ndarray], *, seconds: float) -> dict[str, np.ndarray]:
        """The answers of the next frame, maps steadied.

        Args:
            image: (H,W,3) uint8 RGB.
            answers: by task name.
            seconds: of this frame, later than that of the one before.
        """
        H, W = image.shape[:2]
        scale = min(1.0, LONGEST / max(H, W))
        small = cv2.resize(image, (max(8, round(W * scale)), max(8, round(H * scale))), interpolation=cv2.INTER_AREA)
        before, self._small = self._small, small
        step, self._when = seconds - self._when, seconds
        if before is None or before.shape != small.shape or self._age.shape != (H, W):
            return self._anew(answers, (H, W))
        flow, trust = self._followed(before, small)
        if trust.mean() < CUT:
            return self._anew(answers, (H, W))
        where = _places(flow, (H, W))
        trust = cv2.resize(trust, (W, H), interpolation=cv2.INTER_LINEAR)
        self._age = trust * _carried(self._age, where, cv2.INTER_LINEAR)
        keep = exp(-max(step, 0.0) / self.calm_s)
        weight = np.minimum(self._age / (self._age + 1), keep)  # of the average; a plain mean until it is old enough
        maps = {task.name: self._steadied(task, answers[task.name], where, weight, step) for task in self.tasks}
        self._age += 1
        return {**answers, **maps}

    def _anew(self, answers: Mapping[str, np.ndarray], hw: tuple[int, int]) -> dict[str, np.ndarray]:
        self._age = np.ones(hw, np.float32)
        self._held = {task.name: answers[task.name] for task in self.tasks}
        self._votes = {name: np.ones(hw, np.float32) for name, answer in self._held.items() if answer.dtype.kind in "iu"}
        return dict(answers)

    def _followed(self, before: np.ndarray, small: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where each pixel was in the frame before, (h,w,2) x y px to add, 0 0 where nothing moved; and how much it still looks as
        there, (h,w) 0..1.
        """
        grey, last = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (small, before))
        flow = self._flow.calc(grey, last, np.zeros((*grey.shape, 2), np.float32))
        still, moved = _difference(small, before), _difference(small, _carried(before, _places(flow, grey.shape), cv2.INTER_LINEAR))
        least, most = TOLERATED
        tolerated = min(max(least, 3 * float(np.median(np.minimum(still, moved)))), most)  # noise and light differ everywhere
        goes = (moved < 0.7 * still) & (still > tolerated)
        flow[~goes] = 0
        return flow, np.exp(-((np.where(goes, moved, still) / tolerated) ** 2)).astype(np.float32)

    def _steadied(self, task: Task, answer: np.ndarray, where: np.ndarray | None, weight: np.ndarray, step: float) -> np.ndarray:
        """One map, averaged with what was held of it, which it replaces."""
        if answer.dtype.kind in "iu":
            held = self._elected(task.name, answer, where, weight)
        else:
            last = _carried(self._held[task.name], where, cv2.INTER_LINEAR)
            scale, shift = _line(answer, last, weight) if task.relative else (1.0, 0.0)
            lined = scale * answer + shift
            held = lined + (weight if answer.ndim == 2 else weight[..., None]) * (last - lined)
            held = np.where(np.isfinite(held), held, lined)  # what was unknown is what it is now
            keep = exp(-max(step, 0.0) / SETTLE_S)
            held = keep * held + (1 - keep) * (held - shift) / scale  # back towards the frame's own terms
            if FIELDS[task.field].kind == "vector":
                held = held / np.maximum(np.linalg.norm(held, axis=-1, keepdims=True), 1e-6)
            held = held.astype(answer.dtype)
        self._held[task.name] = held
        return held

    def _elected(self, name: str, labels: np.ndarray, where: np.ndarray | None, weight: np.ndarray) -> np.ndarray:
        """Labels by majority: each frame has a vote, older ones count less, and who leads stays until they are outvoted."""
        last = _carried(self._held[name], where, cv2.INTER_NEAREST)
        votes = _carried(self._votes[name], where, cv2.INTER_NEAREST) * weight
        votes = votes + np.where(labels == last, 1, -1).astype(np.float32)
        self._votes[name] = np.abs(votes)
        return np.where(votes < 0, labels, last)


def _difference(picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How much two pictures differ around each pixel, (h,w) levels: means of 5 x 5, without much of the noise; the worst colour."""
    apart = cv2.subtract(picture, other, dtype=cv2.CV_32F)
    return np.abs(cv2.blur(apart, (5, 5), borderType=cv2.BORDER_REPLICATE)).max(-1)


def _places(flow: np.ndarray, hw: tuple[int, ...]) -> np.ndarray | None:
    """Where each of (H,W) pixels was, (2,H,W) float32 x and y px; None: where it is."""
    if not flow.any():
        return None
    (h, w), (H, W) = flow.shape[:2], hw
    x, y = (cv2.resize(moved, (W, H), interpolation=cv2.INTER_LINEAR) for moved in (flow[..., 0] * (W / w), flow[..., 1] * (H / h)))
    return np.stack([x + np.arange(W, dtype=np.float32), y + np.arange(H, dtype=np.float32)[:, None]])


def _carried(values: np.ndarray, where: np.ndarray | None, interpolation: int) -> np.ndarray:
    """What lay at these places; beyond the border what lies at it, of which nobody will be sure."""
    return values if where is None else cv2.remap(values, where[0], where[1], interpolation, borderMode=cv2.BORDER_REPLICATE)


def _line(depth: np.ndarray, last: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Scale and shift that bring relative depth into the terms of the average so far.

    Fitted over means of blocks, as `depth = slope * last + ...`: the average has less noise than a frame, and errors in what a line
    is fitted to do not shrink its slope; the other way round depth would shrink a little with every frame.
    """
    H, W = depth.shape
    size = max(1, round(W * BLOCKS / max(H, W))), max(1, round(H * BLOCKS / max(H, W)))
    new, old, sure = (cv2.resize(values, size, interpolation=cv2.INTER_AREA).ravel() for values in (depth, last, weight))
    known = np.isfinite(new) & np.isfinite(old) & (sure > 0.25)
    if known.sum() < FEWEST:
        return 1.0, 0.0
    new, old = new[known].astype(np.float64), old[known].astype(np.float64)
    slope = np.mean((old - old.mean()) * (new - new.mean())) / max(np.mean((old - old.mean()) ** 2), 1e-12)
    scale = float(1 / np.clip(slope, 1 / STRETCH, STRETCH))
    return scale, float(old.mean() - scale * new.mean())
