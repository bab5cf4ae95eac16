"""A model of metric depth on the command line: metres go with the focal length, and without one a sentence says what was taken."""

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from shared.data.photo import read_photo
from shared.data.shards import Shards
from shared.dense.canonical import usual_focal_px
from shared.engine.evaluate import evaluate
from shared.engine.launch import train
from shared.formats import read_levels
from shared.infer.cli import infer
from shared.infer.predictor import Predictor
from shared.infer.writer import write
from tasks.depth.task import Depth

HW = (64, 48)


@pytest.fixture(scope="module")
def metric(tiny, small_shards, tmp_path_factory) -> Path:
    """The checkpoint of a model that answers metric depth, after two iterations, a validation and a preview."""
    looks = f"val={{'shards': '{small_shards}', 'limit': 3}}", "val_every=2", "preview=2"
    return train(tiny("depth", tmp_path_factory.mktemp("runs") / "metric", "tasks.0.metric=True", "iters=2", *looks))


@pytest.fixture(scope="module")
def photo(small_shards, tmp_path_factory) -> Path:
    (path,) = write(tmp_path_factory.mktemp("photos"), "person", {"png": Shards(small_shards).read(0)["image"]})
    return path


def called(monkeypatch, *arguments: object) -> int:
    """Exit code of the command, in this process."""
    monkeypatch.setattr(sys, "argv", ["infer.py", *map(str, arguments), "--device", "cpu", "--no-render"])
    with pytest.raises(SystemExit) as exit_:
        infer(Depth)
    return exit_.value.code  # type: ignore[return-value]


def test_twice_the_focal_length_is_twice_as_far_and_none_is_the_usual_one(metric, photo, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    asked = {"short": 40.0, "long": 80.0, "usual": usual_focal_px(HW)}
    for name, focal in asked.items():
        assert called(monkeypatch, photo, "--checkpoint", metric, "--out", tmp_path / name, "--focal", focal) == 0
    assert not caplog.text
    assert called(monkeypatch, photo, "--checkpoint", metric, "--out", tmp_path / "none") == 0
    assert "depth is answered in metres without --focal: as if the photos were seen by a lens of 75 degrees" in caplog.text
    depth = {name: np.load(tmp_path / name / "person.depth.npy") for name in (*asked, "none")}
    assert depth["short"].min() > 0
    np.testing.assert_allclose(depth["long"], 2 * depth["short"], rtol=1e-6)
    np.testing.assert_allclose(depth["none"], depth["usual"], rtol=1e-6)
    predictor = Predictor.load(metric, device="cpu", focal_px=40.0)
    np.testing.assert_array_equal(predictor(read_photo(photo))["depth"], depth["short"])
    predictor.focal_px = None
    np.testing.assert_array_equal(predictor(read_photo(photo))["depth"], depth["none"])


def test_what_is_trained_in_metres_is_previewed_and_scored_in_metres(metric, small_shards, monkeypatch, capsys):
    assert list((metric.parent / "preview").glob("*.jpg"))
    shards = f"val.shards={small_shards}", f"train.shards={small_shards}", "device=cpu", "val.limit=3"
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "configs/depth/synthetic_nano.py", "--checkpoint", str(metric), *shards])
    evaluate(only=Depth)
    lines = capsys.readouterr().out.splitlines()
    table = {
        line.split("  ")[0]: line.split()[-8:] for line in lines if line.startswith(("as answered", "median", "scale and shift"))
    }
    assert list(table) == ["as answered", "median", "scale and shift"]
    main = next(line for line in lines if line.startswith("depth/abs_rel *")).split()
    assert main[2] == table["as answered"][0], "the main score is of metres as they were answered"
    assert float(main[3]) > 0.05, "one canonical distance for all, which knows the focal length, is not exact"


def test_levels_and_clouds_are_in_metres(metric, photo, tmp_path, monkeypatch):
    arguments = photo, "--checkpoint", metric, "--out", tmp_path, "--focal", 40, "--formats", "npy,png16,ply"
    assert called(monkeypatch, *arguments) == 0
    depth = np.load(tmp_path / "person.depth.npy")
    assert np.abs(read_levels(tmp_path / "person.depth.16.png") - depth).max() <= np.ptp(depth) / 65534
    cloud = np.frombuffer((tmp_path / "person.depth.ply").read_bytes().split(b"end_header\n")[1], "<f4").reshape(*HW, 3)
    np.testing.assert_allclose(cloud[..., 2], depth, rtol=1e-6)
    np.testing.assert_allclose(cloud[..., 0], (np.arange(48) - 23.5) / 40 * depth, atol=1e-5)


@pytest.mark.parametrize("focal", ["0", "-3", "inf"])
def test_a_focal_length_that_is_none_is_refused(metric, photo, tmp_path, monkeypatch, capsys, focal):
    assert called(monkeypatch, photo, "--checkpoint", metric, "--out", tmp_path / "out", "--focal", focal) == 2
    assert "is no focal length; write a positive number of pixels" in capsys.readouterr().err


def test_relative_depth_does_not_ask_for_a_focal_length(trained, photo, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    for name, options in {"with": ["--focal", "40"], "without": []}.items():
        assert called(monkeypatch, photo, "--checkpoint", trained, "--out", tmp_path / name, *options) == 0
    (said,) = caplog.messages
    assert said == "--focal 40 changes nothing here: it is for metric depth, and for --formats ply of depth"
    files = [(tmp_path / name / "person.depth.npy").read_bytes() for name in ("with", "without")]
    assert files[0] == files[1]
