"""The world stays consistent: one view moves every field, and the fields still tell the same story."""

import cv2
import numpy as np
import pytest

from shared.data.fields import FIELDS, MAPS, warp
from shared.data.shards import Shards
from shared.data.view import Jitter, View
from shared.vocabulary import Vocabulary


def swap(names):
    """The id of each name's mirror image."""
    other = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
    mirrored = [next((name.replace(a, b) for a, b in other.items() if a in name), name) for name in names]
    return np.array([names.index(m) if m in names else i for i, m in enumerate(mirrored)])


@pytest.fixture(scope="module")
def swaps(names):
    return {field: swap(names[field]) for field in ("seg", "keypoints")}


@pytest.fixture(scope="module")
def whole(person):
    """A person with every field, those on request too: the coverage of blurred edges, the picture itself as its colours."""
    on = (person["seg"] > 0).astype(np.uint8)
    alpha = cv2.GaussianBlur(on.astype(np.float32), (0, 0), 1.0)
    return person | {"person": on, "alpha": alpha, "albedo": person["image"], "sure": alpha}


def about_middle(hw, **options):
    return View.about(((hw[1] - 1) / 2, (hw[0] - 1) / 2), 1.0, hw, **options)


def mirrored(sample, swaps):
    return warp(sample, about_middle(sample["image"].shape[:2], flip=True), swaps=swaps)


@pytest.mark.parametrize("field", FIELDS)
def test_two_flips_are_the_identity(whole, swaps, field):
    twice = mirrored(mirrored(whole, swaps), swaps)
    assert twice[field].dtype == FIELDS[field].dtype
    np.testing.assert_allclose(twice[field], whole[field], atol=0 if FIELDS[field].dtype == np.uint8 else 1e-4)


@pytest.mark.parametrize("field", MAPS)
def test_a_flip_moves_each_pixel_to_its_mirror_image(whole, swaps, field):
    wanted = whole[field][:, ::-1]
    if field == "seg":
        wanted = swaps["seg"].astype(np.uint8)[wanted]
    if field == "normal":
        wanted = wanted * np.array([-1, 1, 1], np.float32)
    np.testing.assert_allclose(mirrored(whole, swaps)[field], wanted, atol=1e-6)


def test_a_flip_swaps_left_and_right_keypoints(person, names, swaps):
    flipped, w = mirrored(person, swaps)["keypoints"], person["image"].shape[1]
    left, right = (names["keypoints"].index(f"{side}_shoulder") for side in ("left", "right"))
    assert flipped[left, 0] == pytest.approx(w - 1 - person["keypoints"][right, 0], abs=1e-3)
    assert flipped[left, 2] == person["keypoints"][right, 2]


def test_a_flip_without_a_vocabulary_keeps_the_ids(person, swaps):
    flipped = warp(person, about_middle(person["image"].shape[:2], flip=True))
    assert np.array_equal(flipped["seg"], person["seg"][:, ::-1])
    unflipped = warp(person, about_middle(person["image"].shape[:2]), swaps=swaps)
    assert np.array_equal(unflipped["seg"], person["seg"])


def test_the_swap_of_a_vocabulary_leaves_unknown_unknown():
    table = Vocabulary.parse(
        {"entries": [{"name": n, "colour": [0, 0, 0]} for n in ("bg", "left", "right")], "pairs": [["left", "right"]]}
    )
    seg = np.array([[0, 1, 2, 255]], np.uint8)
    assert warp({"seg": seg}, about_middle((1, 4), flip=True), swaps={"seg": table.swap})["seg"].tolist() == [[255, 1, 2, 0]]


