"""Sizes: the table of models is the one that was published."""

from typing import Any

import pytest
import torch

from shared.vit.model import ViT
from shared.vit.sizes import SIZES, Size, size_of

# millions, backbone without and with cls, specification of Sapiens, section 1.1
PUBLISHED = {"300m": (306.245, 307.295), "600m": (634.597, 635.910), "1b": (1139.164, 1140.740), "2b": (2131.943, 2133.913)}
COUNTED = {  # specification of Sapiens2, section 1.1
    "v2_100m": 113_993_472,
    "v2_400m": 395_450_368,
    "v2_800m": 814_283_520,
    "v2_1b": 1_455_474_176,
    "v2_5b": 5_066_902_976,
}
DINOV3 = {"dinov3_small": 21_586_944, "dinov3_base": 85_641_216, "dinov3_large": 303_079_424}  # timm's, which has no bias for qkv
KNOWN = {"nano": 0.896, "tiny": 5.487, "v2_nano": 1.157}  # counted; "tiny" without table and cls is DeiT-Ti's 5.5 M


def millions(model: torch.nn.Module) -> float:
    return sum(p.numel() for p in model.parameters()) / 1e6


@pytest.mark.parametrize("size", PUBLISHED)
def test_a_model_has_the_published_number_of_parameters(size):
    with torch.device("meta"):
        plain = ViT(size, image_hw=(1024, 768))
        masked = ViT(size, image_hw=(1024, 1024), cls=True)
    assert (round(millions(plain), 3), round(millions(masked), 3)) == PUBLISHED[size]


@pytest.mark.parametrize("size", COUNTED)
def test_a_model_of_the_second_generation_has_every_parameter_that_was_counted(size):
    with torch.device("meta"):
        model = ViT(size)
    assert sum(p.numel() for p in model.parameters()) == COUNTED[size]
    assert model.rope is not None
    assert model.rope.periods.numel() == model.dim // SIZES[size].heads // 4


def test_the_4k_model_has_a_tokenizer_of_58_tensors():
    """Of the official file; the three projections of queries, keys and values are one of ours."""
    with torch.device("meta"):
        model = ViT("v2_1b", image_hw=(4096, 3072), tokenizer=True)
    assert sum(p.numel() for p in model.parameters()) == 1_606_588_928
    assert model.tokenizer is not None
    assert sum(p.numel() for p in model.tokenizer.parameters()) == 151_114_752
    assert len(model.tokenizer.state_dict()) == 58 - 4 * 4
    assert model.grid == (64, 48)


@pytest.mark.parametrize("size", COUNTED)
def test_the_blocks_in_the_middle_share_keys_between_two_queries(size):
    with torch.device("meta"):
        model: Any = ViT(size)
    dim, depth, heads, *_ = SIZES[size]
    rows = [block.attn.qkv.weight.shape[0] for block in model.blocks]
    middle = [dim + 2 * dim // 2] * max(depth - 16, 0)
    assert rows == [3 * dim] * min(8, depth) + middle + [3 * dim] * min(8, depth - 8)
    assert heads % 2 == 0


def test_heads_divide_widths_and_widths_fit_the_table():
    for dim, depth, heads, *_ in SIZES.values():
        assert dim % heads == 0
        assert dim % 4 == 0
        assert depth > 0


def test_sizes_grow():
    for family in ("sapiens", "sapiens2"):
        weights = [12 * size.dim**2 * size.depth for size in SIZES.values() if size.family == family]
        assert weights == sorted(weights)
    assert set(SIZES) == {*PUBLISHED, *COUNTED, *KNOWN, *DINOV3}


@pytest.mark.parametrize("size", DINOV3)
def test_a_dinov3_has_the_parameters_of_timms_and_biases_of_zero(size):
    with torch.device("meta"):
        model = ViT(size)
    dim, depth, *_ = SIZES[size]
    assert sum(p.numel() for p in model.parameters()) == DINOV3[size] + 3 * dim * depth


@pytest.mark.parametrize("size", KNOWN)
def test_the_small_ones_are_as_small_as_their_comments_say(size):
    weights = dict(ViT(size, image_hw=(224, 224)).named_parameters())
    assert sum(p.numel() for name, p in weights.items() if name != "pos_embed") / 1e6 == pytest.approx(KNOWN[size], abs=0.06)


def test_a_size_of_ones_own_is_a_row_in_words():
    assert size_of({"dim": 64, "depth": 2, "heads": 4}) == Size(64, 2, 4, "sapiens", 0)
    for name, size in SIZES.items():
        assert size_of(name) == size_of(size._asdict()) == size
    model = ViT({"dim": 64, "depth": 2, "heads": 4, "family": "sapiens2"}, image_hw=(32, 32))
    assert (model.dim, len(model.blocks), model.extra) == (64, 2, 9)


def test_a_size_that_cannot_be_is_told():
    with pytest.raises(ValueError, match="no ViT size '5b'; choose one of nano, tiny, 300m"):
        size_of("5b")
    with pytest.raises(ValueError, match=r"has dim, depth, heads and may have family, tokenizer, not dim, depth$"):
        size_of({"dim": 64, "depth": 2})
    with pytest.raises(ValueError, match="not dim, depth, heads, width"):
        size_of({"dim": 64, "depth": 2, "heads": 4, "width": 3})
    with pytest.raises(ValueError, match="no family 'sapiens3' of ViTs; choose one of sapiens, sapiens2"):
        size_of({"dim": 64, "depth": 2, "heads": 4, "family": "sapiens3"})
