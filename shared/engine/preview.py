"""Pictures of what a model answers on fixed samples: beside every number there is something to look at."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from shared.data.fields import FIELDS
from shared.data.indexed import Indexed, Item
from shared.data.turns import Pictures
from shared.dense.canonical import focal_of
from shared.dense.frame import settle
from shared.render import panel
from shared.task import Task

HEIGHT = 256  # of a row, pixels


def draw(path: Path, model: Any, stream: Pictures, data: Indexed | None, device: torch.device, *, count: int) -> None:
    """Write a contact sheet: picture, answers and truths of the first validation samples, or MAE's reconstructions.

    Args:
        path: of the JPEG.
        model: a DenseModel, or a MaskedAutoencoder.
        stream: training samples, shown where nothing is validated.
        data: validation samples, or None.
        device: of the model.
        count: rows.
    """
    model.eval()
    if data is not None:
        rows, titles = answers(model, [*islice(data.readable(range(len(data))), count)], device), ["picture"]
        titles += [text for task in model.tasks for text in (task.name, "truth")]
    elif hasattr(model, "reconstruct"):
        rows, titles = _reconstructions(model, stream, device, count), ["picture", "seen", "painted"]
    else:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), panel(rows, [titles], height=HEIGHT)[..., ::-1])


@torch.inference_mode()
def answers(model: Any, items: Sequence[Item], device: torch.device) -> list[list[np.ndarray]]:
    """One row per sample: picture, then answer and truth of each task; measured only where the truth is known."""
    rows = []
    for item in items:
        raw = model(item.image[None].to(device))
        row = [item.source]
        for task in model.tasks:
            answer = settle(task, raw[task.name][0], item.view, item.source_hw, focal_px=focal_of(item.truth))
            truth = task.ideal(item.truth)
            row += [task.render(item.source, masked(task, answer, truth)), task.render(item.source, truth.numpy())]
        rows.append(row)
    return rows


def masked(task: Task, answer: Tensor, truth: Tensor) -> np.ndarray:
    """The answer where measurements are known: elsewhere it was never trained and means nothing."""
    if FIELDS[task.field].kind not in ("scalar", "vector"):
        return answer.numpy()
    known = truth.isfinite()
    return torch.where(known, answer, torch.nan).numpy()


@torch.inference_mode()
def _reconstructions(model: nn.Module, stream: Pictures, device: torch.device, count: int) -> list[list[np.ndarray]]:
    rows = []
    for position in range(count):  # one by one: their sizes may differ
        batch = {name: tensor[None].to(device) for name, tensor in stream[position].items()}
        rows.append([batch["image"], *model.reconstruct(batch)])  # type: ignore[operator]
    return [[x[0].movedim(0, -1).contiguous().cpu().numpy() for x in row] for row in rows]
