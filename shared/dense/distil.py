"""Distillation: a student answers as its teachers do to the very pictures that it sees, beside whatever labels there are.

Teachers stand still and beside everything: they are no part of the student, of its states, its averages or what processes share.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared.dense.masked import resize, unit
from shared.dense.model import DenseModel, Fork
from shared.task import Batch, Task

Channels = slice | list[int]


class Lesson(NamedTuple):
    """What one teacher answers."""

    teacher: DenseModel
    channels: Mapping[str, tuple[Channels, Channels]]  # task -> those of the student's and of the teacher's raw answer


class Distillation(nn.Module):
    """Costs of a student that has teachers: those of its labels, and of each task that a teacher answers

        loss/<task>/taught      weight * the task's own weight * `Task.imitate`
        loss/<task>/features    features * one minus the cosine between the teacher's features and a linear map of the student's

    of raw answers and of what the decoders read (Hinton et al. 2015; FitNets, Romero et al. 2015, with a cosine because widths and
    scales differ). A picture without any label costs as much. Features that a teacher of n tasks has are matched n times, each
    for an n-th, where the student's go to the decoders: whoever tells the tasks' gradients apart there finds them in their tasks.

    Args:
        student: learns.
        teachers: answer; of two that answer one task the first does.
        weight: of answers.
        features: of features; 0: they are not looked at.
        enlarge: factor by which a teacher sees pictures larger than the student does; below 1 smaller.

    Attributes:
        tasks: names of those that are taught.
        maps: of the student's features, one per teacher; trained with the student, and no part of it.

    Raises:
        ValueError: a teacher has nothing to say, or its answers mean something else; or weights of which nothing can be learnt.
    """

    def __init__(
        self,
        student: DenseModel,
        teachers: Sequence[DenseModel],
        *,
        weight: float = 1.0,
        features: float = 0.0,
        enlarge: float = 1.0,
    ) -> None:
        super().__init__()
        if weight < 0 or features < 0 or not weight + features:
            raise ValueError(f"nothing is learnt with weight={weight} and features={features}; give at least one of them above 0")
        if enlarge <= 0:
            raise ValueError(f"enlarge={enlarge} leaves no picture; 1 shows teachers what the student sees")
        self.weight, self.features, self.enlarge = weight, features, enlarge
        self._beside = Beside(_lessons(student.tasks, teachers))
        self.tasks = tuple(name for lesson in self._beside.lessons for name in lesson.channels)
        wide = [teacher.backbone.dim for teacher in teachers] if features else []
        self.maps = nn.ModuleList(nn.Conv2d(student.backbone.dim, dim, 1) for dim in wide)

    def losses(self, student: DenseModel, batch: Batch, *, fork: Fork | None = None) -> dict[str, Tensor]:
        """`DenseModel.losses` of the student, and what imitation costs."""
        seen: dict[str, Tensor] = {}

        def look(features: Tensor, names: Sequence[str], backbone: nn.Module) -> Mapping[str, Tensor]:
            seen.update(dict.fromkeys(names, features) if fork is None else fork(features, names, backbone))
            return seen

        raw = student(batch["image"], fork=look)
        terms = student.costs(raw, batch)
        tasks = {task.name: task for task in student.tasks}
        picture = _enlarged(batch["image"], self.enlarge)
        for number, lesson in enumerate(self._beside.lessons):
            taught, features = _answers(lesson, picture)
            for name, (mine, theirs) in lesson.channels.items() if self.weight else ():
                cost = tasks[name].imitate(raw[name][:, mine].float(), taught[name][:, theirs].float())
                terms[f"loss/{name}/taught"] = self.weight * student.weights.get(name, 1.0) * cost
            if self.features:
                apart = {of: unlike(self.maps[number](of), features) for of in {seen[name] for name in lesson.channels}}
                share = self.features / len(lesson.channels)
                terms |= {f"loss/{name}/features": share * apart[seen[name]] for name in lesson.channels}
        return terms


class Beside:
    """Keeps modules out of the module that has it: they are not registered, and copies of that module have the same ones."""

    def __init__(self, lessons: Sequence[Lesson]) -> None:
        self.lessons = tuple(lessons)

    def __deepcopy__(self, memo: Any) -> "Beside":
        return self


def unlike(features: Tensor, taught: Tensor) -> Tensor:
    """One minus the cosine of features (B,D,h,w) and (B,D,h',w'): a scalar, the mean over the places of the first."""
    return (1 - (unit(features.float()) * unit(resize(taught, features.shape[-2:]))).sum(1)).mean()


@torch.no_grad()
def _answers(lesson: Lesson, picture: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Raw answers of a teacher by task, and the features (B,D,h,w) that they are from."""
    seen: list[Tensor] = []

    def look(features: Tensor, names: Sequence[str], backbone: nn.Module) -> Mapping[str, Tensor]:
        seen.append(features)
        return dict.fromkeys(names, features)

    raw = lesson.teacher(picture, only=list(lesson.channels), fork=look)
    return raw, seen[0]


def _enlarged(image: Tensor, factor: float) -> Tensor:
    """(B,3,H,W) uint8 -> the same picture in other pixels, averaged where there are fewer."""
    if factor == 1:
        return image
    size = [max(1, round(factor * n)) for n in image.shape[-2:]]
    return F.interpolate(image.float(), size, mode="bilinear", align_corners=False, antialias=factor < 1)


def _lessons(tasks: Sequence[Task], teachers: Sequence[DenseModel]) -> list[Lesson]:
    found: list[Lesson] = []
    left = {task.name: task for task in tasks}
    for teacher in teachers:
        theirs = {task.name: task for task in teacher.tasks}
        mine = [name for name in theirs if name in left]
        if not mine:
            wanted = f"what is left to learn is {', '.join(left)}" if left else "every task has a teacher already"
            raise ValueError(f"a teacher answers {', '.join(theirs)}, but {wanted}; leave it out")
        found.append(Lesson(teacher.eval().requires_grad_(False), {name: matched(left.pop(name), theirs[name]) for name in mine}))
    return found


def matched(student: Task, teacher: Task) -> tuple[Channels, Channels]:
    """Which channels of two tasks' raw answers mean the same, in one order: points that both know, or all classes.

    Raises:
        ValueError: the answers do not mean the same.
    """
    for option in student.alike:
        mine, theirs = getattr(student, option), getattr(teacher, option)
        if mine != theirs:
            raise ValueError(
                f"{student.name} is learnt with {option}={mine}, but the teacher's answers have {option}={theirs}; set it to that, "
                "or let tasks/joint/label.py make labels of them"
            )
    if student.vocabulary is None or teacher.vocabulary is None or student.vocabulary.names == teacher.vocabulary.names:
        return slice(None), slice(None)
    rows = student.vocabulary.rows(teacher.vocabulary.names)
    known = np.flatnonzero(rows >= 0)
    enough = len(known) > 0 if student.answers == "points" else len(known) == len(rows) == teacher.channels
    if not enough:
        raise ValueError(
            f"{student.name} has {len(rows)} names, of which the teacher with {teacher.channels} knows {len(known)}; take one "
            "of the same names, or let tasks/joint/label.py make labels of its answers"
        )
    return known.tolist(), rows[known].tolist()