def normals_from_depth(depth, intrinsics):
    """Unit normals of the unprojected depth, and where it is smooth enough to say so."""
    known = np.isfinite(depth)
    filled = np.where(known, depth, np.nanmax(depth)).astype(np.float32)
    rough = cv2.dilate(filled, np.ones((7, 7))) - cv2.erode(filled, np.ones((7, 7)))
    smooth = (cv2.erode(known.astype(np.uint8), np.ones((11, 11))) > 0) & (rough < 0.04)
    filled = cv2.GaussianBlur(filled, (0, 0), 2.0)  # depth moves by nearest pixels: without this, its slope is stairs
    h, w = depth.shape
    fx, fy, cx, cy = intrinsics.astype(float)
    x, y = (np.arange(w) - cx) / fx, (cy - np.arange(h)) / fy
    place = np.stack([*np.meshgrid(x, y), -np.ones((h, w))], -1) * filled[..., None].astype(float)
    normal = np.cross(np.gradient(place, axis=1), -np.gradient(place, axis=0))
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True), smooth


def degrees_apart(a, b):
    return np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


@pytest.fixture(scope="module")
def large(large_shards):
    """People large enough for their depth to have a slope."""
    shards = Shards(large_shards)
    return [shards.read(number) for number in range(len(shards))]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("degrees", [-60, -30, 0, 15, 40, 90])
def test_turned_normals_are_those_of_the_turned_depth(large, degrees, flip):
    for sample in large:
        turned = warp(sample, about_middle((256, 192), degrees=degrees, flip=flip))
        slope, smooth = normals_from_depth(turned["depth"], turned["intrinsics"])
        assert smooth.sum() > 1000
        assert np.median(degrees_apart(turned["normal"], slope)[smooth]) < 6
        assert np.linalg.norm(turned["normal"][smooth], axis=-1) == pytest.approx(1, abs=1e-5)


def located(sample):
    """Where the known pixels are: (n,3) metres, x right, y down, z forward, from depth and intrinsics."""
    (fx, fy, cx, cy), depth = sample["intrinsics"].astype(float), sample["depth"]
    y, x = np.nonzero(np.isfinite(depth))
    return np.c_[(x - cx) / fx, (y - cy) / fy, np.ones(len(x))] * depth[y, x, None]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("degrees", [-60, 0, 15, 90])
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_a_person_seen_by_the_camera_of_a_view_stands_where_it_stood_turned_about_the_optical_axis(person, degrees, flip, scale):
    hw, a = person["image"].shape[:2], np.radians(degrees)
    view = View.about((100.0, 120.0), scale, (700, 700), degrees=degrees, flip=flip)
    turn = np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])
    before = located(person) @ (np.diag([-1.0 if flip else 1.0, 1, 1]) @ turn).T
    after = located(warp(person, view))
    pixel = 3 / float(person["intrinsics"][0]) / min(scale, 1)  # metres, at the distance of a person
    assert hw == (256, 192)
    for share in (0, 0.05, 0.5, 0.95, 1):
        assert np.quantile(after, share, axis=0) == pytest.approx(np.quantile(before, share, axis=0), abs=2.5 * pixel)
    assert after.mean(0) == pytest.approx(before.mean(0), abs=0.5 * pixel)


def test_the_principal_point_moves_as_a_point_and_the_focal_length_as_a_length():
    camera = np.array([100, 100, 30, 20], np.float32)
    seen = warp({"intrinsics": camera}, View.about((30, 20), 2.0, (51, 41), degrees=33))["intrinsics"]
    assert seen == pytest.approx([200, 200, 20, 25])
    mirrored_camera = warp({"intrinsics": camera}, about_middle((50, 80), flip=True))["intrinsics"]
    assert mirrored_camera == pytest.approx([100, 100, 79 - 30, 20])
    assert warp({"intrinsics": camera}, View.stretch((50, 80), (100, 40)))["intrinsics"][:2] == pytest.approx([50, 200])


def test_a_camera_whose_pixels_are_not_square_may_lie_down_but_not_lean():
    camera = np.array([100, 150, 30, 20], np.float32)
    by_angle = {a: warp({"intrinsics": camera}, about_middle((50, 80), degrees=a))["intrinsics"] for a in (0, 30, 90, 180)}
    assert by_angle[0] == pytest.approx(camera)
    assert by_angle[90][:2] == pytest.approx([150, 100])
    assert by_angle[180][:2] == pytest.approx([100, 150])
    assert np.isnan(by_angle[30]).all()


