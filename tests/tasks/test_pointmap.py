"""Pointmaps: metres by a camera, costs that can be computed by hand, and a focal length that survives the way back."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from shared.data.fields import warp
from shared.data.view import View
from shared.dense.frame import settle
from shared.engine.data import wanted
from shared.formats import LARGEST_CLOUD
from tasks.depth.task import Depth
from tasks.pointmap.geometry import surfaces, truth, unproject
from tasks.pointmap.task import Pointmap
from tasks.seg.task import Seg

HW = (64, 48)
CAMERA = torch.tensor([60.0, 60.0, 23.5, 31.5])


def seen(depth, camera=CAMERA):
    return {"depth": depth, "intrinsics": camera.expand(len(depth), 4)}


def only(name, **options):
    """The task with one cost."""
    rest = dict.fromkeys(("l1", "multiscale", "shift", "silog", "camera", "normal", "scale"), 0.0)
    return Pointmap(**{**rest, name: 1.0, **options})


def canonical(batch):
    told = truth(batch["depth"], batch["intrinsics"])
    scale = told.scale[:, None, None, None]
    return torch.cat([scale * told.points, scale.expand(-1, 1, *told.known.shape[-2:])], 1)


def noisy(batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return canonical(batch) + 0.1 * torch.randn(len(batch["depth"]), 4, *batch["depth"].shape[-2:], generator=generator)


@pytest.fixture
def batch():
    """Two bumpy walls, a third of one unknown, before two cameras."""
    depth = 2 + 0.3 * torch.rand(2, 16, 12, generator=torch.Generator().manual_seed(0))
    depth[0, :5] = torch.nan
    return {"depth": depth, "intrinsics": torch.tensor([[14.0, 14.0, 5.5, 7.5], [20.0, 20.0, 4.0, 9.0]])}


def test_depth_and_camera_are_wanted_of_the_data():
    assert wanted([Pointmap()]).fields == {"depth": None, "intrinsics": None}
    assert set(wanted([Seg(), Pointmap(), Depth()]).fields) == {"seg", "depth", "intrinsics"}


def test_a_pixel_is_where_its_ray_meets_its_depth():
    points = unproject(torch.full((1, *HW), 3.0), CAMERA[None])[0]
    assert points[:, 31, 23].tolist() == pytest.approx([-0.5 * 3 / 60, -0.5 * 3 / 60, 3])
    assert points[:, 0, 47].tolist() == pytest.approx([23.5 * 3 / 60, -31.5 * 3 / 60, 3])  # right is +x, up is -y, ahead is +z


def test_a_wall_faces_away_from_the_camera_as_a_sloping_one_slopes():
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(4.0), indexing="ij")
    flat, sloping = (torch.stack([x / 100, y / 100, 2 + slope * x / 100])[None] for slope in (0, 1))
    assert surfaces(flat)[0, :, 2, 2].tolist() == pytest.approx([0, 0, 1], abs=1e-4)  # a square centimetre
    assert F.normalize(surfaces(sloping), dim=1)[0, :, 2, 2].tolist() == pytest.approx(
        [-math.sqrt(0.5), 0, math.sqrt(0.5)], abs=1e-4
    )


def official(raw, batch, floor=1e-4):
    """The costs as the specification restates them (Sapiens2, section 2.4), where all of a picture is known."""
    (_, H, W), f = batch["depth"].shape, batch["intrinsics"]
    v, u = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    fx, fy, cx, cy = (n[:, None, None] for n in f.unbind(1))
    s = W / fx[:, None]
    t = s * torch.stack([(u - cx) * batch["depth"] / fx, (v - cy) * batch["depth"] / fy, batch["depth"]], 1)
    p = raw[:, :3]
    mu = t[:, 2:].mean((2, 3), keepdim=True)
    twice = [F.interpolate(m / mu, scale_factor=2, mode="bilinear") for m in (p, t)]
    centred = [m / mu - (m / mu).mean((2, 3), keepdim=True) for m in (p, t)]
    g = (t[:, 2].clamp(min=floor).log() - p[:, 2].clamp(min=floor).log()).flatten(1)
    n = []
    for m in (p / s, t / s):
        dx, dy = (100 * (m.roll(-1, axis) - m)[..., :-1, :-1] for axis in (3, 2))
        n.append(F.normalize(torch.linalg.cross(dx, dy, dim=1), dim=1))
    return {
        "l1": 2 * ((p - t).abs() / mu).sum(1).mean(),
        "multiscale": (twice[0] - twice[1]).abs().sum(1).mean(),
        "shift": (centred[0] - centred[1]).abs().sum(1).mean(),
        "silog": ((g**2).mean(1) - 0.5 * g.mean(1) ** 2).sqrt().mean(),
        "camera": ((p[:, 0] - (u - cx) * p[:, 2] / fx).abs() + (p[:, 1] - (v - cy) * p[:, 2] / fy).abs()).mean(),
        "normal": 2 * (1 - (n[0] * n[1]).sum(1) + (n[0] - n[1]).abs().mean(1)).mean(),
        "scale": 4 * (raw[:, 3].mean((1, 2)) - s[:, 0, 0, 0]).abs().mean(),
    }


def test_the_costs_are_the_official_ones_where_everything_is_known(batch):
    batch["depth"] = batch["depth"].nan_to_num(2.5)
    raw = noisy(batch)
    raw[:, 3:] = raw[:, 3:, :1, :1]
    ours, theirs = Pointmap().loss(raw, batch), official(raw, batch)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name].item() == pytest.approx(theirs[name].item(), rel=1e-5), name


def test_unknown_pixels_and_cameras_neither_pay_nor_pull(batch):
    batch["intrinsics"][1] = torch.nan
    raw = noisy(batch).requires_grad_()
    costs = Pointmap().loss(raw, batch)
    (pull,) = torch.autograd.grad(torch.stack(list(costs.values())).sum(), raw)
    assert (pull[0, :3, :5] == 0).all()
    assert (pull[0, 3] != 0).all()  # of the scale every pixel has a say
    assert (pull[1] == 0).all()
    told = {"depth": batch["depth"][:1], "intrinsics": batch["intrinsics"][:1]}
    for name, cost in Pointmap().loss(raw[:1], told).items():
        torch.testing.assert_close(cost, costs[name])


def test_a_picture_of_which_only_the_camera_is_known_teaches_the_scale(batch):
    batch["depth"][:] = torch.nan
    costs = Pointmap().loss(noisy(batch), batch)
    assert [name for name, cost in costs.items() if cost > 0] == ["scale"]


def test_a_cost_of_weight_zero_is_left_out(batch):
    assert list(only("silog").loss(noisy(batch), batch)) == ["silog"]


def test_beyond_its_cap_a_cost_stays_and_its_gradient_goes_on(batch):
    near, far = (noisy(batch).add(off).requires_grad_() for off in (0.0, 100.0))
    for name in ("l1", "multiscale", "shift"):
        task = only(name, cap=0.5)
        raw = far if name != "shift" else (far.detach() * 100).requires_grad_()
        cost = task.loss(raw, batch)[name]
        assert cost.item() == pytest.approx(0.5)
        (pull,) = torch.autograd.grad(cost, raw)
        assert pull.isfinite().all()
        assert (pull[:, :3].abs().sum() > 0).item()
        assert task.loss(near, batch)[name].item() == pytest.approx(only(name).loss(near, batch)[name].item())


def test_the_distance_forgives_a_shift_where_it_is_told_to(batch):
    moved = canonical(batch) + torch.tensor([0.3, -0.2, 0.5, 0])[:, None, None]
    assert only("shift").loss(moved, batch)["shift"] < 1e-5
    assert only("l1").loss(moved, batch)["l1"] > 0.1


def test_depth_by_a_constant_factor_costs_half_its_logarithm(batch):
    raw = 2 * canonical(batch)
    assert only("silog").loss(raw, batch)["silog"].item() == pytest.approx(math.log(2) * math.sqrt(0.5), rel=1e-4)


def test_a_scaled_person_stays_on_its_rays_and_keeps_its_normals(batch):
    raw = 1.7 * canonical(batch)
    assert only("camera").loss(raw, batch)["camera"] < 1e-5
    assert only("normal").loss(raw, batch)["normal"] < 1e-4


def test_decoding_divides_by_the_scale():
    raw = torch.tensor([1.0, -2.0, 3.0, 0.5])[None, :, None, None]
    assert Pointmap().decode(raw).flatten().tolist() == [2, -4, 6, 2]
    assert Pointmap().decode(raw * torch.tensor([1, 1, 1, -1.0])[:, None, None]).isfinite().all()


@pytest.mark.parametrize(
    "view", [View.whole((96, 90), HW), View.box(np.array([10, 5, 60, 90.0]), (80, 48)), View.stretch((96, 90), HW)]
)
def test_the_focal_length_and_the_points_come_back_in_the_pixels_of_the_picture(view):
    """The truth as the view has it, answered as raw, is the truth as the picture has it, wherever the view looks."""
    depth = np.full((96, 90), 2.5, np.float32)
    source = {"depth": depth, "intrinsics": np.array([130, 130, 44.5, 47.5], np.float32)}
    batch = {name: torch.from_numpy(value)[None] for name, value in warp(source, view).items()}
    answer = settle(Pointmap(), canonical(batch | {"depth": torch.full((1, *view.size), 2.5)})[0], view, (96, 90))
    wanted = Pointmap().ideal({name: torch.from_numpy(value) for name, value in source.items()})
    inside = torch.from_numpy(warp({"depth": np.ones(view.size, np.float32)}, View(view.inverse, (96, 90)))["depth"]).isfinite()
    assert answer.shape == (96, 90, 4)
    torch.testing.assert_close(answer[..., 3], wanted[..., 3], rtol=1e-4, atol=0)
    inside[:2] = inside[-2:] = inside[:, :2] = inside[:, -2:] = False  # half a pixel of the view's border is clamped
    torch.testing.assert_close(answer[inside], wanted[inside], rtol=2e-3, atol=2e-2)


def score(answer, depth, camera=CAMERA):
    told = {"depth": depth, "intrinsics": camera}
    return Pointmap().summarise(Pointmap().measure(answer, told)[None])


def test_scores_of_one_point_moved_by_hand():
    depth = torch.full((2, 2), torch.nan)
    depth[0, 1], depth[1, 1] = 2.0, 4.0
    camera = torch.tensor([1.0, 1.0, 1.0, 0.0])
    answer = Pointmap().ideal({"depth": depth, "intrinsics": camera}).nan_to_num(9)
    answer[0, 1] += torch.tensor([0.0, 0.0, 0.3, 0])  # of 2 m
    answer[1, 1] += torch.tensor([-0.3, 0.4, 0.0, 0])  # of sqrt(32) m
    answer[..., 3] = 1.25
    wanted = {"l2_m": 0.4, "x_m": 0.15, "y_m": 0.2, "z_m": 0.15, "rmse_m": math.sqrt((0.09 + 0.25) / 2)}
    assert score(answer, depth, camera) == pytest.approx(
        {**wanted, "within_5": 0, "within_10": 0.5, "within_20": 1, "focal_rel": 0.25}
    )


def test_an_unknown_camera_scores_nothing_and_an_unknown_depth_the_camera_only():
    answer = torch.rand(*HW, 4)
    assert all(math.isnan(value) for value in score(answer, torch.ones(HW), torch.full((4,), torch.nan)).values())
    found = score(answer, torch.full(HW, torch.nan))
    assert [name for name, value in found.items() if not math.isnan(value)] == ["focal_rel"]


def test_the_trivial_answer_is_a_plane_before_the_mean_camera():
    depth = torch.stack([torch.full(HW, 2.0), torch.full(HW, 4.0)])
    view = View.whole(HW, HW)
    answer = settle(Pointmap(), Pointmap().trivial(seen(depth)), view, HW)
    wanted = Pointmap().ideal({"depth": torch.full(HW, 3.0), "intrinsics": CAMERA})
    torch.testing.assert_close(answer[2:-2, 2:-2], wanted[2:-2, 2:-2], rtol=1e-4, atol=1e-4)


def test_files_hold_metres_and_no_point_behind_the_camera():
    answer = np.random.default_rng(0).normal(0, 1, (1200, 1000, 4)).astype(np.float32)
    answer[..., 3] = 812.3456
    files = Pointmap().files(answer)
    behind = answer[..., 2] <= 0
    assert np.isnan(files["pointmap.npy"][behind]).all()
    assert np.array_equal(files["pointmap.npy"][~behind], answer[~behind][:, :3])
    assert files["pointmap.json"] == {"focal_px": 812.346, "units": "metres", "axes": "x right, y down, z forward"}
    cloud = files["pointmap.ply"]
    assert cloud[..., 0].size <= LARGEST_CLOUD
    assert np.array_equal(cloud[1, 1], files["pointmap.npy"][2, 2], equal_nan=True)


def test_depth_alone_is_scored_in_metres_and_aligned(people):
    told = {name: torch.from_numpy(people[0][name]) for name in ("depth", "intrinsics")}
    answer = Pointmap().ideal(told).nan_to_num(0)
    answer[..., :3] *= 1.1
    table = Pointmap().details(Pointmap().measure(answer, told)[None])
    assert list(table) == ["as answered", "median", "scale and shift"]
    assert table["as answered"]["abs_rel"] == pytest.approx(0.1, rel=1e-4)
    assert table["as answered"]["rmse_log"] == pytest.approx(math.log(1.1), rel=1e-4)
    assert table["median"]["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert table["scale and shift"]["abs_rel"] == pytest.approx(0, abs=1e-6)
