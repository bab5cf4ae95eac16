"""KoLeo: what pushes pictures apart, by hand."""

from math import log, pi, sqrt

import pytest
import torch

from pretrain.koleo import koleo


def at(*degrees, length=1.0):
    angles = torch.tensor(degrees) * pi / 180
    return length * torch.stack([angles.cos(), angles.sin()], 1)


def test_by_hand():
    assert float(koleo(at(0.0, 90.0, 180.0))) == pytest.approx(-log(sqrt(2)), abs=1e-6)
    assert float(koleo(at(0.0, 60.0, 180.0))) == pytest.approx(-log(sqrt(3)) / 3, abs=1e-6)  # 1, 1 and the root of 3


def test_directions_count_and_lengths_do_not():
    assert float(koleo(at(0.0, 60.0, 180.0, length=7.0))) == pytest.approx(float(koleo(at(0.0, 60.0, 180.0))), abs=1e-6)


def test_neighbours_are_pushed_apart_more_the_nearer_they_are():
    pulls = []
    for between in (2.0, 20.0):
        rows = at(0.0, between).requires_grad_()
        koleo(rows).backward()
        assert rows.grad is not None
        after = torch.nn.functional.normalize(rows.detach() - 1e-4 * rows.grad, dim=1)
        assert after[0] @ after[1] < torch.cos(torch.tensor(between * pi / 180))
        pulls.append(float(rows.grad.norm()))
    assert pulls[0] > 5 * pulls[1]


@pytest.mark.parametrize("rows", [at(30.0), torch.ones(3, 4), torch.zeros(2, 4)])
def test_one_picture_equal_ones_and_nothing_have_finite_gradients(rows):
    rows = rows.clone().requires_grad_()
    cost = koleo(rows)
    cost.backward()
    assert cost.isfinite()
    assert rows.grad is not None
    assert rows.grad.isfinite().all()
    assert (cost.item() == 0) is (len(rows) == 1)