def test_an_unknown_camera_stays_unknown():
    assert np.isnan(warp({"intrinsics": np.full(4, np.nan, np.float32)}, about_middle((9, 9), degrees=10))["intrinsics"]).all()


def test_normals_that_did_not_turn_would_be_noticed(large):
    view = about_middle((256, 192), degrees=40)
    for sample in large:
        moved_only = cv2.warpAffine(sample["normal"], view.matrix, (192, 256), flags=cv2.INTER_NEAREST)
        turned = warp(sample, view)
        slope, smooth = normals_from_depth(turned["depth"], turned["intrinsics"])
        assert np.median(degrees_apart(moved_only, slope)[smooth]) > 10


@pytest.mark.parametrize("seed", range(8))
def test_keypoints_and_labels_follow_their_pixel_under_random_views(seed):
    rng = np.random.default_rng(seed)
    hw, size = (90, 120), (64, 48)
    xy = rng.uniform((45, 30), (75, 60)).round()
    image, seg = np.zeros((*hw, 3), np.uint8), np.zeros(hw, np.uint8)
    square = tuple(slice(int(c) - 4, int(c) + 5) for c in xy[::-1])
    image[square], seg[square] = 255, 7
    view = Jitter(scale=(0.9, 2.0), shift=0.05)(View.whole(hw, size), rng)
    seen = warp({"image": image, "seg": seg, "keypoints": np.array([[*xy, 1]], np.float32)}, view)
    x, y, visible = seen["keypoints"][0]
    assert visible == 1
    for map_ in (seen["image"][..., 0].astype(float), (seen["seg"] == 7).astype(float)):
        weight = map_ / map_.sum()
        assert (weight * np.arange(48)).sum() == pytest.approx(x, abs=0.3)
        assert (weight * np.arange(64)[:, None]).sum() == pytest.approx(y, abs=0.3)


def test_points_that_leave_the_view_become_unknown():
    points = np.array([[0, 0, 1], [-0.4, 3, 1], [-0.6, 3, 1], [7.4, 3, 1], [7.6, 3, 1], [4, 9.5, 1], [4, 4, 0]], np.float32)
    seen = warp({"keypoints": points}, about_middle((10, 8)))["keypoints"]
    assert seen[:, 2].tolist() == [1, 1, 0, 1, 0, 0, 0]


def test_a_box_moves_with_its_corners_and_unknown_stays_unknown():
    view = View.about((5, 5), 2.0, (21, 21), degrees=90)
    assert warp({"box": np.array([3, 4, 5, 8], np.float32)}, view)["box"] == pytest.approx([8, 10, 16, 14])
    assert np.isnan(warp({"box": np.full(4, np.nan, np.float32)}, view)["box"]).all()


def test_what_is_outside_the_picture_is_unknown():
    sample = {
        "image": np.full((8, 8, 3), 200, np.uint8),
        "seg": np.ones((8, 8), np.uint8),
        "depth": np.ones((8, 8), np.float32),
        "normal": np.ones((8, 8, 3), np.float32),
        "person": np.full((8, 8), 2, np.uint8),
        "alpha": np.full((8, 8), 0.5, np.float32),
        "albedo": np.full((8, 8, 3), 90, np.uint8),
        "sure": np.full((8, 8), 0.5, np.float32),
    }
    assert set(sample) == set(MAPS)
    seen = warp(sample, about_middle((8, 8)).whole((8, 8), (8, 24)))
    for name in sample:
        assert np.array_equal(seen[name][:, 8:16], sample[name]), name
        for side in (seen[name][:, :8], seen[name][:, 16:]):
            np.testing.assert_array_equal(side, np.full_like(side, FIELDS[name].unknown))


