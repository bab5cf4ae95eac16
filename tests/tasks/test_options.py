"""Every option of every task changes something: what it costs, what it answers or what is drawn."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.task import Batch, Task
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pointmap.task import Pointmap
from tasks.pose.task import Pose
from tasks.seg.task import Seg

TASKS = {"seg": Seg(dice=0.5, border=3.0), "depth": Depth(), "normal": Normal(slope=1.0), "pointmap": Pointmap(), "pose": Pose()}
TABLE = {"entries": [{"name": "one", "colour": [1, 2, 3]}, {"name": "two", "colour": [4, 5, 6]}]}


def noise(task: Task) -> Tensor:
    return torch.randn(3, task.channels, 16, 12, generator=torch.Generator().manual_seed(0))


def _drawn(task: Task, batch: Batch) -> Any:
    """What is drawn for points of middling confidence."""
    return task.render(np.zeros((64, 48, 3), np.uint8), np.array([[10 + i, 20 + i, 0.5] for i in range(task.channels)]))


def _words(task: Task, batch: Batch) -> Any:
    assert task.vocabulary
    return task.channels, task.vocabulary.names


def _cost(task: Task, batch: Batch) -> Any:
    return task.loss(noise(task), batch)


CHANGES: dict[tuple[str, str], tuple[Any, Callable[[Task, Batch], Any]]] = {
    ("seg", "labels"): (TABLE, _words),
    ("seg", "weighted"): (False, _cost),
    ("seg", "dice"): (2.0, _cost),
    ("seg", "border"): (1.0, _cost),
    ("seg", "border_reach"): (5.0, _cost),
    ("seg", "undo"): (1.0, lambda task, batch: task.decode(noise(task))),
    ("seg", "trust"): (True, lambda task, batch: task.loss(noise(task), {**batch, "sure": torch.full((3, 64, 48), 0.5)})),
    ("seg", "temperature"): (4.0, lambda task, batch: task.imitate(noise(task), noise(task).flip(0))),
    ("seg", "soft"): (True, lambda task, batch: task.decode(noise(task))),
    ("depth", "variance_focus"): (1.0, _cost),
    ("depth", "floor"): (0.5, _cost),
    ("depth", "metric"): (True, _cost),
    ("normal", "l1"): (2.0, _cost),
    ("normal", "cosine"): (2.0, _cost),
    ("normal", "slope"): (10.0, _cost),
    **{("pointmap", name): (0.5, _cost) for name in ("l1", "multiscale", "shift", "silog", "camera", "normal", "scale", "floor")},
    ("pointmap", "cap"): (0.5, _cost),
    ("pose", "skeleton"): (TABLE, _words),
    ("pose", "sigma"): (0.1, _cost),
    ("pose", "hardest"): (3, _cost),
    ("pose", "blur"): (3, lambda task, batch: task.decode(noise(task).abs())),
    ("pose", "reach"): (0.1, lambda task, batch: task.decode(noise(task).abs())),
    ("pose", "threshold"): (0.9, _drawn),
}


@pytest.mark.parametrize(("name", "option"), [(name, f.name) for name, task in TASKS.items() for f in fields(task)])
def test_every_option_changes_something(batch, name, option):
    value, look = CHANGES[name, option]
    plain_, changed = (json.dumps(_listed(look(task, batch))) for task in (TASKS[name], replace(TASKS[name], **{option: value})))
    assert plain_ != changed


def _listed(seen: Any) -> Any:
    if isinstance(seen, dict):
        return {name: _listed(value) for name, value in seen.items()}
    return seen.tolist() if isinstance(seen, Tensor | np.ndarray) else seen
