"""Errors of depth: by hand, and as numpy has them when it is written down from the definitions a second time."""

import numpy as np
import pytest
import torch

from shared.dense.distance import ERRORS, REACH, alignments, errors, fitted, harmony, named, scaled, seen, steps


def reference(a, t):
    """The definitions of Eigen et al. 2014, pixel by pixel."""
    a, t = np.asarray(a, np.float64), np.asarray(t, np.float64)
    ratio = np.array([max(x / y, y / x) for x, y in zip(a, t)])
    return {
        "abs_rel": np.mean([abs(x - y) / y for x, y in zip(a, t)]),
        "sq_rel": np.mean([(x - y) ** 2 / y for x, y in zip(a, t)]),
        "mse": np.mean([(x - y) ** 2 for x, y in zip(a, t)]),
        "mse_log": np.mean([(np.log(x) - np.log(y)) ** 2 for x, y in zip(a, t)]),
        "log10": np.mean([abs(np.log10(x) - np.log10(y)) for x, y in zip(a, t)]),
        "delta1": np.mean(ratio < 1.25),
        "delta2": np.mean(ratio < 1.5625),
        "delta3": np.mean(ratio < 1.953125),
    }


@pytest.fixture
def distances():
    generator = torch.Generator().manual_seed(0)
    truth = 1 + 3 * torch.rand(500, generator=generator)
    return truth * (0.4 + 1.4 * torch.rand(500, generator=generator)), truth


def test_errors_of_two_pixels_by_hand():
    found = dict(zip(ERRORS, errors(torch.tensor([2.0, 4.0]), torch.tensor([1.0, 4.0])).tolist()))
    assert found == pytest.approx(
        {
            "abs_rel": 1 / 2,
            "sq_rel": 1 / 2,
            "mse": 1 / 2,
            "mse_log": np.log(2) ** 2 / 2,
            "log10": np.log10(2) / 2,
            "delta1": 1 / 2,  # twice as far is beyond 1.25, 1.56 and 1.95
            "delta2": 1 / 2,
            "delta3": 1 / 2,
        }
    )


def test_errors_are_those_of_the_definitions(distances):
    found = dict(zip(ERRORS, errors(*distances).tolist()))
    assert found == pytest.approx(reference(*distances))
    assert 0.1 < found["delta1"] < found["delta2"] < found["delta3"] < 1, "or the three thresholds were not told apart"


def test_scale_and_shift_are_those_of_numpys_least_squares(distances):
    answer, truth = (values.double().numpy() for values in distances)
    scale, shift = np.linalg.lstsq(np.c_[answer, np.ones_like(answer)], truth, rcond=None)[0]
    np.testing.assert_allclose(fitted(*distances).numpy(), scale * answer + shift, rtol=1e-6)


def test_after_scaling_the_medians_agree_and_scale_means_nothing(distances):
    answer, truth = distances
    assert np.median(scaled(answer, truth)) == pytest.approx(np.median(truth))
    torch.testing.assert_close(scaled(7 * answer, truth), scaled(answer, truth), rtol=1e-5, atol=1e-5)
    even = scaled(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([2.0, 4.0, 6.0, 8.0]))
    assert even.tolist() == pytest.approx([2, 4, 6, 8])


@pytest.mark.parametrize("answer", [[0.0, 0.0, 0.0], [-1.0, -2.0, -3.0], [5.0, 5.0, 5.0]])
@pytest.mark.parametrize("truth", [[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]])
def test_answers_that_cannot_be_aligned_have_finite_errors(answer, truth):
    a, t = torch.tensor(answer), torch.tensor(truth)
    for aligned in (fitted(a, t), scaled(a, t)):
        assert errors(aligned, t).isfinite().all()


def test_holes_are_unknown():
    assert seen(torch.tensor([1.0, 0.0, -1.0, torch.nan, torch.inf])).tolist() == [True, False, False, False, False]


