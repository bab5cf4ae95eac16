"""Predictor: a checkpoint and a picture in, answers out."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared import builtin, checkpoint
from shared.data.view import Size
from shared.dense.frame import settle, unmirror
from shared.dense.model import DenseModel
from shared.infer.preset import Look, preset_of, show, view_of
from shared.task import Framing, Task

Answers = dict[str, np.ndarray]
PRECISIONS = ("auto", "fp32", "bf16")


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
        focal_px: focal length in pixels of the pictures, for metric depth; None: that of a lens of 75 degrees across the diagonal,
            and metres are wrong by as much as it is. May be set between pictures.
        compiled: backbone and decoders go through torch.compile: the first picture takes a minute more, later ones less.

    Raises:
        ValueError: the size does not fit the patches, or there is no such preset, or none for a task of this model, or no such
            precision.

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
        focal_px: float | None = None,
        compiled: bool = False,
    ) -> None:
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
            options: `preset`, `flip`, `precision`, `formats`, `focal_px`, `compiled`.

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
        return cls(model, size=size, device=device, only=only, **options)

    def __call__(self, image: np.ndarray, *, boxes: np.ndarray | None = None) -> Answers:
        """One picture's answers by task name.

        Args:
            image: (H,W,3) uint8 RGB.
            boxes: (P,4) x0 y0 x1 y1 px, the people for tasks that look at one person at a time; None: the whole picture is one.

        Returns:
            Maps at the picture's size; points (K,3), or (P,K,3) where boxes are given.

        Raises:
            ValueError: the image is not uint8 RGB.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"an image is (H,W,3) uint8 RGB, this is {image.shape} {image.dtype}; use shared.data.photo.read_photo"
            )
        alike: dict[tuple[Look, bool], list[Task]] = {}  # what looks at a picture in one way shares a pass of the backbone
        for task in self.tasks:
            alike.setdefault((self.presets[task.name].look, boxes is not None and task.framing is Framing.BOXES), []).append(task)
        answers: Answers = {}
        for (look, per_person), tasks in alike.items():
            if not per_person or boxes is None:
                answers |= self._look(image, look, tasks)
                continue
            people = [self._look(image, look, tasks, box) for box in boxes]  # one by one: memory does not grow with their number
            for task in tasks:
                nobody = np.zeros((0, task.channels, 3), np.float32)
                answers[task.name] = np.stack([person[task.name] for person in people]) if people else nobody
        return {task.name: answers[task.name] for task in self.tasks}

    @torch.inference_mode()
    def _look(self, image: np.ndarray, look: Look, tasks: Sequence[Task], box: np.ndarray | None = None) -> Answers:
        """Answers of one view."""
        hw = (image.shape[0], image.shape[1])
        view = view_of(look, hw, box, self.size)
        seen = show(look, image, view)
        batch = torch.from_numpy(np.ascontiguousarray(seen.transpose(2, 0, 1)))[None].to(self.device)
        raw = self._raw(batch, tasks)
        if look.flip:
            mirrored = self._raw(batch.flip(-1), tasks)
            raw = {task.name: raw[task.name].add_(unmirror(task, mirrored.pop(task.name))).mul_(0.5) for task in tasks}
        return {
            task.name: settle(task, raw.pop(task.name)[0], view, hw, self.presets[task.name].back, focal_px=self.focal_px).numpy()
            for task in tasks
        }

    def _raw(self, batch: torch.Tensor, tasks: Sequence[Task]) -> dict[str, torch.Tensor]:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            raw = self.model(batch, only=[task.name for task in tasks])
        return {name: answer.float() for name, answer in raw.items()}

    def render(self, image: np.ndarray, answers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A picture of each answer, by task name."""
        return {task.name: self.draw(task, image, answers) for task in self.tasks}

    def draw(self, task: Task, image: np.ndarray, answers: Mapping[str, np.ndarray]) -> np.ndarray:
        """A picture of one answer; depth and normals on the person only, where the same pass says where that is."""
        seg = answers.get("seg")
        person = None if seg is None else (seg.argmax(-1) if seg.ndim == 3 else seg) > 0
        return task.render(image, _shown(task, answers[task.name], person))


def _shown(task: Task, answer: np.ndarray, person: np.ndarray | None) -> Any:
    if person is None or not np.issubdtype(answer.dtype, np.floating) or task.answers == "points" or task.vocabulary is not None:
        return answer
    mask = person if answer.ndim == 2 else person[..., None]
    return np.where(mask, answer, np.nan)