@pytest.mark.parametrize("size", [(256, 192), (1024, 768), (300, 201)])
def test_a_4k_picture_is_shrunk_by_averages(size):
    checks = ((np.indices((3840, 2160)).sum(0) % 2) * 255).astype(np.uint8)
    seen = warp({"image": np.repeat(checks[..., None], 3, 2)}, View.whole((3840, 2160), size))["image"]
    w = int(size[0] * 2160 / 3840)
    inside = seen[2:-2, (size[1] - w) // 2 + 2 : (size[1] + w) // 2 - 2]
    assert inside.mean() == pytest.approx(127.5, abs=1)
    assert inside.std() < 2 if size != (1024, 768) else inside.std() < 70  # 3.75: averages of 3, then between them


@pytest.mark.parametrize("size", [(30, 20), (16, 12), (90, 60)])
def test_as_much_is_covered_in_a_small_picture_as_in_a_large_one(size):
    """Labels sampled at every fourth pixel would lose thin hair; shares of pixels are kept, and so is their sum."""
    alpha = np.zeros((120, 80), np.float32)
    alpha[20:100:3, 10:70] = 0.75
    seen = warp({"alpha": alpha}, View.whole((120, 80), size))["alpha"]
    assert np.nanmean(seen) == pytest.approx(alpha.mean(), rel=0.08)
    assert np.nanmax(seen) < 0.75 if size[0] < 60 else np.nanmax(seen) <= 0.75


def test_a_mean_with_an_unknown_part_is_unknown():
    alpha = np.full((40, 40), 0.5, np.float32)
    alpha[10, 10] = np.nan
    seen = warp({"alpha": alpha}, View.whole((40, 40), (10, 10)))["alpha"]
    assert np.isnan(seen[2, 2])
    assert seen[6:, 6:] == pytest.approx(0.5)


def test_a_mirror_leaves_the_numbers_of_people(whole, swaps):
    assert np.array_equal(mirrored(whole, swaps)["person"], whole["person"][:, ::-1])


def test_a_ramp_stays_in_its_place_when_shrunk():
    ramp = np.repeat(np.arange(240, dtype=np.uint8)[None, :, None].repeat(160, 0), 3, 2)
    for size in ((80, 120), (40, 60), (53, 80), (20, 30)):
        view = View.whole((160, 240), size)
        seen = warp({"image": ramp}, view)["image"][size[0] // 2, 2:-2, 0].astype(float)
        wanted = view.to_source(np.stack([np.arange(size[1]), np.full(size[1], size[0] / 2)], 1))[2:-2, 0]
        assert np.abs(seen - wanted).max() < 1.0, size


def test_unknown_does_not_spread_into_known_pixels(person, swaps):
    view = View.about((95.5, 127.5), 1.7, (300, 220), degrees=17)
    seen = warp(person, view, swaps=swaps)
    assert np.array_equal(np.isfinite(seen["depth"]), np.isfinite(seen["normal"]).all(-1))
    assert set(np.unique(seen["seg"])) <= {*np.unique(person["seg"]), 255}
    finite = seen["depth"][np.isfinite(seen["depth"])]
    assert np.nanmin(person["depth"]) <= finite.min() <= finite.max() <= np.nanmax(person["depth"])


def test_fields_that_nobody_knows_are_dropped(person):
    seen = warp({"image": person["image"], "caption": np.array(3)}, about_middle(person["image"].shape[:2]))
    assert list(seen) == ["image"]


@pytest.mark.parametrize(("hw", "seen"), [((1, 1), 256), ((1, 7), 16 * 2), ((2, 2), 256), ((4000, 3), 0)])
def test_the_smallest_pictures_fill_their_place_and_a_thread_falls_between_the_pixels(hw, seen):
    sample = {"image": np.full((*hw, 3), 90, np.uint8), "depth": np.full(hw, 2, np.float32)}
    moved = warp(sample, View.whole(hw, (16, 16)))
    assert moved["image"].shape == (16, 16, 3)
    assert np.isfinite(moved["depth"]).sum() == seen
    assert (moved["image"].max() > 60) == (seen > 0)
