"""Two other re-implementations agree with ours, number by number: timm's ViTs, and transformers' Sapiens2."""

from importlib.util import find_spec
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.eva import checkpoint_filter_fn

from shared.build import build
from shared.convert import sapiens2
from shared.convert.timm import from_timm, to_timm
from shared.vit.model import ViT

IMAGE_HW = (256, 192)
SMALL = {"dim": 32, "depth": 18, "heads": 2, "family": "sapiens2"}  # deep enough for blocks that share keys
HEADS: dict[str, tuple[str, str, dict[str, Any], int]] = {  # task: transformers' class, its answer, the head, its channels
    "pose": ("PoseEstimation", "heatmaps", {"upsample_out_channels": [24, 16], "conv_out_channels": [16, 12, 8]}, 308),
    "seg": ("SemanticSegmentation", "logits", {"upsample_out_channels": [24, 16, 8, 8], "conv_out_channels": [8, 12]}, 29),
}
TRUNK = {
    "upsample_out_channels": [24, 16, 12, 8],
    "upsample_kernel_size": 3,
    "conv_out_channels": [8, 8, 4],
    "conv_kernel_size": 3,
    "use_pixel_shuffle": True,
}
SCALE = {"scale_conv_out_channels": [24, 16, 8], "scale_final_hidden_sizes": [16, 8]}
HEADS["normal"] = ("NormalEstimation", "normals", TRUNK, 3)
HEADS["pointmap"] = ("PointmapEstimation", "pointmaps", TRUNK | SCALE, 3)


@pytest.fixture(scope="module")
def transformers():
    if find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    import transformers  # slow to import

    if not hasattr(transformers, "Sapiens2Model"):
        pytest.skip(f"transformers {transformers.__version__} has no Sapiens2; 5.23 has")
    transformers.utils.logging.disable_progress_bar()
    return transformers


@pytest.fixture
def image():
    return torch.randn(2, 3, *IMAGE_HW, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def lively(model):
    """No weight is where initialisation left it: a norm of ones or a bias of zero would hide a wrong name."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator) + ("bias" not in name))
        else:
            fan = parameter[0].numel() if parameter.shape[0] > 1 else parameter.shape[-1]
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan**0.5)
    return model.eval()


def filled(state) -> Any:
    model = build(sapiens2.describe(state))
    model.load_state_dict(sapiens2.to_ours(state))
    return model.eval()


def configured(transformers, **options):
    return transformers.Sapiens2Config(
        hidden_size=SMALL["dim"],
        intermediate_size=4 * SMALL["dim"],
        num_hidden_layers=SMALL["depth"],
        num_attention_heads=SMALL["heads"],
        num_key_value_attention_heads=SMALL["heads"] // 2,
        image_size=IMAGE_HW,
        **options,
    )


def agrees(ours, theirs, tolerance=5e-5):
    return ours.shape == theirs.shape and (ours - theirs).abs().max() < tolerance * theirs.std()


@torch.no_grad()
def test_features_are_those_of_transformers(transformers, image):
    theirs = lively(transformers.Sapiens2Model(configured(transformers)))
    ours = filled(theirs.state_dict())
    assert agrees(ours.encode(*ours.embed(image)), theirs(image).last_hidden_state)


@pytest.mark.parametrize("task", HEADS)
@torch.no_grad()
def test_answers_are_those_of_transformers_which_reads_the_files_we_write(transformers, image, task, tmp_path):
    kind, answer, head, channels = HEADS[task]
    config = configured(transformers, head_config=head, num_labels=channels)
    theirs = lively(getattr(transformers, f"Sapiens2For{kind}")(config))
    ours = filled(theirs.state_dict())

    config.save_pretrained(tmp_path)
    official = sapiens2.to_official(ours.state_dict(), {"tasks": [task]})
    save_file(official, tmp_path / "model.safetensors", {"format": "pt"})
    read = type(theirs).from_pretrained(tmp_path).eval()

    raw = ours.decoders[task](ours.backbone(image))
    for model in (theirs, read):
        told = model(image)
        assert agrees(raw[:, :channels], getattr(told, answer))
        if task == "pointmap":
            torch.testing.assert_close(raw[:, 3, :1, 0], told.scales, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_file_that_transformers_wrote_is_read(transformers, image, tmp_path):
    theirs = lively(transformers.Sapiens2Model(configured(transformers)))
    theirs.save_pretrained(tmp_path)
    from shared.convert import load_official

    ours: Any = load_official(tmp_path / "model.safetensors")
    assert agrees(ours.encode(*ours.embed(image)), theirs(image).last_hidden_state)


def timm_sapiens2():
    if "vit_large_patch16_sapiens2" not in timm.list_models("*sapiens2*"):
        pytest.skip(f"timm {timm.__version__} has no Sapiens2; 1.0.31 has")
    heads = tuple(2 if i < 8 or i >= SMALL["depth"] - 8 else 1 for i in range(SMALL["depth"]))
    options = {"embed_dim": 32, "depth": SMALL["depth"], "num_heads": 2, "num_kv_heads": heads, "num_classes": 0}
    return lively(timm.create_model("vit_large_patch16_sapiens2", pretrained=False, img_size=IMAGE_HW, **options))


@pytest.mark.parametrize("hw", [IMAGE_HW, (160, 112)])
@torch.no_grad()
def test_features_are_those_of_timms_sapiens2(image, hw):
    theirs = timm_sapiens2()
    ours = ViT(SMALL, image_hw=IMAGE_HW).eval()
    ours.load_state_dict(from_timm(theirs.state_dict()))
    image = image[..., : hw[0], : hw[1]]
    assert agrees(ours.encode(*ours.embed(image)), theirs.forward_features(image))


def test_timms_sapiens2_there_and_back_is_the_same_bit_for_bit():
    state = timm_sapiens2().state_dict()
    back = to_timm(from_timm(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


@torch.no_grad()
def test_timm_reads_the_files_we_write(image):
    theirs = timm_sapiens2()
    ours: Any = lively(ViT(SMALL, image_hw=IMAGE_HW))
    theirs.load_state_dict(checkpoint_filter_fn(sapiens2.to_official(ours.state_dict(), {}), theirs))
    assert agrees(theirs.forward_features(image), ours.encode(*ours.embed(image)))


@torch.no_grad()
def test_features_are_those_of_timms_plain_vit(image):
    theirs = lively(timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=IMAGE_HW, num_classes=0))
    ours = ViT("tiny", image_hw=IMAGE_HW, cls=True).eval()
    ours.load_state_dict(from_timm(theirs.state_dict()))
    assert agrees(ours.encode(*ours.embed(image)), theirs.forward_features(image))
