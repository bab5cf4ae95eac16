"""Teachers: models whose answers become labels. A lesson is one shard: which fields are asked for, and in whose words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from shared import builtin, checkpoint
from shared.data.codec import READERS
from shared.data.facts import facts
from shared.data.fields import FIELDS, Sample
from shared.data.listing import FACTS
from shared.data.shards import DamagedSample, Shards
from shared.data.wanted import translated, translation
from shared.dense.canonical import usual_focal_px
from shared.infer.predictor import Predictor
from shared.infer.taught import Least, label, refuse
from shared.task import Task

IMAGES = tuple(suffix for suffix, (field, _) in READERS.items() if field == "image")
TAUGHT = "taught"  # the entry of the facts that says who labelled what
ONLY_PEOPLE = ("depth", "normal")


class Options(NamedTuple):
    """What becomes of answers.

    Attributes:
        least: how sure a teacher has to be.
        keep: labels that a sample has stay.
        people_only: depth and normals are unknown where the parts, true or taught, say nobody.
        sure: the field `sure` beside taught parts.
    """

    least: Least = Least()
    keep: bool = True
    people_only: bool = False
    sure: bool = False


class Teacher(NamedTuple):
    """A model that answers some tasks."""

    name: str  # of its file
    size: int  # of its file, bytes
    predictor: Predictor


def teachers(
    paths: Sequence[str | Path | None], *, only: Sequence[str] | None = None, device: str = "auto", **options: Any
) -> list[Teacher]:
    """Load teachers; of two that answer one task the first does, and one that is left without a task is refused.

    Args:
        paths: checkpoints, ours or official; None: the built-in model.
        only: the tasks to ask; None: all.
        device: as for `Predictor.load`.
        options: `preset`, `flip`, `precision`, `mode` of the Predictor.

    Raises:
        ValueError: a file is no checkpoint of answers, nobody answers a task that is asked for, or an answer is no label.
    """
    found: list[Teacher] = []
    taken: set[str] = set()
    for path in [builtin.path() if path is None else path for path in paths]:
        model, _ = checkpoint.answering(path, device=checkpoint.device_of(device))
        names = [task.name for task in model.tasks]
        mine = [name for name in names if name not in taken and (only is None or name in only)]
        if not mine:
            raise ValueError(f"{path} answers {', '.join(names)}, of which nothing is left to ask; leave it out")
        for task in model.tasks:
            if task.name in mine:
                refuse(task)
        taken |= set(mine)
        predictor = Predictor(model, device=checkpoint.device_of(device), only=mine, formats=("soft",), **options)
        size = Path(path).stat().st_size if Path(path).is_file() else 0
        found.append(Teacher(Path(path).name, size, predictor))
    if missing := set(only or ()) - taken:
        raise ValueError(f"no teacher answers {', '.join(sorted(missing))}; give a checkpoint of that task, too")
    return found


class Lesson:
    """One shard: `lesson(i)` is sample i with its labels, true and taught.

    Fields that every sample holds are not asked for while true labels are kept, and stay in their own words. Those that some hold
    are mapped onto the teacher's words, by name, as all of a shard must use the same.

    Args:
        shards: pictures, perhaps with labels.
        found: who answers.
        options: what becomes of the answers.

    Attributes:
        names: vocabularies of the labelled samples.

    Raises:
        ValueError: true labels share no name with the teacher's; depth and normals of people only, but no parts that say where.
    """

    def __init__(self, shards: Shards, found: Sequence[Teacher], options: Options) -> None:
        self.shards, self.options = shards, options
        held = [shards.fields(i) for i in range(len(shards))]
        full = set.intersection(*held) if options.keep else set()
        self.asked: list[tuple[Teacher, list[Task]]] = []
        for teacher in found:
            if tasks := [task for task in teacher.predictor.tasks if task.field not in full]:
                self.asked.append((teacher, tasks))
        asked = [task for _, tasks in self.asked for task in tasks]
        self.fields = {task.field for task in asked}
        words = {task.field: task.vocabulary for task in asked}
        self.names = {name: list(listed) for name, listed in shards.names.items() if name not in self.fields}
        self.names |= {name: list(vocabulary.names) for name, vocabulary in words.items() if vocabulary is not None}
        kept = set().union(*held) if options.keep else set()
        self.tables = {
            name: translation(name, shards.names[name], vocabulary)
            for name, vocabulary in words.items()
            if vocabulary is not None and name in kept and name in shards.names
        }
        if options.people_only and "seg" not in full | self.fields:
            raise ValueError("--people-only needs parts that say where people are; add a teacher of seg, or leave it out")

    def __call__(self, i: int) -> dict[str, Any]:
        """Sample i as `write_shards` takes it.

        Raises:
            DamagedSample: it cannot be read, or has no picture.
        """
        sample = self.shards.read(i)
        image = sample.get("image")
        if image is None:
            raise DamagedSample(f"{self.shards.where(i)} has no picture to label")
        told = facts(self.shards, i)
        if not self.options.keep:
            stale = {"sure"} if "seg" in self.fields else set()
            sample = {name: value for name, value in sample.items() if name not in self.fields | stale}
        sample = translated(sample, self.tables)
        by: dict[str, Any] = {}
        for teacher, tasks in self.asked:
            if missing := [task for task in tasks if task.field not in sample]:
                self._ask(teacher, missing, image, sample, by)
        self._leave_out(sample, by)
        for field in by:
            by[field]["known"] = round(_known(field, sample[field]), 4)
        labelled: dict[str, Any] = dict(sample)
        labelled["image"] = next((c for suffix in IMAGES if (c := self.shards.member(i, suffix)) is not None), image)
        labelled[FACTS] = told | {TAUGHT: told.get(TAUGHT, {}) | by}
        return labelled

    def _ask(self, teacher: Teacher, tasks: Sequence[Task], image: np.ndarray, sample: Sample, by: dict[str, Any]) -> None:
        """Put a teacher's labels into the sample, and beside them who gave them and how sure they are, 0..1."""
        predictor, box = teacher.predictor, sample.get("box")
        boxes = box[None] if box is not None and np.isfinite(box).all() else None
        hw, camera = (image.shape[0], image.shape[1]), sample.get("intrinsics", np.full(4, np.nan, np.float32))
        known = bool(np.isfinite(camera).all() and camera[0] > 0)
        predictor.focal_px = float(camera[0]) if known else None
        answers = predictor(image, boxes=boxes)
        for task in tasks:
            answer = answers[task.name]
            answer = answer[0] if task.answers == "points" and answer.ndim == 3 else answer
            found = label(task, answer, self.options.least)
            sample[task.field] = found.label
            by[task.field] = {"by": teacher.name}
            if found.sure is not None:
                by[task.field]["sure"] = round(float(found.sure.mean()), 4)
            if task.field == "seg" and self.options.sure and found.sure is not None:
                sample["sure"] = found.sure
            if task.relative:  # no metres: a camera would make some of them
                sample.pop("intrinsics", None)
                by[task.field]["relative"] = True
            elif task.canonical and not known:  # the metres are those of this lens
                focal = usual_focal_px(hw)
                sample["intrinsics"] = np.array([focal, focal, (hw[1] - 1) / 2, (hw[0] - 1) / 2], np.float32)

    def _leave_out(self, sample: Sample, by: dict[str, Any]) -> None:
        """What was taught of depth and normals is unknown where there is nobody, if that is wanted."""
        if not self.options.people_only:
            return
        nobody = (sample["seg"] == 0) | (sample["seg"] == FIELDS["seg"].unknown)
        for field in ONLY_PEOPLE:
            if field in by:
                sample[field][nobody] = FIELDS[field].unknown


def _known(field: str, label: np.ndarray) -> float:
    """The share of pixels or points that are known."""
    kind = FIELDS[field].kind
    if kind == "points":
        return float((label[:, 2] > 0).mean())
    return float((label != FIELDS[field].unknown).mean() if kind == "label" else np.isfinite(label).mean())
