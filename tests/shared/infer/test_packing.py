"""Answers in shards are the answers in files, nobody is lost or there twice, and a shard is whole or not there."""

import io
import json
import os
import resource
import sys
import tarfile
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from shared.data import tarindex
from shared.data.photo import Found, find_photos
from shared.data.shards import Shards
from shared.infer import packing as module
from shared.infer.cli import infer
from shared.infer.manifest import Manifest
from shared.infer.packing import Packing, key_of
from shared.infer.predictor import Predictor
from shared.infer.run import run

RNG = np.random.default_rng(0)
NAMES = ["a.jpg", "a.png", "b c.jpg", "v1.2 final.jpg", "ümläut.jpg", "line\nbreak.jpg", "deep.er/a.jpg", "__a.jpg", "50%2E.jpg"]


def photo(hw: tuple[int, int] = (24, 18), kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (*hw, 3), dtype=np.uint8)).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def predictor(trained) -> Predictor:
    return Predictor.load(trained, device="cpu")


@pytest.fixture
def photos(tmp_path) -> list[Found]:
    """Nine with awkward names, and two that are none."""
    folder = tmp_path / "photos"
    (folder / "deep.er").mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_bytes(photo(kind="PNG" if name.endswith("png") else "JPEG"))
    (folder / "c.jpg").write_bytes(b"")
    (folder / "d.jpg").write_bytes(b"text")
    return find_photos([folder])


def packed(predictor: Predictor, photos: list[Found], out: Path, per_shard: int = 4, **how) -> dict[str, str]:
    """Answer into shards."""
    out.mkdir(exist_ok=True)
    manifest = Manifest(out, {})
    into = Packing(out, manifest, names={"seg": ["background", "hair"]}, per_shard=per_shard)
    return run(predictor, photos, out, manifest=manifest, packing=into, render=False, **how)


def members(out: Path) -> list[tuple[str, bytes]]:
    """Every member of every shard."""
    found = []
    for path in sorted(out.glob("*.tar")):
        with tarfile.open(path) as tar:
            found += [(info.name, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]
    return [(name, content) for name, content in found if name != tarindex.NAMES_MEMBER]


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("*.tar")}


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for path in out.glob("manifest*.jsonl") for line in path.read_text("utf-8").splitlines()]


def test_shards_hold_byte_for_byte_what_files_would(predictor, photos, tmp_path):
    loose, out = tmp_path / "loose", tmp_path / "out"
    told = run(predictor, photos, loose, render=False)
    assert packed(predictor, photos, out).keys() == told.keys() == {"c", "d"}
    found = members(out)
    assert len(found) == len(dict(found)) == 4 * len(NAMES)
    files = {path.relative_to(loose).as_posix(): path.read_bytes() for path in loose.rglob("*.*") if path.is_file()}
    by_key = {(unquote(key), suffix): content for name, content in found for key, suffix in [split(name)]}
    assert by_key == {(name.removesuffix(f".{end}"), end): content for name, content in files.items() for end in [ending(name)]}
    assert sorted(path.name for path in out.glob("*.tar")) == ["0000-000000.tar", "0000-000001.tar", "0000-000002.tar"]


def split(member: str) -> tuple[str, str]:
    """Key and suffix by WebDataset's rule."""
    found = tarindex.SPLIT.match(member)
    assert found is not None
    return found[1], found[2]


def ending(name: str) -> str:
    return next(end for end in ("seg.png", "depth.npy", "normal.npy", "pose.json") if name.endswith(end))


def test_our_reader_finds_them_as_fields(predictor, photos, tmp_path):
    out = tmp_path / "out"
    packed(predictor, photos, out)
    shards = Shards(out)
    assert shards.names == {"seg": ["background", "hair"]}
    assert sorted(unquote(shards.key(i)) for i in range(len(shards))) == sorted(p.name for p in photos if p.name not in "cd")
    one = {unquote(shards.key(i)): i for i in range(len(shards))}["v1.2 final"]
    assert shards.fields(one) == {"seg", "depth", "normal"}
    image = np.array(Image.open(next(p.path for p in photos if p.name == "v1.2 final")))
    answers, sample = predictor(image), shards.read(one)
    assert np.array_equal(sample["seg"], answers["seg"])
    assert np.array_equal(sample["depth"], answers["depth"])
    np.testing.assert_allclose(sample["normal"], answers["normal"], atol=1e-6)


@pytest.mark.parametrize("name", ["plain", "a/b.c/d", *(n.rsplit(".", 1)[0] for n in NAMES), "caf\udce9", "a.jpg", "..."])
def test_every_name_becomes_a_key_and_comes_back(name):
    key = key_of(name)
    tarindex.check_key(key)
    assert os.fsdecode(unquote(key, errors="surrogateescape").encode("utf-8", "surrogateescape")) == name
    assert key == name or "%" in key