def test_edges_by_hand():
    near, far = 2.0, 2.2  # ten percent farther
    truth = torch.tensor([[near, near, far, far]]).expand(3, 4)
    assert steps(truth, truth).tolist() == [3, 3, 3]
    assert steps(torch.full((3, 4), near), truth).tolist() == [0, 0, 3]
    assert steps(truth.flip(1), truth).tolist() == [0, 3, 3], "a step the other way is another edge"
    moved = torch.tensor([[near, far, far, far]]).expand(3, 4)
    assert steps(moved, truth).tolist() == [0, 3, 3]
    gentle = torch.tensor([[2.0, 2.08, 2.16, 2.24]]).expand(3, 4)  # a slope, four percent a pixel
    assert steps(gentle, gentle).tolist() == [0, 0, 0]


def test_edges_beside_the_unknown_do_not_count():
    truth = torch.tensor([[2.0, torch.nan, 4.0, 4.0], [2.0, 0.0, 4.0, 4.0]])
    assert steps(torch.ones(2, 4), truth).tolist() == [0, 0, 0]


def test_edges_are_those_of_a_loop_over_all_pairs():
    generator = torch.Generator().manual_seed(0)
    truth, answer = (1 + 0.2 * torch.rand(130, 90, generator=generator) for _ in range(2))
    truth[:40, :30] = torch.nan
    reach = round(REACH * np.hypot(130, 90))
    assert reach == 1

    def falls(depth, i, j, k, m):
        ratio = depth[k][m] / depth[i][j]
        return 0 if max(ratio, 1 / ratio) <= 1.05 else (1 if ratio > 1 else -1)

    a, t = answer.double().tolist(), truth.double().tolist()
    counts = np.zeros(3)
    for i in range(130):
        for j in range(90):
            for k, m in ((i + reach, j), (i, j + reach)):
                if k < 130 and m < 90 and np.isfinite(t[i][j] + t[k][m]):
                    found, real = falls(a, i, j, k, m), falls(t, i, j, k, m)
                    counts += [found == real != 0, found != 0, real != 0]
    assert steps(answer, truth).tolist() == counts.tolist()
    assert counts.min() > 100


def test_a_soft_edge_of_a_large_picture_is_an_edge():
    truth = torch.where(torch.arange(1000) < 500, 2.0, 2.4).expand(600, 1000)
    soft = 2.2 + 0.2 * ((torch.arange(1000) - 499.5) / 4).tanh()
    assert harmony(*steps(soft.expand(600, 1000), truth).tolist()) > 0.5
    assert harmony(*steps(2.2 + 0.2 * ((torch.arange(1000) - 499.5) / 400).tanh().expand(600, 1000), truth).tolist()) == 0


def test_a_table_averages_over_pictures_with_depth_and_takes_roots_last():
    rows = torch.zeros(3, 9, dtype=torch.float64)
    rows[0] = torch.tensor([1, 0.1, 0, 4.0, 0.09, 0, 1, 1, 1])
    rows[1] = torch.tensor([1, 0.3, 0, 0.0, 0.09, 0, 0.5, 1, 1])
    found = alignments(rows, ["as it is"])["as it is"]
    assert (found["abs_rel"], found["rmse_m"], found["rmse_log"], found["delta1"]) == pytest.approx((0.2, 2**0.5, 0.3, 0.75))
    assert all(np.isnan(value) for value in alignments(rows[2:], ["as it is"])["as it is"].values())
    assert list(named(range(8))) == ["abs_rel", "sq_rel", "rmse_m", "rmse_log", "log10", "delta1", "delta2", "delta3"]


def test_f_is_the_harmonic_mean_of_precision_and_recall():
    precision, recall = 6 / 8, 6 / 10
    assert harmony(6, 8, 10) == pytest.approx(2 * precision * recall / (precision + recall))
    assert harmony(0, 0, 10) == 0
    assert np.isnan(harmony(0, 4, 0))
