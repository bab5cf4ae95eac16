"""The optimiser's groups: deep layers learn fast, the first ones slowly, and only matrices decay."""

import pytest
import torch
from torch import nn

from shared.engine.optim import adamw, groups, layer_of, schedule
from shared.vit.model import ViT


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = ViT("nano", image_hw=(32, 32), cls=True)
        self.decoder = nn.Conv2d(128, 3, 1)


def rates(model: nn.Module, **options) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay by name."""
    names = {id(p): name for name, p in model.named_parameters()}
    made = groups(model, **{"lr": 1.0, "weight_decay": 0.1, "layer_decay": 0.5, **options})
    return {names[id(p)]: (group["lr"], group["weight_decay"]) for group in made for p in group["params"]}


@pytest.mark.parametrize(
    ("name", "official"),
    [
        ("backbone.pos_embed", "backbone.pos_embed & patch_embed (id 0)"),
        ("backbone.patch_embed.weight", "backbone.pos_embed & patch_embed (id 0)"),
        ("backbone.blocks.0.attn.qkv.weight", "backbone.layers.0 (id 1)"),
        ("backbone.blocks.23.mlp.fc1.weight", "backbone.layers.23 (id 24)"),
        ("backbone.norm.weight", "backbone.ln1 / head / decode_head (id 25)"),
        ("decoders.seg.last.weight", "backbone.ln1 / head / decode_head (id 25)"),
    ],
)
def test_layer_decay_is_the_official_one(golden, name, official):
    told = golden["layer_decay"]
    depth = told["num_layers"]
    assert told["rate"] ** (depth + 1 - layer_of(name, depth)) == pytest.approx(told["scales"][official], rel=1e-12)


def test_each_layer_below_learns_half_as_fast():
    rate = {name: lr for name, (lr, _) in rates(Model()).items()}
    assert rate["decoder.weight"] == rate["backbone.norm.bias"] == 1
    assert [rate[f"backbone.blocks.{i}.attn.proj.weight"] for i in range(4)] == [1 / 16, 1 / 8, 1 / 4, 1 / 2]
    assert rate["backbone.patch_embed.bias"] == rate["backbone.pos_embed"] == rate["backbone.cls_token"] == 1 / 32


def test_only_matrices_decay():
    for name, (_, decay) in rates(Model()).items():
        matrix = name.endswith("weight") and "norm" not in name
        assert decay == (0.1 if matrix else 0), name


def test_every_trained_parameter_is_in_one_group_and_no_frozen_one():
    model = Model()
    model.backbone.pos_embed.requires_grad_(False)
    grouped = [id(p) for group in groups(model, lr=1, weight_decay=0.1, layer_decay=0.9) for p in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in model.parameters() if p.requires_grad}


def test_without_layer_decay_all_learn_alike():
    assert {lr for lr, _ in rates(Model(), layer_decay=1.0).values()} == {1.0}


def test_the_optimiser_takes_the_rates_of_its_groups():
    optimiser = adamw(Model(), lr=0.01, weight_decay=0.1, layer_decay=0.5, betas=(0.8, 0.9))
    assert isinstance(optimiser, torch.optim.AdamW)
    assert {group["lr"] for group in optimiser.param_groups} == {0.01 * 0.5**i for i in range(6)}
    assert {group["betas"] for group in optimiser.param_groups} == {(0.8, 0.9)}


@pytest.mark.parametrize(("kind", "falls"), [("cosine", "CosineAnnealingLR"), ("linear", "PolyLR"), ("constant", "ConstantLR")])
def test_a_schedule_rises_then_falls(kind, falls):
    rise, fall = schedule(kind, iters=100, warmup=10)
    assert (rise["type"], rise["begin"], rise["end"]) == ("LinearLR", 0, 10)
    assert (fall["type"], fall["begin"], fall["end"]) == (falls, 10, 100)
    assert [part["type"] for part in schedule(kind, iters=100, warmup=0)] == [falls]


def test_a_schedule_that_cannot_be_is_told():
    with pytest.raises(ValueError, match="warmup=10 leaves nothing of iters=10"):
        schedule("cosine", iters=10, warmup=10)
    with pytest.raises(ValueError, match="no schedule 'step'; choose one of cosine, linear, constant"):
        schedule("step", iters=10, warmup=1)
