"""Predictor: a checkpoint and a picture in, answers out."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch

from shared import builtin, checkpoint
from shared.data.view import Size, View
from shared.dense.frame import settle, settle_points, unmirror
from shared.dense.model import DenseModel
from shared.dense.mosaic import compose
from shared.infer.modes import ZOOM, close_views, composable, refuse_mode
from shared.infer.preset import Look, preset_of, show, view_of
from shared.render import draw_boxes
from shared.task import Framing, Task

Answers = dict[str, np.ndarray]
Picture = tuple[np.ndarray, np.ndarray | None]  # (H,W,3) uint8 RGB, and the boxes (P,4) of people, None: it is one as a whole
Found = defaultdict[tuple[int, str], list[np.ndarray]]  # number of the picture, name of the task -> points (K,3) of its views
PRECISIONS = ("auto", "fp32", "bf16")
BATCH = 8  # views; 308 heatmaps of 256 x 192 for each are half a gigabyte
NOTHING: Mapping[str, np.ndarray] = MappingProxyType({})


class Pass(NamedTuple):
    """Tasks that one pass of the backbone answers, and what it shows."""

    look: Look
    per_person: bool
    names: tuple[str, ...]


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
        batch: views that go through the network at once, where people are looked at or whole pictures for points alone.
        mode: how maps are looked at besides as a whole: `people` in close views of the boxes, `tiles` all over, `auto` in those of
            people where boxes are known. See docs/inference.md.
        zoom: of tiles, against the whole view; never beyond the picture's own pixels.
        focal_px: focal length in pixels of the pictures, for metric depth; None: that of a lens of 75 degrees across the diagonal,
            and metres are wrong by as much as it is. May be set between pictures.
        compiled: backbone and decoders go through torch.compile: the first picture takes a minute more, later ones less.

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
        batch: int = BATCH,
        mode: str = "whole",
        zoom: float = ZOOM,
        focal_px: float | None = None,
        compiled: bool = False,
    ) -> None:
        if batch < 1:
            raise ValueError(f"--batch {batch} answers nobody; write how many people the network looks at at once, 1 or more")
        if precision not in PRECISIONS:
            raise ValueError(f"there is no precision {precision!r}; choose one of {', '.join(PRECISIONS)}")
        backbone, stride = model.backbone, model.backbone.stride
        size = size or (backbone.grid[0] * stride, backbone.grid[1] * stride)
        if size[0] % stride or size[1] % stride or min(size) < stride:
            near = [max(stride, round(n / stride) * stride) for n in size]
            raise ValueError(f"the network's input {size[0]}x{size[1]} is not a multiple of {stride}; use {near[0]}x{near[1]}")
        chosen = [t.decoding_for(formats) for t in model.tasks if only is None or t.name in only]
        rows = [preset_of(preset, task, backbone.size.family, flip=flip) for task in chosen]
        self.tasks: tuple[Task, ...] = tuple(task for _, task in rows)
        self.presets = {task.name: row for row, task in rows}
        refuse_mode(mode, self.tasks, self.presets, zoom)
        self.batch, self.mode, self.zoom = batch, mode, zoom
        self.model, self.size, self.device = model.to(device).eval(), size, torch.device(device)
        self.focal_px = focal_px
        auto = self.device.type == "cuda" and torch.cuda.is_bf16_supported() and preset != "official"
        self.dtype = torch.bfloat16 if precision == "bf16" or (precision == "auto" and auto) else None
        if compiled:
            for part in (model.backbone, *model.decoders.values()):
                part.compile()
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
        model, _ = checkpoint.load(path, device=device)
        if not isinstance(model, DenseModel):
            raise ValueError(f"{path} holds a {type(model).__name__}, which answers nothing; fine-tune it first (init={path})")
        names = [task.name for task in model.tasks]
        if missing := set(only or ()) - set(names):
            raise ValueError(f"{said} answers {', '.join(names)}, not {', '.join(sorted(missing))}; give a checkpoint of that task")
        predictor = cls(model, size=size, device=device, only=only, **options)
        if predictor.dtype is not None and predictor.device.type == "cpu":
            model.lower(predictor.dtype)
        return predictor

    def __call__(self, image: np.ndarray, *, boxes: np.ndarray | None = None, known: Mapping[str, np.ndarray] = NOTHING) -> Answers:
        """One picture's answers by task name.

        Args:
            image: (H,W,3) uint8 RGB.
            boxes: (P,4) x0 y0 x1 y1 px, the people for tasks that look at one person at a time; None: the whole picture is one.
            known: what `points` answered for this picture already.

        Returns:
            Maps at the picture's size; points (K,3), or (P,K,3) where boxes are given.

        Raises:
            ValueError: the image is not uint8 RGB, or the boxes are none.
        """
        answers = dict(known) or self.points([(image, boxes)])[0]
        for one in self._passes(boxes, points=False):
            answers |= self._look(one, [(image, None)], people=boxes)[0]
        return {task.name: answers[task.name] for task in self.tasks}

    def points(self, pictures: Sequence[Picture]) -> list[Answers]:
        """Answers of the tasks that share no view with one of maps, for several pictures: at most `batch` views at a time.

        Memory does not grow with the number of people. For arguments and errors see `__call__`; pictures of one list fail together.
        """
        places: dict[Pass, list[tuple[int, np.ndarray | None]]] = {}  # number of the picture, box
        for number, (image, boxes) in enumerate(pictures):
            _refuse(image, boxes)
            for one in self._passes(boxes, points=True):
                people = boxes if one.per_person and boxes is not None else [None]
                places.setdefault(one, []).extend((number, box) for box in people)
        found: Found = defaultdict(list)
        for one, views in places.items():
            for start in range(0, len(views), self.batch):
                some = views[start : start + self.batch]
                answers = self._look(one, [(pictures[number][0], box) for number, box in some])
                for (number, _), answer in zip(some, answers):
                    for name, points in answer.items():
                        found[number, name].append(points)
        return [self._gathered(boxes, number, found) for number, (_, boxes) in enumerate(pictures)]

    def views(self, boxes: np.ndarray | None) -> int:
        """How many views of a picture `points` has to answer."""
        passes = self._passes(boxes, points=True)
        return sum(len(boxes) if one.per_person and boxes is not None else 1 for one in passes)

    def _passes(self, boxes: np.ndarray | None, *, points: bool) -> list[Pass]:
        """What looks at a picture in one way shares a pass of the backbone: passes of points alone, or the others."""
        alike: dict[tuple[Look, bool], list[Task]] = {}
        for task in self.tasks:
            per_person = boxes is not None and task.framing is Framing.BOXES
            alike.setdefault((self.presets[task.name].look, per_person), []).append(task)
        chosen = [(way, tasks) for way, tasks in alike.items() if points == all(task.answers == "points" for task in tasks)]
        return [Pass(*way, tuple(task.name for task in tasks)) for way, tasks in chosen]

    def _gathered(self, boxes: np.ndarray | None, number: int, found: Found) -> Answers:
        """The points of one picture: (K,3) where it was seen as a whole, (P,K,3) where by people."""
        answers: Answers = {}
        for one in self._passes(boxes, points=True):
            for task in self._of(one):
                rows, nobody = found[number, task.name], np.zeros((0, task.channels, 3), np.float32)
                answers[task.name] = rows[0] if not one.per_person else np.stack(rows) if rows else nobody
        return answers

    def _of(self, one: Pass) -> list[Task]:
        return [task for task in self.tasks if task.name in one.names]

    @torch.inference_mode()
    def _look(self, one: Pass, seen: Sequence[Picture], *, people: np.ndarray | None = None) -> list[Answers]:
        """Answers of some views in one pass: of whole pictures, or of one box (4,) in each; `people` are looked at besides."""
        tasks, sizes = self._of(one), [(image.shape[0], image.shape[1]) for image, _ in seen]
        views = [view_of(one.look, hw, box, self.size) for hw, (_, box) in zip(sizes, seen)]
        raw = self._raw(one, [(image, view) for view, (image, _) in zip(views, seen)])
        answers = [self._composed(one, image, view, {n: maps[i] for n, maps in raw.items()}, people)
                   for i, ((image, _), view) in enumerate(zip(seen, views))]  # fmt: skip
        for task in tasks:
            maps, back = raw.pop(task.name), self.presets[task.name].back
            points = list(settle_points(task, maps, views)) if task.answers == "points" else []
            for i, answer in enumerate(answers):
                if task.name not in answer:
                    found = points[i] if points else settle(task, maps[i], views[i], sizes[i], back, focal_px=self.focal_px)
                    answer[task.name] = found.numpy()
        return answers

    def _composed(self, one: Pass, image: np.ndarray, view: View, whole: Mapping[str, torch.Tensor], people: Any) -> Answers:
        """The answers of one picture in which close views stand; none where there are no such views."""
        tasks = [task for task in self._of(one) if composable(task, self.presets[task.name])]
        hw = (image.shape[0], image.shape[1])
        close = close_views(self.mode, hw, self.size, people, zoom=self.zoom) if tasks else []
        if not close:
            return {}
        found = compose(tasks, whole, view, close, lambda some: self._each(one, image, some), hw)
        return {name: answer.numpy() for name, answer in found.items()}

    def _each(self, one: Pass, image: np.ndarray, views: Sequence[View]) -> list[dict[str, torch.Tensor]]:
        """Raw answers of views of one picture, one by one."""
        raw = self._raw(one, [(image, view) for view in views])
        return [{name: maps[i] for name, maps in raw.items()} for i in range(len(views))]

    def _raw(self, one: Pass, shown: Sequence[tuple[np.ndarray, View]]) -> dict[str, torch.Tensor]:
        """Raw answers (B,C,h,w) of a pass for views of pictures, averaged with those for their mirror images if it flips."""
        seen = np.stack([show(one.look, image, view).transpose(2, 0, 1) for image, view in shown])
        batch = torch.from_numpy(seen).to(self.device)
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
