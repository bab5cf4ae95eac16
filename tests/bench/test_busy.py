"""How busy a device is, by hand; and photos that are answered and watched on a processor."""

import math
import os
import threading
import time
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from answering import Joint
from busy import Shares, Span, covered, drawn, photos, photos_per_s, rows, shares, watched
from speed_table import Bench

from shared.dense.decoder import Spec
from shared.engine.compare import cost

CPU = torch.device("cpu")
TINY = Joint("tiny", {"dim": 32, "depth": 1, "heads": 2}, (64, 48), CPU, Spec((16,), (16,)), skeleton="coco17")


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0),
        ([Span(2, 3), Span(5, 6)], 2),  # one after another
        ([Span(2, 5), Span(3, 4), Span(3, 6)], 4),  # two streams, and one thing inside another
        ([Span(5, 6), Span(2, 3), Span(3, 5)], 4),  # in any order, without a gap
        ([Span(-3, 1), Span(9, 12), Span(-2, -1), Span(11, 12)], 2),  # only what lies between
        ([Span(-3, 12)], 10),
    ],
)
def test_what_overlaps_counts_once_and_what_lies_outside_not_at_all(spans, seconds):
    assert covered(spans, 0, 10) == seconds


def test_the_first_half_does_not_count_and_copies_are_no_computing():
    slow_start = [Span(0, 1), Span(6, 8), Span(7, 9, copies=True), Span(9.5, 10)]
    assert shares(slow_start) == pytest.approx(Shares(3.5 / 5, 2.5 / 5))


def test_a_device_of_which_nothing_was_seen_has_no_share():
    assert all(map(math.isnan, shares([])))


@pytest.mark.filterwarnings("ignore:Warning. Profiler clears events:UserWarning")  # of torch 2.11, in the first cycle already
def test_a_device_that_waits_is_less_busy_than_one_that_does_not():
    def work(pause_s: float) -> None:
        for _ in range(8):
            torch.ones(300, 300).mm(torch.ones(300, 300))
            time.sleep(pause_s)

    waits, works = (shares(watched(partial(work, pause_s), CPU)).busy for pause_s in (0.02, 0))
    assert 0 < waits < 0.7 * works


def test_photos_of_the_second_half_are_counted_by_when_their_last_file_was_written(tmp_path):
    for number, second in enumerate([0, 100, 101, 102, 104, 105]):  # the first ones are slow
        for kind, before in (("seg.png", 0), ("depth.npy", 0.9 * (second == 105))):
            path = tmp_path / f"{number:03d}.{kind}"
            path.touch()
            os.utime(path, (0, 1e9 + second - before))
    assert photos_per_s(tmp_path) == pytest.approx(3 / 4)


def test_a_drawn_photo_is_as_hard_to_compress_as_those_of_cameras():
    """2 to 4 MB for 12 megapixels at this quality (test_data_speed.py)."""
    image = drawn((1024, 768), 0)
    megabytes = len(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]) / 1e6
    assert 2 / 12.6 < megabytes / (image[..., 0].size / 1e6) < 6 / 12.6
    assert not np.array_equal(image, drawn((1024, 768), 1))


def test_photos_are_answered_watched_and_cleared_away(tmp_path):
    model, found = TINY.model(), photos(tmp_path / "photos", 4, (80, 60))
    made = list(rows(Bench(CPU), TINY, model, found, tmp_path))
    assert [row.name.removeprefix("tiny, photos, ") for row in made] == [
        "all in one pass",
        "pose alone",
        "seg alone",
        "depth alone",
        "normal alone",
        "all in one pass, drawn",
    ]
    assert [row.why for row in made] == [""] * 6
    assert all(0 < row.computing <= row.busy <= 1 for row in made)
    flops = cost(model, TINY.pictures(1), ["seg"], repeats=1).flops
    assert made[2].tflops == pytest.approx(flops * made[2].images_per_s / 1e12)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    assert threading.active_count() < 20


def test_a_photo_that_cannot_be_read_breaks_its_row_and_is_named(tmp_path, capsys):
    found = photos(tmp_path / "photos", 2, (64, 48))
    found[1].path.write_bytes(b"no photo")
    row = next(rows(Bench(CPU), TINY, TINY.model(), found, tmp_path))
    assert row.broken
    assert "001: " in row.why
    assert "no photo" not in capsys.readouterr().out
