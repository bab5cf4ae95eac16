"""Arithmetic over known pixels: unknown costs nothing and poisons nothing."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from shared.dense.masked import capped, line_log, masked_mean, resize, scale_and_shift, silog, unit


def test_a_mean_is_over_what_is_known():
    values, known = torch.tensor([1.0, 2.0, 100.0]), torch.tensor([True, True, False])
    assert masked_mean(values, known) == 1.5


def test_nothing_known_costs_exactly_zero_with_zero_gradient():
    values = torch.randn(3, 4, requires_grad=True)
    cost = masked_mean(values**2, torch.zeros(3, 4, dtype=torch.bool))
    assert cost == 0
    assert torch.equal(torch.autograd.grad(cost, values)[0], torch.zeros(3, 4))


def test_only_known_values_are_pulled():
    values = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (pull,) = torch.autograd.grad(masked_mean(values, torch.tensor([True, False, True])), values)
    assert pull.tolist() == [0.5, 0, 0.5]


@pytest.mark.parametrize(("size", "cost", "pull"), [(3.0, 3.0, 1.0), (4.0, 4.0, 1.0), (8.0, 4.0, 0.5), (400.0, 4.0, 0.01)])
def test_beyond_a_limit_a_cost_stays_and_its_gradient_shrinks(size, cost, pull):
    value = torch.tensor(size, requires_grad=True)
    limited = capped(value, 4.0)
    assert limited.item() == pytest.approx(cost)
    assert torch.autograd.grad(limited, value)[0].item() == pytest.approx(pull)


def test_resizing_maps_areas_and_keeps_the_mean_of_a_ramp():
    ramp = torch.arange(8.0).expand(1, 1, 6, 8)
    wide = resize(ramp, (12, 16))
    assert wide.dtype == torch.float32
    torch.testing.assert_close(wide[0, 0, 0, 1:-1], (torch.arange(1, 15) + 0.5) / 2 - 0.5)
    assert wide.mean() == ramp.mean()
    assert resize(ramp, (6, 8)) is ramp


@pytest.mark.parametrize(("scale", "shift"), [(2.0, 1.0), (-0.5, 3.0), (1e-3, 0.0)])
def test_a_scale_and_a_shift_are_found_again(scale, shift):
    answer = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(0))
    known = torch.ones(2, 5, 4, dtype=torch.bool)
    s, t = scale_and_shift(answer, scale * answer + shift, known)
    torch.testing.assert_close(s, torch.full((2,), scale, dtype=torch.float64), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(t, torch.full((2,), shift, dtype=torch.float64), atol=1e-6, rtol=1e-6)


def test_a_fit_is_the_least_squares_of_linear_algebra_and_ignores_the_unknown():
    generator = torch.Generator().manual_seed(1)
    answer, truth = torch.rand(1, 30, generator=generator), torch.rand(1, 30, generator=generator)
    known = torch.rand(1, 30, generator=generator) > 0.3
    design = torch.stack([answer[known], torch.ones(int(known.sum()))], 1).double()
    wanted = torch.linalg.lstsq(design, truth[known].double()[:, None]).solution[:, 0]
    spoilt = torch.where(known, truth, torch.nan)
    s, t = scale_and_shift(torch.where(known, answer, torch.nan), spoilt, known)
    torch.testing.assert_close(torch.cat([s, t]), wanted)


def test_a_constant_answer_is_fitted_by_the_mean_and_nothing_by_zero():
    truth, known = torch.tensor([[1.0, 3.0]]), torch.ones(1, 2, dtype=torch.bool)
    assert [x.item() for x in scale_and_shift(torch.full((1, 2), 0.1), truth, known)] == [0, 2]
    assert [x.item() for x in scale_and_shift(truth, truth, ~known)] == [0, 0]


def test_unit_vectors_are_those_of_torch_and_so_are_their_gradients():
    vectors = torch.randn(2, 3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    vectors[0, :, 0, 0] = 0
    ours, theirs = (vectors.clone().requires_grad_() for _ in range(2))
    (unit(ours) ** 3).sum().backward()
    (F.normalize(theirs, dim=1, eps=1e-6) ** 3).sum().backward()
    torch.testing.assert_close(unit(vectors), F.normalize(vectors, dim=1, eps=1e-6))
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_below_its_floor_a_logarithm_goes_on_without_a_step_or_a_kink():
    low, high = line_log(torch.tensor([0.01 - 1e-5, 0.01 + 1e-5], dtype=torch.float64), 0.01)
    assert (high - low).item() == pytest.approx(2e-5 / 0.01, rel=1e-2)
    far = torch.tensor([-5.0, 0.0, 3.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(line_log(far, 0.01).sum(), far)
    assert slope.tolist() == pytest.approx([100, 100, 1 / 3])
    assert line_log(far, 0.01)[2].item() == pytest.approx(math.log(3))


def test_the_scale_invariant_logarithm_is_its_formula_and_forgives_what_it_is_told_to():
    rng = np.random.default_rng(0)
    target, answer, known = rng.uniform(0.5, 3, (3, 4, 5)), rng.uniform(0.5, 3, (3, 4, 5)), rng.random((3, 4, 5)) < 0.7
    known[2] = False  # a picture of which nothing is known does not count
    tensors = [torch.from_numpy(values) for values in (answer, target, known)]
    for focus in (0.0, 0.5, 1.0):
        wanted = []
        for t, a, k in zip(target[:2], answer, known):
            g = [math.log(x) - math.log(y) for x, y in zip(t[k], a[k])]
            wanted.append(math.sqrt(sum(x * x for x in g) / len(g) - focus * (sum(g) / len(g)) ** 2))
        assert silog(*tensors, focus=focus, floor=1e-3).item() == pytest.approx(sum(wanted) / 2, rel=1e-6)


def test_an_exact_answer_costs_nothing_and_has_a_finite_gradient():
    exact = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    cost = silog(exact, exact.detach(), torch.ones(2, 3, 4, dtype=torch.bool), focus=0.5, floor=1e-3)
    assert cost == 0
    assert torch.equal(torch.autograd.grad(cost, exact)[0], torch.zeros(2, 3, 4))
