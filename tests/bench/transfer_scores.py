"""Scores of transfer to real photos: exact arithmetic over label maps and points, no model and no file but the table of groups.

P people, K points, G groups. A group map is (H,W) uint8: the position in `GROUPS`, `OTHER` for classes of no group.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

TABLE = Path(__file__).with_name("transfer.toml")
GROUPS = ("background", "skin", "hair", "cloth", "shoe")
OTHER = len(GROUPS)
UNKNOWN = 255  # of a label map


def groups_of(names: Sequence[str]) -> np.ndarray:
    """(256,) uint8: the group of each class id of a vocabulary; what is unknown stays so.

    Raises:
        ValueError: the table does not know a name.
    """
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))["groups"]
    group = {name: index for index, words in enumerate(table[key] for key in (*GROUPS, "other")) for name in words}
    if strange := [name for name in names if name not in group]:
        raise ValueError(f"{TABLE.name} has no group for {', '.join(strange[:5])}; write the names into one of its lists")
    found = np.full(256, UNKNOWN, np.uint8)
    found[: len(names)] = [group[name] for name in names]
    return found


def confusion(truth: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """(G,G+1) int64 from two group maps: entry (t, a) counts pixels of group t answered a; others and unknown are no truth."""
    if truth.shape != answer.shape:
        raise ValueError(f"the truth is {truth.shape}, the answer {answer.shape}; both must have the photo's size")
    known, width = truth < OTHER, OTHER + 1
    pairs = truth[known].astype(np.int64) * width + answer[known]
    return np.bincount(pairs, minlength=OTHER * width).reshape(OTHER, width)


def ious(matrix: np.ndarray) -> dict[str, float]:
    """Intersection over union of each group over all pixels of all photos, their mean, and that of all people against background.

    A group that is neither in the truth nor in the answers is NaN, and so is the mean then.
    """
    right = matrix[:, :OTHER].diagonal().astype(float)
    union = matrix.sum(1) + matrix[:, :OTHER].sum(0) - right
    each = np.divide(right, union, out=np.full(OTHER, np.nan), where=union > 0)
    person, either = matrix[1:, 1:].sum(), matrix.sum() - matrix[0, 0]
    return dict(zip(GROUPS, each.tolist())) | {
        "mean": float(each.mean()),
        "person": float(person / either) if either else float("nan"),
    }


def all_background(matrix: np.ndarray) -> np.ndarray:
    """The confusion matrix of whoever answers background everywhere, from that of anybody."""
    trivial = np.zeros_like(matrix)
    trivial[:, 0] = matrix.sum(1)
    return trivial


def distances(answers: np.ndarray, truth: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """How far each point is off, in diagonals of the person's box: (P,K), NaN where nobody labelled it.

    Args:
        answers: (P,K,2 or more) x y px.
        truth: (P,K,3) x y px, above 0 where it is labelled.
        boxes: (P,4) x0 y0 x1 y1 px.
    """
    diagonal = np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=1)
    off = np.linalg.norm(answers[..., :2] - truth[..., :2], axis=2) / diagonal[:, None]
    return np.where(truth[..., 2] > 0, off, np.nan)


def pck(off: np.ndarray, limit: float) -> float:
    """The share of labelled points that are at most `limit` diagonals off."""
    known = np.isfinite(off)
    return float((off[known] <= limit).mean()) if known.any() else float("nan")


def in_boxes(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(P,K,3) px -> (P,K,2), 0 to 1 from the left and the top of the person's box; NaN where nobody labelled it."""
    inside = (points[..., :2] - boxes[:, None, :2]) / (boxes[:, 2:] - boxes[:, :2])[:, None]
    return np.where(points[..., 2:] > 0, inside, np.nan)


def mean_pose(inside: np.ndarray) -> np.ndarray:
    """(P,K,2) -> (K,2), the mean place of each point in its box; the middle where nobody labelled it."""
    known = np.isfinite(inside)
    count = known.sum(0)
    return np.where(count > 0, np.where(known, inside, 0).sum(0) / np.maximum(count, 1), 0.5)


def placed(pose: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """A pose (K,2), or one per person (P,K,2), from places in boxes (P,4) back to px: (P,K,2)."""
    return boxes[:, None, :2] + pose * (boxes[:, 2:] - boxes[:, :2])[:, None]
