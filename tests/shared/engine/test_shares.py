"""States as folders of shares: they hold all there is, and a half-written or damaged one is never gone on from.

The process of these tests joins a group of one, whose shares are everything; test_parallel.py has those of two.
"""

import json
import re
import resource
import shutil
from pathlib import Path

import pytest
import torch
from processes import free_ports
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from shared.engine import shares
from shared.engine.launch import train
from shared.engine.states import newest, saved

SETTINGS = ("optimizer=adamw", "iters=3", "save_every=1", "keep=9")
SHARED = (*SETTINGS, "parallel=fsdp2", "states=shares")


@pytest.fixture(scope="module", autouse=True)
def alone():
    """This process is one that torchrun started, alone."""
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_ports(1)[0])}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in place.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """The folder of a run that ended. Do not write into it."""
    return train(tiny("seg", tmp_path_factory.mktemp("shares") / "seg", *SHARED)).parent


@pytest.fixture
def stopped(run, tmp_path):
    """That run without its last state and its weights, and with a folder that was being written when it was killed."""
    folder = shutil.copytree(run, tmp_path / "seg")
    (folder / "model.safetensors").unlink()
    (folder / "iter_3" / shares.FILES).unlink()
    (folder / "iter_3").rename(folder / ".partial")
    return folder


def same(one: Path, two: Path) -> bool:
    a, b = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_state_is_a_folder_in_which_nothing_can_run(run):
    assert [path.name for path in saved(run)] == ["iter_1", "iter_2", "iter_3"]
    assert not (run / ".partial").exists()
    names = {path.name for path in (run / "iter_3").iterdir()}
    assert names == {"files.json", "rest.pth", "shard-00001-model-00001-of-00001.safetensors"}
    rest = torch.load(run / "iter_3" / "rest.pth", weights_only=True)
    assert rest["meta"]["iter"] == 3
    assert {*next(iter(rest["optimizer"]["state"].values()))} == {"step"}
    held = load_file(run / "iter_3" / "shard-00001-model-00001-of-00001.safetensors")
    left = load_file(run / "model.safetensors")
    assert all(torch.equal(held[f"weights/model.{name}"], tensor) for name, tensor in left.items())
    assert {name.rpartition("/")[2] for name in held if name.startswith("moments/")} == {"exp_avg", "exp_avg_sq"}


def test_a_run_goes_on_and_what_was_half_written_is_passed_over(stopped, run, tiny):
    assert newest(stopped) == stopped / "iter_2"
    train(tiny("seg", stopped, *SHARED))
    assert same(stopped, run)
    assert not (stopped / ".partial").exists()
    assert [path.name for path in saved(stopped)] == ["iter_1", "iter_2", "iter_3"]


def test_a_run_without_shares_goes_on_from_them_and_back(stopped, run, tiny):
    train(tiny("seg", stopped, *SETTINGS, "parallel=fsdp2"))
    assert same(stopped, run)
    assert [path.name for path in saved(stopped)] == ["iter_1", "iter_2", "iter_3.pth"]
    (stopped / "model.safetensors").unlink()
    train(tiny("seg", stopped, *SHARED, "keep=2"))
    assert same(stopped, run)
    assert [path.name for path in saved(stopped)] == ["iter_3", "iter_3.pth"], "old ones go, whatever their form"


def test_weights_that_are_missing_are_written_again(run, tiny, tmp_path):
    folder = shutil.copytree(run, tmp_path / "seg")
    (folder / "model.safetensors").unlink()
    before = (folder / "iter_3" / "rest.pth").stat().st_mtime_ns
    train(tiny("seg", folder, *SHARED))
    assert same(folder, run)
    assert (folder / "iter_3" / "rest.pth").stat().st_mtime_ns == before, "the state that is there is never without its name"


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("name", "harm", "told"),
    [
        ("shard-00001-model-00001-of-00001.safetensors", Path.unlink, "No such file"),
        ("shard-00001-model-00001-of-00001.safetensors", cut_off, r"has \d+ bytes of \d+"),
        ("rest.pth", Path.unlink, "No such file"),
        ("files.json", Path.unlink, "No such file"),
        ("files.json", lambda path: path.write_text("{"), "Expecting property name"),
    ],
)
def test_a_damaged_folder_is_named_and_the_one_before_it_taken(run, tmp_path, caplog, name, harm, told):
    folder = shutil.copytree(run, tmp_path / "seg")
    harm(folder / "iter_3" / name)
    assert newest(folder) == folder / "iter_2"
    assert "iter_3 is damaged" in caplog.text
    assert re.search(told, caplog.text)


def test_a_damaged_folder_is_replaced(run, tiny, tmp_path):
    folder = shutil.copytree(run, tmp_path / "seg")
    cut_off(folder / "iter_3" / "rest.pth")
    train(tiny("seg", folder, *SHARED))
    assert same(folder, run)
    assert newest(folder) == folder / "iter_3"


def test_a_full_disk_ends_the_run_with_a_sentence_and_the_state_before(run, tiny, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    folder = shutil.copytree(run, tmp_path / "seg")
    for name in ("iter_2", "iter_3"):
        shutil.rmtree(folder / name)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))  # Python ignores the signal, and the write fails
    try:
        with pytest.raises(OSError, match=r"state of iteration 2 could not be saved .* goes on from iter_1"):
            train(tiny("seg", folder, *SHARED))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in saved(folder)] == ["iter_1"]
    assert not (folder / ".partial").exists()


def test_files_of_shares_are_about_as_large_as_there_is_room_for(monkeypatch):
    monkeypatch.setattr(shares, "ROOM", 800)
    cut = {name: torch.zeros(100) for name in "abcde"}  # 400 bytes each
    assert shares.files(cut, 1) == {"a": 1, "b": 1, "c": 2, "d": 2, "e": 3}
    assert shares.files(cut, 2) == {"a": 1, "b": 1, "c": 1, "d": 1, "e": 2}


def test_a_state_of_many_files_is_read_like_one_of_one(stopped, run, tiny, monkeypatch):
    monkeypatch.setattr(shares, "ROOM", 2**20)
    train(tiny("seg", stopped, *SHARED))
    assert len(json.loads((stopped / "iter_3" / "files.json").read_text())) > 5
    (stopped / "model.safetensors").unlink()
    train(tiny("seg", stopped, *SHARED))
    assert same(stopped, run)


def test_a_folder_whose_list_is_too_short_as_well_is_refused(run, tiny, tmp_path):
    folder = shutil.copytree(run, tmp_path / "seg")
    (folder / "model.safetensors").unlink()
    (shard,) = (folder / "iter_3").glob("shard-*")
    held, listed = load_file(shard), json.loads((folder / "iter_3" / "files.json").read_text())
    held.pop("moments/0/exp_avg")
    with safe_open(shard, "pt") as file:
        save_file(held, shard, metadata=file.metadata())
    (folder / "iter_3" / "files.json").write_text(json.dumps({**listed, shard.name: shard.stat().st_size}))
    with pytest.raises(ValueError, match=r"iter_3 has 0 of the \d+ numbers of moments/0/exp_avg; remove it"):
        train(tiny("seg", folder, *SHARED))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("states=halves",), "no states='halves'; choose whole or shares"),
        (("states=shares",), "states=shares is for parallel=fsdp2, and with single each process has everything; use states=whole"),
    ],
)
def test_states_that_cannot_be_are_refused_before_anything_is_written(tiny, tmp_path, settings, told):
    with pytest.raises(ValueError, match=told):
        train(tiny("seg", tmp_path / "seg", *settings))
    assert not (tmp_path / "seg" / "config.json").exists()
