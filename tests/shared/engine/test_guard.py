"""Steps that go wrong are left out, and too many of them in a row are the end."""

import pytest
import torch
from torch import nn

from shared.engine.session import Session
from shared.engine.step import Autocast
from shared.engine.survive import USUAL, Guard, Signals
from shared.engine.watch import Stopwatch

HERE = Session(torch.device("cpu"))


def stepped(loss_factor: float, *, clip: float = 1.0) -> tuple[nn.Linear, Guard]:
    """A layer after two steps, the second with its loss times a factor."""
    torch.manual_seed(0)
    layer, guard = nn.Linear(3, 1), Guard(HERE, Signals(), spike=0.0, skips=3)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    wrapper = Autocast(device_type="cpu", dtype=None, clip=clip, guard=guard, watch=Stopwatch(HERE.device), optimizer=optimizer)
    for factor in (1.0, loss_factor):
        wrapper.update_params(factor * layer(torch.ones(2, 3)).square().mean())
    return layer, guard


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_step_without_a_finite_loss_is_left_out(factor, caplog):
    taken, guard = stepped(1.0)
    assert not guard.skipped
    left, guard = stepped(factor)
    assert (guard.skipped, guard.left_out, guard.over) == (1, True, False)
    assert "a step is left out: the loss is" in caplog.text
    assert all(tensor.isfinite().all() for tensor in left.parameters())
    assert not torch.equal(left.weight, taken.weight)


def fed(guard: Guard, *norms: float) -> list[bool]:
    return [guard.passes(torch.tensor(1.0), torch.tensor(norm)) for norm in norms]


def test_a_spike_is_left_out_once_it_is_known_what_is_usual():
    guard = Guard(HERE, Signals(), spike=10.0, skips=3)
    assert all(fed(guard, 900.0, *[1.0] * (USUAL - 1))), "nothing is usual yet"
    assert fed(guard, 9.0, 11.0, 10.0, 11.0) == [True, False, True, False]
    assert guard.skipped == 2
    assert not guard.over
    later = Guard(HERE, Signals(), spike=10.0, skips=3)
    later.restore(guard.state())
    assert fed(later, 11.0, 9.0) == [False, True], "a run that goes on knows it, too"
    assert later.skipped == 3


def test_without_a_limit_a_spike_is_followed():
    assert all(fed(Guard(HERE, Signals(), spike=0.0, skips=3), *[1.0] * USUAL, 1e9))


def test_too_many_in_a_row_are_the_end_and_too_many_apart_are_not():
    guard = Guard(HERE, Signals(), spike=0.0, skips=2)
    wrong = float("nan")
    fed(guard, wrong, 1.0, wrong, 1.0, wrong)
    assert not guard.over
    fed(guard, wrong)
    assert guard.over
    assert guard.lost is not None
    assert guard.lost.startswith("2 steps in a row were left out, the last because the norm of the gradient is nan")
