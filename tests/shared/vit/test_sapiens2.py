"""Sapiens2 in the same ViT: the official numbers from the official weights, at the official size and at another."""

import re
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from shared.vit.model import ViT
from shared.vit.rotary import Precision

TINY = {"dim": 32, "depth": 18, "heads": 2, "family": "sapiens2"}
RENAMED = {
    r"^patch_embed\.projection": "patch_embed",
    r"^rope_embed": "rope",
    r"^ln1": "norm",
    r"\.ln(\d)": r".norm\1",
    r"\.wq\.": ".qkv.",
    r"attn\.gamma\.weight": "ls1.gamma",
    r"ffn\.w12": "mlp.fc1",
    r"ffn\.w3": "mlp.fc2",
    r"w_cls": "cls_token",
    r"local_pos_embed": "pos_embed",
}


def by_our_names(official):
    state = {}
    for name, tensor in official.items():
        if ".wq." in name:
            tensor = torch.cat([official[name.replace(".wq.", f".{part}.")] for part in ("wq", "wk", "wv")])
        for theirs, ours in RENAMED.items():
            name = re.sub(theirs, ours, name)
        if not re.search(r"\.w[kv]\.", name):
            state[name] = tensor
    return state


@pytest.fixture
def official(shared_folder):
    """official(name, hw, windows, rope_dtype) -> model with the official weights, images and what the official code said."""

    def load(name: str, hw: tuple[int, int], windows: int, rope_dtype: Precision):
        folder = shared_folder / "parity" / "sapiens2_tiny"
        if not folder.is_dir():
            pytest.skip("the official answers do not lie beside the repository")
        model = ViT({**TINY, "tokenizer": windows}, image_hw=hw, tokenizer=bool(windows), rope_dtype=rope_dtype).eval()
        model.load_state_dict(by_our_names(load_file(folder / f"pretrain_{name}.safetensors")))
        return model, load_file(folder / f"pretrain_{name}.expected.safetensors")

    return load


@torch.no_grad()
def error(model, told, suffix=""):
    """Of features relative to their deviation: largest and mean."""
    image, wanted = told[f"image{suffix}"], told[f"features{suffix}"]
    features = model(image) if wanted.ndim == 4 else model.encode(*model.embed(image))
    assert features.shape == wanted.shape
    wrong = (features - wanted).abs() / wanted.std()
    return wrong.max().item(), wrong.mean().item()


@pytest.mark.parametrize("suffix", ["", "_offsize"])
@pytest.mark.parametrize(("name", "hw", "windows"), [("rope_fp32", (128, 96), 0), ("4k_tokenizer", (512, 384), 2)])
def test_features_are_the_official_ones(official, name, hw, windows, suffix):
    model, told = official(name, hw, windows, "fp32")
    assert error(model, told, suffix)[0] < 2e-5


@pytest.mark.parametrize("suffix", ["", "_offsize"])
def test_features_with_rounded_turns_are_the_official_ones(official, suffix):
    """As near as the same weights come to themselves: a last bit of float32 tips roundings to bf16, on any other machine too."""
    model, told = official("rope_bf16", (128, 96), 0, "bf16")
    largest, mean = error(model, told, suffix)
    image = told[f"image{suffix}"]
    itself = {f"image{suffix}": image * (1 + 1e-7), f"features{suffix}": own(model, image)}
    assert mean < 3 * error(model, itself, suffix)[1] < 3e-4
    assert largest < 3e-3
    exact, _ = official("rope_bf16", (128, 96), 0, "fp32")
    assert error(exact, told, suffix)[1] > 10 * mean


@torch.no_grad()
def own(model, image):
    return model.encode(*model.embed(image))


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made: Any = ViT({**TINY, "tokenizer": 1}, image_hw=(64, 48)).eval()
        for block in made.blocks:
            torch.nn.init.ones_(block.ls1.gamma)  # a fresh model hardly looks around
    return made


def picture(hw=(64, 48), batch=2):
    return torch.randn(batch, 3, *hw, generator=torch.Generator().manual_seed(0))


