"""The command that converts: there and back, what it says, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from shared import checkpoint, weights
from shared.build import build
from shared.convert.__main__ import main

BLOCKS = 1
POSE = {
    "type": "shared.dense.model.DenseModel",
    "backbone": {
        "type": "shared.vit.model.ViT",
        "size": {"dim": 64, "depth": BLOCKS, "heads": 4, "family": "sapiens"},
        "image_hw": [128, 96],
        "patch": 16,
        "patch_padding": 2,
    },
    "tasks": [{"type": "tasks.pose.task.Pose", "skeleton": "coco17"}],
    "decoder": {"type": "shared.dense.decoder.Spec", "up": [16], "refine": [16], "dropout": 0.0},
}


@pytest.fixture
def ours(tmp_path) -> Path:
    """A small pose model of ours."""
    torch.manual_seed(0)
    checkpoint.save(tmp_path / "ours.safetensors", build(POSE).state_dict(), POSE)
    return tmp_path / "ours.safetensors"


@pytest.fixture
def theirs(ours) -> Path:
    """The same model as an official file."""
    main([str(ours), str(ours.with_name("theirs.pth")), "--to", "official"])
    return ours.with_name("theirs.pth")


def refused(capsys, *arguments: str | Path) -> str:
    """What the command says before it ends with 2."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_the_official_form_has_the_official_names(theirs):
    found = weights.read(theirs)
    assert found.wrapper == "state_dict"
    assert list(found.tensors)[:2] == ["backbone.pos_embed", "backbone.patch_embed.projection.weight"]
    assert list(found.tensors)[-1] == "head.final_layer.bias"
    torch.load(theirs, weights_only=True)


def test_there_and_back_is_the_same_file(ours, theirs, tmp_path):
    main([str(theirs), str(tmp_path / "again.safetensors")])
    again, first = weights.read(tmp_path / "again.safetensors"), weights.read(ours)
    assert again.about is not None
    assert again.about["model"] == POSE
    assert again.about["official"] == {"family": "sapiens", "file": "theirs.pth", "wrapper": "state_dict", "meta": {}}
    assert all(torch.equal(again.tensors[k], v) for k, v in first.tensors.items())
    main([str(tmp_path / "again.safetensors"), str(tmp_path / "again.pth"), "--to", "official"])
    assert (tmp_path / "again.pth").read_bytes().count(b"decod") == 0
    back = weights.read(tmp_path / "again.pth").tensors
    assert all(torch.equal(back[k], v) for k, v in weights.read(theirs).tensors.items())


def test_the_command_says_what_it_found_and_how_much_it_writes(theirs, tmp_path, caplog):
    with caplog.at_level("INFO"):
        main([str(theirs), str(tmp_path / "x.safetensors"), "--heads", "8", "--patch-padding", "0"])
    assert "holds sapiens: pose coco17, 0.1 M numbers (width 64, 1 blocks, 8 heads, 128x96 pixels, patch padding 0)" in caplog.text
    assert "writing 0.5 MB to" in caplog.text
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        backbone = json.loads(file.metadata()["vitruvian"])["model"]["backbone"]
    assert (backbone["size"]["heads"], backbone["patch_padding"]) == (8, 0)


def test_an_official_file_can_be_safetensors_too(ours, tmp_path):
    main([str(ours), str(tmp_path / "x.safetensors"), "--to", "official"])
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert "head.final_layer.bias" in file.keys()  # noqa: SIM118
        assert file.metadata() is None
    main([str(tmp_path / "x.safetensors"), str(tmp_path / "y.safetensors")])
    assert checkpoint.load(tmp_path / "y.safetensors").about["model"] == POSE


def test_names_of_the_users_own_travel_inside(theirs, tmp_path):
    table = tmp_path / "mine.toml"
    lines = [f'    {{ name = "point{i}", colour = [{i}, 0, 0] }},' for i in range(17)]
    table.write_text("\n".join(["entries = [", *lines, "]"]))
    main([str(theirs), str(tmp_path / "x.safetensors"), "--task", f"pose:{table}"])
    table.unlink()
    model: Any = checkpoint.load(tmp_path / "x.safetensors").model
    (task,) = model.tasks
    assert task.vocabulary.names[16] == "point16"


