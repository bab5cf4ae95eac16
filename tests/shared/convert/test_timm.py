"""timm's names -> ours."""

import pytest
import timm
import torch
from torch import nn

from shared.convert.timm import from_timm, is_timm
from shared.vit.model import ViT


def theirs(name="vit_tiny_patch16_224", **options):
    return timm.create_model(name, pretrained=False, img_size=(64, 64), **options)


@pytest.mark.parametrize("options", [{}, {"num_classes": 0}, {"global_pool": "avg"}])
def test_a_timm_model_fits_whatever_head_it_has(options):
    ours = ViT("tiny", image_hw=(64, 64), cls=True)
    ours.load_state_dict(from_timm(theirs(**options).state_dict()))


def test_nothing_is_computed():
    state = theirs(num_classes=0).state_dict()
    ours = from_timm(state)
    assert len(ours) == len(state)
    assert all(a is b for a, b in zip(ours.values(), state.values()))


def test_what_we_have_no_place_for_stays_and_is_refused():
    state = from_timm(theirs(init_values=1e-5).state_dict())  # with LayerScale, which Sapiens has not
    assert "blocks.0.ls1.gamma" in state
    with pytest.raises(RuntimeError, match=r"Unexpected key.*blocks\.0\.ls1\.gamma"):
        ViT("tiny", image_hw=(64, 64), cls=True).load_state_dict(state)


def test_a_timm_state_is_told_from_ours():
    assert is_timm(theirs().state_dict())
    assert not is_timm(ViT("nano", image_hw=(32, 32)).state_dict())
    assert not is_timm(nn.Linear(2, 2).state_dict())


def test_the_classifier_is_left_out_and_the_norm_is_kept():
    state = {"head.weight": torch.zeros(1), "head_dist.bias": torch.zeros(1), "fc_norm.weight": torch.ones(1)}
    assert list(from_timm(state)) == ["norm.weight"]
