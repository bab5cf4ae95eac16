"""Predictor: a checkpoint and a picture in, answers out."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared import builtin, checkpoint
from shared.data.view import Size, View
from shared.dense.compiled import compile_parts
from shared.dense.frame import points_of, settle, unmirror
from shared.dense.model import DenseModel
from shared.dense.mosaic import compose
from shared.infer.batching import Answers, Begun, Pass, Pending, Picture, Room, Shown, Step, deal
from shared.infer.modes import ZOOM, close_views, composable, refuse_mode
from shared.infer.preset import Look, preset_of, show, view_of
from shared.render import draw_boxes
from shared.task import Framing, Task

PRECISIONS = ("auto", "fp32", "bf16")
BATCH = 8  # views; 308 heatmaps of 256 x 192 for each are half a gigabyte


class Predictor:
    """Answers of one model for pictures of any size.

    Args:
        model: a DenseModel.
        size: (H,W) of the network's input; None: the size it was trained at.
        device: where it runs.
        only: names of the tasks to answer; None: all of them.
        preset: `default`, or `official`: pictures are shown and answers go back as in the official code of the model's family, in
            full precision, and rotary positions are rounded as there (in `model` itself). See docs/checkpoints.md.
        flip: average every answer with that for the mirror image; the official preset does so for pose anyway.
        formats: what answers will be asked for as (`Task.formats`): for `soft`, parts are answered with (H,W,K) probabilities.
        precision: `fp32`, or `bf16` autocast; `auto` is bf16 on GPUs that have it, and fp32 under the official preset.
        batch: views that go through the network at once; None: 8, and on processors, where it gains nothing, 1 of those with maps.
        mode: how maps are looked at besides as a whole: `people` in close views of the boxes, `tiles` all over, `auto` in those of
            people where boxes are known. See docs/inference.md.
        zoom: of tiles, against the whole view; never beyond the picture's own pixels.
        focal_px: focal length in pixels of the pictures, for metric depth; None: that of a lens of 75 degrees across the diagonal,
            and metres are wrong by as much as it is. May be set between pictures.
        compiled: blocks and decoders go through torch.compile: the first picture takes a minute more, later ones less.

    Raises:
        ValueError: the size does not fit the patches, or there is no such preset, or none for a task of this model, or no such
            precision, or the batch is empty, or its points cannot be written in a format.

    Example:
        >>> predictor = Predictor.load()      # the built-in model; or the path of a checkpoint
        >>> answers = predictor(image)        # (H,W,3) uint8 RGB -> {"seg": (H,W) uint8, "depth": (H,W) float32, ...}
    """

    def __init__(
        self,
        model: DenseModel,
        *,
        size: Size | None = None,
        device: torch.device | str = "cpu",
        only: Sequence[str] | None = None,
        preset: str = "default",
        flip: bool = False,
        precision: str = "auto",
        formats: Collection[str] = (),
        batch: int | None = None,
        mode: str = "whole",
        zoom: float = ZOOM,
        focal_px: float | None = None,
        compiled: bool = False,
    ) -> None:
        if batch is not None and batch < 1:
            raise ValueError(f"--batch {batch} answers nobody; write how many views the network is shown at once, 1 or more")
        if precision not in PRECISIONS:
            raise ValueError(f"there is no precision {precision!r}; choose one of {', '.join(PRECISIONS)}")
        backbone = model.backbone
        size = size or (backbone.grid[0] * backbone.stride, backbone.grid[1] * backbone.stride)
        backbone.grid_of(size)  # refuses those that it cannot have
        chosen = [t.decoding_for(formats) for t in model.tasks if only is None or t.name in only]
        rows = [preset_of(preset, task, backbone.size.family, flip=flip) for task in chosen]
        self.tasks: tuple[Task, ...] = tuple(task for _, task in rows)
        self.presets = {task.name: row for row, task in rows}
        refuse_mode(mode, self.tasks, self.presets, zoom)
        self.mode, self.zoom, self.focal_px = mode, zoom, focal_px
        self.model, self.size, self.device = model.to(device).eval(), size, torch.device(device)
        self.late = self.device.type == "cuda"
        self.beside = torch.cuda.Stream(self.device) if self.late else None
        self.room, self.room_of_maps = Room(batch or BATCH), Room(batch or (BATCH if self.late else 1))
        auto = self.device.type == "cuda" and torch.cuda.is_bf16_supported() and preset != "official"
        self.dtype = torch.bfloat16 if precision == "bf16" or (precision == "auto" and auto) else None
        compile_parts(model, compiled, self.device, fixed=False)
        if preset == "official" and backbone.rope is not None:
            backbone.rope.dtype = torch.bfloat16

    @classmethod
    def load(
        cls,
        path: Path | str | None = None,
        *,
        device: torch.device | str = "auto",
        size: Size | None = None,
        only: Sequence[str] | None = None,
        **options: Any,
    ) -> "Predictor":
        """From a checkpoint; no config is needed. For the arguments see the class.

        Args:
            path: `model.safetensors` of a run, or an official file; None: the built-in model.
            device: `auto` is the GPU where there is one.
            options: `preset`, `flip`, `precision`, `formats`, `batch`, `mode`, `zoom`, `focal_px`, `compiled`.

        Raises:
            ValueError: the file is no checkpoint of answers, or lacks a task that is asked for; or there is no such device, or no
                built-in model.
        """
        device = checkpoint.device_of(str(device))
        path, said = (builtin.path(), "the built-in model") if path is None else (path, path)
        model, _ = checkpoint.answering(path, device=device)
        names = [task.name for task in model.tasks]
        if missing := set(only or ()) - set(names):
            raise ValueError(f"{said} answers {', '.join(names)}, not {', '.join(sorted(missing))}; give a checkpoint of that task")
        predictor = cls(model, size=size, device=device, only=only, **options)
        if predictor.dtype is not None:
            model.lower(predictor.dtype)
        return predictor

    def __call__(self, image: np.ndarray, *, boxes: np.ndarray | None = None) -> Answers:
        """One picture's answers by task name.

        Args:
            image: (H,W,3) uint8 RGB.
            boxes: (P,4) x0 y0 x1 y1 px, the people for tasks that look at one person at a time; None: the whole picture is one.

        Returns:
            Maps at the picture's size; points (K,3), or (P,K,3) where boxes are given.

        Raises:
            ValueError: the image is not uint8 RGB, or the boxes are none.
            MemoryError: the device has no room for one view.
        """
        (one,) = self.begin([(image, boxes)])
        return one.finish()

    def begin(self, pictures: Sequence[Picture]) -> Iterator[Begun]:
        """Answer several pictures in batches, in their order.

        On a GPU the network goes on meanwhile, and `finish` brings answers to the picture's size beside it; on processors that is
        done before. Memory grows with the pictures that were begun and not finished, and not with the number of people. For
        arguments, answers and errors see `__call__`; pictures of one list fail together.
        """
        for image, boxes in pictures:
            _refuse(image, boxes)
        began = time.perf_counter()
        points = deal(pictures, lambda boxes: self._passes(boxes, points=True), self._look, self.room)
        shared = (time.perf_counter() - began) / max(len(pictures), 1)
        while pictures:
            began, some = time.perf_counter(), pictures[: self.room_of_maps.views]
            maps = deal(some, lambda boxes: self._passes(boxes, points=False), self._look, self.room_of_maps)
            finish = [partial(self._gathered, boxes, one | other) for (_, boxes), one, other in zip(some, points, maps)]
            if not self.late:
                finish = [partial(dict, done()) for done in finish]
            seconds = shared + (time.perf_counter() - began) / len(some)
            yield from (Begun(done, seconds) for done in finish)
            pictures, points = pictures[len(some) :], points[len(some) :]

    def fill(self, people: Iterable[np.ndarray | None]) -> float:
        """How full the fullest batch is that pictures with these people make, 1 being full; 0: they need not wait for others."""
        views: Counter[Pass] = Counter()
        for boxes in people:
            for one in self._passes(boxes):
                views[one] += len(boxes) if one.per_person and boxes is not None else 1
        rooms = {one: (self.room if one.points else self.room_of_maps).views for one in views}
        return max((views[one] / room for one, room in rooms.items() if one.points or room > 1), default=0)

    def weight(self, height: int, width: int) -> int:
        """Bytes that the maps of a picture of so many pixels hold; points hold next to none."""
        maps = [task.decode(torch.zeros(1, task.channels, 1, 1)) for task in self.tasks if task.answers == "map"]
        return height * width * sum(pixel.nbytes for pixel in maps)

    def _passes(self, boxes: np.ndarray | None, *, points: bool | None = None) -> list[Pass]:
        """What looks at a picture in one way shares a pass of the backbone: passes of points alone, or the others, or all."""
        alike: dict[tuple[Look, bool], list[Task]] = {}
        for task in self.tasks:
            per_person = boxes is not None and task.framing is Framing.BOXES
            alike.setdefault((self.presets[task.name].look, per_person), []).append(task)
        found = [
            Pass(*way, all(task.answers == "points" for task in tasks), tuple(task.name for task in tasks))
            for way, tasks in alike.items()
        ]
        return [one for one in found if points is None or one.points == points]

    def _gathered(self, boxes: np.ndarray | None, views: Mapping[Pass, Sequence[Pending]]) -> Answers:
        """The answers of one picture: points are (K,3) where it was seen as a whole, (P,K,3) where by people."""
        answers: Answers = {}
        for one in self._passes(boxes):
            found = [view() for view in views.get(one, [])]
            for task in self._of(one):
                rows, nobody = [answer[task.name] for answer in found], np.zeros((0, task.channels, 3), np.float32)
                answers[task.name] = rows[0] if not one.per_person else np.stack(rows) if rows else nobody
        return {task.name: answers[task.name] for task in self.tasks}

    def _of(self, one: Pass) -> list[Task]:
        return [task for task in self.tasks if task.name in one.names]

    @torch.inference_mode()
    def _look(self, one: Pass, seen: Sequence[Shown]) -> list[Pending]:
        """Some views in one pass of the backbone."""
        tasks, sizes = self._of(one), [(shown.image.shape[0], shown.image.shape[1]) for shown in seen]
        views = [view_of(one.look, hw, shown.box, self.size) for hw, shown in zip(sizes, seen)]
        raw = self._raw(one, [(shown.image, view) for shown, view in zip(seen, views)])
        left = [self._composed(one, shown, view, {name: maps[i] for name, maps in raw.items()})
                for i, (shown, view) in enumerate(zip(seen, views))]  # fmt: skip
        for task in tasks:
            maps, back = raw.pop(task.name), self.presets[task.name].back
            points = task.decode(maps) if task.answers == "points" else None  # at once: heatmaps are large, points few
            for i, (view, hw, steps) in enumerate(zip(views, sizes, left)):
                settled = (partial(settle, task, maps[i], view, hw, back, focal_px=self.focal_px) if points is None else
                           partial(points_of, points[i], view, maps.shape[-2:]))  # fmt: skip
                steps.setdefault(task.name, settled)
        return [Pending(steps, self.beside) for steps in left]

    def _composed(self, one: Pass, shown: Shown, view: View, whole: Mapping[str, torch.Tensor]) -> dict[str, Step]:
        """The answers of one picture in which close views stand; none where there are no such views."""
        tasks = [task for task in self._of(one) if composable(task, self.presets[task.name])]
        image, hw = shown.image, (shown.image.shape[0], shown.image.shape[1])
        close = close_views(self.mode, hw, self.size, shown.people, zoom=self.zoom) if tasks else []
        if not close:
            return {}
        found = compose(tasks, whole, view, close, lambda some: self._each(one, image, some), hw)
        return {name: lambda answer=answer: answer for name, answer in found.items()}

    def _each(self, one: Pass, image: np.ndarray, views: Sequence[View]) -> list[dict[str, torch.Tensor]]:
        """Raw answers of views of one picture, one by one."""
        raw = self._raw(one, [(image, view) for view in views])
        return [{name: maps[i] for name, maps in raw.items()} for i in range(len(views))]

    def _raw(self, one: Pass, shown: Sequence[tuple[np.ndarray, View]]) -> dict[str, torch.Tensor]:
        """Raw answers (B,C,h,w) of a pass for views of pictures, averaged with those for their mirror images if it flips."""
        seen = np.stack([show(one.look, image, view).transpose(2, 0, 1) for image, view in shown])
        batch = torch.from_numpy(seen)
        batch = batch.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else batch.to(self.device)
        raw = self._forward(batch, one.names)
        if one.look.flip:
            mirrored = self._forward(batch.flip(-1), one.names)
            raw = {task.name: raw[task.name].add_(unmirror(task, mirrored.pop(task.name))).mul_(0.5) for task in self._of(one)}
        return raw

    def _forward(self, batch: torch.Tensor, names: Sequence[str]) -> dict[str, torch.Tensor]:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None, cache_enabled=False):  # each is used once
            raw = self.model(batch, only=names)
        return {name: answer.float() for name, answer in raw.items()}

    def render(self, image: np.ndarray, answers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A picture of each answer, by task name."""
        return {task.name: self.draw(task, image, answers) for task in self.tasks}

    def draw(
        self, task: Task, image: np.ndarray, answers: Mapping[str, np.ndarray], *, boxes: np.ndarray | None = None
    ) -> np.ndarray:
        """A picture of one answer; depth and normals on the person only, where the same pass says where that is.

        Around people who were looked at one by one there is a thin line (`boxes`, (P,4) x0 y0 x1 y1 px).
        """
        if boxes is not None and task.framing is Framing.BOXES:
            image = draw_boxes(image, boxes)
        seg = answers.get("seg")
        person = None if seg is None else (seg.argmax(-1) if seg.ndim == 3 else seg) > 0
        return task.render(image, _shown(task, answers[task.name], person))


def _refuse(image: np.ndarray, boxes: Any) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image is (H,W,3) uint8 RGB, this is {image.shape} {image.dtype}; use shared.data.photo.read_photo")
    if boxes is None or not np.size(boxes):
        return
    if np.ndim(boxes) != 2 or np.shape(boxes)[1] != 4 or np.asarray(boxes).dtype.kind not in "fiu":
        raise ValueError(
            f"boxes are (P,4) numbers x0 y0 x1 y1 in pixels, these are {np.shape(boxes)}; write [[x0, y0, x1, y1], ...]"
        )


def _shown(task: Task, answer: np.ndarray, person: np.ndarray | None) -> Any:
    if person is None or not np.issubdtype(answer.dtype, np.floating) or task.answers == "points" or task.vocabulary is not None:
        return answer
    mask = person if answer.ndim == 2 else person[..., None]
    return np.where(mask, answer, np.nan)
