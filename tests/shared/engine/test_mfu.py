"""How much of a device is used is told where its peak is known."""

import logging

import pytest
import torch

from shared.engine import mfu
from shared.engine.launch import train
from shared.engine.plan import plan
from shared.engine.session import Session


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989.0),
        ("NVIDIA H100 80GB HBM3", 989.0),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce GTX 1080", None),
    ],
)
def test_the_peak_is_known_by_name(name, peak):
    assert mfu.peak_of(name) == peak


def test_the_share_by_hand():
    assert mfu.share(10, 39.56e12, 989.0) == pytest.approx(0.4)


def test_two_processes_have_two_peaks_and_recomputing_is_no_work_of_the_model(tiny, tmp_path):
    config = tiny("seg", tmp_path, "peak_tflops=2.0")
    one, two = (mfu.utilisation(config, Session(torch.device("cpu"), 0, n), None) for n in (1, 2))
    assert one == pytest.approx(plan(config).flops / 2e12)
    assert two == pytest.approx(plan(config).flops / 4e12)
    again = {**config, "backbone": {**config["backbone"], "recompute": True}}
    assert mfu.utilisation(again, Session(torch.device("cpu")), None) == one
    assert plan(again).flops > plan(config).flops


@pytest.mark.parametrize("change", [{"peak_tflops": None}, {"peak_tflops": 1.0, "frozen": True}])
def test_nothing_is_said_of_what_is_not_known(tiny, tmp_path, change):
    assert mfu.utilisation({**tiny("seg", tmp_path), **change}, Session(torch.device("cpu")), None) is None


def test_the_log_says_it(tiny, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        train(tiny("seg", tmp_path / "seg", "iters=1", "log_every=1", "peak_tflops=0.1"))
    line = next(text for text in caplog.messages if "img/s" in text)
    assert float(line.split(" mfu ")[1].split()[0]) > 0
