"""Borders of classes: where they are, how much of them an answer finds, how many of its own are right (Csurka et al. 2013)."""

import math

import cv2
import numpy as np
import torch.nn.functional as F
from torch import Tensor

TOLERANCE = 0.0075  # of the picture's diagonal, Csurka et al.; at least one pixel


def tolerance_px(hw: tuple[int, int]) -> float:
    """How far a border may lie from the true one."""
    return max(1.0, TOLERANCE * math.hypot(*hw))


def beside(labels: Tensor, known: Tensor, reach: int) -> Tensor:
    """Where another class lies within `reach` rows and columns: (B,H,W) bool, on the device of the labels.

    Args:
        labels: (B,H,W) integers.
        known: (B,H,W); what is unknown is no other class, and neither is what lies beyond the frame.
        reach: pixels, at least 1.
    """
    values = labels.float()[:, None]
    most = _around_each(values.where(known[:, None], -1), reach)
    least = -_around_each((-values).where(known[:, None], -(2.0**16)), reach)
    return ((most > values) | (least < values))[:, 0] & known


def _around_each(values: Tensor, reach: int) -> Tensor:
    """The largest value within `reach` rows and columns of each pixel: (B,1,H,W) -> (B,1,H,W)."""
    span = 2 * reach + 1
    return F.max_pool2d(F.max_pool2d(values, (span, 1), 1, (reach, 0)), (1, span), 1, (0, reach))


def matches(answer: np.ndarray, truth: np.ndarray, classes: int, *, ignore: int) -> np.ndarray:
    """Count pixels on borders, class by class: (classes, 4) float64.

    A pixel of a class is on its border if one of the four beside it is known and of another class. The picture's edge is none,
    and neither is the edge of what is unknown.

    Args:
        answer: (H,W) uint8 class ids.
        truth: (H,W) uint8 class ids, `ignore` where unknown.
        classes: how many there are.

    Returns:
        Border pixels of the answer that lie within the tolerance of the truth's, all of the answer's, those of the truth's within
        the tolerance of the answer's, all of the truth's.
    """
    known = truth != ignore
    maps = [np.where(known, labels, ignore).astype(np.uint8) for labels in (answer, truth)]
    edges = [_border(labels, known) for labels in maps]
    reach = tolerance_px((truth.shape[0], truth.shape[1]))
    counts = np.zeros((classes, 4))
    for c in np.unique(np.concatenate([labels[edge] for labels, edge in zip(maps, edges)])):
        found, real = _around([(labels == c) & edge for labels, edge in zip(maps, edges)], math.ceil(reach) + 1)
        counts[c] = *_near(found, real, reach), *_near(real, found, reach)
    return counts


def _border(labels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(H,W) bool, pixels beside one of another class."""
    edge = np.zeros(labels.shape, bool)
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (labels[a] != labels[b]) & known[a] & known[b]
        edge[a] |= differ
        edge[b] |= differ
    return edge


def _around(masks: list[np.ndarray], margin: int) -> list[np.ndarray]:
    """The masks, cut to where any is set and a margin around: most classes are small."""
    either = masks[0] | masks[1]
    rows, columns = np.flatnonzero(either.any(1)), np.flatnonzero(either.any(0))
    cut = tuple(slice(max(0, line[0] - margin), line[-1] + margin + 1) for line in (rows, columns))
    return [mask[cut] for mask in masks]


def _near(mask: np.ndarray, other: np.ndarray, reach: float) -> tuple[int, int]:
    """How many pixels of one mask lie within `reach` of the other, and how many there are."""
    total = int(mask.sum())
    if not total or not other.any():
        return 0, total
    distance = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return int((distance[mask] <= reach + 1e-3).sum()), total  # a float32 root, so that a whole number may be a hair above
