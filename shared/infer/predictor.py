"""Predictor: a checkpoint and a picture in, answers out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared import checkpoint
from shared.data.fields import warp
from shared.data.view import Size, View
from shared.dense.frame import settle
from shared.dense.model import DenseModel
from shared.task import Framing, Task

Answers = dict[str, np.ndarray]


class Predictor:
    """Answers of one model for pictures of any size.

    Args:
        model: a DenseModel.
        size: (H,W) of the network's input.
        device: where it runs.
        only: names of the tasks to answer; None: all of them.

    Example:
        >>> predictor = Predictor.load("runs/joint/model.safetensors")
        >>> answers = predictor(image)        # (H,W,3) uint8 RGB -> {"seg": (H,W) uint8, "depth": (H,W) float32, ...}
    """

    def __init__(
        self, model: DenseModel, *, size: Size, device: torch.device | str = "cpu", only: Sequence[str] | None = None
    ) -> None:
        patch = model.backbone.patch
        if size[0] % patch or size[1] % patch or min(size) < patch:
            near = [max(patch, round(n / patch) * patch) for n in size]
            raise ValueError(f"the network's input {size[0]}x{size[1]} is not a multiple of {patch}; use {near[0]}x{near[1]}")
        self.model, self.size, self.device = model.to(device).eval(), size, torch.device(device)
        self.tasks: tuple[Task, ...] = tuple(t for t in model.tasks if only is None or t.name in only)
        bf16 = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        self.dtype = torch.bfloat16 if bf16 else None

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        device: torch.device | str = "auto",
        size: Size | None = None,
        only: Sequence[str] | None = None,
    ) -> "Predictor":
        """From `model.safetensors` of a run; no config is needed.

        Args:
            path: the checkpoint.
            device: `auto` is the GPU where there is one.
            size: (H,W) of the network's input; None: the size it was trained at.
            only: names of the tasks to answer.

        Raises:
            ValueError: the file is no checkpoint of answers, or lacks a task that is asked for; or there is no such device.
        """
        device = checkpoint.device_of(str(device))
        model, about = checkpoint.load(path, device=device)
        if not isinstance(model, DenseModel):
            raise ValueError(f"{path} holds a {type(model).__name__}, which answers nothing; fine-tune it first (init={path})")
        names = [task.name for task in model.tasks]
        if missing := set(only or ()) - set(names):
            raise ValueError(f"{path} answers {', '.join(names)}, not {', '.join(sorted(missing))}; give a checkpoint of that task")
        trained = about["model"]["backbone"].get("image_hw", (1024, 768))
        return cls(model, size=size or (trained[0], trained[1]), device=device, only=only)

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
        whole = View.whole((image.shape[0], image.shape[1]), self.size)
        per_person = [t for t in self.tasks if boxes is not None and t.framing is Framing.BOXES]
        answers = self._look(image, [whole], [t for t in self.tasks if t not in per_person])[0]
        if per_person and boxes is not None:
            people = self._look(image, [View.box(box, self.size) for box in boxes], per_person)
            for task in per_person:
                empty = np.zeros((0, task.channels, 3), np.float32)
                answers[task.name] = np.stack([p[task.name] for p in people]) if people else empty
        return {task.name: answers[task.name] for task in self.tasks}

    @torch.inference_mode()
    def _look(self, image: np.ndarray, views: Sequence[View], tasks: Sequence[Task]) -> list[Answers]:
        """Answers of each view, one after another: the memory does not grow with the number of people."""
        out: list[Answers] = []
        for view in views:
            if not tasks:
                out.append({})
                continue
            seen = warp({"image": image}, view)["image"]
            batch = torch.from_numpy(np.ascontiguousarray(seen.transpose(2, 0, 1)))[None].to(self.device)
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
                raw = self.model(batch, only=[task.name for task in tasks])
            hw = (image.shape[0], image.shape[1])
            out.append({task.name: settle(task, raw.pop(task.name)[0], view, hw).numpy() for task in tasks})
        return out

    def render(self, image: np.ndarray, answers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A picture of each answer, by task name."""
        return {task.name: self.draw(task, image, answers) for task in self.tasks}

    def draw(self, task: Task, image: np.ndarray, answers: Mapping[str, np.ndarray]) -> np.ndarray:
        """A picture of one answer; depth and normals on the person only, where the same pass says where that is."""
        person = answers["seg"] > 0 if "seg" in answers else None
        return task.render(image, _shown(task, answers[task.name], person))


def _shown(task: Task, answer: np.ndarray, person: np.ndarray | None) -> Any:
    if person is None or not np.issubdtype(answer.dtype, np.floating) or task.answers == "points":
        return answer
    mask = person if answer.ndim == 2 else person[..., None]
    return np.where(mask, answer, np.nan)
