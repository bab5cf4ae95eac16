"""Pose: heatmaps there and back, the official numbers, and scores that can be measured with a ruler."""

import math

import numpy as np
import pytest
import torch

from tasks.pose.heatmap import gaussians, peaks
from tasks.pose.task import Pose


def table(count, sigmas=None):
    entries = [{"name": f"point {i}", "colour": [i % 256, 0, 0]} for i in range(count)]
    for entry, sigma in zip(entries, sigmas or []):
        entry["sigma"] = sigma
    return {"entries": entries}


def batch(points, hw=(1024, 768)):
    return {
        "image": torch.empty(1, 3, *hw, device="meta"),
        "keypoints": torch.as_tensor(points).float().reshape(-1, *torch.as_tensor(points).shape[-2:]),
    }


def score(task, answer, points, box=(0, 0, 100, 200)):
    truth = {"keypoints": torch.tensor(points), "box": torch.tensor(box, dtype=torch.float32)}
    return task.summarise(task.measure(torch.tensor(answer), truth)[None])


def test_heatmaps_are_the_official_ones(golden):
    told = golden["udp_encode"]
    points = torch.cat([torch.tensor(told["keypoints"]), torch.tensor(told["visible"])[:, None]], 1)
    maps, known = Pose(skeleton=table(6)).target(batch(points), (256, 192))
    assert known[0].tolist() == [weight > 0 for weight in told["weights"]]
    maps = maps[0] * known[0][:, None, None]
    assert maps.sum((1, 2)).tolist() == pytest.approx(told["sums"], abs=1e-2)
    assert maps.amax((1, 2)).tolist() == pytest.approx(told["maxs"], abs=1e-5)
    assert [[i // 192, i % 192] for i in maps.flatten(1).argmax(1).tolist()] == told["argmax_yx"]
    for place, value in told["sample_kpt0"].items():
        row, column = map(int, place.split(","))
        assert maps[0, row, column].item() == pytest.approx(value, abs=1e-5)


OFFICIAL = torch.tensor([768 / 191, 1024 / 255])  # heatmap pixels -> the official decoder's input space (specification, trap 8)


@pytest.mark.parametrize("reach", [1.0, math.inf])
def test_peaks_are_the_official_ones(golden, reach):
    told = golden["udp_decode"]
    x, y = torch.arange(192.0).double(), torch.arange(256.0).double()[:, None]
    hills = [(60.3, 120.8, 6, 0.9), (5.2, 250.4, 3, 0.4), (100, 100, 8, -0.2)]
    maps = torch.stack([a * torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * s**2)) for cx, cy, s, a in hills]).float()
    found = peaks(maps[None], reach=reach)[0]
    assert (found[:2, :2] * OFFICIAL).numpy() == pytest.approx(np.array(told["keypoints_input_space"][:2]), rel=2e-7)
    assert found[:, 2].tolist() == pytest.approx(told["scores"], abs=1e-6)
    assert found[2, :2].tolist() == [-1, -1]  # officially NaN


@pytest.mark.parametrize("reach", [1.0, math.inf])
def test_peaks_of_official_heatmaps_are_the_official_ones(golden, reach):
    told = golden["udp_decode_of_encode"]
    points = torch.tensor(golden["udp_encode"]["keypoints"][:3]) / torch.tensor(golden["udp_encode"]["scale_factor"])
    maps, _ = gaussians(points[None], (256, 192), 6.0)
    found = peaks(maps, reach=reach)[0]
    assert (found[:, :2] * OFFICIAL).numpy() == pytest.approx(np.array(told["keypoints_input_space"]), rel=2e-7, abs=1e-6)
    assert found[:, 2].tolist() == pytest.approx(told["scores"], abs=1e-6)


