"""timm's names -> ours."""

from typing import Any

import pytest
import timm
import torch
from torch import nn

from shared.convert.timm import describe, from_timm, is_timm, to_timm
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


@pytest.mark.parametrize(
    "name", ["vit_small_plus_patch16_dinov3", "vit_small_plus_patch16_dinov3_qkvb", "vit_small_patch14_reg4_dinov2"]
)
def test_models_of_another_kind_get_a_sentence(name):
    if name not in timm.list_models("vit_small_*"):
        pytest.skip(f"timm {timm.__version__} has no {name}")
    with torch.device("meta"):
        state = timm.create_model(name, pretrained=False, img_size=(112, 112)).state_dict()
    with pytest.raises(ValueError, match=r"reg_token.*differ from our families in more than names; initialise from a plain"):
        from_timm(state)


@pytest.mark.parametrize("name", ["vit_small_patch16_dinov3", "vit_small_patch16_dinov3_qkvb"])
@pytest.mark.parametrize("hw", [(64, 64), (96, 64)])
def test_dinov3_answers_as_timm_does(name, hw):
    if name not in timm.list_models("vit_small_*"):
        pytest.skip(f"timm {timm.__version__} has no {name}")
    torch.manual_seed(0)
    reference: Any = timm.create_model(name, pretrained=False, depth=3, num_classes=0, dynamic_img_size=True).eval()
    for parameter in reference.parameters():
        nn.init.normal_(parameter, std=0.1)
    ours = ViT({"dim": 384, "depth": 3, "heads": 6, "family": "dinov3"}, image_hw=(64, 64)).eval()
    ours.load_state_dict(from_timm(reference.state_dict()))
    image = torch.randn(2, 3, *hw)
    with torch.inference_mode():
        expected = reference.forward_features(image)[:, 5:].transpose(1, 2).unflatten(2, (hw[0] // 16, hw[1] // 16))
        assert (ours(image) - expected).abs().max() < 2e-5 * expected.std()


def test_a_plain_backbone_goes_to_timm_and_back():
    state = ViT("tiny", image_hw=(64, 64), cls=True).state_dict()
    exported = to_timm(state)
    theirs(num_classes=0).load_state_dict(exported)
    assert all(torch.equal(tensor, state[name]) for name, tensor in from_timm(exported).items())


@pytest.mark.parametrize(
    ("backbone", "sentence"),
    [
        ({"size": "nano"}, "timm's ViTs have a cls token, this backbone has none; build it with cls=True"),
        (
            {"size": {"dim": 32, "depth": 1, "heads": 2, "family": "sapiens2", "tokenizer": 1}, "tokenizer": True},
            "has a window tokenizer .4K., which timm's Sapiens2 has not",
        ),
        ({"size": {"dim": 128, "depth": 1, "heads": 2, "family": "dinov3"}}, "a DINOv3 is an initialisation here"),
    ],
)
def test_what_timm_has_no_place_for_is_not_written(backbone, sentence):
    state = ViT(image_hw=(64, 64), **backbone).state_dict()
    with pytest.raises(ValueError, match=sentence):
        to_timm(state)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("vit_tiny_patch16_224", {"dim": 192, "depth": 12, "heads": 3, "family": "sapiens"}),
        ("vit_huge_patch14_clip_224", {"dim": 1280, "depth": 32, "heads": 16, "family": "sapiens"}),  # not 64 wide
        ("vit_small_patch16_dinov3_qkvb", {"dim": 384, "depth": 12, "heads": 6, "family": "dinov3"}),
    ],
)
def test_the_tensors_of_a_timm_file_tell_the_backbone(name, row):
    if name not in timm.list_models("vit_*"):  # we allow a timm that is older than some of them
        pytest.skip(f"timm {timm.__version__} has no {name}")
    with torch.device("cpu" if row["family"] == "dinov3" else "meta"):  # whose missing biases are made up of zeros
        state = timm.create_model(name, pretrained=False, num_classes=0).state_dict()
    state = {key: value for key, value in state.items() if not key.startswith("norm_pre.")}  # CLIP's, which is no family of ours
    told = describe(state)
    assert told["size"] == row
    assert told["patch"] == state["patch_embed.proj.weight"].shape[-1]
    assert told["image_hw"] == ((512, 512) if row["family"] == "dinov3" else (224, 224))
    assert told["cls"]
