"""What it costs to answer otherwise than a teacher: nothing where both agree, and by hand where they do not."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.task import Task
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pointmap.task import Pointmap
from tasks.pose.task import Pose
from tasks.seg.task import Seg

TASKS = {
    task.name + " metric" * getattr(task, "metric", False): task
    for task in (Seg(), Depth(), Depth(metric=True), Normal(), Pose(), Pointmap())
}


def noise(task: Task, hw=(8, 6), seed=0) -> Tensor:
    return torch.randn(2, task.channels, *hw, generator=torch.Generator().manual_seed(seed)) + 1


def maps(*values) -> Tensor:
    """(1,1,1,n)."""
    return torch.tensor(values, dtype=torch.float32)[None, None, None]


@pytest.fixture(params=TASKS)
def task(request) -> Task:
    return TASKS[request.param]


def test_who_answers_as_the_teacher_pays_nothing(task):
    raw = noise(task).requires_grad_()
    cost = task.imitate(raw, raw.detach())
    assert cost.shape == ()
    assert cost.item() == pytest.approx(0, abs=1e-6)
    (pull,) = torch.autograd.grad(cost, raw)
    assert pull.isfinite().all()
    assert task.imitate(raw, noise(task, seed=1)) > 0.01


def test_following_the_gradient_leads_to_the_teacher(task):
    raw, taught = noise(task).requires_grad_(), noise(task, seed=1)
    before = task.imitate(raw, taught)
    (pull,) = torch.autograd.grad(before, raw)
    assert task.imitate(raw - 1e-3 * pull / pull.norm(), taught) < before


@pytest.mark.parametrize("hw", [(4, 3), (16, 12), (5, 7), (1, 1)])
def test_a_teacher_may_answer_at_another_resolution(task, hw):
    assert task.imitate(noise(task), noise(task, hw)).isfinite()
    flat = noise(task, (1, 1))
    if task.name in ("seg", "normal", "pose"):  # the same everywhere is the same at any resolution
        assert task.imitate(flat.expand(-1, -1, 8, 6), flat.expand(-1, -1, *hw)).item() == pytest.approx(0, abs=1e-6)


def test_pictures_count_alike(task):
    raw, taught = noise(task), noise(task, seed=1)
    each = [task.imitate(raw[i : i + 1], taught[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(task.imitate(raw, taught), sum(each) / 2)


def test_parts_pay_the_divergence_of_probabilities_by_hand():
    """The student says 1/2 1/2, the teacher 3/4 1/4; softened at 2, the teacher's odds of 3 are the root of 3."""
    two = {"entries": [{"name": "one", "colour": [1, 2, 3]}, {"name": "two", "colour": [4, 5, 6]}]}
    raw, taught = torch.zeros(1, 2, 1, 1), torch.tensor([math.log(3), 0.0])[None, :, None, None]
    wanted = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert Seg(labels=two).imitate(raw, taught).item() == pytest.approx(wanted, rel=1e-5)
    p = math.sqrt(3) / (1 + math.sqrt(3))
    wanted = 4 * (p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p)))
    assert Seg(labels=two, temperature=2.0).imitate(raw, taught).item() == pytest.approx(wanted, rel=1e-5)


def test_logits_that_differ_by_a_constant_are_the_same_answer():
    raw = noise(Seg())
    assert Seg().imitate(raw + 3, raw).item() == pytest.approx(0, abs=1e-5)


def test_points_pay_the_squared_error_of_heatmaps_by_hand():
    raw, taught = torch.zeros(1, 17, 2, 2), torch.zeros(1, 17, 2, 2)
    raw[0, 3, 0, 1], taught[0, 5, 1, 1] = 0.5, 1.0
    assert Pose().imitate(raw, taught).item() == pytest.approx((0.25 + 1) / (17 * 4))


def test_heatmaps_of_two_resolutions_meet_at_their_corners():
    taught = torch.zeros(1, 17, 3, 3)
    taught[..., 2, 2] = 1
    finer = torch.zeros(1, 17, 5, 5)
    finer[..., 4, 4], finer[..., 3, 4], finer[..., 4, 3], finer[..., 3, 3] = 1, 0.5, 0.5, 0.25
    assert Pose().imitate(finer, taught) == 0


def test_relative_depth_pays_for_proportions_by_hand():
    """Medians 1 and 2, mean distances 1 and 2: (-1, 0, 2) and (-1, 0, 1) / (2/3) are compared."""
    raw, taught = maps(0, 1, 3), maps(0, 2, 4)
    wanted = np.abs(np.array([-1, 0, 2]) - np.array([-2, 0, 2]) / (4 / 3)).mean()
    assert Depth().imitate(raw, taught).item() == pytest.approx(wanted)


def test_relative_depth_pays_for_no_scale_and_no_shift_but_for_what_is_in_front():
    taught = noise(Depth())
    for raw in (3 * taught, taught - 7, 0.1 * taught + 2):
        assert Depth().imitate(raw, taught).item() == pytest.approx(0, abs=1e-5)
    assert Depth().imitate(-taught, taught) > 1
    assert Depth().imitate(torch.full_like(taught, 0.5), taught).item() == pytest.approx(1)


def test_metric_depth_pays_for_scale_as_its_loss_does():
    taught = noise(Depth()).abs() + 1
    assert Depth(metric=True).imitate(2 * taught, taught).item() == pytest.approx(math.log(2) * 0.5**0.5, rel=1e-5)
    assert Depth(metric=True, variance_focus=0.0).imitate(2 * taught, taught).item() == pytest.approx(math.log(2), rel=1e-5)


def test_normals_pay_one_minus_the_cosine_by_hand():
    raw = torch.tensor([[3.0, 0, 0], [0, 0, 2]]).T[None, :, None]  # x, then toward the viewer, of any length
    taught = torch.tensor([[1.0, 1, 0], [0, 0, -1]]).T[None, :, None]
    assert Normal().imitate(raw, taught).item() == pytest.approx((1 - math.sqrt(0.5) + 2) / 2)


def test_points_in_space_pay_distances_in_mean_depths_by_hand():
    taught = torch.tensor([[0.0, 0, 4, 1], [0, 0, 6, 1]]).T[None, :, None]
    raw = taught + torch.tensor([1.0, -1, 0.5, 0.2])[None, :, None, None]
    assert Pointmap().imitate(raw, taught).item() == pytest.approx(2.5 / 5 + 0.2)