def test_bf16_takes_half_the_room_and_answers_almost_alike(ours, tmp_path):
    small = tmp_path / "small.safetensors"
    main([str(ours), str(small), "--dtype", "bf16"])
    assert small.stat().st_size < 0.55 * ours.stat().st_size
    assert {tensor.dtype for tensor in weights.read(small).tensors.values()} == {torch.bfloat16}
    (full, _), (half, _) = checkpoint.load(ours), checkpoint.load(small)
    assert {tensor.dtype for tensor in half.state_dict().values()} == {torch.float32}, "computed as ever"
    image = torch.randint(0, 256, (1, 3, 128, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, two = full(image)["pose"], half(image)["pose"]
    assert not torch.equal(one, two)
    assert (one - two).abs().max() < 0.02 * one.abs().max()
    main([str(small), str(tmp_path / "full.safetensors"), "--dtype", "fp32"])
    again = weights.read(tmp_path / "full.safetensors").tensors
    assert all(torch.equal(again[name], tensor.float()) for name, tensor in weights.read(small).tensors.items())


def test_what_is_computed_and_not_learnt_stays_exact(tmp_path):
    backbone = {
        "type": "shared.vit.model.ViT",
        "size": {"dim": 64, "depth": 2, "heads": 2, "family": "sapiens2"},
        "image_hw": [64, 48],
    }
    second = {**POSE, "backbone": backbone}
    torch.manual_seed(0)
    checkpoint.save(tmp_path / "x.safetensors", build(second).state_dict(), second)
    main([str(tmp_path / "x.safetensors"), str(tmp_path / "small.safetensors"), "--dtype", "bf16"])
    kept = weights.read(tmp_path / "small.safetensors").tensors
    assert [name for name, tensor in kept.items() if tensor.dtype == torch.float32] == ["backbone.rope.periods"]
    assert torch.equal(kept["backbone.rope.periods"], build(second).state_dict()["backbone.rope.periods"])


def test_an_official_file_becomes_a_small_one_of_ours(theirs, tmp_path):
    main([str(theirs), str(tmp_path / "small.safetensors"), "--dtype", "bf16"])
    found = weights.read(tmp_path / "small.safetensors")
    assert found.about is not None
    assert found.about["official"]["file"] == "theirs.pth"
    assert found.tensors["decoders.pose.last.bias"].dtype == torch.bfloat16


def test_a_small_file_knows_its_settings_and_no_folder_of_the_machine(ours, tmp_path):
    config = {
        "work_dir": str(tmp_path / "runs" / "joint"),
        "train": {"shards": ["/srv/people/a-{000..511}.tar", "~/more/b.tar", "data/c.tar"], "share": 0.5},
        "init": "hf:facebook/sapiens2-pretrain-0.1b",
        "note": "two of 3 m/s, see https://example.org/a/b",
    }
    checkpoint.save(ours, build(POSE).state_dict(), POSE, config=config, iteration=7)
    main([str(ours), str(tmp_path / "small.safetensors"), "--dtype", "bf16"])
    about = weights.read(tmp_path / "small.safetensors").about
    assert about is not None
    assert about["model"] == POSE
    assert about["iteration"] == 7
    assert about["config"] == {
        **config,
        "work_dir": "joint",
        "train": {"shards": ["a-{000..511}.tar", "b.tar", "data/c.tar"], "share": 0.5},
    }
    assert str(tmp_path).encode() not in (tmp_path / "small.safetensors").read_bytes()


def test_what_cannot_be_converted_is_a_sentence(capsys, ours, theirs, tmp_path):
    x = tmp_path / "x.safetensors"
    assert "is a checkpoint of ours already; to write the official form, add --to official, to store it in half" in refused(
        capsys, ours, x
    )
    assert "is no checkpoint of ours, so it cannot be written" in refused(capsys, theirs, x, "--to", "official")
    assert "our checkpoints are .safetensors files, not 'x.pth'" in refused(capsys, theirs, tmp_path / "x.pth")
    assert "official files are .pth (Sapiens) or .safetensors" in refused(capsys, ours, tmp_path / "x.pt", "--to", "official")
    assert "is the file to read; write to another one" in refused(capsys, ours, ours, "--to", "official")
    assert "--heads says how to read an official file" in refused(capsys, ours, x, "--to", "official", "--heads", "2")
    assert "--heads says how to read an official file" in refused(capsys, ours, x, "--dtype", "bf16", "--heads", "2")
    assert "--dtype is for checkpoints of ours" in refused(capsys, ours, x, "--to", "official", "--dtype", "bf16")
    assert "--rope-dtype is for files of sapiens2, this one is of sapiens" in refused(capsys, theirs, x, "--rope-dtype", "bf16")
    assert "the file answers pose with 17 channels, not seg" in refused(capsys, theirs, x, "--task", "seg:lip20")
    assert "there is no checkpoint" in refused(capsys, tmp_path / "none.pth", x)
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    assert "is no official file of Sapiens or Sapiens2: its first tensors are a;" in refused(capsys, tmp_path / "a.safetensors", x)
    assert not x.exists()


@pytest.mark.parametrize(("change", "told"), [
    ({"backbone.ln1.bias": None}, "1 missing: backbone.norm.bias"),
    ({"backbone.ln1.bias": torch.zeros(9)}, "1 of another shape: backbone.norm.bias is (9,), not (64,)"),
    ({"backbone.mask": torch.zeros(9)}, "the file holds tensors that are in no Sapiens: backbone.mask"),
])  # fmt: skip
def test_a_file_that_is_not_whole_is_a_sentence(capsys, theirs, tmp_path, change, told):
    state = {k: v for k, v in {**weights.read(theirs).tensors, **change}.items() if v is not None}
    torch.save({"state_dict": state}, tmp_path / "bad.pth")
    assert told in refused(capsys, tmp_path / "bad.pth", tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"bad\.pth"):
        checkpoint.load(tmp_path / "bad.pth")


def test_help_gives_examples(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for word in (
        "examples:",
        "--to",
        "--heads",
        "--patch-padding",
        "--rope-dtype",
        "--task",
        "--dtype",
        "hf:facebook/sapiens2-seg-0.4b",
    ):
        assert word in told
