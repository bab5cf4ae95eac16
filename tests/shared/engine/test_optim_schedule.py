"""Which learning rate every weight has at every iteration: by hand."""

import math
from typing import Any

import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn, optim

from pretrain.model import MaskedAutoencoder
from shared.dense.decoder import Spec
from shared.dense.model import DenseModel
from shared.engine.optim import adamw, groups, schedule
from shared.vit.model import ViT
from tasks.depth.task import Depth

LR = 0.8


def dense() -> DenseModel:
    """Four blocks and a decoder."""
    return DenseModel(ViT("nano", image_hw=(64, 48), cls=True), [Depth()], decoder=Spec((16,), (16,)))


def rates(model: nn.Module, **options: Any) -> dict[str, tuple[float, float]]:
    """Parameter -> (learning rate, weight decay)."""
    found = {}
    for group in groups(model, **{"lr": LR, "weight_decay": 0.1, "layer_decay": 1.0, **options}):
        for parameter in group["params"]:
            assert id(parameter) not in found, "a parameter is in two groups"
            found[id(parameter)] = group["lr"], group["weight_decay"]
    return {name: found[id(p)] for name, p in model.named_parameters() if id(p) in found}


def test_each_layer_below_learns_half_as_fast():
    found = rates(dense(), layer_decay=0.5)
    by_hand = {
        "decoders.depth.last.weight": LR,
        "decoders.depth.up.0.0.weight": LR,
        "backbone.norm.weight": LR,  # with the decoders, as officially
        "backbone.blocks.3.mlp.fc1.weight": LR / 2,
        "backbone.blocks.2.mlp.fc2.bias": LR / 4,
        "backbone.blocks.0.norm1.weight": LR / 16,
        "backbone.patch_embed.weight": LR / 32,
        "backbone.pos_embed": LR / 32,
        "backbone.cls_token": LR / 32,
    }
    assert {name: found[name][0] for name in by_hand} == pytest.approx(by_hand)


def test_without_layer_decay_all_learn_alike():
    assert {rate for rate, _ in rates(dense()).values()} == {LR}


def test_only_matrices_shrink():
    model = dense()
    for name, (_, decay) in rates(model).items():
        matrix = model.get_parameter(name).ndim > 1 and not name.endswith(("pos_embed", "cls_token"))
        assert decay == (0.1 if matrix else 0.0), name


def test_every_weight_that_learns_is_in_the_optimiser():
    model = MaskedAutoencoder(
        ViT("nano", image_hw=(64, 48), cls=True, fixed_position=True), dim=16, depth=1, heads=2
    )  # whose position tables are constants
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    found = rates(model)
    assert found.keys() == learning
    assert {"backbone.pos_embed", "decoder_pos_embed"}.isdisjoint(found)
    assert found["mask_token"] == (LR, 0.0)
    made = adamw(model, lr=LR, weight_decay=0.1, layer_decay=1.0, betas=(0.5, 0.6))
    assert isinstance(made, optim.AdamW)
    assert made.defaults["betas"] == (0.5, 0.6)


def course(kind: str, *, iters: int, warmup: int) -> list[float]:
    """The rate that each iteration sees."""
    optimiser = optim.SGD([nn.Parameter(torch.zeros(1))], lr=LR)
    schedulers = [PARAM_SCHEDULERS.build({**given, "optimizer": optimiser}) for given in schedule(kind, iters=iters, warmup=warmup)]
    seen = []
    for _ in range(iters):
        seen.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        for scheduler in schedulers:
            scheduler.step()
    return seen


RISE = [LR * (0.001 + 0.999 * k / 3) for k in range(4)]  # four iterations, the last at full rate


@pytest.mark.parametrize(
    ("kind", "fall"),
    [
        ("cosine", [LR * (1 + math.cos(math.pi * k / 6)) / 2 for k in range(6)]),
        ("linear", [LR * (1 - k / 5) for k in range(6)]),
        ("constant", [LR] * 6),
        ("steps", None),
    ],
)
@pytest.mark.parametrize("warmup", [0, 4])
def test_rates_rise_and_fall_as_by_hand(kind, fall, warmup):
    rise = RISE if warmup else []
    if fall is None:  # tenths begin at 170 and 200 of 210 parts of the whole, the warm-up included
        first, second = round(170 / 210 * (len(rise) + 6)), round(200 / 210 * (len(rise) + 6))
        fall = [LR * 0.1 ** ((k >= first) + (k >= second)) for k in range(len(rise), len(rise) + 6)]
    assert course(kind, iters=len(rise) + 6, warmup=warmup) == pytest.approx(rise + fall, abs=1e-9)


def test_a_warm_up_of_one_iteration_does_not_keep_the_rate_down():
    assert max(course("cosine", iters=10, warmup=1)) == pytest.approx(LR)
    assert max(course("constant", iters=10, warmup=2)) == pytest.approx(LR)


def test_impossible_schedules_are_sentences():
    with pytest.raises(ValueError, match="warmup=10 leaves nothing of iters=10; make it shorter"):
        schedule("cosine", iters=10, warmup=10)
    with pytest.raises(ValueError, match="no schedule 'cosin'; choose one of cosine, linear, constant"):
        schedule("cosin", iters=10, warmup=1)
