"""The table of `make gpu`: on a GPU as it is, on processors with sizes that take no time."""

import pytest
import torch
from speed_table import Row, forward_flops, measured, table
from torch.utils.flop_counter import FlopCounterMode
from training import Setup, ours, plain

from shared.engine.plan import ATTENTION

CPU = torch.device("cpu")
TINY = Setup({"dim": 32, "depth": 1, "heads": 2}, (64, 64), 2, CPU, torch.bfloat16, decoder=(16, 1, 2), head=(16,))


@pytest.mark.parametrize("kind", ["mae", "seg"])
@pytest.mark.parametrize("maker", [ours, plain])
def test_a_row_is_measured(kind, maker):
    row = measured("tiny", kind, TINY, maker, rounds=1)
    assert row.name == f"tiny, batch 2, {maker.__name__}"
    assert row.images_per_s > 0
    assert row.tflops == pytest.approx(3 * forward_flops(TINY, kind) / 2 * row.images_per_s / 1e12)


@pytest.mark.parametrize("kind", ["mae", "seg"])
def test_the_arithmetic_is_that_of_a_pass_though_nothing_is_computed(kind):
    model, batch = ours(TINY, kind)[1], TINY.pictures()
    with FlopCounterMode(display=False, custom_mapping=ATTENTION) as counter, torch.no_grad():
        model.losses(batch)  # type: ignore[operator]
    assert forward_flops(TINY, kind) == counter.get_total_flops() > 0


def test_the_arithmetic_is_that_of_the_batch_without_what_is_computed_again():
    twice = TINY._replace(batch=4, recompute=True)
    assert forward_flops(twice, "mae") == 2 * forward_flops(TINY, "mae") > 0


def test_a_step_without_room_is_a_row_too():
    def greedy(setup, kind):
        raise torch.OutOfMemoryError

    text = table([measured("huge", "mae", TINY, greedy), Row("x", 12.34, 5.0, 1.0)], device="none", peak_tflops=10.0)
    assert "out of memory" in text.splitlines()[2]
    assert text.splitlines()[3].split() == ["x", "12.3", "5.00", "0.50", "1.0"]
