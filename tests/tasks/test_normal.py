"""Normals: the official cost, and angles that can be measured with a protractor."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tasks.normal.task import WITHIN_DEG, Normal

FACING = [0.0, 0.0, 1.0]


def tilted(degrees):
    return [0.0, math.sin(math.radians(degrees)), math.cos(math.radians(degrees))]


def pull(raw, target):
    """The gradient of all terms at a raw answer."""
    return torch.autograd.grad(torch.stack(list(Normal().loss(raw, {"normal": target}).values())).sum(), raw)[0]


def score(answer, truth):
    answer, truth = torch.as_tensor(answer, dtype=torch.float32), torch.as_tensor(truth, dtype=torch.float32)
    return Normal().summarise(Normal().measure(answer, {"normal": truth})[None])


def test_the_cost_is_the_official_one(golden):
    told = golden["normal_losses"]
    target = F.normalize(golden.wave((2, 3, 8, 6), 0.07), dim=1)
    target[:, :, :2] = torch.nan
    costs = Normal().loss(golden.wave((2, 3, 8, 6), 0.11), {"normal": target})
    assert costs["l1"].item() == pytest.approx(told["l1"], abs=1e-5)
    assert costs["cosine"].item() == pytest.approx(told["cosine"], abs=1e-5)


def test_slope_is_the_squared_step_of_the_error_by_hand():
    nan = torch.nan
    target = torch.tensor([[1.0, 1, 1], [1, 1, nan]]).expand(1, 3, 2, 3)  # the same everywhere: the steps are those of the answer
    raw = torch.tensor([[0.0, 1, 3], [0, 2, 9]]).expand(1, 3, 2, 3)
    across, down = (1 + 4 + 4) / 3, (0 + 1) / 2  # each component; steps to the unknown corner do not count
    assert Normal(slope=0.5).loss(raw, {"normal": target})["slope"].item() == pytest.approx(0.5 * 3 * (across + down))
    assert "slope" not in Normal().loss(raw, {"normal": target})


def test_length_matters_to_l1_and_not_to_the_cosine():
    target = torch.tensor([0.0, 0, 1]).view(1, 3, 1, 1)
    costs = Normal().loss(3 * target, {"normal": target})
    assert costs["l1"].item() == pytest.approx(2)
    assert costs["cosine"].item() == pytest.approx(0, abs=1e-6)


def test_an_answer_of_zero_has_a_finite_gradient():
    raw = torch.zeros(1, 3, 2, 2, requires_grad=True)
    assert pull(raw, torch.tensor(FACING).view(1, 3, 1, 1).expand(1, 3, 2, 2)).isfinite().all()


def test_a_normal_of_which_one_number_is_missing_is_unknown():
    target = torch.tensor(FACING).view(1, 3, 1, 1).expand(1, 3, 2, 2).clone()
    target[0, 1, 0, 0] = torch.nan
    raw = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    gradient = pull(raw, target)[0]
    assert (gradient[:, 0, 0] == 0).all()
    assert (gradient[:, 1, 1] != 0).any()


def test_decoded_normals_have_unit_length():
    raw = 50 * torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Normal().decode(raw).norm(dim=1), torch.ones(2, 5, 4))


@pytest.mark.parametrize("degrees", [3.0, 12.0, 25.0, 90.0, 180.0])
def test_a_surface_tilted_by_an_angle_is_that_angle_off(degrees):
    found = score([[tilted(degrees)] * 4] * 3, [[FACING] * 4] * 3)
    assert found["mean_deg"] == pytest.approx(degrees, abs=1e-3)
    assert found["rmse_deg"] == pytest.approx(degrees, abs=1e-3)
    assert found["median_deg"] == pytest.approx(degrees, abs=0.11)
    assert {limit: found[f"within_{limit:g}"] for limit in WITHIN_DEG} == {limit: float(degrees < limit) for limit in WITHIN_DEG}


def test_scores_of_two_by_two_pixels_by_hand():
    found = score([[tilted(0), tilted(10)], [tilted(20), tilted(40)]], [[FACING] * 2] * 2)
    assert found["mean_deg"] == pytest.approx(17.5, abs=1e-3)
    assert found["rmse_deg"] == pytest.approx((2100 / 4) ** 0.5, abs=1e-3)
    assert (found["within_5"], found["within_11.25"], found["within_22.5"], found["within_30"]) == (0.25, 0.5, 0.75, 0.75)
    assert found["median_deg"] == pytest.approx(10, abs=0.11)


def test_scores_of_noise_are_those_of_numpy():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, 30, 3))
    truth /= np.linalg.norm(truth, axis=-1, keepdims=True)
    answer = truth + rng.gamma(1.0, 0.3, (40, 30, 1)) * rng.normal(size=(40, 30, 3))
    unknown = rng.random((40, 30)) < 0.2
    shown = np.where(unknown[..., None], np.nan, truth)
    cosine = (answer * truth).sum(-1) / np.linalg.norm(answer, axis=-1)
    angle = np.degrees(np.arccos(cosine[~unknown].clip(-1, 1)))
    found = score(answer, shown)
    assert found["mean_deg"] == pytest.approx(angle.mean(), abs=1e-3)
    assert found["median_deg"] == pytest.approx(np.median(angle), abs=0.1)
    assert found["rmse_deg"] == pytest.approx((angle**2).mean() ** 0.5, abs=1e-3)
    near = np.abs(angle[:, None] - np.array(WITHIN_DEG)).min()
    assert near > 1e-3, "an angle on a threshold would be a matter of rounding; take another seed"
    for limit in WITHIN_DEG:
        assert found[f"within_{limit:g}"] == pytest.approx((angle < limit).mean(), abs=1.5 / len(angle))


def test_one_wrong_pixel_of_n_is_one_nth():
    truth = torch.tensor(FACING).expand(20, 25, 3)
    answer = truth.clone()
    answer[3, 4] = torch.tensor(tilted(90))
    found = score(answer, truth)
    assert found["mean_deg"] == pytest.approx(90 / 500, abs=1e-4)
    assert found["within_30"] == pytest.approx(1 - 1 / 500)


def test_noise_scores_chance():
    generator = torch.Generator().manual_seed(0)
    answer, truth = (F.normalize(torch.randn(300, 200, 3, generator=generator), dim=-1) for _ in range(2))
    found = score(answer, truth)
    assert found["mean_deg"] == pytest.approx(90, abs=0.5)
    assert found["median_deg"] == pytest.approx(90, abs=0.5)
    assert found["within_30"] == pytest.approx((1 - math.cos(math.radians(30))) / 2, abs=0.005)


def test_the_length_of_truth_and_answer_does_not_matter_to_the_angle():
    answer, truth = torch.tensor([[[0, 0, 5.0]]]), torch.tensor([[tilted(30)]]) * 0.2
    assert score(answer, truth)["mean_deg"] == pytest.approx(30, abs=1e-3)


def test_pixels_count_alike_whichever_picture_they_are_in():
    task, truth = Normal(), torch.tensor(FACING)
    rows = [
        task.measure(truth.expand(1, 1, 3), {"normal": truth.expand(1, 1, 3)}),
        task.measure(torch.tensor(tilted(40)).expand(1, 3, 3), {"normal": truth.expand(1, 3, 3)}),
    ]
    assert task.summarise(torch.stack(rows))["mean_deg"] == pytest.approx(30, abs=1e-3)


def test_the_trivial_answer_is_the_mean_normal_and_faces_us_where_there_is_none():
    truth = torch.tensor([tilted(30), tilted(-30)]).T.reshape(1, 3, 1, 2)
    raw = Normal().trivial({"normal": truth})
    torch.testing.assert_close(Normal().decode(raw[None])[0, :, 0, 0], torch.tensor(FACING))
    assert Normal().trivial({"normal": torch.full((1, 3, 2, 2), torch.nan)})[:, 0, 0].tolist() == FACING
