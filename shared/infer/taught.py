"""From a teacher's answer to a label that others learn from: unknown where the teacher is not sure of it.

What an answer becomes follows from the kind of the field that supervises its task (shared/data/fields.py). H W pixels, K classes or
points.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from shared.data.fields import FIELDS
from shared.task import Task

PART_SCORE = 0.5  # more likely than everything else together
POINT_SCORE = 0.3  # what Sapiens' demos draw (specification: sapiens1.md, section 7)
SHORTEST = 0.5  # of a normal: the mean of directions that disagree is short


class Least(NamedTuple):
    """How sure a teacher has to be."""

    part: float = PART_SCORE  # probability of a pixel's class
    point: float = POINT_SCORE  # height of a point's heatmap


class Label(NamedTuple):
    """A label as its field has it, and how sure the teacher is: (H,W) or (K,) 0..1, None where an answer does not tell."""

    label: np.ndarray
    sure: np.ndarray | None = None


def label(task: Task, answer: np.ndarray, least: Least) -> Label:
    """The label that an answer is.

    Args:
        task: what was asked; classes are answered with probabilities (`Task.decoding_for(["soft"])`).
        answer: of one picture, at its size.
        least: what is less sure becomes unknown. Depth and normals do not say how sure they are.
    """
    return _MAKERS[FIELDS[task.field].kind](task, answer, least)


def refuse(task: Task) -> None:
    """Raise for a task whose answer is no label of one field.

    Raises:
        ValueError: likewise.
    """
    if FIELDS[task.field].kind not in _MAKERS or task.lengths:
        raise ValueError(f"what {task.name} answers is no label of one field; name the tasks to label with --tasks")


def _classes(task: Task, answer: np.ndarray, least: Least) -> Label:
    """(H,W,K) probabilities -> (H,W) uint8."""
    sure = answer.max(-1)
    ids = answer.argmax(-1).astype(np.uint8)
    return Label(np.where(sure >= least.part, ids, np.uint8(FIELDS[task.field].unknown)), sure.astype(np.float32).clip(0, 1))


def _points(task: Task, answer: np.ndarray, least: Least) -> Label:
    """(K,3) x y score -> (K,3) x y visibility; a point that nobody is sure of lies at 0 0."""
    score = answer[:, 2].astype(np.float32)
    there = (score >= least.point) & (score > 0) & np.isfinite(answer).all(1)
    return Label(np.where(there[:, None], np.c_[answer[:, :2], there], 0).astype(np.float32), score.clip(0, 1))


def _depth(task: Task, answer: np.ndarray, least: Least) -> Label:
    """Metres. A relative answer has none, and who learns relative depth asks for none: it is written from 1 on."""
    depth = answer.astype(np.float32)
    if task.relative:
        depth = depth - np.nanmin(depth) + 1
    return Label(np.where(depth > 0, depth, np.float32(np.nan)))


def _normals(task: Task, answer: np.ndarray, least: Least) -> Label:
    """(H,W,3) of length 1."""
    length = np.linalg.norm(answer, axis=-1, keepdims=True)
    told = length > SHORTEST
    return Label(np.where(told, answer / np.where(told, length, 1), np.nan).astype(np.float32))


_MAKERS: Mapping[str, Callable[[Task, np.ndarray, Least], Label]] = {
    "label": _classes,
    "points": _points,
    "scalar": _depth,
    "vector": _normals,
}
