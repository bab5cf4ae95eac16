"""Reading and writing go on while the network looks, and nobody can tell by the files."""

import json
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.data.photo import Found, find_photos
from shared.infer import reader
from shared.infer import run as module
from shared.infer.manifest import Manifest
from shared.infer.people import Given
from shared.infer.predictor import Predictor
from shared.infer.run import run, usual_workers

RNG = np.random.default_rng(0)
SIDE = 400


class Slow(Predictor):
    """One whose pictures take long to draw."""

    seconds = 0.05

    def draw(self, *given, **more) -> np.ndarray:
        time.sleep(self.seconds)
        return super().draw(*given, **more)


@pytest.fixture(scope="module")
def predictor(trained) -> Predictor:
    return Predictor.load(trained, device="cpu", only=["seg", "pose"])


@pytest.fixture(scope="module")
def slow(trained) -> Predictor:
    return Slow.load(trained, device="cpu", only=["seg"])


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Found]:
    """A dozen of several sizes, two of them broken."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(12):
        hw = (40 + 20 * (i % 3), 30 + 25 * (i % 2))
        Image.fromarray(RNG.integers(0, 256, (*hw, 3), dtype=np.uint8)).save(folder / f"{i:02d}.jpg")
    (folder / "03.jpg").write_bytes((folder / "03.jpg").read_bytes()[:200])
    (folder / "07.jpg").write_bytes(b"")
    return find_photos([folder])


def files(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and "manifest" not in path.name
    }


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text("utf-8").splitlines()]


def answered(predictor: Predictor, photos: list[Found], out: Path, **how) -> dict[str, str]:
    out.mkdir(exist_ok=True)
    return run(predictor, photos, out, manifest=Manifest(out, {}), **how)


def test_the_files_do_not_tell_how_many_threads_there_were(predictor, photos, tmp_path):
    boxes = Given({"00.jpg": [[0, 0, 20, 30], [5, 5, 28, 38]], "01.jpg": [], "02.jpg": [[1, 1, 20, 70]] * 5})
    failed = [answered(predictor, photos, tmp_path / str(n), workers=n, finder=boxes) for n in (0, 1, 4)]
    assert failed[0] == failed[1] == failed[2]
    assert list(failed[0]) == ["03", "07"]
    assert len(files(tmp_path / "0")) == 4 * 10
    assert files(tmp_path / "0") == files(tmp_path / "1") == files(tmp_path / "4")
    for n in "014":
        done = [line["name"] for line in lines(tmp_path / n) if line["status"] == "done"]
        assert done == sorted(done), "the manifest keeps the order of the photos"
        assert len(done) == 10


def test_the_next_photo_is_looked_at_while_the_last_is_still_being_written(trained, photos, tmp_path):
    looked = threading.Event()

    class Waits(Predictor):
        def draw(self, *given, **more) -> np.ndarray:
            assert looked.wait(20), "the photo after this one was not looked at in the meantime"
            return super().draw(*given, **more)

    def finder(name, image):
        if name == "01.jpg":
            looked.set()

    predictor = Waits.load(trained, device="cpu", only=["seg"])
    assert not answered(predictor, photos[:2], tmp_path / "out", workers=1, finder=finder)
    assert len(files(tmp_path / "out")) == 4


def test_an_answer_that_cannot_be_written_costs_its_photo_only(predictor, photos, tmp_path):
    (tmp_path / "out" / "05.seg.png").mkdir(parents=True)
    for workers in (0, 3):
        failed = answered(predictor, photos, tmp_path / "out", workers=workers)
        assert sorted(failed) == ["03", "05", "07"]
        assert "05.seg.png" in failed["05"]
    assert len(files(tmp_path / "out")) == 4 * 9


def test_what_is_stopped_leaves_whole_files_and_a_true_manifest_and_goes_on(slow, photos, tmp_path):
    seen = []

    def finder(name, image):
        seen.append(name)
        if len(seen) == 6:
            raise KeyboardInterrupt

    out, straight = tmp_path / "out", tmp_path / "straight"
    with pytest.raises(KeyboardInterrupt):
        answered(slow, photos, out, workers=2, finder=finder)
    done = [line for line in lines(out) if line["status"] == "done"]
    assert 0 < len(done) < 6
    assert {name for line in done for name in line["files"]} == files(out).keys(), (
        "what was begun is whole and noted, hidden files none"
    )
    answered(slow, photos, out, workers=2)
    answered(slow, photos, straight, workers=2)
    assert files(out) == files(straight)
    names = [line["name"] for line in lines(out) if line["status"] == "done"]
    assert sorted(names) == sorted(set(names)), "a photo was answered twice"


def test_memory_does_not_grow_with_the_photos_when_writing_is_slow(slow, tmp_path, monkeypatch):
    Image.fromarray(RNG.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(tmp_path / "one.png")
    monkeypatch.setattr(reader, "HELD", 3 * SIDE**2)
    monkeypatch.setattr(module, "BEHIND", 2 * 4 * SIDE**2)  # a photo and its parts are four bytes a pixel
    monkeypatch.setattr(reader, "FEW", 100)
    monkeypatch.setattr(slow, "seconds", 0.15)
    photos = [Found(tmp_path / "one.png", str(number)) for number in range(48)]
    tracemalloc.start()
    assert not answered(slow, photos, tmp_path / "out", workers=2)
    peak = tracemalloc.get_traced_memory()[1] / SIDE**2
    tracemalloc.stop()
    drawing = 2 * 12  # of two threads
    most = 3 * (3 + 2) + 2 * 4 + 4 + drawing  # bytes a pixel: read ahead and in hand, waiting to be written, answered
    assert peak < most < 4 * len(photos) / 3, "had every photo waited, it would be far more"


def test_there_is_a_thread_for_each_core_shared_by_the_processes_of_a_machine(monkeypatch):
    alone = usual_workers()
    assert 1 <= alone <= 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
    assert usual_workers() == 1
