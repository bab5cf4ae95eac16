"""Pictures that ask nothing, or nonsense: no cost, no gradient and no measurement of them is NaN."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.task import Task
from tasks.depth.task import Depth, relative
from tasks.normal.task import Normal
from tasks.pointmap.task import Pointmap
from tasks.seg.task import Seg

HW = (12, 10)
NAN = math.nan
CAMERA = torch.tensor([14.0, 14.0, 4.5, 5.5])
TASKS = {
    "seg": Seg(dice=1.0, border=2.0),
    "depth": Depth(),
    "metric": Depth(metric=True),
    "normal": Normal(slope=1.0),
    "pointmap": Pointmap(),
}


def ordinary() -> dict[str, Tensor]:
    """A bumpy wall of many parts, a third of it unknown; channels last."""
    generator = torch.Generator().manual_seed(0)
    depth = 2 + torch.rand(HW, generator=generator)
    normal = torch.nn.functional.normalize(torch.randn(*HW, 3, generator=generator), dim=-1)
    seg = torch.randint(0, 28, HW, generator=generator).to(torch.uint8)
    depth[:4], normal[:4], seg[:4] = NAN, NAN, 255
    return {"seg": seg, "depth": depth, "normal": normal, "intrinsics": CAMERA}


def changed(**fields: Tensor) -> dict[str, Tensor]:
    return ordinary() | fields


def _with(name: str, rows: Any, value: float) -> Tensor:
    field = ordinary()[name].clone()
    field[rows] = value
    return field


SCENES = {
    "nobody is there": changed(seg=torch.zeros(HW, dtype=torch.uint8), depth=torch.full(HW, NAN), normal=torch.full((*HW, 3), NAN)),
    "all is unknown": changed(
        seg=torch.full(HW, 255, dtype=torch.uint8), depth=torch.full(HW, NAN), normal=torch.full((*HW, 3), NAN)
    ),
    "one class alone": changed(seg=torch.full(HW, 27, dtype=torch.uint8)),
    "all is equally far": changed(depth=torch.full(HW, 3.0)),
    "holes of 0 metres": changed(depth=_with("depth", np.s_[5:8], 0.0)),
    "depth behind the camera": changed(depth=_with("depth", np.s_[5:8], -2.0)),
    "depth without end": changed(depth=_with("depth", np.s_[5:8], math.inf)),
    "holes alone": changed(depth=torch.zeros(HW)),
    "one pixel is known": changed(
        seg=torch.full(HW, 255, dtype=torch.uint8).index_put(
            (torch.tensor(7), torch.tensor(3)), torch.tensor(4, dtype=torch.uint8)
        ),
        depth=torch.full(HW, NAN).index_put((torch.tensor(7), torch.tensor(3)), torch.tensor(2.0)),
        normal=torch.full((*HW, 3), NAN).index_put((torch.tensor(7), torch.tensor(3)), torch.tensor([0.0, 0.0, 1.0])),
    ),
    "normals of no length": changed(normal=_with("normal", np.s_[5:8], 0.0)),
    "normals of no length alone": changed(normal=torch.zeros(*HW, 3)),
    "a normal of which a number is missing": changed(normal=_with("normal", np.s_[5:8, :, 1], NAN)),
    "no camera": changed(intrinsics=torch.full((4,), NAN)),
    "a camera of no focal length": changed(intrinsics=torch.tensor([0.0, 0.0, 4.5, 5.5])),
}


@pytest.fixture(params=TASKS)
def task(request) -> Task:
    return TASKS[request.param]


@pytest.fixture(params=SCENES)
def scene(request) -> dict[str, Tensor]:
    return SCENES[request.param]


def batched(*scenes: dict[str, Tensor]) -> dict[str, Tensor]:
    stacked = {name: torch.stack([one[name] for one in scenes]) for name in scenes[0]}
    return stacked | {"normal": stacked["normal"].movedim(-1, 1)}


def answered(task: Task, raw: Tensor) -> Tensor:
    decoded = task.decode(raw[None])[0]
    return decoded.movedim(0, -1) if decoded.dim() == 3 else decoded


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("kind", ["noise", "zero", "huge"])
def test_costs_and_gradients_are_finite(task, scene, kind, beside):
    scenes = (scene, ordinary()) if beside else (scene,)
    raw = torch.randn(len(scenes), task.channels, 6, 5, generator=torch.Generator().manual_seed(0))
    raw = (raw * {"noise": 1, "zero": 0, "huge": 1e6}[kind]).requires_grad_()
    terms = task.loss(raw, batched(*scenes))
    assert all(term.isfinite() and term >= 0 for term in terms.values())
    assert torch.autograd.grad(torch.stack(list(terms.values())).sum(), raw)[0].isfinite().all()


def test_measurements_are_finite_and_so_are_scores_beside_an_ordinary_picture(task, scene):
    raw = torch.randn(task.channels, *HW, generator=torch.Generator().manual_seed(0))
    for answer in (answered(task, raw), answered(task, torch.zeros_like(raw)), answered(task, 1e6 * raw)):
        rows = torch.stack([task.measure(answer, scene), task.measure(answered(task, raw), ordinary())])
        assert rows.isfinite().all()
        assert all(math.isfinite(value) for value in task.summarise(rows).values())


def test_what_is_trivial_is_finite(task, scene):
    assert task.trivial(batched(scene)).isfinite().all()


def test_holes_are_no_different_from_unknown():
    holes, unknown = SCENES["holes of 0 metres"], changed(depth=_with("depth", np.s_[5:8], NAN))
    raw = torch.rand(1, 4, *HW, generator=torch.Generator().manual_seed(0))
    for task in (Depth(), Depth(metric=True), Pointmap()):
        some = raw[:, : task.channels]
        assert task.loss(some, batched(holes)) == task.loss(some, batched(unknown))
        assert torch.equal(task.measure(answered(task, some[0]), holes), task.measure(answered(task, some[0]), unknown))
    assert torch.equal(relative(holes["depth"][None])[1], relative(unknown["depth"][None])[1])


def test_normals_of_no_length_are_no_different_from_unknown():
    short, unknown = SCENES["normals of no length"], changed(normal=_with("normal", np.s_[5:8], NAN))
    raw = torch.randn(1, 3, *HW, generator=torch.Generator().manual_seed(0))
    task = Normal(slope=1.0)
    assert task.loss(raw, batched(short)) == task.loss(raw, batched(unknown))
    assert torch.equal(task.measure(answered(task, raw[0]), short), task.measure(answered(task, raw[0]), unknown))
    assert torch.equal(task.trivial(batched(short)), task.trivial(batched(unknown)))
