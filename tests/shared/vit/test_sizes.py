"""Sizes: the table of models is the one that was published."""

import pytest
import torch

from shared.vit.model import ViT
from shared.vit.sizes import SIZES

# millions, backbone without and with cls, specification of Sapiens, section 1.1
PUBLISHED = {"300m": (306.245, 307.295), "600m": (634.597, 635.910), "1b": (1139.164, 1140.740), "2b": (2131.943, 2133.913)}
KNOWN = {"nano": 0.896, "tiny": 5.487}  # counted once; "tiny" without its position table and cls is DeiT-Ti's 5.5 M


def millions(model: torch.nn.Module) -> float:
    return sum(p.numel() for p in model.parameters()) / 1e6


@pytest.mark.parametrize("size", PUBLISHED)
def test_a_model_has_the_published_number_of_parameters(size):
    with torch.device("meta"):
        plain = ViT(size, image_hw=(1024, 768))
        masked = ViT(size, image_hw=(1024, 1024), cls=True)
    assert (round(millions(plain), 3), round(millions(masked), 3)) == PUBLISHED[size]


def test_heads_divide_widths_and_widths_fit_the_table():
    for dim, depth, heads in SIZES.values():
        assert dim % heads == 0
        assert dim % 4 == 0
        assert depth > 0


def test_sizes_grow():
    weights = [12 * dim**2 * depth for dim, depth, _ in SIZES.values()]
    assert weights == sorted(weights)
    assert set(SIZES) == {*PUBLISHED, *KNOWN}


@pytest.mark.parametrize("size", KNOWN)
def test_the_small_ones_are_as_small_as_their_comments_say(size):
    model = ViT(size, image_hw=(224, 224))
    assert millions(model) - model.pos_embed.numel() / 1e6 == pytest.approx(KNOWN[size], abs=0.06)
