"""The backbone: the official features from the official weights, any size of picture, and every argument means something."""

import inspect
from functools import partial
from typing import Any

import pytest
import timm
import torch
from timm.layers import DropPath, Mlp
from timm.models.vision_transformer import VisionTransformer

from shared.convert.timm import from_timm
from shared.vit.model import MEAN, STD, Normalise, ViT
from shared.vit.position import resample
from shared.vit.sizes import SIZES, Size

HW = (64, 48)


def picture(hw=HW, batch=2, seed=0):
    return torch.randn(batch, 3, *hw, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def tiny(monkeypatch):
    """The size of the official numbers: its feed-forward is twice as wide, ours four times."""
    monkeypatch.setitem(SIZES, "golden", Size(32, 2, 4))

    def build(listed, golden, **options):
        model = ViT("golden", **options).eval()
        for block in model.blocks:
            block.mlp = Mlp(32, 64)
        model.load_state_dict(golden.state(listed))
        return model

    return build


@pytest.mark.parametrize("padding", [0, 2])
def test_features_are_the_official_ones(golden, tiny, padding):
    told = golden[f"vit_tiny_pad{padding}"]
    model = tiny(told["state"], golden, image_hw=HW, patch_padding=padding)
    assert golden.agrees(model(golden.wave((1, 3, 64, 48), 0.01)), told["out_64x48"])
    assert golden.agrees(model(golden.wave((1, 3, 96, 80), 0.01)), told["out_96x80_interp_posembed"])


def test_features_with_cls_are_the_official_ones(golden, tiny):
    told = golden["mae_backbone_featmap"]
    model = tiny(told["state"], golden, image_hw=(64, 64), cls=True)
    assert golden.agrees(model(golden.wave((1, 3, 64, 64), 0.01)), told["out"])


def test_a_timm_model_of_equal_shape_sees_the_same():
    theirs: Any = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=64, num_classes=0).eval()
    ours = ViT("tiny", image_hw=(64, 64), cls=True).eval()
    ours.load_state_dict(from_timm(theirs.state_dict()))
    image = picture((64, 64))
    torch.testing.assert_close(ours(image).flatten(2).transpose(1, 2), theirs.forward_features(image)[:, 1:], atol=1e-4, rtol=1e-4)