def test_names_are_the_ones_that_files_have():
    state = ViT({**TINY, "tokenizer": 1}, image_hw=(64, 64), tokenizer=True).state_dict()
    in_block = {re.sub(r"^blocks\.3\.", "", name): tuple(t.shape) for name, t in state.items() if name.startswith("blocks.3.")}
    linear = {"attn.qkv": (96, 32), "attn.proj": (32, 32), "mlp.fc1": (256, 32), "mlp.fc2": (32, 128)}
    wanted = {f"{name}.weight": shape for name, shape in linear.items()} | {f"{n}.bias": s[:1] for n, s in linear.items()}
    window = wanted | {"norm1.weight": (32,), "norm2.weight": (32,)}
    assert in_block == window | {"attn.q_norm.weight": (16,), "attn.k_norm.weight": (16,), "ls1.gamma": (32,)}
    assert state["blocks.8.attn.qkv.weight"].shape == (2 * 16 + 2 * 16, 32)
    others = {name: tuple(t.shape) for name, t in state.items() if not re.match(r"(tokenizer\.)?blocks\.", name)}
    first = {"cls_token": (1, 1, 32), "storage_tokens": (1, 8, 32), "rope.periods": (4,), "norm.weight": (32,)}
    patch = {"patch_embed.weight": (32, 3, 16, 16), "patch_embed.bias": (32,)}
    assert others == first | patch | {"tokenizer.cls_token": (1, 1, 32), "tokenizer.pos_embed": (1, 17, 32)}
    in_window = {name.removeprefix("tokenizer.blocks.0."): tuple(t.shape) for name, t in state.items() if ".blocks.0." in name}
    assert in_window == window


def test_all_patches_kept_in_any_order_see_what_they_saw(model):
    tokens, grid = model.embed(picture())
    plain = model.encode(tokens, grid)
    order = torch.stack([torch.randperm(12, generator=torch.Generator().manual_seed(i)) for i in range(2)])
    shuffled = model.encode(tokens.gather(1, order[..., None].expand(-1, -1, 32)), grid, kept=order)
    torch.testing.assert_close(shuffled[:, :9], plain[:, :9], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(shuffled[:, 9:], plain[:, 9:].gather(1, order[..., None].expand(-1, -1, 32)), atol=1e-5, rtol=1e-4)


def test_the_same_patches_elsewhere_look_different(model):
    tokens, grid = model.embed(picture())
    here, there = (model.encode(tokens[:, :3], grid, kept=torch.tensor([places] * 2)) for places in ([0, 1, 2], [0, 1, 5]))
    assert not torch.allclose(here, there, atol=1e-3)


@pytest.mark.parametrize("hw", [(1, 1), (16, 16), (17, 31), (64, 48), (128, 16)])
def test_any_size_gives_a_feature_per_patch(model, hw):
    features = model(picture(hw))
    assert features.shape == (2, 32, -(-hw[0] // 16), -(-hw[1] // 16))
    assert features.isfinite().all()


@pytest.mark.parametrize("attention", ["sdpa", "reference"])
def test_every_back_end_sees_the_same(model, attention):
    other = ViT({**TINY, "tokenizer": 1}, image_hw=(64, 48), attention=attention).eval()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(picture()), other(picture()), atol=1e-5, rtol=1e-4)


def test_recomputed_activations_change_neither_features_nor_gradients():
    options = {"size": {**TINY, "tokenizer": 1}, "image_hw": (64, 64), "tokenizer": True}
    plain, again = ViT(**options), ViT(**options, recompute=True)
    again.load_state_dict(plain.state_dict())
    answers = [model.train()(picture((64, 128))) for model in (plain, again)]
    torch.testing.assert_close(*answers)
    for answer in answers:
        answer.square().mean().backward()
    for a, b in zip(plain.parameters(), again.parameters()):
        torch.testing.assert_close(a.grad, b.grad)


def test_every_parameter_learns(model):
    model.train()(picture()).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_first_weights_are_small_and_normal():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Any = ViT({"dim": 128, "depth": 1, "heads": 2, "family": "sapiens2"}, image_hw=(64, 48))
    matrices = [model.patch_embed.weight, model.blocks[0].attn.qkv.weight, model.blocks[0].mlp.fc1.weight, model.storage_tokens]
    for matrix in matrices:
        assert matrix.std().item() == pytest.approx(0.02, rel=0.05)
    assert all((module.bias == 0).all() for module in (model.patch_embed, model.blocks[0].attn.qkv))
    assert (model.norm.weight == 1).all()
