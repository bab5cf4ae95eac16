"""What a run leaves behind: lines with an end in sight, curves, pictures, and as many checkpoints as were asked for."""

import json
import logging
import math
import re

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shared import checkpoint
from shared.data.photo import read_photo
from shared.engine.hooks import _clock
from shared.engine.launch import train
from shared.engine.states import saved

LINE = re.compile(
    r"^runs/seg (\d+)/5 (\d+) % \| loss [\d.e-]+ \(seg/ce [\d.e-]+\) \| grad [\d.e-]+ \| lr [\d.e-]+ \| [\d.]+ img/s \| "
    r"data ([\d.]+) forward ([\d.]+) backward ([\d.]+) optimiser ([\d.]+) s \| [\d.]+ GiB \| ETA \d+:\d\d:\d\d$"
)


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory, small_shards):
    """The folder of a run of five iterations, validated twice, and what it said."""
    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    ear, log = Ear(), logging.getLogger("shared.engine")
    log.addHandler(ear)
    log.setLevel(logging.INFO)
    folder = tmp_path_factory.mktemp("hooks") / "runs" / "seg"
    val = f"val={{'shards': '{small_shards}', 'limit': 3}}"
    train(tiny("seg", folder, val, "iters=5", "val_every=3", "log_every=1", "save_every=1", "keep=3", "preview=2"))
    log.removeHandler(ear)
    log.setLevel(logging.NOTSET)
    return folder, said


def test_every_line_says_how_far_how_good_how_fast_how_large_and_how_long(run):
    lines = [match for text in run[1] if (match := LINE.match(text))]
    assert [(int(line[1]), int(line[2])) for line in lines] == [(1, 20), (2, 40), (3, 60), (4, 80), (5, 100)]
    assert run[1][-1] == f"done: {run[0] / 'model.safetensors'}"


def test_validation_says_its_scores(run):
    told = [text for text in run[1] if "| val " in text]
    assert [text.split(" | ")[0] for text in told] == ["runs/seg 3/5", "runs/seg 5/5"]
    assert all("seg/miou " in text for text in told)


def test_curves_are_readable_and_the_rate_is_the_one_that_was_used(run):
    events = EventAccumulator(str(run[0]))
    events.Reload()
    assert {"loss", "loss/seg/ce", "lr", "images_per_s", "peak_gib", "val/seg/miou"} <= set(events.Tags()["scalars"])
    rates = [(event.step, event.value) for event in events.Scalars("lr")]
    by_hand = [(k + 1, 1e-3 * (1 + math.cos(math.pi * k / 5)) / 2) for k in range(5)]
    assert rates == [(step, pytest.approx(rate, rel=1e-5)) for step, rate in by_hand]
    assert all(event.value > 0 for event in events.Scalars("images_per_s"))
    assert [event.step for event in events.Scalars("val/seg/miou")] == [3, 5]


def test_the_last_checkpoints_are_kept_and_nothing_half_written(run):
    assert [path.name for path in saved(run[0])] == ["iter_3.pth", "iter_4.pth", "iter_5.pth"]
    assert {path.name for path in run[0].iterdir() if path.is_file() and "tfevents" not in path.name} == {
        *(path.name for path in saved(run[0])),
        "config.json",
        "model.safetensors",
    }


def test_checkpoints_hold_no_code(run):
    state = torch.load(run[0] / "iter_5.pth", weights_only=True)
    assert state["meta"]["iter"] == 5


def test_the_scores_travel_with_the_weights(run):
    about = checkpoint.load(run[0] / "model.safetensors").about
    assert about["iteration"] == 5
    assert about["scores"]["iteration"] == 5
    assert 0 <= about["scores"]["seg/miou"] <= 1
    assert {**about["config"], "processes": 1} == json.loads((run[0] / "config.json").read_text())


def test_there_are_pictures_of_each_validation(run):
    assert sorted(path.name for path in (run[0] / "preview").iterdir()) == ["0000003.jpg", "0000005.jpg"]
    assert read_photo(run[0] / "preview" / "0000005.jpg").std() > 10


def test_pretraining_draws_its_reconstructions(tiny, tmp_path):
    folder = train(tiny("pretrain", tmp_path / "mae", "val_every=2", "preview=1")).parent
    assert sorted(path.name for path in (folder / "preview").iterdir()) == ["0000002.jpg", "0000003.jpg"]


def test_checkpoints_are_ordered_by_number_and_strays_are_left_alone(tmp_path):
    for name in (
        "iter_10.pth",
        "iter_9.pth",
        "iter_100.pth",
        ".partial",
        ".iter_200.pth.partial",
        "iter_best.pth",
        "iter_7 copy.pth",
    ):
        (tmp_path / name).touch()
    assert [path.name for path in saved(tmp_path)] == ["iter_9.pth", "iter_10.pth", "iter_100.pth"]


@pytest.mark.parametrize(("seconds", "told"), [(0.4, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (360_000, "100:00:00")])
def test_the_time_left_is_a_clock(seconds, told):
    assert _clock(seconds) == told
