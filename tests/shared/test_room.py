"""A disk that fills up is a sentence: which file, where, how much is left, and whether the same command goes on. Then it does."""

import errno
import json
import os
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image

from shared import room, weights
from shared.convert import __main__ as convert
from shared.data import pack, synthesize
from shared.data.shards import Shards
from shared.infer import cli, label

LEFT = r" could not be saved in {} \(No space left on device, [\d.]+ MB are left\); make room there, and {}"


@pytest.fixture
def fills_up(monkeypatch):
    """fills_up(after=1): the disk takes one more file and refuses those behind it, as some do only when they are synced."""
    real = os.fsync

    def fill(*, after: int) -> None:
        count = iter(range(after))

        def sync(number: int) -> None:
            if next(count, None) is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(number)

        monkeypatch.setattr(os, "fsync", sync)

    return fill


@contextmanager
def smaller_than(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes; Python ignores the signal, and the write fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def ended(monkeypatch, command, *words: object) -> int:
    """Exit code of a command that reads the words of its process."""
    monkeypatch.setattr(sys, "argv", ["command.py", *map(str, words)])
    with pytest.raises(SystemExit) as exit_:
        command()
    return exit_.value.code  # type: ignore[return-value]


def said(capsys) -> str:
    """What was written to standard error, without bars."""
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return text.splitlines()[-1].rpartition("\r")[2]


def test_a_full_disk_is_told_and_other_errors_keep_their_words(tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert room.told(full, out=tmp_path, then="go on").startswith(f"something could not be saved in {tmp_path} (No space left")
    with pytest.raises(OSError, match="No space left"), room.naming(tmp_path / "deep" / "a.tar"):
        raise full
    assert room.told(full, out=tmp_path, then="go on") == (
        f"a.tar could not be saved in {tmp_path / 'deep'} (No space left on device); make room there, and go on"
    ), "of a folder that is gone nobody knows what is left"
    for other in (ValueError("a sentence"), FileNotFoundError(errno.ENOENT, "nothing there", "a.jpg"), OSError("in words")):
        assert room.told(other, out=tmp_path, then="go on") == str(other)


def test_packing_begins_anew_when_there_is_room(tmp_path, fills_up, capsys):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(photos / f"{name}.png")
    given = ["folder", str(photos), "--out", str(out), "--per-shard", "1", "--quiet"]
    fills_up(after=2)  # a shard and its index
    assert pack.main(given) == 2
    assert re.search("^python -m shared.data.pack: 000001.tar" + LEFT.format(out, pack.ANEW), said(capsys))
    fills_up(after=99)
    assert pack.main(given) == 2, "the same command does not go on, and the sentence does not say so"
    assert pack.main([*given, "--overwrite"]) == 0
    assert Shards(out).counts == [1, 1, 1]


@pytest.mark.parametrize(("after", "name"), [(0, "synthetic.json"), (3, "000001-000000.tar")])
def test_synthesizing_goes_on_when_there_is_room(after, name, tmp_path, fills_up, capsys):
    pytest.importorskip("embreex", reason="rendering people needs the extra `synthetic`, whose embreex is not installed")
    given = ["--out", str(tmp_path), "--count", "2", "--per-shard", "1", "--size", "32x24", "--quiet"]
    fills_up(after=after)
    assert synthesize.main(given) == 2
    assert re.search(f"^python -m shared.data.synthesize: {name}" + LEFT.format(tmp_path, room.GOES_ON), said(capsys))
    fills_up(after=99)
    assert synthesize.main(given) == 0
    assert f"{min(after, 1)} of them were there before" in capsys.readouterr().out
    assert Shards(tmp_path).counts == [1, 1]


def test_labelling_goes_on_when_there_is_room(trained, small_shards, tmp_path, fills_up, capsys, monkeypatch):
    given = small_shards, "--checkpoint", trained, "--tasks", "seg", "--device", "cpu", "--out", tmp_path
    fills_up(after=3)  # what is asked for, a shard and its index
    assert ended(monkeypatch, label.run, *given) == 2
    assert re.search("^error: 000001-000000.tar" + LEFT.format(tmp_path, room.GOES_ON), said(capsys))
    fills_up(after=99)
    whole = (tmp_path / "000000-000000.tar").stat().st_mtime_ns
    assert ended(monkeypatch, label.run, *given) == 0
    assert (tmp_path / "000000-000000.tar").stat().st_mtime_ns == whole
    assert len(Shards(tmp_path)) == len(Shards(small_shards))


def test_converting_says_how_much_it_takes(trained, tmp_path, fills_up, capsys):
    fills_up(after=0)
    with pytest.raises(SystemExit) as exit_:
        convert.main([str(trained), str(tmp_path / "half.safetensors"), "--dtype", "bf16"])
    assert exit_.value.code == 2
    text = said(capsys)
    assert text.startswith(f"error: half.safetensors could not be saved in {tmp_path} (")
    assert re.search(r"No space left on device.*; make room there, and run it again, or write elsewhere; it takes [\d.]+ MB$", text)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_libraries_that_tell_of_the_disk_in_their_own_words_are_understood(suffix, tmp_path):
    state = {"a": torch.zeros(30_000)}
    with smaller_than(50_000), pytest.raises(OSError, match="File too large") as raised:
        weights.save_foreign(tmp_path / f"a.{suffix}", state)
    assert raised.value.errno == errno.EFBIG
    assert not list(tmp_path.iterdir())
    weights.save_foreign(tmp_path / f"a.{suffix}", state)
    assert weights.read(tmp_path / f"a.{suffix}").tensors["a"].shape == (30_000,)


def test_a_list_of_answers_that_cannot_be_written_ends_the_run_with_a_sentence(trained, tmp_path, capsys, monkeypatch):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    given = (
        tmp_path / "a.png",
        "--checkpoint",
        trained,
        "--tasks",
        "seg",
        "--device",
        "cpu",
        "--no-render",
        "--out",
        tmp_path / "out",
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.jsonl").write_text(" " * 9_000 + "\n")
    with smaller_than(8_000):
        assert ended(monkeypatch, cli.infer, *given) == 1
    assert said(capsys).startswith("error: ")
    assert ended(monkeypatch, cli.infer, *given) == 0
    assert json.loads((tmp_path / "out" / "manifest.jsonl").read_text().splitlines()[-1])["status"] == "done"