def test_who_is_killed_and_goes_on_ends_with_the_same_shards(predictor, photos, tmp_path):
    class Killed(BaseException):
        """What nothing catches."""

    class Dies(Packing):
        """One whose process is gone before a shard has its name."""

        def close(self, lines) -> None:
            if not self._next:
                return super().close(lines)
            self.manifest.add_all(lines)
            self._open._file.close()  # type: ignore[union-attr]
            raise Killed

    straight, out = tmp_path / "straight", tmp_path / "out"
    packed(predictor, photos, straight)
    out.mkdir()
    manifest = Manifest(out, {})
    into = Dies(out, manifest, names={"seg": ["background", "hair"]}, per_shard=4)
    with pytest.raises(Killed):
        run(predictor, photos, out, manifest=manifest, packing=into, render=False)
    assert (out / ".0000-000001.tar.partial").is_file()
    assert {line["files"][0] for line in lines(out) if line["status"] == "done"} == {"0000-000000.tar", "0000-000001.tar"}
    packed(predictor, photos, out)
    assert contents(out) == contents(straight)
    packed(predictor, photos, out)
    assert contents(out) == contents(straight), "what is done is left alone"


def test_a_new_shard_under_an_old_name_does_not_answer_for_who_was_in_the_old_one(predictor, photos, tmp_path):
    out = tmp_path / "out"
    packed(predictor, photos[:3], out)
    (out / "0000-000000.tar").unlink()
    packed(predictor, photos[:2], out)
    manifest = Manifest(out, {})
    assert [manifest.has(photo) for photo in photos[:3]] == [True, True, False]


def test_who_is_stopped_finishes_the_open_shard(predictor, photos, tmp_path):
    seen = 0

    def finder(name, image):
        nonlocal seen
        seen += 1
        if seen > 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packed(predictor, photos, tmp_path / "out", finder=finder, workers=0)
    done = [line["name"] for line in lines(tmp_path / "out") if line["status"] == "done"]
    assert 4 < len(done) <= 6
    assert len(members(tmp_path / "out")) == 4 * len(done)
    packed(predictor, photos, tmp_path / "out")
    found = members(tmp_path / "out")
    assert len(found) == len(dict(found)) == 4 * len(NAMES)


def test_a_photo_that_changed_since_is_named_and_not_there_twice(predictor, photos, tmp_path):
    out = tmp_path / "out"
    packed(predictor, photos, out)
    before = contents(out)
    next(p.path for p in photos if p.name == "b c").write_bytes(photo())
    failed = packed(predictor, photos, out)
    assert "changed since" in failed["b c"]
    assert contents(out) == before


def test_shards_of_others_and_of_other_settings_are_left_alone(predictor, photos, tmp_path):
    out = tmp_path / "out"
    packed(predictor, photos, out)
    for settings, again, sentence in (({"flip": True}, False, "did not make"), ({}, True, "--again")):
        with pytest.raises(FileExistsError, match=sentence):
            Packing(out, Manifest(out, settings, again=again), names={}, again=again)
    Packing(out, Manifest(out, {}, rank=1), rank=1, processes=2, names={}, again=True)  # the other process sees to its own
    (out / "mine.tar").write_bytes(b"")
    with pytest.raises(FileExistsError, match=r"holds mine\.tar, which this command did not make"):
        Packing(out, Manifest(out, {}), names={})


def test_a_shard_ends_before_it_is_too_large(predictor, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 30_000)
    packed(predictor, photos, tmp_path / "out", per_shard=100)
    sizes = [path.stat().st_size for path in (tmp_path / "out").glob("*.tar")]
    assert len(sizes) > 1
    assert max(sizes) <= 30_000 + tarfile.RECORDSIZE


def test_a_full_disk_costs_the_photos_that_have_no_room(predictor, photos, tmp_path):
    (tmp_path / "large.png").write_bytes(photo((200, 200)))
    found = [*photos[:2], *find_photos([tmp_path / "large.png"]), *photos[2:4]]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, limits[1]))
    try:
        failed = packed(predictor, found, tmp_path / "out", per_shard=100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(failed) == ["large"]
    assert {unquote(split(name)[0]) for name, _ in members(tmp_path / "out")} == {one.name for one in found} - {"large"}
    assert not list((tmp_path / "out").glob(".*"))


def test_the_command_makes_shards_of_shards_shared_by_processes(trained, tmp_path, monkeypatch, caplog):
    source, out = tmp_path / "source.tar", tmp_path / "out"
    with tarfile.open(source, "w") as tar:
        for i in range(5):
            info, content = tarfile.TarInfo(f"street/{i}.png"), photo()
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))

    def called(*more: object) -> object:
        arguments = [source, "--checkpoint", trained, "--out", out, "--device", "cpu", "--tasks", "seg,pose", *more]
        monkeypatch.setattr(sys, "argv", ["infer.py", *map(str, arguments)])
        with caplog.at_level("INFO"), pytest.raises(SystemExit) as exit_:
            infer()
        return exit_.value.code

    assert called("--per-shard", 2) == 2, "it would change nothing"
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        assert called("--shards-out", "--per-shard", 2, "--gallery") == 0
    assert sorted(contents(out)) == ["0000-000000.tar", "0000-000001.tar", "0001-000000.tar"]
    suffixes = {"seg.png", "seg.jpg", "pose.json", "pose.jpg"}
    assert {name for name, _ in members(out)} == {f"street/{i}.{suffix}" for i in range(5) for suffix in suffixes}
    assert len(list((out / "gallery_files").rglob("*.photo.jpg"))) == 5
    assert len(Shards(out).names["seg"]) == len(Predictor.load(trained).tasks[0].vocabulary.names)  # type: ignore[union-attr]
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name)
    caplog.clear()
    assert called("--shards-out", "--gallery") == 0
    assert "5 of 5 were answered before" in caplog.text