def test_no_step_is_longer_than_the_reach():
    noise = torch.rand(1, 50, 12, 16, generator=torch.Generator().manual_seed(0))
    index = noise.flatten(2).argmax(2)
    pixels = torch.stack([index % 16, index // 16], -1)
    steps = {reach: (peaks(noise, blur=3, reach=reach)[..., :2] - pixels).abs() for reach in (0.25, 1.0, math.inf)}
    assert steps[0.25].max() == 0.25
    assert steps[1.0].max() == 1 < steps[math.inf].max()
    torch.testing.assert_close(steps[math.inf].clamp(max=1), steps[1.0])


@pytest.mark.parametrize("hardest", [0, 3])
def test_the_cost_is_the_official_one(golden, hardest):
    told = golden["kpt_mse"]
    weights = torch.tensor(told["w"])
    task = Pose(skeleton=table(5), hardest=hardest, sigma=0.2)
    points = torch.cat([torch.full((2, 5, 2), 12.0), weights[..., None]], 2)
    labels = {"image": torch.empty(2, 3, 32, 24, device="meta"), "keypoints": points}
    off = golden.wave((2, 5, 8, 6), 0.11) - golden.wave((2, 5, 8, 6), 0.07)  # the cost depends on raw - target alone
    ours = task.loss(task.target(labels, (8, 6))[0] + off, labels)["mse"].item()
    if hardest:
        assert ours == pytest.approx(told["ohkm_top3"], abs=1e-5)
    else:  # unknown points stay in the official denominator, and are not in ours
        assert ours * weights.mean().item() == pytest.approx(told["loss"], abs=1e-5)


@pytest.mark.parametrize("sigma", [2.0, 6.0])
def test_points_come_back_from_their_heatmaps_between_the_pixels(sigma):
    points = torch.rand(2, 30, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([47 - 8 * sigma, 63 - 8 * sigma])
    points = (points + 4 * sigma).clamp(max=40)
    maps, inside = gaussians(points, (64, 48), sigma)
    assert inside.all()
    torch.testing.assert_close(peaks(maps, blur=5)[..., :2], points, atol=0.02, rtol=0)


def test_peaks_do_not_depend_on_height_or_on_the_rest_of_the_batch():
    points = torch.tensor([[[20.3, 30.7], [11.6, 40.2]]])
    maps, _ = gaussians(points, (64, 48), 2.0)
    low = peaks(0.3 * maps)
    torch.testing.assert_close(low[..., :2], peaks(maps)[..., :2], atol=0.02, rtol=0)
    torch.testing.assert_close(low[..., 2], 0.3 * peaks(maps)[..., 2])
    torch.testing.assert_close(peaks(torch.cat([maps, torch.zeros_like(maps)]))[:1], peaks(maps))


@pytest.mark.parametrize("hw", [(2, 2), (3, 9), (12, 16)])
@pytest.mark.parametrize("value", [0.0, -1.0, 0.5])
def test_a_flat_map_has_a_finite_answer(hw, value):
    found = peaks(torch.full((1, 2, *hw), value))
    assert found.isfinite().all()
    assert (found[..., 2] == value).all()
    if value <= 0:
        assert (found[..., :2] == -1).all()


@pytest.mark.parametrize("xy", [(0, 0), (47, 63), (0.4, 30), (47, 2)])
def test_a_point_at_the_border_is_found_within_a_pixel(xy):
    maps, inside = gaussians(torch.tensor([[xy]]).float(), (64, 48), 2.0)
    assert inside.all()
    assert (peaks(maps)[0, 0, :2] - torch.tensor(xy)).abs().max() < 1


def test_a_point_far_outside_has_no_heatmap():
    maps, inside = gaussians(torch.tensor([[[-20.0, 10.0], [10.0, 90.0], [-3.0, 10.0]]]), (64, 48), 2.0)
    assert inside.tolist() == [[False, False, True]]
    assert (maps[0, :2] == 0).all()


def test_the_hardest_points_are_the_worst_ones_of_each_picture():
    task = Pose(skeleton=table(4), hardest=2)
    points = torch.tensor([[[8.0, 8, 1]] * 4, [[8.0, 8, 1]] + [[0, 0, 0]] * 3])
    labels = {"image": torch.empty(2, 3, 16, 16, device="meta"), "keypoints": points}
    height = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)
    raw = task.target(labels, (4, 4))[0] + height
    # 16 and 9 of the first picture; of the second only one is known
    assert task.loss(raw, labels)["mse"].item() == pytest.approx((16 + 9 + 1) / 3, rel=1e-5)


def test_distances_by_hand():
    task = Pose(skeleton=table(4, sigmas=[0.05] * 4))
    points = [[50.0, 50, 1]] * 4  # the box is 100 x 200: 5 % are 10 pixels, 10 % are 20
    found = score(task, [[50.0, 50, 1], [50, 59, 1], [65, 50, 1], [50, 90, 1]], points)
    oks = [math.exp(-(d**2) / (8 * 0.05**2 * 100 * 200)) for d in (0, 9, 15, 40)]
    assert found == pytest.approx({"pck05": 2 / 4, "pck10": 3 / 4, "oks": sum(oks) / 4})


def test_oks_is_the_official_one(golden):
    told = golden["oks"]
    task = Pose(skeleton=table(3, sigmas=told["sigmas"]))
    truth = {"keypoints": torch.tensor(told["g"]).view(3, 3), "box": torch.tensor([0.0, 0, 25, 38])}
    assert (told["area_g"] + told["area_d"]) / 2 == 25 * 38  # the official area is the mean of both
    row = task.measure(torch.tensor(told["d"]).view(3, 3), truth)
    assert task.summarise(row[None])["oks"] == pytest.approx(told["oks"], abs=1e-6)


def test_one_wrong_point_of_n_is_one_nth():
    points = [[10.0 * i, 20.0 * i, 1] for i in range(17)]
    answer = [list(point) for point in points]
    answer[3][0] += 500
    found = score(Pose(), answer, points)
    assert found == pytest.approx({"pck05": 16 / 17, "pck10": 16 / 17, "oks": 16 / 17})


def test_unknown_points_do_not_count():
    points = [[10.0, 20, 1], [30, 40, 1], [math.nan, math.nan, 0], [0, 0, 0]]
    answer = [[10.0, 20, 1], [30, 40, 1], [500, 500, 1], [900, 0, 1]]
    assert score(Pose(skeleton=table(4)), answer, points) == pytest.approx({"pck05": 1, "pck10": 1, "oks": 1})


def test_without_a_box_the_points_are_their_own_measure():
    task, points = Pose(skeleton=table(2)), [[0.0, 0, 1], [100, 200, 1]]
    answer = [[0.0, 0, 1], [100, 219, 1]]
    assert score(task, answer, points, box=(math.nan,) * 4)["pck10"] == 1
    assert score(task, answer, points, box=(0, 0, 50, 50))["pck10"] == 0.5


def faces():
    """A table of two eyes, a mouth and a knee."""
    names = ["eye", "other eye", "mouth", "knee"]
    entries = [{"name": name, "colour": [9, 9, 9], "sigma": 0.05} for name in names]
    return Pose(skeleton={"entries": entries, "groups": {"face": names[:3], "interocular": names[:2], "body": names[3:]}})


def test_the_error_of_a_face_is_measured_in_distances_of_its_eyes():
    points = [[0.0, 0, 1], [100, 0, 1], [50, 60, 1], [0, 200, 1]]
    answer = [[0.0, 3, 1], [100, 6, 1], [50, 60, 1], [500, 500, 1]]  # the knee is no part of the face
    found = score(faces(), answer, points)
    assert found["nme"] == pytest.approx(0.03)
    assert found["auc08"] == pytest.approx(1 - 3 / 8)
    assert found["auc10"] == pytest.approx(1 - 3 / 10)
    assert found["fr08"] == found["fr10"] == 0


def test_the_area_under_the_curve_is_that_of_the_curve():
    points = torch.tensor([[0.0, 0, 1], [100, 0, 1], [50, 60, 1], [0, 0, 0]])
    truth = {"keypoints": points, "box": torch.tensor([0.0, 0, 100, 100])}
    offs = [0.0, 2, 5, 7, 9, 9.5, 12, 40]  # of every point, in hundredths of the eyes' distance
    task = faces()
    rows = torch.stack([task.measure(points + torch.tensor([off, 0, 0]), truth) for off in offs])
    found = task.summarise(rows)
    x = np.linspace(0, 0.1, 100_001)
    curve = np.mean([x >= off / 100 for off in offs], 0)
    assert found["auc10"] == pytest.approx(np.trapezoid(curve, x) / 0.1, abs=1e-4)
    assert found["fr10"] == 2 / 8
    assert found["fr08"] == 4 / 8
    assert found["nme"] == pytest.approx(np.mean(offs) / 100)


@pytest.mark.parametrize("eyes", [([0.0, 0, 1], [0, 0, 0]), ([5.0, 5, 1], [5.5, 5, 1])])
def test_a_face_without_two_eyes_that_are_apart_has_no_error(eyes):
    points = [*eyes, [50.0, 60, 1], [0, 200, 1]]
    found = score(faces(), points, points)
    assert math.isnan(found["nme"])
    assert math.isnan(found["auc08"])
    assert found["oks"] == found["oks_face"] == 1


def test_each_part_has_the_similarity_of_its_own_points():
    points = [[0.0, 0, 1], [100, 0, 1], [0, 0, 0], [0, 200, 1]]
    answer = [[0.0, 9, 1], [100, 0, 1], [50, 60, 1], [15, 200, 1]]
    found = score(faces(), answer, points)
    similar = [math.exp(-(d**2) / (8 * 0.05**2 * 100 * 200)) for d in (9, 0, 15)]
    assert found["oks"] == pytest.approx(sum(similar) / 3)
    assert found["oks_face"] == pytest.approx((similar[0] + similar[1]) / 2)
    assert found["oks_body"] == pytest.approx(similar[2])
    points[3][2] = 0
    assert math.isnan(score(faces(), answer, points)["oks_body"])


def test_which_scores_there_are_depends_on_the_table():
    def scores(skeleton):
        task = Pose(skeleton=skeleton)
        points = [[10.0 * k, 5.0 * k, 1] for k in range(task.channels)]
        return score(task, points, points)

    face = {"nme", "auc08", "auc10", "fr08", "fr10"}
    always = {"pck05", "pck10", "oks"}
    parts = {f"oks_{part}" for part in ("body", "foot", "face", "left_hand", "right_hand")}
    assert scores("coco17").keys() == always
    assert scores("wflw98").keys() == always | face
    assert scores("face243").keys() == always | face | {"oks_face"}
    for skeleton in ("wholebody133", "sapiens308"):
        assert scores(skeleton) == pytest.approx(
            dict.fromkeys(always | parts, 1) | {"nme": 0, "auc08": 1, "auc10": 1, "fr08": 0, "fr10": 0}
        )


def test_noise_scores_chance():
    generator = torch.Generator().manual_seed(0)
    answer, points = (torch.rand(5000, 3, generator=generator) * torch.tensor([400.0, 400, 1]) for _ in range(2))
    points[:, 2] = 1
    found = score(Pose(skeleton=table(5000)), answer.tolist(), points.tolist(), box=(0, 0, 400, 400))
    inside = math.pi * 0.1**2 - 8 / 3 * 0.1**3 + 0.1**4 / 2  # two random points of a square within a tenth of its side
    assert found["pck10"] == pytest.approx(inside, abs=0.01)


def test_people_count_alike_in_oks_and_points_alike_in_pck():
    rows = torch.tensor([[10, 10, 10, 1.0, 1], [2, 0, 0, 0.0, 1], [0, 0, 0, 0, 0]], dtype=torch.float64)
    assert Pose().summarise(rows) == pytest.approx({"pck05": 10 / 12, "pck10": 10 / 12, "oks": 0.5})


def test_the_trivial_answer_is_the_mean_point():
    task = Pose(skeleton=table(2))
    points = torch.tensor([[[100.0, 200, 1], [0, 0, 0]], [[200.0, 400, 1], [300, 500, 1]]])
    found = task.decode(task.trivial({"image": torch.empty(2, 3, 1024, 768, device="meta"), "keypoints": points})[None])[0]
    xy = found[:, :2] * torch.tensor([767 / 191, 1023 / 255])
    torch.testing.assert_close(xy, torch.tensor([[150.0, 300], [300, 500]]), atol=0.3, rtol=0)


@pytest.mark.parametrize(("skeleton", "count"), [("coco17", 17), ("face243", 243)])
def test_the_tables_that_come_with_us_have_their_points(skeleton, count):
    assert Pose(skeleton=skeleton).channels == count


def test_a_file_names_its_points_and_lists_people():
    task = Pose(skeleton=table(2))
    answer = torch.tensor([[[1.23456, 2, 0.5], [3, 4, 1]], [[5, 6, 1], [7, 8, 1]]]).numpy()
    written = task.files(answer)["pose.json"]
    assert written["keypoint_names"] == ["point 0", "point 1"]
    assert [person["keypoints"][0] for person in written["people"]] == [[1.235, 2.0, 0.5], [5.0, 6.0, 1.0]]
    assert len(task.files(answer[0])["pose.json"]["people"]) == 1
