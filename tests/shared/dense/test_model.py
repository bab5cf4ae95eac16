"""One backbone, many decoders: what goes in, what comes out, and what it costs."""

import inspect
from dataclasses import replace

import pytest
import torch

from shared.dense.decoder import Spec
from shared.dense.model import DenseModel
from shared.vit.model import ViT
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pose.task import Pose
from tasks.seg.task import Seg

HW = (64, 48)
THIN = Spec(up=(8, 8), refine=(8,))
ALL = (Seg(), Depth(), Normal(), Pose())


def made(tasks=ALL, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DenseModel(ViT("nano", image_hw=HW), tasks, **{"decoder": THIN, **options}).eval()


def pictures(hw=HW, batch=2):
    return torch.randint(0, 256, (batch, 3, *hw), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def truths(hw=HW):
    """Two pictures with every label."""
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(2, 17, 3, generator=generator) * torch.tensor([hw[1], hw[0], 1.0])
    points[..., 2] = 1
    normal = torch.nn.functional.normalize(torch.randn(2, 3, *hw, generator=generator), dim=1)
    seg = torch.randint(0, 28, (2, *hw), generator=generator, dtype=torch.uint8)
    depth = 1 + torch.rand(2, *hw, generator=generator)
    return {"image": pictures(hw), "seg": seg, "depth": depth, "normal": normal, "keypoints": points}


def test_every_task_has_its_answer():
    raw = made()(pictures())
    assert {name: tuple(r.shape) for name, r in raw.items()} == {
        "seg": (2, 28, 16, 12),
        "depth": (2, 1, 16, 12),
        "normal": (2, 3, 16, 12),
        "pose": (2, 17, 16, 12),
    }


def test_the_official_widths_give_the_official_resolutions():
    with torch.device("meta"):
        model = DenseModel(ViT("nano", image_hw=HW), ALL)
        raw = model(torch.empty(1, 3, *HW, dtype=torch.uint8))
    assert {name: r.shape[-2:] for name, r in raw.items()} == {
        "seg": (32, 24),
        "depth": (64, 48),
        "normal": (32, 24),
        "pose": (16, 12),
    }


@pytest.mark.parametrize("hw", [(1, 1), (60, 41), (129, 97)])
def test_answers_of_odd_pictures_stand_on_the_picture_not_on_the_padding(hw):
    raw = made()(pictures(hw))["seg"]
    assert raw.shape[-2:] == (-(-hw[0] // 4), -(-hw[1] // 4))
    padded = torch.zeros(2, 3, -(-hw[0] // 16) * 16, -(-hw[1] // 16) * 16)
    model = made()
    padded[..., : hw[0], : hw[1]] = model.normalise(pictures(hw))
    whole = model.decoders["seg"](model.backbone(padded))
    assert torch.equal(raw, whole[..., : raw.shape[-2], : raw.shape[-1]])


def test_some_answers_are_the_same_as_among_all():
    model = made()
    everything, some = model(pictures()), model(pictures(), only=["normal", "seg"])
    assert list(some) == ["normal", "seg"]
    assert all(torch.equal(some[name], everything[name]) for name in some)
    assert model(pictures(), only=[]) == {}


def test_a_task_alone_is_the_joint_model_less_the_others():
    joint, alone = made(), made((Depth(),))
    state = joint.state_dict()
    alone.load_state_dict({name: state[name] for name in alone.state_dict()})
    assert torch.equal(alone(pictures())["depth"], joint(pictures())["depth"])


def test_costs_are_those_of_the_tasks_by_name():
    model, batch = made(weights={"depth": 3.0}), truths()
    raw = model(batch["image"])
    wanted = {
        f"loss/{task.name}/{term}": value * (3 if task.name == "depth" else 1)
        for task in ALL
        for term, value in task.loss(raw[task.name], batch).items()
    }
    found = model.losses(batch)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value)


def test_pictures_without_labels_reach_every_parameter_with_zero():
    model, batch = made().train(), truths()
    unknown = {"seg": 255, "depth": torch.nan, "normal": torch.nan, "keypoints": 0}
    empty = {name: torch.full_like(value, unknown[name]) if name in unknown else value for name, value in batch.items()}
    costs = model.losses(empty)
    assert all(cost == 0 for cost in costs.values())
    torch.stack(list(costs.values())).sum().backward()
    assert all(p.grad is not None and (p.grad == 0).all() for p in model.parameters())  # DDP waits for every one


CHANGES = {
    "backbone": ({"backbone": ViT("nano", image_hw=HW, patch_padding=2)}, lambda m: m(pictures())["seg"]),
    "tasks": ({"tasks": (Normal(), Seg())}, lambda m: list(m(pictures()))),
    "decoder": ({"decoder": Spec(up=(8,), refine=(8,))}, lambda m: m(pictures())["seg"].shape),
    "weights": ({"weights": {"seg": 2.0}}, lambda m: m.losses(truths())["loss/seg/ce"]),
    "mean": ({"mean": (0.0, 0.0, 0.0)}, lambda m: m.normalise(pictures())),
    "std": ({"std": (1.0, 1.0, 1.0)}, lambda m: m.normalise(pictures())),
}


@pytest.mark.parametrize("argument", list(inspect.signature(DenseModel).parameters))
def test_every_argument_changes_something(argument):
    change, look = CHANGES[argument]
    seen = []
    for options in ({}, change):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            given = {"backbone": ViT("nano", image_hw=HW), "tasks": (Seg(), Normal()), "decoder": THIN, **options}
            seen.append(look(DenseModel(**given).eval()))
    first, second = seen
    assert not torch.equal(first, second) if isinstance(first, torch.Tensor) else first != second


def test_mistakes_are_told():
    with pytest.raises(ValueError, match="two tasks have the same name: seg, seg"):
        made((Seg(), Seg(dice=1.0)))
    with pytest.raises(ValueError, match="weights names face, but the tasks are seg"):
        made((Seg(),), weights={"face": 1.0})


@pytest.mark.parametrize("size", ["nano", {"dim": 48, "depth": 2, "heads": 4, "family": "sapiens2"}])
@pytest.mark.parametrize("shuffle", [False, True])
def test_weights_kept_lowered_answer_as_those_that_autocast_lowers(size, shuffle):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DenseModel(ViT(size, image_hw=HW), (Seg(), Normal()), decoder=replace(THIN, shuffle=shuffle)).eval()
    answers, sizes = [], []
    for _ in range(2):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            answers.append(model(pictures()))
        sizes.append(sum(p.numel() * p.element_size() for p in model.parameters()))
        model.lower(torch.bfloat16)
    assert all(torch.equal(answers[0][name], answers[1][name]) for name in ("seg", "normal"))
    assert sizes[1] < 0.65 * sizes[0]