def test_a_timm_model_without_cls_sees_the_same_on_another_grid():
    nano = partial(
        VisionTransformer, embed_dim=128, depth=4, num_heads=4, num_classes=0, class_token=False, global_pool="", patch_size=16
    )
    small, large = nano(img_size=HW).eval(), nano(img_size=(96, 80)).eval()
    state = small.state_dict()
    large.load_state_dict(state | {"pos_embed": resample(state["pos_embed"], (4, 3), (6, 5))})  # timm resamples differently
    ours = ViT("nano", image_hw=HW).eval()
    ours.load_state_dict(from_timm(state))
    image = picture((96, 80))
    torch.testing.assert_close(ours(image).flatten(2).transpose(1, 2), large(image), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("hw", [(1, 1), (16, 16), (17, 31), (64, 48), (65, 49), (128, 16)])
@pytest.mark.parametrize("cls", [False, True])
def test_any_size_gives_a_feature_per_patch(hw, cls):
    features = ViT("nano", image_hw=HW, cls=cls)(picture(hw))
    assert features.shape == (2, 128, -(-hw[0] // 16), -(-hw[1] // 16))
    assert features.isfinite().all()


def test_an_odd_size_is_padded_with_zeros_on_the_right_and_at_the_bottom():
    model = ViT("nano", image_hw=HW).eval()
    image = picture((60, 41))
    padded = torch.zeros(2, 3, 64, 48)
    padded[..., :60, :41] = image
    assert torch.equal(model(image), model(padded))


def test_recomputed_activations_change_neither_features_nor_gradients():
    plain, again = ViT("nano", image_hw=HW), ViT("nano", image_hw=HW, recompute=True)
    again.load_state_dict(plain.state_dict())
    answers = [model.train()(picture()) for model in (plain, again)]
    torch.testing.assert_close(*answers)
    for answer in answers:
        answer.square().mean().backward()
    for a, b in zip(plain.parameters(), again.parameters()):
        torch.testing.assert_close(a.grad, b.grad)


WITH_WINDOWS = {"dim": 32, "depth": 2, "heads": 2, "family": "sapiens2", "tokenizer": 1}
CHANGES = {
    "size": lambda: ({}, {"size": "tiny"}, lambda m: m.dim),
    "image_hw": lambda: ({}, {"image_hw": (96, 48)}, lambda m: m.pos_embed.shape),
    "patch": lambda: ({}, {"patch": 8}, lambda m: m(picture()).shape),
    "patch_padding": lambda: (
        {},
        {"patch_padding": 2},
        lambda m: m.patch_embed(picture()).shape == (2, 128, 4, 3) and m(picture()),
    ),
    "cls": lambda: ({}, {"cls": True}, lambda m: m.extra),
    "fixed_position": lambda: ({}, {"fixed_position": True}, lambda m: m.pos_embed.requires_grad),
    "attention": lambda: ({}, {"attention": "reference"}, lambda m: [b.attn.backend for b in m.blocks]),
    "drop_path": lambda: ({}, {"drop_path": 0.5}, lambda m: [b.drop_path.drop_prob for b in m.blocks]),
    "recompute": lambda: ({}, {"recompute": True}, lambda m: stored(m)),
    "tokenizer": lambda: ({"size": WITH_WINDOWS, "image_hw": (64, 64)}, {"tokenizer": True}, lambda m: m(picture()).shape),
    "rope_dtype": lambda: ({"size": WITH_WINDOWS}, {"rope_dtype": "bf16"}, lambda m: m(picture())),
}


def stored(model: ViT) -> int:
    """Numbers that the forward pass keeps for the backward pass."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        model.train()(picture())
    return sum(kept)


@pytest.mark.parametrize("argument", list(inspect.signature(ViT).parameters))
def test_every_argument_changes_something(argument):
    base, change, look = CHANGES[argument]()
    seen = []
    for options in (base, change):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            seen.append(look(ViT(**{"size": "nano", "image_hw": HW, **base, **options})))
    first, second = seen
    assert not torch.equal(first, second) if isinstance(first, torch.Tensor) else first != second


def test_stochastic_depth_grows_with_depth():
    rates = [m.drop_prob for m in ViT("nano", image_hw=HW, drop_path=0.3).modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])


def test_a_wrong_size_or_shape_is_told():
    with pytest.raises(ValueError, match="no ViT size '5b'; choose one of nano, tiny, 300m"):
        ViT("5b")
    with pytest.raises(ValueError, match=r"\(60, 48\) is not a multiple of the patch \(16\)"):
        ViT("nano", image_hw=(60, 48))
    with pytest.raises(ValueError, match=r"\(96, 64\) is not a multiple of the window \(64\)"):
        ViT(WITH_WINDOWS, image_hw=(96, 64), tokenizer=True)
    with pytest.raises(ValueError, match="this model has no tokenizer blocks: Size"):
        ViT("nano", image_hw=(64, 64), tokenizer=True)
    with pytest.raises(ValueError, match="this model has a patch padding of 2"):
        ViT(WITH_WINDOWS, image_hw=(64, 64), tokenizer=True, patch_padding=2)


def test_normalising_makes_the_mean_zero_and_the_deviation_one():
    normalise = Normalise()
    mean = torch.tensor(MEAN).view(1, 3, 1, 1)
    std = torch.tensor(STD).view(1, 3, 1, 1)
    torch.testing.assert_close(normalise(mean), torch.zeros(1, 3, 1, 1))
    torch.testing.assert_close(normalise(mean + std), torch.ones(1, 3, 1, 1))
    levels = torch.full((1, 3, 2, 2), 200, dtype=torch.uint8)
    assert torch.equal(normalise(levels), normalise(levels.float()))
    assert not normalise.state_dict()  # the numbers belong to the description, not to the weights


def test_first_weights_are_xavier_and_the_table_is_sin_cos():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Any = ViT("nano", image_hw=HW, cls=True)
    assert model.patch_embed.weight.std().item() == pytest.approx((2 / (128 + 768)) ** 0.5, rel=0.02)
    assert model.blocks[0].attn.qkv.weight.std().item() == pytest.approx((2 / (128 + 384)) ** 0.5, rel=0.02)
    assert all((block.attn.qkv.bias == 0).all() for block in model.blocks)
    assert (model.pos_embed[:, 0] == 0).all()
    assert model.cls_token.std().item() == pytest.approx(0.02, rel=0.2)
