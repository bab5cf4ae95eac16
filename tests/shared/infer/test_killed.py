"""Five hundred files, a hundred of them odd in ten ways, and a process that is killed twice: as if nothing had been."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[3]
SOUND, EACH = 400, 10
BOMB = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
REFUSED = ("truncated", "empty", "text", "bomb", "closed")
ANSWERED = ("cmyk", "deep", "animated", "name", "twin")


def encoded(rng: np.random.Generator, kind: str = "JPEG", mode: str = "RGB", **more) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (24, 18, 3), dtype=np.uint8)).convert(mode).save(file, kind, **more)
    return file.getvalue()


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """The folder. Ten files of each odd kind, named by it, among four hundred sound ones."""
    place, rng = tmp_path_factory.mktemp("archive"), np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 256, (24, 18, 3), dtype=np.uint8)) for _ in range(3)]
    for i in range(SOUND):
        (place / f"{i:03d}.jpg").write_bytes(encoded(rng))
    for i in range(EACH):
        (place / f"{i}truncated.jpg").write_bytes(encoded(rng)[:400])
        (place / f"{i}empty.png").write_bytes(b"")
        (place / f"{i}text.jpg").write_text("not a photo, only its name is\n" * 20)
        (place / f"{i}bomb.bmp").write_bytes(BOMB)
        (place / f"{i}cmyk.jpg").write_bytes(encoded(rng, mode="CMYK"))
        Image.fromarray(rng.integers(0, 2**16, (24, 18), dtype=np.uint16)).save(place / f"{i}deep.png")
        frames[0].save(place / f"{i}animated.gif", save_all=True, append_images=frames[1:])
        (place / f"{i}name\nof\twörds\N{GRINNING FACE} .jpg").write_bytes(encoded(rng))
        (place / f"{i}closed.jpg").write_bytes(encoded(rng))
        shut(place / f"{i}closed.jpg")
    for i in range(EACH // 2):
        for kind in ("JPEG", "PNG"):
            (place / f"{i}twin.{kind.lower()}").write_bytes(encoded(rng, kind))
    return place


def shut(path: Path) -> None:
    """Let nobody read a file; root reads everything, but not what a dangling link points to."""
    path.chmod(0)
    if os.access(path, os.R_OK):
        path.unlink()
        path.symlink_to("nowhere")


@pytest.fixture
def start(trained, archive):
    """Start the command on the archive; what it says goes beside its folder of answers. None outlives the test."""
    processes = []

    def start(out: Path, more: list[str]) -> subprocess.Popen:
        command = [sys.executable, ROOT / "tasks/seg/infer.py", archive, "--checkpoint", trained, "--out", out, "--device", "cpu"]
        with out.with_suffix(".txt").open("w") as said:
            env = {**os.environ, "OMP_NUM_THREADS": "1"}
            processes.append(subprocess.Popen([*map(str, command), *more], env=env, stderr=said))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def lines(out: Path) -> list[dict]:
    """What the manifest says; a line that a kill cut off says nothing."""
    texts = (out / "manifest.jsonl").read_text("utf-8").splitlines() if (out / "manifest.jsonl").is_file() else []
    return [json.loads(text) for text in texts if text.endswith("}")]


def outputs(out: Path) -> dict[str, bytes]:
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if name != "manifest.jsonl" and not name.endswith(".partial")}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("more", [[], ["--shards-out", "--per-shard", "70"]], ids=["files", "shards"])
def test_five_hundred_files_answered_by_a_process_killed_twice_are_those_of_one_run(start, tmp_path, more):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    process = start(straight, more)
    assert process.wait() == 1
    said = straight.with_suffix(".txt").read_text("utf-8")
    assert "Traceback" not in said
    assert "450 of 500 photos answered" in said
    told = lines(straight)
    assert len(told) == len({line["name"] for line in told}) == SOUND + 10 * EACH, "nothing is lost, all is listed"
    for line in told:
        refused = any(kind in line["name"] for kind in REFUSED)
        assert line["status"] == ("failed" if refused else "done"), line
        assert (len(line["message"]) > 20) == refused
    for kind in ANSWERED:
        assert sum(kind in line["name"] and line["status"] == "done" for line in told) == EACH

    for reached in (120, 290):
        process = start(killed, more)
        while sum(line["status"] == "done" for line in lines(killed)) < reached:
            assert process.poll() is None, "it was through before it was killed"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(killed, more).wait() == 1
    assert outputs(killed) == outputs(straight)
    done = [line["name"] for line in lines(killed) if line["status"] == "done"]
    assert set(done) == {line["name"] for line in told if line["status"] == "done"}
