"""The window tokenizer: sixteen patches become one token, and windows know nothing of one another."""

import pytest
import torch

from shared.vit import tokenizer as module
from shared.vit.model import ViT
from shared.vit.tokenizer import WindowTokenizer

SIZE = {"dim": 32, "depth": 2, "heads": 2, "family": "sapiens2", "tokenizer": 2}


@pytest.fixture
def tokenizer():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = WindowTokenizer(32, 2, depth=2)
        for tokens in (made.cls_token, made.pos_embed):
            torch.nn.init.normal_(tokens)
    return made


@pytest.fixture
def patches():
    """(2,32,8,12): two by three windows."""
    return torch.randn(2, 32, 8, 12, generator=torch.Generator().manual_seed(1))


def test_a_window_is_one_token_row_by_row(tokenizer, patches):
    tokens = tokenizer(patches)
    assert tokens.shape == (2, 6, 32)
    alone = tokenizer(patches[1:, :, 4:8, 8:12])  # the last window of the second picture
    torch.testing.assert_close(tokens[1:, 5:], alone)


def test_a_window_sees_its_own_patches_and_no_other(tokenizer, patches):
    patches.requires_grad_()
    tokenizer(patches)[0, 1].sum().backward()
    seen = patches.grad.abs().sum(1) > 0
    assert seen[0, :4, 4:8].all()
    assert seen.sum() == 16


def test_where_a_patch_lies_in_its_window_matters(tokenizer, patches):
    assert not torch.allclose(tokenizer(patches), tokenizer(patches.flip(3)).unflatten(1, (2, 3)).flip(2).flatten(1, 2))


@pytest.mark.parametrize("chunk", [1, 5, 12])
def test_chunks_change_nothing(tokenizer, patches, chunk, monkeypatch):
    whole = tokenizer(patches)
    monkeypatch.setattr(module, "CHUNK", chunk)
    torch.testing.assert_close(tokenizer(patches), whole)


def test_in_training_activations_are_recomputed_and_gradients_are_the_same(tokenizer, patches):
    found = []
    for mode in (True, False):
        kept: list[int] = []
        tokenizer.train(mode).zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: kept.append(t.numel()) or t, lambda t: t):
            tokenizer(patches).square().sum().backward()
        found.append((sum(kept), [p.grad.clone() for p in tokenizer.parameters()]))
    (less, again), (more, stored) = found
    assert less < more / 4
    for a, b in zip(again, stored):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("family", ["sapiens", "sapiens2"])
@pytest.mark.parametrize("hw", [(64, 64), (128, 64), (1, 1), (65, 130), (61, 35)])
def test_a_picture_of_any_size_has_a_feature_per_window(hw, family):
    model = ViT({**SIZE, "family": family}, image_hw=(128, 64), tokenizer=True).eval()
    assert (model.stride, model.patch, model.grid) == (64, 16, (2, 1))
    image = torch.randn(2, 3, *hw, generator=torch.Generator().manual_seed(0))
    features = model(image)
    h, w = (-(-n // 64) for n in hw)
    assert features.shape == (2, 32, h, w)
    padded = torch.zeros(2, 3, 64 * h, 64 * w)
    padded[..., : hw[0], : hw[1]] = image
    assert torch.equal(features, model(padded))


def test_without_the_tokenizer_there_is_none():
    model = ViT(SIZE, image_hw=(32, 48))
    assert model.tokenizer is None
    assert model.stride == 16
    assert not [name for name in model.state_dict() if name.startswith("tokenizer")]
