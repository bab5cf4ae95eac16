"""A folder of thousands, some broken: nothing is lost, all is listed, and a run that was stopped goes on where it was."""

import io
import json
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.data.photo import Found, find_photos
from shared.formats import Ask
from shared.infer.cli import infer
from shared.infer.film import Film
from shared.infer.manifest import Manifest
from shared.infer.predictor import Predictor
from shared.infer.run import run

RNG = np.random.default_rng(0)
SOUND = 12


class Killed(BaseException):
    """What nothing catches."""


def jpeg(height: int = 24, width: int = 18, kind: str = "JPEG", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode).save(file, kind)
    return file.getvalue()


def broken() -> dict[str, bytes]:
    """Ten ways in which a photo is none."""
    whole = jpeg(200, 300)
    return {
        "truncated.jpg": whole[: len(whole) // 3],
        "empty.jpg": b"",
        "text.jpg": b"not a photo, only its name is\n" * 20,
        "html.png": b"<html><body>404</body></html>",
        "zeros.jpg": bytes(5000),
        "head.png": jpeg(kind="PNG")[:30],
        "bomb.png": bomb(),
        "flipped.jpg": whole[:40] + bytes(255 - b for b in whole[40:400]),
        "archive.jpg": b"PK\x03\x04" + bytes(RNG.integers(0, 256, 500, dtype=np.uint8)),
        "half.webp": jpeg(100, 100, "WEBP")[:60],
    }


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Sound photos of several kinds and with awkward names, and the broken ones among them."""
    place = tmp_path / "photos"
    (place / "deeper").mkdir(parents=True)
    names = ["a.jpg", "a.png", "b c.jpg", "ümläut.jpg", "line\nbreak.jpg", "deeper/a.jpg", "grey.png", "cmyk.jpg"]
    kinds = {"a.png": ("PNG", "RGBA"), "grey.png": ("PNG", "L"), "cmyk.jpg": ("JPEG", "CMYK")}
    for name in [*names, *(f"n{i}.jpg" for i in range(SOUND - len(names)))]:
        kind, mode = kinds.get(name, ("JPEG", "RGB"))
        (place / name).write_bytes(jpeg(kind=kind, mode=mode))
    for name, content in broken().items():
        (place / name).write_bytes(content)
    return place


@pytest.fixture(scope="module")
def predictor(trained) -> Predictor:
    return Predictor.load(trained, device="cpu", only=["seg", "pose"])


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for path in sorted(out.glob("manifest*.jsonl")) for line in path.read_text("utf-8").splitlines()]


def outputs(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.*") if path.suffix != ".jsonl"}


def test_a_folder_with_ten_kinds_of_broken_files_loses_nothing_and_lists_all(predictor, folder, tmp_path):
    found, out = find_photos([folder]), tmp_path / "out"
    assert len(found) == SOUND + 10
    out.mkdir()
    failed = run(predictor, found, out, manifest=Manifest(out, {}))
    assert {Path(name).name for name in failed} == {Path(name).stem for name in broken()}
    told = lines(out)
    assert [line["name"] for line in told if line["status"] == "failed"] == list(failed)
    assert all(len(line["message"]) > 20 and "\n" not in line["message"].strip() for line in told if line["status"] == "failed")
    done = [line for line in told if line["status"] == "done"]
    assert len(done) == SOUND
    assert all((line["height"], line["width"]) == (24, 18) and 0 < line["seconds"] < 60 for line in done)
    assert {name for line in done for name in line["files"]} == outputs(out).keys()
    assert len(outputs(out)) == 4 * SOUND


def test_a_run_killed_twice_ends_as_one_that_was_not(predictor, folder, tmp_path):
    found, straight, stopped = find_photos([folder]), tmp_path / "straight", tmp_path / "stopped"
    run(predictor, found, straight)
    stopped.mkdir()
    for after in (5, 6):
        seen = 0

        def finder(name, image, after=after):
            nonlocal seen
            seen += 1
            if seen > after:
                raise Killed

        with pytest.raises(Killed):
            run(predictor, found, stopped, finder=finder, manifest=Manifest(stopped, {}))
        with (stopped / "manifest.jsonl").open("a") as file:
            file.write('{"name": "cut')  # as a kill leaves it
    before = {line["name"] for line in lines_that_parse(stopped) if line["status"] == "done"}
    run(predictor, found, stopped, manifest=Manifest(stopped, {}))
    assert outputs(stopped) == outputs(straight)
    times = [line["name"] for line in lines_that_parse(stopped) if line["status"] == "done"]
    assert before
    assert sorted(times) == sorted(set(times)), "a photo was answered twice"


def lines_that_parse(out: Path) -> list[dict]:
    found = []
    for line in (out / "manifest.jsonl").read_text("utf-8").splitlines():
        if line.endswith("}"):
            found.append(json.loads(line))
    return found


@pytest.fixture
def answered(predictor, tmp_path):
    """One photo with its answers, and whether a manifest has it."""
    photo, out = tmp_path / "one.png", tmp_path / "out"
    photo.write_bytes(jpeg(kind="PNG"))
    out.mkdir()
    found = find_photos([photo])
    run(predictor, found, out, manifest=Manifest(out, {"flip": False}))
    return found[0], out


def test_what_is_done_is_left_alone_and_what_is_not_the_same_is_done_again(answered):
    found, out = answered
    assert Manifest(out, {"flip": False}).has(found)
    assert not Manifest(out, {"flip": False}, again=True).has(found)
    assert not Manifest(out, {"flip": True}).has(found)
    os.utime(found.path, ns=(1, 1))
    assert not Manifest(out, {"flip": False}).has(found)


def test_an_answer_that_was_deleted_is_made_again(answered):
    found, out = answered
    (out / "one.seg.png").unlink()
    assert not Manifest(out, {"flip": False}).has(found)


def test_the_command_goes_on_shares_the_work_and_answers_all_again_on_request(trained, tmp_path, monkeypatch, caplog):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for i in range(5):
        (photos / f"{i}.jpg").write_bytes(jpeg())

    def called(*more: object) -> None:
        arguments = ["infer.py", photos, "--checkpoint", trained, "--out", out, "--device", "cpu", "--tasks", "seg", *more]
        monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
        with caplog.at_level("INFO"), pytest.raises(SystemExit) as exit_:
            infer()
        assert exit_.value.code == 0

    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, share in (("0", 3), ("1", 2)):
        monkeypatch.setenv("RANK", rank)
        called()
        assert f"{share} of {share} photos answered" in caplog.text
    assert sorted(line["name"] for line in lines(out)) == [str(i) for i in range(5)]
    assert (out / "manifest.1.jsonl").is_file()
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name)
    caplog.clear()
    called()
    assert "5 of 5 were answered before and stay as they are" in caplog.text
    called("--flip")
    called("--again")
    assert caplog.text.count("5 of 5 photos answered") == 2


@pytest.mark.parametrize("gone", ["clip.depth.mp4", "clip/000001.depth.npy"])
def test_a_video_whose_answers_are_gone_is_answered_again(trained, tmp_path, gone):
    with Film(tmp_path / "clip.mp4", fps=20) as film:
        for _ in range(2):
            film.add(RNG.integers(0, 256, (32, 48, 3), dtype=np.uint8))
    (tmp_path / "out").mkdir()
    predictor, clip = Predictor.load(trained, device="cpu", only=["depth"]), Found(tmp_path / "clip.mp4", "clip")
    ask, file = Ask(frozenset({"npy"})), tmp_path / "out" / gone
    for _ in range(2):
        assert run(predictor, [clip], tmp_path / "out", ask=ask, manifest=Manifest(tmp_path / "out", {})) == {}
        assert file.is_file()
        assert Manifest(tmp_path / "out", {}).has(clip)
        file.unlink()
        assert not Manifest(tmp_path / "out", {}).has(clip)
