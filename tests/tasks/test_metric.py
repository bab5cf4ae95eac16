"""Metric depth: the same scene is equally far whichever lens, crop, zoom or resolution it is seen through."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from shared.data.fields import warp
from shared.data.view import Jitter, View
from shared.dense.decoder import Spec
from shared.dense.frame import settle
from shared.dense.model import DenseModel
from shared.formats import Ask
from shared.vit.model import ViT
from tasks.depth.task import Depth
from tasks.pointmap.geometry import truth as located

METRIC = Depth(metric=True)
HW = (64, 48)


def batched(sample) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(sample[name])[None] for name in ("depth", "intrinsics")}


def perfect(sample) -> torch.Tensor:
    """What a network that makes no mistake answers for a picture in its frame: (1,H,W)."""
    return METRIC.target(batched(sample))[0]


def slope(hw=(120, 90), *, nearest=2.0, farthest=3.0, focal=150.0):
    """A picture of a wall that leads away from us, farther to the lower right, at the same angle in all resolutions."""
    h, w = hw
    y, x = (np.arange(h)[:, None] + 0.5) / h, (np.arange(w) + 0.5) / w
    depth = (nearest + (farthest - nearest) * (x + y) / 2).astype(np.float32)
    return {"depth": depth, "intrinsics": np.array([focal, focal, (w - 1) / 2, (h - 1) / 2], np.float32)}


def answered(sample, view, *, focal=None) -> torch.Tensor:
    """Metres at the pixels of the picture, by way of this view; NaN where it does not look, or at something unknown nearby."""
    seen, hw = warp(sample, view), sample["depth"].shape
    answer = settle(METRIC, perfect(seen), view, hw, focal_px=sample["intrinsics"][0].item() if focal is None else focal)
    known = settle(Depth(), torch.from_numpy(seen["depth"])[None].isfinite(), view, hw) > 0.999
    inside = warp({"depth": np.ones(view.size, np.float32)}, View(view.inverse, hw))["depth"]
    return torch.where(torch.from_numpy(inside).isfinite() & known, answer, torch.nan)


VIEWS = {
    "whole": lambda hw: View.whole(hw, HW),
    "large": lambda hw: View.whole(hw, (256, 192)),
    "letterboxed": lambda hw: View.whole(hw, (64, 96)),
    "a box": lambda hw: View.box(np.array([20, 30, 60, 90.0]), HW),
    "a small box, magnified": lambda hw: View.box(np.array([40, 50, 48, 60.0]), HW),
    "far too far away": lambda hw: View.about(((hw[1] - 1) / 2, (hw[0] - 1) / 2), 0.2, HW),
    "stretched": lambda hw: View.stretch(hw, (64, 64)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_perfect_network_answers_the_same_metres_through_every_view(name):
    sample = slope()
    view = VIEWS[name](sample["depth"].shape)
    found = answered(sample, view).numpy()
    known = np.isfinite(found)
    assert known.sum() > 30
    step = 1 / view.scale  # pixels of the picture between two of the view: depth is not read between them
    assert np.abs(found - sample["depth"])[known].max() < 1.5 * max(step, 1) * (1 / 90 + 1 / 120) / 2 + 0.01


@pytest.mark.parametrize("name", ["whole", "large", "a box"])
def test_people_are_equally_far_through_every_view(person, name):
    view = VIEWS[name](person["depth"].shape) if name != "a box" else View.box(person["box"], (96, 72))
    found = answered({k: person[k] for k in ("depth", "intrinsics")}, view).numpy()
    known = np.isfinite(found) & np.isfinite(person["depth"])
    off = np.abs(found / person["depth"] - 1)[known]
    assert known.sum() > 1000
    assert np.median(off) < 0.005
    assert (off < 0.05).mean() > 0.95  # the rest are folds between two pixels of the view


def test_a_photo_of_half_the_resolution_or_cut_down_has_the_same_metres():
    photo, small = slope(), slope((60, 45), focal=75.0)
    cut = {"depth": photo["depth"][20:100, 10:70], "intrinsics": photo["intrinsics"] - np.array([0, 0, 10, 20], np.float32)}
    whole, half, part = (answered(s, View.whole(s["depth"].shape, HW)).numpy() for s in (photo, small, cut))
    np.testing.assert_allclose(half[2:-2, 2:-2], whole.reshape(60, 2, 45, 2).mean((1, 3))[2:-2, 2:-2], rtol=0.01)
    np.testing.assert_allclose(part[2:-2, 2:-2], whole[22:98, 12:68], rtol=0.01)


def test_what_two_lenses_see_alike_has_one_target_and_its_metres_go_with_the_focal_length():
    """The reason for a canonical camera: twice as far through twice the lens is the same picture."""
    near, far = slope(), slope(nearest=4.0, farthest=6.0, focal=300.0)
    torch.testing.assert_close(perfect(near), perfect(far))
    view = View.whole(near["depth"].shape, HW)
    torch.testing.assert_close(answered(near, view, focal=300.0), answered(far, view), rtol=1e-5, atol=0, equal_nan=True)


@pytest.mark.parametrize("seed", range(6))
def test_training_views_teach_the_metres_of_the_picture_they_show(person, seed):
    """Zoomed, moved, turned and mirrored: the target through the camera of the view is the depth that is seen."""
    view = Jitter(scale=(0.3, 3.0))(View.whole(person["depth"].shape, HW), np.random.default_rng(seed))
    seen = warp({name: person[name] for name in ("depth", "intrinsics")}, view)
    target, known = METRIC.target(batched(seen))
    assert np.array_equal(known[0].numpy(), np.isfinite(seen["depth"]))
    width, focal = HW[1], person["intrinsics"][0] * view.scale
    np.testing.assert_allclose((target[known] * focal / width).numpy(), seen["depth"][known[0].numpy()], rtol=1e-5)


def test_points_and_depth_have_the_same_canonical_camera(batch):
    told = located(batch["depth"], batch["intrinsics"])
    target, known = METRIC.target(batch)
    assert torch.equal(known, told.known)
    torch.testing.assert_close(target, told.scale[:, None, None] * told.points[:, 2])


@pytest.mark.parametrize("camera", [[math.nan] * 4, [0.0, 0.0, 5.0, 5.0], [60.0, math.nan, 5.0, 5.0]])
def test_a_sample_without_a_focal_length_neither_pays_nor_pulls_nor_counts(batch, camera):
    batch = batch | {"intrinsics": batch["intrinsics"].clone()}
    batch["intrinsics"][1] = torch.tensor(camera)
    raw = (1 + torch.rand(3, 1, 16, 12, generator=torch.Generator().manual_seed(0))).requires_grad_()
    cost = METRIC.loss(raw, batch)["silog"]
    (pull,) = torch.autograd.grad(cost, raw)
    assert (pull[1] == 0).all()
    assert (pull[[0, 2]] != 0).any()
    others = {name: batch[name][[0, 2]] for name in ("depth", "intrinsics")}
    torch.testing.assert_close(METRIC.loss(raw[[0, 2]], others)["silog"], cost)
    alone = {name: batch[name][1:2] for name in ("depth", "intrinsics")}
    assert METRIC.loss(raw[1:2], alone)["silog"] == 0
    assert not METRIC.measure(torch.ones(HW), {name: batch[name][1] for name in alone}).any()
    torch.testing.assert_close(METRIC.trivial(batch), METRIC.trivial(others))


def test_a_wrong_scale_costs_and_relative_depth_forgives_it(batch):
    right = METRIC.target(batch)[0][:, None]
    assert METRIC.loss(right, batch)["silog"] < 1e-5
    assert METRIC.loss(2 * right, batch)["silog"].item() == pytest.approx(math.log(2) * math.sqrt(0.5), rel=1e-4)


def test_forgiving_every_scale_is_refused():
    with pytest.raises(ValueError, match=r"variance_focus=1 forgives any scale, so metric depth has no metres; take less"):
        Depth(metric=True, variance_focus=1.0)


def reference(answer, truth):
    """Errors of one picture from the definitions of Eigen et al. 2014, in numpy and float64; unknown truth is NaN or 0."""
    known = np.isfinite(truth) & (truth > 0)
    a, t = np.maximum(answer[known].astype(np.float64), 1e-6), truth[known].astype(np.float64)
    ratio = np.maximum(a / t, t / a)
    errors = {"abs_rel": (np.abs(a - t) / t).mean(), "sq_rel": ((a - t) ** 2 / t).mean()}
    errors |= {"rmse_m": np.sqrt(((a - t) ** 2).mean()), "rmse_log": np.sqrt(((np.log(a) - np.log(t)) ** 2).mean())}
    errors |= {"log10": np.abs(np.log10(a) - np.log10(t)).mean()}
    return errors | {f"delta{k}": (ratio < 1.25**k).mean() for k in (1, 2, 3)}


def test_scores_are_raw_metres_first_and_aligned_beside_them():
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 4, (30, 20))
    truth[rng.random((30, 20)) < 0.2] = math.nan
    answer = truth * 1.3 + rng.normal(0, 0.4, (30, 20)) + 0.2
    answer = np.where(np.isfinite(answer), answer, 7.0)
    told = {"depth": torch.from_numpy(truth).float(), "intrinsics": torch.tensor([50.0, 50.0, 9.5, 14.5])}
    rows = METRIC.measure(torch.from_numpy(answer).float(), told)[None]
    found, table = METRIC.summarise(rows), METRIC.details(rows)
    assert list(table) == ["as answered", "median", "scale and shift"]
    known = np.isfinite(truth)
    fit = np.polyfit(answer[known], truth[known], 1)
    wanted = {
        "as answered": reference(answer, truth),
        "median": reference(answer * np.median(truth[known]) / np.median(answer[known]), truth),
        "scale and shift": reference(np.polyval(fit, answer), truth),
    }
    for line, errors in wanted.items():
        assert {name: table[line][name] for name in errors} == pytest.approx(errors, rel=1e-4), line
    assert {name: found[name] for name in wanted["as answered"]} == pytest.approx(wanted["as answered"], rel=1e-4)
    assert found["abs_rel"] > 1.5 * table["scale and shift"]["abs_rel"], "or raw and aligned were not told apart"


def test_one_pixel_twice_as_far_by_hand():
    told = {"depth": torch.tensor([[2.0, 2.0], [4.0, math.nan]]), "intrinsics": torch.tensor([2.0, 2.0, 0.5, 0.5])}
    found = METRIC.summarise(METRIC.measure(torch.tensor([[2.0, 4.0], [4.0, 9.0]]), told)[None])
    assert found["abs_rel"] == pytest.approx(1 / 3)
    assert found["rmse_m"] == pytest.approx(math.sqrt(4 / 3))
    assert found["delta1"] == pytest.approx(2 / 3)


def test_the_trivial_answer_is_one_canonical_distance_and_longer_lenses_answer_more_metres(batch):
    raw = METRIC.trivial(batch)
    target, known = METRIC.target(batch)
    assert raw.unique().numel() == 1
    assert raw.unique().item() == pytest.approx(np.exp(np.log(target[known].double().numpy()).mean()), rel=1e-5)
    view = View.whole(HW, HW)
    short, long = (settle(METRIC, raw, view, HW, focal_px=f).mean().item() for f in (50.0, 100.0))
    assert long == pytest.approx(2 * short)


def test_files_hold_metres_and_a_cloud_has_them_too():
    answer = np.linspace(1, 3, 12, dtype=np.float32).reshape(3, 4)
    answer[0, 0] = -0.5  # behind the camera: no point
    ask = Ask(frozenset({"npy", "png16", "ply"}), focal_px=8.0, span_m=(50.0, 60.0))
    files = METRIC.asked(answer, ask)
    assert np.array_equal(files["depth.npy"], answer)
    assert files["depth.16.png"].text["unit"] == "metres"
    assert Depth().asked(answer, ask)["depth.16.png"].text["unit"] == "0 nearest, 1 farthest"
    cloud = files["depth.ply"]
    assert np.isnan(cloud[0, 0]).all()
    assert cloud[2, 3].tolist() == pytest.approx([1.5 / 8 * 3, 1 / 8 * 3, 3])


def disks(count, *, seed):
    """Pictures of a disk of 30 cm at 1 to 4 m through lenses of 20 to 80 px: its size alone says nothing of metres."""
    rng = np.random.default_rng(seed)
    focal, depth = np.exp(rng.uniform(np.log(20), np.log(80), count)), np.exp(rng.uniform(0, np.log(4), count))
    y, x = np.mgrid[:32, :24] - np.array([15.5, 11.5])[:, None, None]
    disk = np.hypot(y, x) < (0.3 * focal / depth)[:, None, None]
    image = np.repeat(np.where(disk, 200, 50)[:, None], 3, 1).astype(np.uint8)
    intrinsics = np.stack([focal, focal, np.full(count, 11.5), np.full(count, 15.5)], 1).astype(np.float32)
    told = {"image": image, "depth": np.where(disk, depth[:, None, None], np.nan).astype(np.float32), "intrinsics": intrinsics}
    return {name: torch.from_numpy(value) for name, value in told.items()}


def test_a_network_that_saw_many_lenses_answers_metres_when_it_is_told_the_focal_length():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DenseModel(ViT("nano", image_hw=(32, 24), patch=8), [METRIC], decoder=Spec(up=(16,), refine=()))
        optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
        for step in range(40):
            cost = model.losses(disks(16, seed=1 + step))["loss/depth/silog"]
            optimiser.zero_grad()
            cost.backward()
            optimiser.step()
    held_out, view = disks(40, seed=0), View.whole((32, 24), (32, 24))
    with torch.inference_mode():
        raw = model.eval()(held_out["image"])["depth"]
    trivial = METRIC.trivial(held_out).expand(40, -1, -1, -1)
    errors = {}
    for name, answers in (("told", raw), ("not told", raw), ("trivial", trivial)):
        rows = []
        for one, depth, camera in zip(answers, held_out["depth"], held_out["intrinsics"]):
            focal = None if name == "not told" else camera[0].item()
            rows.append(METRIC.measure(settle(METRIC, one, view, (32, 24), focal_px=focal), {"depth": depth, "intrinsics": camera}))
        errors[name] = METRIC.summarise(torch.stack(rows))["abs_rel"]
    assert errors["told"] < 0.15, errors
    assert errors["told"] < errors["trivial"] / 2.5, errors
    assert errors["told"] < errors["not told"] / 2, errors


def test_a_relative_model_is_what_it_was(batch):
    """Without the switch neither the focal length nor the camera's fields matter."""
    raw = torch.rand(3, 1, 16, 12, generator=torch.Generator().manual_seed(0))
    without = {"depth": batch["depth"]}
    assert Depth().loss(raw, without) == Depth().loss(raw, batch)
    assert Depth().also == ()
    view = View.whole(HW, HW)
    assert torch.equal(settle(Depth(), raw[0], view, HW, focal_px=9.0), settle(Depth(), raw[0], view, HW))
    assert F.mse_loss(settle(Depth(), raw[0], View.whole(HW, (16, 12)), (16, 12)), raw[0, 0]) < 1
