"""Official files of Sapiens answer through our code as they did through theirs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pretrain.masking import choose, keep
from shared import checkpoint, weights
from shared.convert import load_official
from shared.convert.official import from_official, to_official
from shared.vit.model import ViT

TASKS = ("pose17", "pose308", "seg28", "seg20", "depth", "normal")
FILES = (*TASKS, "mae", "mae_clean")
TOLERANCE = 2e-5  # of the deviation of what the official code answered


@pytest.fixture(scope="module")
def folder(shared_folder) -> Path:
    path = shared_folder / "parity" / "sapiens1_tiny"
    if not path.is_dir():
        pytest.skip("the official answers do not lie beside the repository")
    return path


def expected(folder: Path, name: str) -> dict[str, Any]:
    return torch.load(folder / f"{name}.expected.pt", weights_only=True)


def distance(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, in deviations of what is wanted."""
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.std())


@pytest.mark.parametrize("size", ["", "_offsize"])
@pytest.mark.parametrize("name", TASKS)
@torch.inference_mode()
def test_a_task_answers_as_the_official_code_did(folder, name, size):
    told = expected(folder, name)
    model: Any = load_official(folder / f"{name}.pth")
    features = model.backbone(told[f"image{size}"])
    assert distance(features, told[f"features{size}"]) < TOLERANCE
    (decoder,) = model.decoders.values()
    assert distance(decoder(features.clone()), told[f"output{size}"]) < TOLERANCE


def test_the_description_is_that_of_the_index(folder):
    for name, row in json.loads((folder / "index.json").read_text()).items():
        if (folder / f"{name}.pth").is_file():
            model: Any = load_official(folder / f"{name}.pth")
            backbone = model.backbone
            assert (backbone.dim, len(backbone.blocks)) == (row["embed_dim"], row["depth"])
            assert backbone.size.heads == row["num_heads"]
            assert [16 * n for n in backbone.grid] == row["image_size"]
            assert backbone.patch_padding == row.get("patch_padding", 0)


@torch.inference_mode()
def test_masked_autoencoding_with_the_same_noise_is_that_of_the_official_code(folder):
    told = expected(folder, "mae")
    model: Any = load_official(folder / "mae.pth")
    image, noise = told["image"], told["noise"]
    assert distance(model.backbone.pos_embed, told["encoder_pos_embed"]) < TOLERANCE
    assert distance(model.decoder_pos_embed, told["decoder_pos_embed"]) < TOLERANCE
    tokens, grid = model.backbone.embed(image)
    kept, restoring = choose(noise, model.ratio)
    assert torch.equal(restoring, told["ids_restore"])
    latent = model.backbone.encode(keep(tokens, kept), grid, kept=kept)
    assert distance(latent, told["latent"]) < TOLERANCE
    painted, target, hidden = model(image, noise)
    assert distance(painted, told["pred"]) < TOLERANCE
    assert torch.equal(hidden, told["mask"].bool())
    target = (target - target.mean(2, keepdim=True)) / (target.var(2, keepdim=True) + 1e-6).sqrt()
    error = ((painted - target) ** 2).mean(2)
    assert float((error * hidden).sum() / hidden.sum()) == pytest.approx(float(told["loss"]), rel=TOLERANCE)


@pytest.mark.parametrize("size", [(128, 96), (96, 96)])
@torch.inference_mode()
def test_the_encoder_alone_is_that_of_the_autoencoder(folder, size):
    alone: Any = load_official(folder / "mae_clean.pth")
    whole: Any = load_official(folder / "mae.pth")
    assert isinstance(alone, ViT)
    image = torch.randn(1, 3, *size)
    assert torch.equal(alone(image), whole.backbone(image))


@torch.inference_mode()
def test_a_fine_tuning_backbone_starts_as_the_official_one_does(folder):
    told = expected(folder, "mae_to_finetune")
    for name in ("mae_clean", "mae"):
        backbone = ViT({"dim": 64, "depth": 3, "heads": 4}, image_hw=(128, 96)).eval()
        checkpoint.initialise(backbone, folder / f"{name}.pth")
        assert distance(backbone.pos_embed, told["pos_embed"]) < TOLERANCE
        assert distance(backbone(told["image"]), told["features"]) < TOLERANCE


def test_starting_from_patches_that_stand_elsewhere_is_told(folder, caplog):
    checkpoint.initialise(ViT({"dim": 64, "depth": 3, "heads": 4}, image_hw=(128, 96)), folder / "pose17.pth")
    assert "start 2 pixels outside the picture, those of this backbone 0; backbone.patch_padding=2 makes them equal" in caplog.text


@pytest.mark.parametrize("name", FILES)
def test_there_and_back_is_the_identity(folder, tmp_path, name):
    found = weights.read(folder / f"{name}.pth")
    read = from_official(folder / f"{name}.pth", found)
    assert read is not None
    about, state = read
    weights.save(tmp_path / "ours.safetensors", state, about["model"], official=about["official"])
    ours = weights.read(tmp_path / "ours.safetensors")
    assert ours.about is not None
    weights.save_foreign(tmp_path / "back.pth", to_official(ours.about, ours.tensors), wrapper=found.wrapper)
    back = weights.read(tmp_path / "back.pth")
    assert back.wrapper == found.wrapper
    assert list(back.tensors) == list(found.tensors), "the names or their order"
    for name, tensor in found.tensors.items():
        assert back.tensors[name].dtype == tensor.dtype
        assert torch.equal(back.tensors[name].view(torch.int32), tensor.view(torch.int32)), name


@pytest.mark.parametrize("name", ["seg28", "normal"])
def test_a_model_that_was_read_has_real_means_and_can_be_trained(folder, name):
    model: Any = load_official(folder / f"{name}.pth")
    assert model.normalise.mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    assert not model.training
    model.train()(torch.zeros(1, 3, 64, 48, dtype=torch.uint8))[name.rstrip("28")].mean().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    before = (folder / f"{name}.pth").read_bytes()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert (folder / f"{name}.pth").read_bytes() == before


def test_what_is_said_against_the_file_counts(folder):
    model: Any = load_official(folder / "pose17.pth", patch_padding=0, heads=8)
    assert (model.backbone.patch_padding, model.backbone.size.heads) == (0, 8)
    loaded = checkpoint.load(folder / "pose17.pth", patch_padding=0)
    assert loaded.about["model"]["backbone"]["patch_padding"] == 0
