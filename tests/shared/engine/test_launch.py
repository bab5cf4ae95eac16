"""A run is what its settings say, is refused in a sentence, survives what happens to computers, and is never mixed with another."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from shared import checkpoint
from shared.data.shards import Shards, write_shards
from shared.engine.launch import finetune, pretrain, train
from shared.engine.states import saved
from tasks.depth.task import Depth
from tasks.seg.task import Seg

ROOT = Path(__file__).parents[3]


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a run, byte by byte."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def script(name: str, config: str, settings: dict) -> subprocess.Popen:
    """A real process that trains."""
    overrides = [f"{key}={value}" for key, value in settings.items()]
    command = [sys.executable, str(ROOT / f"tasks/{name}/finetune.py"), str(ROOT / "configs" / config), *overrides]
    place = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def leaves(tree: dict, prefix: str = "") -> dict:
    """A config as the overrides that lead to it."""
    found = {}
    for key, value in tree.items():
        if isinstance(value, dict) and list(value) == ["type"]:  # a class with no setting of its own: in one piece
            found[prefix + key] = dict(value)
        elif isinstance(value, dict) and "type" in value:
            found |= leaves({k: v for k, v in value.items() if k != "type"}, f"{prefix}{key}.")
        elif key not in ("tasks", "model"):
            found[prefix + key] = value
    return found


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("joint", ("accumulate=2", "ema=0.7", "decoder.dropout=0.2", "backbone.drop_path=0.2", "workers=0", "optimizer=muon")),
        ("seg", ("workers=1", "decoder.dropout=0.2")),
    ],
)
def test_a_run_that_is_killed_ends_as_if_it_never_was(tiny, tmp_path, name, overrides):
    many = tiny(name, tmp_path / "killed", "iters=12", "warmup=2", "save_every=1", "batch=1", *overrides)
    process = script(name, f"{name}/synthetic_nano.py", leaves(many))
    deadline = time.monotonic() + 200
    while not saved(tmp_path / "killed") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    said = process.communicate(timeout=60)[0]  # ends when the last of its processes has gone: none may outlive the run
    assert process.returncode == -signal.SIGKILL, said
    done = int(saved(tmp_path / "killed")[-1].stem[5:])
    assert 1 <= done < 12

    (tmp_path / "killed" / ".partial").write_bytes(b"half written")
    (tmp_path / "killed" / ".model.safetensors.partial").write_bytes(b"half written")
    resumed = load_file(train(many))
    whole = load_file(train({**many, "work_dir": str(tmp_path / "whole"), "workers": 0, "save_every": 1000}))
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)
    last = [torch.load(tmp_path / run / "iter_12.pth", weights_only=True) for run in ("killed", "whole")]
    assert ("ema_state_dict" in last[0]) == bool(many["ema"])
    for part in {"state_dict", "ema_state_dict"} & last[1].keys():
        assert all(torch.equal(last[0][part][key], tensor) for key, tensor in last[1][part].items())


@pytest.fixture(scope="module")
def stopped(tiny, tmp_path_factory):
    """The settings of a run that was stopped at two of three iterations."""
    config = tiny("seg", tmp_path_factory.mktemp("stopped") / "seg", "save_every=1")
    folder = train(config).parent
    (folder / "iter_3.pth").unlink()
    return config


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"lr": 0.5}, r"lr: 0\.001 -> 0\.5"),
        ({"iters": 9}, "iters: 3 -> 9"),
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"batch": 4}, r"batch \* processes: 2 -> 4"),
        ({"tasks": [{"type": "tasks.depth.task.Depth"}]}, "tasks: "),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(stopped, change, told):
    before = content(Path(stopped["work_dir"]))
    with pytest.raises(ValueError, match=rf"holds a run with other settings \({told}.*\); choose another work_dir=, or delete"):
        train({**stopped, **change})
    assert content(Path(stopped["work_dir"])) == before


def test_what_does_not_touch_the_weights_may_change(stopped, caplog):
    with caplog.at_level(logging.INFO):
        train({**stopped, "log_every": 1, "keep": 1, "save_every": 2, "workers": 0})
    assert f"going on from {stopped['work_dir']}/iter_2.pth" in caplog.messages
    assert "3/3 100 %" in caplog.text
    assert "1/3" not in caplog.text
    assert [path.name for path in saved(Path(stopped["work_dir"]))] == ["iter_3.pth"]


def test_a_finished_run_says_so_and_stays_as_it_is(tiny, tmp_path, caplog):
    config = tiny("seg", tmp_path / "seg", "iters=1")
    path = train(config)
    before = content(path.parent)
    with caplog.at_level(logging.INFO):
        assert train(config) == path
    assert "holds a finished run of 1 iterations: nothing to do; choose another work_dir= to train again" in caplog.text
    assert content(path.parent) == before


def test_the_settings_are_kept_with_the_run_and_in_its_weights(tiny, tmp_path):
    config = tiny("seg", tmp_path / "seg", "iters=1", "tasks.0.dice=0.25")
    path = train(config)
    about = checkpoint.load(path).about
    assert about["config"] == json.loads(json.dumps(config))
    assert json.loads((path.parent / "config.json").read_text()) == about["config"] | {"processes": 1}
    assert about["config"]["tasks"][0]["dice"] == 0.25


def test_init_gives_the_backbone_and_nothing_else(tiny, tmp_path, pretrained):
    learnt = load_file(pretrained)
    made = load_file(train(tiny("seg", tmp_path / "seg", "iters=1", "lr=0.0", f"init={pretrained}")))
    plain = load_file(train(tiny("seg", tmp_path / "plain", "iters=1", "lr=0.0")))
    for name in plain:
        if name.startswith("backbone.") and name != "backbone.pos_embed":  # where cls has a row
            assert torch.equal(made[name], learnt[name]), name
        elif name.startswith("decoders."):
            assert torch.equal(made[name], plain[name]), name
    assert torch.equal(made["backbone.pos_embed"], learnt["backbone.pos_embed"][:, 1:])
    assert not torch.equal(made["backbone.patch_embed.weight"], plain["backbone.patch_embed.weight"])


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("iters=0", "iters=0 is too small; it is at least 1"),
        ("batch=-1", "batch=-1 is too small"),
        ("save_every=0", "save_every=0 is too small"),
        ("keep=0", "keep=0 is too small"),
        ("skips=0", "skips=0 is too small; it is at least 1"),
        ("spike=-1.0", r"spike=-1\.0 is too small; it is at least 0"),
        ("timeout=-1.0", r"timeout=-1\.0 is too small"),
        ("workers=-1", "workers=-1 is too small; it is at least 0"),
        ("ema=1.0", "ema=1.0 is no decay"),
        ("warmup=3", "warmup=3 leaves nothing of iters=3"),
        ("precision=fp8", "no precision 'fp8'"),
        ("framing=people", "no framing 'people'; choose whole or boxes"),
        ("init=nowhere/mae.safetensors", r"no checkpoint nowhere/mae\.safetensors"),
        ("train.shards=nowhere/{0..3}.tar", "4 of 4 shards do not exist"),
        ("tasks.0.labels=lip21", "no table 'lip21'; choose one of .*lip20"),
        ("backbone.size=huge", "no ViT size 'huge'; choose one of nano"),
        ("weights={'pose': 1.0}", "weights names pose, but the tasks are seg"),
    ],
)
def test_settings_that_cannot_be_are_sentences(tiny, tmp_path, override, told):
    with pytest.raises((ValueError, OSError), match=told):
        train(tiny("seg", tmp_path / "seg", override))


def test_a_script_trains_its_own_task_only(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"this script trains depth alone; for this config use tasks/joint/finetune\.py"):
        train(tiny("seg", tmp_path / "seg"), only=Depth)
    assert train(tiny("seg", tmp_path / "seg", "iters=1"), only=Seg).is_file()


@pytest.mark.parametrize(
    ("start", "config", "told"),
    [
        (pretrain, "configs/depth/synthetic_nano.py", "this config fine-tunes depth, and this script pretrains; use tasks/joint"),
        (finetune, "configs/pretrain/synthetic_nano.py", "it pretrains, and this script fine-tunes; use pretrain/mae.py"),
    ],
)
def test_a_config_of_pretraining_is_not_fine_tuned_nor_the_other_way_round(start, config, told, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["script.py", config, f"work_dir={tmp_path / 'run'}"])
    with pytest.raises(SystemExit) as stopped:
        start()
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err


def test_the_log_begins_with_what_is_trained_where(tiny, tmp_path, caplog):
    with caplog.at_level("INFO"):
        train(tiny("seg", tmp_path / "seg", "iters=1", "frozen=True"))
    assert re.search(
        r"seg: 0\.\d M parameters, 0\.\d M of them trained, \w+; 1 steps of 1 x \d pictures on cpu, told", caplog.messages[0]
    )


def test_a_run_needs_a_folder(tiny, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file, and a run needs a folder"):
        train(tiny("seg", tmp_path / "file"))


def test_a_mistake_on_the_command_line_is_one_sentence(tmp_path):
    process = script("seg", "seg/synthetic_nano.py", {"lrr": 1, "work_dir": tmp_path / "seg"})
    said = process.communicate(timeout=250)[0]
    assert process.returncode == 2
    assert said == "error: there is no setting 'lrr'; did you mean lr?\n"
    assert not list(tmp_path.iterdir())


def test_damaged_shards_are_named_and_trained_around(tiny, small_shards, tmp_path, caplog):
    whole = Shards(small_shards)
    people = [(whole.key(i), whole.read(i)) for i in range(8)]
    people[1][1].pop("seg")
    write_shards(people, tmp_path / "people", names=whole.names, per_shard=4)
    victim = tmp_path / "people" / "000001.tar"
    with tarfile.open(victim) as tar:
        last = max(member.offset_data for member in tar)
    victim.write_bytes(victim.read_bytes()[:last])  # its last member is missing
    shards = f"train.shards={tmp_path / 'people'}"
    path = train(tiny("seg", tmp_path / "seg", shards, "batch=4", "iters=4"))
    assert all(tensor.isfinite().all() for tensor in load_file(path).values())
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert told, "nobody was told of the damage"
    assert any("000001.tar" in record.getMessage() for record in told)
    assert "seg" not in Shards(tmp_path / "people").fields(1)
