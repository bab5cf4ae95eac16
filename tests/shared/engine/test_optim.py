"""The optimiser's groups: deep layers learn fast, the first ones slowly, and only matrices decay."""

import pytest
import torch
from torch import nn

from shared.engine.optim import adamw, groups, inside, layer_of, muon, optimizer, schedule
from shared.vit.model import ViT

V2 = {"dim": 32, "depth": 3, "heads": 2, "family": "sapiens2", "tokenizer": 2}


class Model(nn.Module):
    def __init__(self, backbone: ViT | None = None) -> None:
        super().__init__()
        self.backbone = backbone or ViT("nano", image_hw=(32, 32), cls=True)
        self.decoder = nn.Conv2d(self.backbone.dim, 3, 1)


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
        ("backbone.tokenizer.blocks.1.attn.qkv.weight", "backbone.pos_embed & patch_embed (id 0)"),
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


def test_in_the_second_generation_the_tokens_before_the_patches_decay_and_the_tokenizer_learns_slowest():
    """Specification of Sapiens2, section 3."""
    found = rates(Model(ViT(V2, image_hw=(64, 64), tokenizer=True)))
    assert found["backbone.cls_token"] == found["backbone.storage_tokens"] == (1 / 16, 0.1)
    assert found["backbone.patch_embed.weight"] == (1 / 16, 0.1)
    tokenizer = {name: both for name, both in found.items() if name.startswith("backbone.tokenizer.")}
    assert {rate for rate, _ in tokenizer.values()} == {1 / 16}
    assert found["backbone.tokenizer.cls_token"][1] == 0.1
    assert found["backbone.tokenizer.pos_embed"][1] == 0
    assert [found[f"backbone.blocks.{i}.mlp.fc1.weight"] for i in range(3)] == [(1 / 8, 0.1), (1 / 4, 0.1), (1 / 2, 0.1)]
    assert found["backbone.norm.weight"] == found["decoder.bias"] == (1, 0)
    for name in ("attn.q_norm.weight", "attn.k_norm.weight", "ls1.gamma", "norm1.weight", "attn.qkv.bias"):
        assert found[f"backbone.blocks.2.{name}"] == (1 / 2, 0)


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


def test_muon_turns_the_matrices_inside_and_leaves_the_rest_to_adamw():
    model = Model()
    turned = {name for name, p in model.named_parameters() if inside(name, p)}
    assert "backbone.blocks.0.attn.qkv.weight" in turned
    assert "decoder.weight" in turned  # a convolution is read as a matrix
    assert turned.isdisjoint({"backbone.patch_embed.weight", "backbone.pos_embed", "backbone.cls_token", "backbone.norm.weight"})
    made = muon(model, lr=1.0, weight_decay=0.1, layer_decay=0.5, betas=(0.9, 0.99))
    names = {id(p): name for name, p in model.named_parameters()}
    kinds = {names[id(p)]: (group["lr"], group["weight_decay"]) for group in made.param_groups for p in group["params"]}
    assert kinds == rates(model)
    assert turned == {names[id(p)] for group in made.param_groups if group["orthogonal"] for p in group["params"]}


def test_an_optimizer_that_does_not_exist_is_a_sentence():
    with pytest.raises(ValueError, match="no optimizer 'adam'; choose one of adamw, adamw8bit, muon"):
        optimizer("adam", Model(), lr=1.0, weight_decay=0.0, layer_decay=1.0, betas=(0.9, 0.99))
