"""A checkpoint comes back as it was, says in a sentence what is wrong with it, and never runs code."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from shared import checkpoint
from shared.build import build
from shared.dense.decoder import Spec
from shared.dense.model import DenseModel
from shared.engine.launch import train
from shared.infer.predictor import Predictor
from shared.vit.model import ViT
from shared.vit.position import resample
from tasks.depth.task import Depth
from tasks.seg.task import Seg

DEPTH = {
    "type": "shared.dense.model.DenseModel",
    "backbone": {"type": "shared.vit.model.ViT", "size": "nano", "image_hw": [64, 48]},
    "tasks": [{"type": "tasks.depth.task.Depth", "floor": 0.02}],
    "decoder": {"type": "shared.dense.decoder.Spec", "up": [16], "refine": [16]},
}


@pytest.fixture
def file(tmp_path) -> Path:
    """A small model that answers depth."""
    torch.manual_seed(1)
    checkpoint.save(tmp_path / "x.safetensors", build(DEPTH).state_dict(), DEPTH, iteration=7)
    return tmp_path / "x.safetensors"


def test_a_model_comes_back_as_it_was(file):
    model, about = checkpoint.load(file)
    assert isinstance(model, DenseModel)
    assert (model.tasks, model.training, about["iteration"]) == ((Depth(floor=0.02),), False, 7)
    checkpoint.save(file.with_name("again.safetensors"), model.state_dict(), about["model"], iteration=7)
    assert file.with_name("again.safetensors").read_bytes() == file.read_bytes()
    assert sorted(path.name for path in file.parent.iterdir()) == ["again.safetensors", "x.safetensors"]


def test_weights_stay_in_the_file_and_the_file_stays_as_it_is(file):
    before, dice = file.read_bytes(), torch.get_rng_state()
    model: Any = checkpoint.load(file).model
    assert torch.equal(torch.get_rng_state(), dice), "nothing is initialised only to be overwritten"
    torch.nn.init.zeros_(model.backbone.norm.weight)
    assert file.read_bytes() == before
    assert model.normalise.mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert model.backbone.pos_embed.requires_grad


def test_a_trained_model_answers_the_same_after_the_round_trip(trained, tmp_path):
    model, about = checkpoint.load(trained)
    checkpoint.save(tmp_path / "x.safetensors", model.state_dict(), about["model"])
    image = torch.randint(0, 256, (1, 3, 64, 48), dtype=torch.uint8)
    with torch.inference_mode():
        one, two = model(image), checkpoint.load(tmp_path / "x.safetensors").model(image)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_others_may_read_the_file(file):
    assert file.stat().st_mode & 0o444 == 0o444


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "holds no weights: it is empty"),
        (b"<!DOCTYPE html><html>Sign in</html>", "it is a web page; download the file itself"),
        (bytes(range(256)), "it may be cut off; copy it again"),
    ],
)
def test_other_files_are_told_apart(tmp_path, content, told):
    for read in (checkpoint.load, lambda path: checkpoint.initialise(ViT("nano"), path)):
        with pytest.raises(ValueError, match=told):
            read(write(tmp_path / "x.safetensors", content))


@pytest.mark.parametrize("share", [0.0001, 0.5, 0.999])
def test_a_file_that_is_cut_off_is_a_sentence(file, share):
    whole = file.read_bytes()
    with pytest.raises(ValueError, match="it may be cut off; copy it again"):
        checkpoint.load(write(file, whole[: max(int(len(whole) * share), 9)]))


def test_a_missing_file_is_named_with_its_neighbours(file):
    with pytest.raises(ValueError, match=r"there is no checkpoint .*y\.safetensors; beside it there is x\.safetensors"):
        checkpoint.load(file.with_name("y.safetensors"))
    with pytest.raises(ValueError, match=r"is a folder, and a checkpoint is a file; it holds x\.safetensors"):
        checkpoint.load(file.parent)


def described(path: Path, description, **about) -> Path:
    text = json.dumps({"format": 1, "model": description, **about})
    save_file(build(DEPTH).state_dict(), path, {"vitruvian": text})
    return path


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"backbone": {**DEPTH["backbone"], "size": "tiny"}}, "does not fit the model it describes: .* missing.* of another shape"),
        ({"tasks": [{"type": "tasks.seg.task.Seg"}]}, r"missing: decoders\.seg.* unknown: decoders\.depth"),
        ({"backbone": {**DEPTH["backbone"], "sise": "tiny"}}, r"ViT takes no 'sise'; did you mean size\?"),
        ({"tasks": [{"type": "tasks.depth.task.Depths"}]}, r"no 'tasks\.depth\.task\.Depths' in this version"),
    ],
)
def test_a_description_that_does_not_fit_is_a_sentence(tmp_path, change, told):
    with pytest.raises(ValueError, match=told):
        checkpoint.load(described(tmp_path / "x.safetensors", {**DEPTH, **change}))


def test_a_description_that_lacks_a_part_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="DenseModel needs backbone, tasks; it was given nothing"):
        checkpoint.load(described(tmp_path / "x.safetensors", {"type": DEPTH["type"]}))


@pytest.mark.parametrize(
    "code",
    [
        "os.system",
        "builtins.eval",
        "torch.load",
        "subprocess.Popen",
        "shared.checkpoint.os.system",
        "shared.checkpoint.save",  # ours, but a function: it would write a file
        "shared.data.shards.write_shards",
        "shared.engine.launch.Runner",  # a class that one of our modules imports
        "shared.checkpoint.Path",
        "",
    ],
)
def test_a_file_cannot_name_code_that_is_no_class_of_ours(tmp_path, code):
    bad = {"type": code, "command": "touch /tmp/owned"}
    for description in (bad, {**DEPTH, "tasks": [bad]}, {**DEPTH, "backbone": {**DEPTH["backbone"], "size": bad}}):
        with pytest.raises(ValueError, match=r"is not a class of shared, tasks, pretrain|in this version"):
            checkpoint.load(described(tmp_path / "x.safetensors", description))


def test_weights_without_a_description_or_of_another_format_are_sentences(tmp_path):
    save_file(build(DEPTH).state_dict(), tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"without a description of a model; it can only initialise one \(init=...\)"):
        checkpoint.load(tmp_path / "x.safetensors")
    save_file({}, tmp_path / "model.safetensors")  # as beside the states of a run
    with pytest.raises(ValueError, match=r"without a description of a model; use .*model\.safetensors"):
        checkpoint.load(tmp_path / "x.safetensors")
    for text in ('{"format": 99, "model": {}}', "[1]", '{"format": 1}'):
        save_file(build(DEPTH).state_dict(), tmp_path / "x.safetensors", {"vitruvian": text})
        with pytest.raises(ValueError, match=r"has format .*, this version reads 1; use the version that wrote it"):
            checkpoint.load(tmp_path / "x.safetensors")


def test_labels_of_the_users_own_travel_inside(tiny, tmp_path):
    table = tmp_path / "mine.toml"
    names = ["Background", "Torso", "Face_Neck"]
    lines = [f'    {{ name = "{name}", colour = [{90 * i}, 0, 0] }},' for i, name in enumerate(names)]
    table.write_text("\n".join(["entries = [", *lines, "]"]))
    path = train(tiny("seg", tmp_path / "seg", "iters=1", f"tasks.0.labels={table}"))
    table.unlink()
    model: Any = checkpoint.load(path).model
    (task,) = model.tasks
    assert isinstance(task, Seg)
    assert list(task.vocabulary.names) == names
    assert task.render(np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), np.uint8)).shape == (4, 4, 3)


def test_a_pretrained_backbone_loses_cls_and_fits_its_positions(pretrained):
    learnt = load_file(pretrained)
    backbone: Any = ViT("nano", image_hw=(96, 96))
    checkpoint.initialise(backbone, pretrained)
    assert torch.equal(backbone.blocks[3].mlp.fc2.weight, learnt["backbone.blocks.3.mlp.fc2.weight"])
    assert torch.equal(backbone.pos_embed, resample(learnt["backbone.pos_embed"][:, 1:], (4, 3), (6, 6)))
    assert backbone.cls_token is None
    again = ViT("nano", image_hw=(64, 48), cls=True)
    checkpoint.initialise(again, pretrained)
    assert torch.equal(again.state_dict()["cls_token"], learnt["backbone.cls_token"])


def test_a_fine_tuned_model_initialises_another(file):
    backbone = ViT("nano", image_hw=(64, 48), cls=True)
    first = backbone.state_dict()["cls_token"].clone()
    checkpoint.initialise(backbone, file)
    assert torch.equal(backbone.norm.weight, load_file(file)["backbone.norm.weight"])
    assert torch.equal(backbone.state_dict()["cls_token"], first), "a cls token that the file lacks keeps its first value"


def test_a_vit_of_timm_initialises_ours(tmp_path):
    theirs: Any = timm.create_model("vit_tiny_patch16_224", pretrained=False)
    save_file(theirs.state_dict(), tmp_path / "timm.safetensors")
    backbone = ViT("tiny", image_hw=(224, 224), cls=True)
    checkpoint.initialise(backbone, tmp_path / "timm.safetensors")
    image = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        wanted, found = theirs.eval().forward_features(image)[:, 1:], backbone.eval()(image)
    assert torch.allclose(wanted, found.flatten(2).transpose(1, 2), atol=1e-4)
    checkpoint.initialise(ViT("tiny", image_hw=(256, 192)), tmp_path / "timm.safetensors")


def test_a_backbone_of_another_size_is_a_sentence(file, tmp_path):
    with pytest.raises(
        ValueError, match=r"does not fit this backbone \(width 192, 12 blocks\): .*; choose the size it was trained"
    ):
        checkpoint.initialise(ViT("tiny"), file)
    save_file({"encoder.weight": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match=r"missing: .*1 unknown: encoder\.weight"):
        checkpoint.initialise(ViT("nano"), tmp_path / "foreign.safetensors")


def test_positions_that_are_no_square_are_a_sentence(tmp_path):
    state = build(DEPTH).backbone.state_dict()
    save_file({**state, "pos_embed": torch.zeros(1, 6 * 4, 128)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="has 24 positions, no square grid with or without cls"):
        checkpoint.initialise(ViT("nano", image_hw=(64, 48)), tmp_path / "x.safetensors")


def test_the_official_widths_are_those_without_a_spec():
    model: Any = DenseModel(ViT("nano", image_hw=(64, 48)), [Depth()])
    assert model.decoders["depth"].up[0][0].weight.shape == (128, 384, 4, 4)
    assert Spec().up == (768, 768, 768)


OFFICIAL = {"dim": 64, "depth": 3, "heads": 4}  # the size of the official answers beside the repository


@pytest.fixture
def official(shared_folder) -> Path:
    folder = shared_folder / "parity" / "sapiens1_tiny"
    if not folder.is_dir():
        pytest.skip("the official answers do not lie beside the repository")
    return folder


def test_an_official_file_is_taken_where_ours_is(official):
    model, about = checkpoint.load(official / "seg28.pth")
    assert isinstance(model, DenseModel)
    assert [task.name for task in model.tasks] == ["seg"]
    assert about["model"]["backbone"]["image_hw"] == [128, 96]
    assert about["official"] == {
        "family": "sapiens",
        "file": "seg28.pth",
        "wrapper": "state_dict",
        "meta": {"epoch": 3, "cfg": "# text"},
    }
    backbone: Any = ViT(OFFICIAL, image_hw=(96, 96), cls=True)
    checkpoint.initialise(backbone, official / "seg28.pth")
    assert torch.equal(backbone.norm.weight, model.backbone.norm.weight)


def test_a_predictor_answers_with_an_official_file(official):
    predictor = Predictor.load(official / "seg28.pth", device="cpu")
    assert predictor.size == (128, 96)
    assert predictor(np.zeros((50, 40, 3), np.uint8))["seg"].shape == (50, 40)
    with pytest.raises(ValueError, match=r"mae_clean\.pth holds a ViT, which answers nothing; fine-tune it first"):
        Predictor.load(official / "mae_clean.pth", device="cpu")


def test_patch_padding_can_be_said_against_any_file(official, file):
    assert checkpoint.load(official / "depth.pth", patch_padding=2).about["model"]["backbone"]["patch_padding"] == 2
    model: Any = checkpoint.load(file, patch_padding=2, rope_dtype="bf16").model
    assert model.backbone.patch_padding == 2


def test_an_official_file_of_another_size_is_a_sentence(official):
    with pytest.raises(ValueError, match=r"mae\.pth does not fit this backbone \(width 192, 12 blocks\)"):
        checkpoint.initialise(ViT("tiny"), official / "mae.pth")


def test_a_training_starts_from_an_official_file(official, tiny, tmp_path):
    config = tiny("depth", tmp_path / "depth", "iters=1", f"init={official / 'mae_clean.pth'}")
    config["backbone"]["size"] = OFFICIAL
    model: Any = checkpoint.load(train(config)).model
    assert model.backbone.size.dim == 64
