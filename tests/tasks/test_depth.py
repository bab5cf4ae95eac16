"""Depth: the official cost, and scores that can be computed by hand."""

import pytest
import torch

from tasks.depth.task import EPS, Depth, relative


def official(raw, target, eps=1e-6):
    """The published loss as the specification restates it (section 5): relative targets, unknown below zero."""
    known = target > eps
    g = torch.where(known, target.clamp(min=eps).log() - raw.clamp(min=eps).log(), 0)
    n = known.flatten(1).sum(1)
    mean, square = g.flatten(1).sum(1) / n, (g * g).flatten(1).sum(1) / n
    return (square - 0.5 * mean**2).sqrt().mean()


def test_the_restated_cost_is_the_official_one(golden):
    told = golden["silog"]
    target = 0.4 + 0.6 * golden.wave((2, 8, 6), 0.07)
    target[target < 0] = -1
    assert official(0.5 + 0.5 * golden.wave((2, 8, 6), 0.11), target).item() == pytest.approx(told["loss"], abs=1e-5)


def test_above_the_floor_the_cost_is_the_restated_one():
    generator = torch.Generator().manual_seed(0)
    depth = 2 + torch.rand(3, 8, 6, generator=generator)
    depth[:, :2] = torch.nan
    raw = 0.02 + torch.rand(3, 1, 8, 6, generator=generator)
    for floor in (EPS, 1e-2):
        target, known = relative(depth)
        depth = torch.where((target > 0) & (target < floor), torch.nan, depth)  # the floor is for targets, too
        target, known = relative(depth)
        wanted = official(raw[:, 0], torch.where(known, target, -1))
        torch.testing.assert_close(Depth(floor=floor).loss(raw, {"depth": depth})["silog"], wanted)


def test_below_the_floor_the_slope_goes_on_and_brings_the_answer_back():
    depth = torch.tensor([[[1.0, 1.5, 2.0]]])
    raw = torch.tensor([[[[0.5, -0.3, 0.005]]]], requires_grad=True)
    (pull,) = torch.autograd.grad(Depth().loss(raw, {"depth": depth})["silog"], raw)
    assert pull[0, 0, 0, 1] < 0  # official: exactly 0, for ever


def test_the_cost_ignores_scale_as_far_as_it_was_told_to():
    depth = 1 + torch.rand(1, 8, 6, generator=torch.Generator().manual_seed(0))
    target, _ = relative(depth)
    doubled = (2 * target)[:, None].clamp(min=1e-5)
    forgiving, strict = (Depth(variance_focus=f, floor=EPS).loss(doubled, {"depth": depth})["silog"] for f in (1.0, 0.0))
    assert forgiving < 1e-2
    assert strict.item() == pytest.approx(torch.log(torch.tensor(2.0)).item(), rel=1e-3)


def test_relative_depth_is_zero_at_the_nearest_and_one_at_the_farthest():
    depth = torch.tensor([[[2.0, 3.0], [torch.nan, 6.0]], [[5.0, 5.0], [5.0, torch.nan]]])
    target, known = relative(depth)
    assert target[0].tolist() == [[0, 0.25], [0, 1]]
    assert known[0].tolist() == [[True, True], [False, True]]
    assert not known[1].any()  # a flat picture says nothing
    assert (target[1] == 0).all()


def score(answer, truth):
    answer, truth = torch.tensor(answer), torch.tensor(truth)
    return Depth().summarise(Depth().measure(answer, {"depth": truth})[None])


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.1, 3.0), (-2.0, 5.0)])
def test_scale_and_shift_of_an_answer_mean_nothing(scale, shift):
    truth = 1 + torch.rand(9, 7, generator=torch.Generator().manual_seed(0))
    perfect = {name: 1 if name.startswith(("delta", "edge")) else 0 for name in score(truth.tolist(), truth.tolist())}
    assert score((scale * truth + shift).tolist(), truth.tolist()) == pytest.approx(perfect, abs=1e-5)


def test_scores_of_two_by_two_pixels_by_hand():
    # The best line through (0,1) (0,2) (1,3) (1,4) is 1.5 + 2 x: half a metre off everywhere.
    found = score([[0.0, 0.0], [1.0, 1.0]], [[1.0, 2.0], [3.0, 4.0]])
    assert found["rmse_m"] == pytest.approx(0.5)
    assert found["abs_rel"] == pytest.approx((0.5 / 1 + 0.5 / 2 + 0.5 / 3 + 0.5 / 4) / 4)
    assert found["delta1"] == pytest.approx(2 / 4)  # 1.5/1 and 2/1.5 are too far, 3.5/3 and 4/3.5 are not


def test_one_far_pixel_of_n_is_one_nth_of_delta():
    truth = torch.linspace(1, 2, 1000).reshape(20, 50)
    answer = truth.clone()
    answer[10, 10] = 3.0
    assert score(answer.tolist(), truth.tolist())["delta1"] == pytest.approx(1 - 1 / 1000)


def test_noise_scores_as_well_as_one_distance_everywhere():
    generator = torch.Generator().manual_seed(0)
    truth = 1 + torch.rand(100, 80, generator=generator)
    noise = score(torch.randn(100, 80, generator=generator).tolist(), truth.tolist())
    flat = score(torch.full((100, 80), 0.5).tolist(), truth.tolist())
    assert noise == pytest.approx(flat, rel=0.01)
    assert flat["rmse_m"] == pytest.approx(12**-0.5, rel=0.02)


def test_unknown_pixels_do_not_count():
    nan = float("nan")
    assert score([[0.0, 9.0], [1.0, 2.0]], [[1.0, nan], [2.0, 4.0]]) == pytest.approx(score([[0.0, 1.0, 2.0]], [[1.0, 2.0, 4.0]]))


def test_the_error_is_a_mean_over_pictures_and_edges_are_counted_over_all():
    task = Depth()
    steep, flat = torch.tensor([[1.0, 1.0, 3.0, 3.0]]), torch.tensor([[1.0, 1.01, 1.02, 1.03]])
    rows = torch.stack([task.measure(a, {"depth": t}) for a, t in ((steep, steep), (flat.flip(1) ** 2, steep), (steep, flat))])
    found, single = task.summarise(rows), [task.summarise(row[None]) for row in rows]
    assert found["abs_rel"] == pytest.approx(sum(one["abs_rel"] for one in single) / 3)
    assert found["rmse_m"] == pytest.approx((sum(one["rmse_m"] ** 2 for one in single) / 3) ** 0.5)
    assert single[0]["edge_f"] == 1
    both, answered, true = rows[:, -3:].sum(0).tolist()
    assert true == 2
    assert found["edge_f"] == pytest.approx(2 * both / (answered + true))


def test_the_table_has_both_alignments_and_relative_depth_is_not_scored_in_metres():
    truth = 1 + torch.rand(9, 7, generator=torch.Generator().manual_seed(0))
    rows = Depth().measure(3 * truth, {"depth": truth})[None]
    table = Depth().details(rows)
    assert list(table) == ["scale and shift", "median"]
    assert all(table[line]["abs_rel"] == pytest.approx(0, abs=1e-6) for line in table)
    shifted = Depth().details(Depth().measure(3 * truth + 5, {"depth": truth})[None])
    assert shifted["scale and shift"]["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert shifted["median"]["abs_rel"] > 0.05, "the median knows nothing of a shift"


def test_the_trivial_answer_is_one_distance():
    assert Depth().trivial({"depth": torch.rand(2, 4, 4)}).unique().numel() == 1
