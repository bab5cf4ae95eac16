"""From the network's frame back to the picture: what was seen in a view stands in its place."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from shared.data.view import View
from shared.dense import frame
from shared.dense.frame import sample, settle
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pose.task import Pose
from tasks.seg.task import Seg

POSE = Pose(sigma=0.05)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("times", [1, 2, 3])
def test_labels_seen_larger_are_the_labels_of_the_picture(person, times):
    labels = torch.from_numpy(person["seg"]).long()
    raw = F.one_hot(labels, 29).permute(2, 0, 1).float()
    raw = raw.repeat_interleave(times, 1).repeat_interleave(times, 2)
    H, W = labels.shape
    view = View.whole((H, W), (H * times, W * times))
    assert torch.equal(settle(Seg(labels="sapiens29"), raw, view, (H, W)), labels.to(torch.uint8))


def test_normals_come_back_channels_last_and_unit(person):
    truth = torch.from_numpy(person["normal"]).nan_to_num(1.0)
    H, W = truth.shape[:2]
    answer = settle(Normal(), 5 * truth.permute(2, 0, 1), View.whole((H, W), (H, W)), (H, W))
    assert answer.shape == (H, W, 3)
    torch.testing.assert_close(answer, F.normalize(truth, dim=-1))


@pytest.mark.parametrize(("source_hw", "stride"), [((40, 60), 2), ((200, 90), 1), ((31, 17), 4), ((300, 400), 2)])
def test_a_ramp_of_depth_through_a_letterboxed_view_is_exact_away_from_the_border(source_hw, stride):
    size = (64, 48)
    view = View.whole(source_hw, size)
    rows, columns = (torch.arange(n // stride).double() for n in size)
    y, x = stride * (rows + 0.5) - 0.5, stride * (columns + 0.5) - 0.5  # in the view
    raw = (3 * y[:, None] - 2 * x[None, :] + 5).float()[None]
    answer = settle(Depth(), raw, view, source_hw)
    seen = view.to_view(np.stack(np.meshgrid(np.arange(source_hw[1]), np.arange(source_hw[0])), -1))
    margin = (stride - 1) / 2
    inside = torch.from_numpy(((seen >= margin) & (seen <= np.array(size[::-1]) - 1 - margin)).all(-1))
    wanted = torch.from_numpy(3 * seen[..., 1] - 2 * seen[..., 0] + 5).float()
    assert inside.float().mean() > 0.8
    torch.testing.assert_close(answer[inside], wanted[inside], atol=1e-3, rtol=0)


def test_the_whole_view_is_torchs_own_enlargement():
    raw = random(3, 8, 6)
    ours = sample(raw, View.whole((80, 60), (16, 12)), (0, 80), (0, 60))
    torch.testing.assert_close(ours, F.interpolate(raw[None], (80, 60), mode="bilinear")[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("task", [Seg(), Normal(), Depth()])
@pytest.mark.parametrize("strip", [1, 1000, 5000])
def test_strips_are_one_pass(monkeypatch, task, strip):
    raw, view, hw = random(task.channels, 16, 12), View.whole((71, 40), (32, 24)), (71, 40)
    whole = settle(task, raw, view, hw)
    monkeypatch.setattr(frame, "STRIP", strip)
    torch.testing.assert_close(settle(task, raw, view, hw), whole, atol=1e-5, rtol=1e-5)  # sums of a few numbers, in other orders


class Largest(TorchDispatchMode):
    """The largest tensor that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, torch.Tensor):
                self.values = max(self.values, tensor.untyped_storage().nbytes() // tensor.element_size())
        return made


@pytest.mark.parametrize("hw", [(200, 150), (800, 150), (200, 600)])
def test_the_peak_is_a_strip_or_the_answer_whatever_the_classes(monkeypatch, hw):
    monkeypatch.setattr(frame, "STRIP", 2**15)
    raw, view = random(28, 16, 12), View.whole(hw, (32, 24))
    with Largest() as largest:
        settle(Seg(), raw, view, hw)
    assert largest.values <= max(2**15, 28 * hw[1], hw[0] * hw[1])
    assert largest.values < 28 * hw[0] * hw[1] / 8


@pytest.mark.parametrize("source_hw", [(64, 48), (300, 400), (500, 90)])
def test_points_go_there_and_back(source_hw):
    H, W = source_hw
    size = (256, 192)
    view = View.whole(source_hw, size)
    rng = np.random.default_rng(0)
    xy = rng.uniform(0.15, 0.85, (17, 2)) * (W - 1, H - 1)
    points = torch.from_numpy(np.c_[view.to_view(xy), np.ones(17)].astype(np.float32))
    maps, known = POSE.target({"image": torch.empty(1, 3, *size), "keypoints": points[None]}, (64, 48))
    assert known.all()
    answer = settle(POSE, maps[0], view, source_hw)
    assert np.abs(answer[:, :2].numpy() - xy).max() < 0.05 / view.scale
    assert (answer[:, 2] > 0.8).all()


def test_points_of_a_person_in_a_box_go_there_and_back():
    view = View.box(np.array([100.0, 50, 220, 330]), (256, 192))
    xy = np.random.default_rng(1).uniform((110, 60), (210, 320), (17, 2))
    points = torch.from_numpy(np.c_[view.to_view(xy), np.ones(17)].astype(np.float32))
    maps, _ = POSE.target({"image": torch.empty(1, 3, 256, 192), "keypoints": points[None]}, (64, 48))
    assert np.abs(settle(POSE, maps[0], view, (400, 400))[:, :2].numpy() - xy).max() < 0.1


def test_a_mirrored_view_is_mirrored_back():
    raw = random(1, 16, 12)
    upright = View.whole((32, 24), (16, 12))
    mirrored = View.about((11.5, 15.5), 0.5, (16, 12), flip=True)
    torch.testing.assert_close(
        settle(Depth(), raw.flip(-1), mirrored, (32, 24)), settle(Depth(), raw, upright, (32, 24)), atol=1e-5, rtol=1e-5
    )


def test_a_turned_view_is_refused():
    with pytest.raises(ValueError, match="the view is turned"):
        settle(Depth(), random(1, 4, 4), View.about((2, 2), 1, (8, 8), degrees=5), (8, 8))


@pytest.mark.parametrize("raw_hw", [(1, 1), (1, 5), (5, 1)])
def test_the_smallest_answers_fill_the_picture(raw_hw):
    raw = torch.full((1, *raw_hw), 0.25)
    answer = settle(Depth(), raw, View.whole((7, 9), (16, 16)), (7, 9))
    assert torch.equal(answer, torch.full((7, 9), 0.25))


def test_half_precision_is_settled_in_float32():
    answer = settle(Depth(), random(1, 4, 4).bfloat16(), View.whole((8, 8), (8, 8)), (8, 8))
    assert answer.dtype == torch.float32
