"""The world of the synthetic people: does every field tell the same story?"""

import cv2
import numpy as np
import pytest

from shared.data.fields import CORE, FIELDS
from shared.data.geometric import NAMES, fabric, person, samples
from shared.data.geometric.camera import FRAMINGS, Camera, look_at
from shared.data.geometric.fabric import blotchy, plain
from shared.data.geometric.face import Features
from shared.data.geometric.figure import figure
from shared.data.geometric.head import FACE_NAMES, MIRROR, head, points
from shared.data.geometric.portrait import setting
from shared.data.geometric.shapes import Cone, Ellipsoid, Solid, cast, first_hits, unit
from shared.data.geometric.skeleton import POSES, about, build, frames

HW = (192, 144)
SEEDS = range(24)
SEG = {name: number for number, name in enumerate(NAMES["seg"])}
FACE_CLASSES = [SEG[n] for n in ("Face_Neck", "Hair", "Lower_Lip", "Upper_Lip", "Lower_Teeth", "Upper_Teeth", "Tongue")]


@pytest.fixture(scope="module")
def people():
    return [person(seed, HW) for seed in SEEDS]


def scene(solids, hw=(200, 150), focal=6.0):
    """Depth and normals of bare solids in view space, and the focal length in px."""
    camera = Camera(np.eye(3), np.zeros(3), focal)
    rays = camera.rays(hw)
    index, depth = cast(solids, rays)
    normal = np.full((*hw, 3), np.nan, np.float32)
    for number, solid in enumerate(solids):
        mine = index == number
        normal[mine] = solid.normal(rays[mine] * depth[mine, None])
    depth[index < 0] = np.nan
    return index, depth, normal, camera.focal_px(hw)


def degrees_to_slope_of_depth(depth, normal, focal_px):
    """Angles between the given normals and those of the unprojected depth, where depth is smooth."""
    h, w = depth.shape
    x, y = (np.arange(w) - (w - 1) / 2) / focal_px, ((h - 1) / 2 - np.arange(h)) / focal_px
    place = np.stack([*np.meshgrid(x, y), -np.ones((h, w))], -1) * depth[..., None].astype(float)
    right, up = place[1:-1, 2:] - place[1:-1, :-2], place[:-2, 1:-1] - place[2:, 1:-1]
    slope = unit(np.cross(right, up))
    angle = np.degrees(np.arccos(np.clip((slope * normal[1:-1, 1:-1]).sum(-1), -1, 1)))
    return angle


GREY = plain(1, lambda local: np.full((len(local), 3), 0.5, np.float32))
TILTED = about("z", 35) @ about("x", 50)


@pytest.mark.parametrize(
    "solid",
    [
        Solid(Ellipsoid((0.3, 0.2, 0.4)), TILTED, np.array([0.1, -0.1, -2.0]), GREY),
        Solid(Cone(0.5, 0.2, 0.1), TILTED, np.array([0, 0.2, -2.0]), GREY),
        Solid(Cone(0.5, 0.08, 0.2), about("x", 80), np.array([0, 0.1, -2.0]), GREY),  # seen along the axis
        Solid(Cone(0.5, 0.2, 0.1), TILTED, np.array([0, 0.2, -2.0]), GREY, squash=0.5),
        Solid(Cone(0.05, 0.2, 0.1), TILTED, np.array([0, 0.2, -2.0]), GREY),  # one ball swallows the other
    ],
)
def test_a_solid_has_the_normals_of_its_depth_and_is_found_inside_its_bounds(solid):
    index, depth, normal, focal_px = scene([solid])
    angle = degrees_to_slope_of_depth(depth, normal, focal_px)
    solidly = cv2.erode((index == 0).astype(np.uint8), np.ones((5, 5)))[1:-1, 1:-1] > 0
    assert np.median(angle[solidly]) < 0.3
    assert np.percentile(angle[solidly], 95) < 3
    everywhere, _ = first_hits([solid], Camera(np.eye(3), np.zeros(3), 6.0).rays((200, 150)).reshape(-1, 3))
    assert (everywhere.reshape(200, 150) == index).all()


def test_a_ball_straight_ahead_is_as_far_as_its_distance_less_its_radius():
    index, depth, normal, _ = scene([Solid(Ellipsoid((0.5, 0.5, 0.5)), np.eye(3), np.array([0, 0, -3.0]), GREY)], (201, 151))
    assert index[100, 75] == 0
    assert depth[100, 75] == pytest.approx(2.5, abs=1e-5)
    assert normal[100, 75] == pytest.approx([0, 0, 1], abs=1e-5)


def test_a_person_has_every_field_in_its_type_and_shape(people):
    for sample in people:
        assert list(sample) == list(CORE)
        for name in CORE:
            assert sample[name].dtype == FIELDS[name].dtype
        assert sample["image"].shape == sample["normal"].shape == (*HW, 3)
        assert sample["seg"].shape == sample["depth"].shape == HW
        assert sample["keypoints"].shape == (len(NAMES["keypoints"]), 3) == (255, 3)
    assert len(NAMES["seg"]) == 28
    assert len(set(NAMES["keypoints"])) == 255


def test_parts_depth_and_normals_know_the_same_pixels(people):
    for sample in people:
        on_person = sample["seg"] > 0
        assert (on_person == np.isfinite(sample["depth"])).all()
        assert (on_person == np.isfinite(sample["normal"]).all(-1)).all()
        assert sample["seg"].max() < 28
        assert on_person.any()


def test_normals_are_unit_vectors_that_face_the_camera(people):
    for seed, sample in zip(SEEDS, people):
        known = np.isfinite(sample["depth"])
        normal, rays = sample["normal"][known], setting(seed).camera.rays(HW)[known]
        assert np.linalg.norm(normal, axis=1) == pytest.approx(1, abs=1e-5)
        assert ((normal * rays).sum(1) < 0).all()


@pytest.mark.parametrize("seed", range(6))
def test_normals_are_the_slope_of_depth(seed):
    sample, camera = person(seed, HW), setting(seed).camera
    angle = degrees_to_slope_of_depth(sample["depth"], sample["normal"], camera.focal_px(HW))
    depth = np.where(np.isfinite(sample["depth"]), sample["depth"], 1e3).astype(np.float32)
    step = cv2.dilate(depth, np.ones((3, 3))) - cv2.erode(depth, np.ones((3, 3)))
    smooth = (step < 0.02)[1:-1, 1:-1] & np.isfinite(angle)
    assert smooth.sum() > 50
    assert np.median(angle[smooth]) < 1


def test_visible_keypoints_lie_on_the_person_and_inside_the_picture(people):
    for sample in people:
        x, y, seen = sample["keypoints"].T
        column, row = np.round(x[seen > 0]).astype(int), np.round(y[seen > 0]).astype(int)
        assert ((column >= 0) & (column < HW[1]) & (row >= 0) & (row < HW[0])).all()
        near = cv2.dilate((sample["seg"] > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
        assert near[row, column].all()
        assert set(np.unique(seen)) <= {0, 1}
        assert np.isfinite(sample["keypoints"]).all()


def test_points_of_the_face_lie_on_the_face(people):
    hits = total = 0
    for sample in people:
        x, y, seen = sample["keypoints"][17:].T
        column, row = np.round(x[seen > 0]).astype(int), np.round(y[seen > 0]).astype(int)
        near = cv2.dilate(np.isin(sample["seg"], FACE_CLASSES).astype(np.uint8), np.ones((3, 3), np.uint8))
        hits += near[row, column].sum()
        total += len(row)
    assert total > 500
    assert hits / total > 0.995


def test_a_person_seen_from_the_front_has_the_left_on_the_right_of_the_picture():
    facing = [figure(np.random.default_rng(seed), turn=turn, calm=True) for seed in range(8) for turn in (-30.0, 30.0)]
    for who in facing:
        camera = look_at(who.joints, FRAMINGS[0], np.random.default_rng(0))
        xy = camera.pixels(camera.view(who.joints), HW)
        left, right = NAMES["keypoints"].index("left_shoulder"), NAMES["keypoints"].index("right_shoulder")
        assert xy[left, 0] > xy[right, 0]


def test_the_left_hand_is_at_the_left_wrist(people):
    tried = 0
    for sample in people:
        for side, other in (("left", "right"), ("right", "left")):
            x, y, seen = sample["keypoints"][NAMES["keypoints"].index(f"{side}_wrist")]
            hand, wrong = (np.argwhere(sample["seg"] == SEG[f"{s.title()}_Hand"]) for s in (side, other))
            if seen and len(hand) > 20 and len(wrong) > 20:
                away = [np.linalg.norm(h - (y, x), axis=1).min() for h in (hand, wrong)]
                tried += 1
                assert away[0] < 12 or away[0] < away[1]
    assert tried > 5


def test_nobody_has_a_face_from_behind():
    tried = 0
    frontal = [NAMES["keypoints"].index(n) for n in ("nose", "l_center_of_iris", "r_center_of_iris", "center_of_cupid_bow")]
    for seed in range(40):
        at = setting(seed)
        rotation, origin = at.who.frames["head"]
        toward = unit(at.camera.position - origin)
        if rotation[:, 2] @ toward < -0.35:
            tried += 1
            assert not person(seed, (64, 48))["keypoints"][frontal, 2].any()
    assert tried > 3


def test_what_stands_in_the_way_hides_the_person_and_its_points():
    hidden = 0
    for seed in range(60):
        at, sample = setting(seed), person(seed, HW)
        if not at.things:
            continue
        index, _ = cast(at.solids + at.things, at.camera.rays(HW))
        assert (sample["seg"][index >= len(at.solids)] == 0).all()
        xy = at.camera.pixels(at.camera.view(at.who.joints), HW)
        inside = ((xy > 0) & (xy < np.array(HW[::-1]) - 1)).all(1)
        column, row = np.round(xy[inside]).astype(int).T
        covered = cv2.erode((index >= len(at.solids)).astype(np.uint8), np.ones((5, 5), np.uint8))[row, column] > 0
        hidden += covered.sum()
        assert not sample["keypoints"][:17][inside][covered][:, 2].any()
    assert hidden > 2


def test_the_partner_of_a_point_is_its_image_in_the_mirror():
    face = Features(smile=0.004, gap=0.008)
    rng = np.random.default_rng(0)
    colours = {name: np.array(0.0) for name in ("iris", "brow", "lips", "beard", "shadow")}
    places, normals = points(face, head(face, blotchy(rng, np.ones(3), 0.1, 0), colours))
    partner = [FACE_NAMES.index(MIRROR.get(name, name)) for name in FACE_NAMES]
    np.testing.assert_allclose(places[partner] * (-1, 1, 1), places, atol=1e-9)
    np.testing.assert_allclose(normals[partner] * (-1, 1, 1), normals, atol=1e-9)
    assert len(np.unique(np.round(places, 5), axis=0)) > 225  # few coincide: lips of a closed mouth, ends of lids
    left = np.array([name.startswith("l_") or "_l_" in name for name in FACE_NAMES])
    assert (places[left, 0] > 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_depth_seen_through_the_intrinsics_has_the_normals_that_are_told(seed):
    sample = person(seed, (384, 288))
    (fx, fy, cx, cy), depth = sample["intrinsics"].astype(float), sample["depth"].astype(float)
    y, x = np.indices(depth.shape)
    points = np.stack([(x - cx) / fx * depth, -(y - cy) / fy * depth, -depth], -1)  # x right, y up, z toward the viewer
    slope = unit(np.cross(points[1:-1, 2:] - points[1:-1, :-2], points[:-2, 1:-1] - points[2:, 1:-1]))
    cosine = (slope * sample["normal"][1:-1, 1:-1]).sum(-1)
    assert np.nanmedian(np.degrees(np.arccos(np.clip(cosine, -1, 1)))) < 1
    assert np.nanpercentile(cosine, 20) > 0.98


def test_the_box_is_the_tightest_around_the_person(people):
    for sample in people:
        rows, columns = np.nonzero(sample["seg"])
        assert sample["box"] == pytest.approx([columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_person(people):
    again = person(3, HW)
    for name in CORE:
        assert again[name].tobytes() == people[3][name].tobytes()
        assert again[name].tobytes() != people[4][name].tobytes()
    assert (person((7, 1), (32, 24))["image"] != person((7, 2), (32, 24))["image"]).any()


@pytest.mark.parametrize("seed", range(4))
def test_the_same_seed_shows_the_same_person_at_another_size(seed):
    small, large = person(seed, (96, 72)), person(seed, (384, 288))
    assert (small["seg"] == large["seg"][2::4, 2::4]).mean() > 0.97
    both = small["keypoints"][:, 2] * large["keypoints"][:, 2] > 0
    enlarged = 4 * (small["keypoints"][:, :2] + 0.5) - 0.5
    np.testing.assert_allclose(enlarged[both], large["keypoints"][both, :2], atol=0.05)
    camera = 4 * (small["intrinsics"] + [0, 0, 0.5, 0.5]) - [0, 0, 0.5, 0.5]
    np.testing.assert_allclose(camera, large["intrinsics"], rtol=1e-6)
    shrunk = cv2.resize(large["image"], (72, 96), interpolation=cv2.INTER_AREA).astype(float)
    assert np.corrcoef(shrunk.ravel(), small["image"].ravel())[0, 1] > 0.9


@pytest.mark.parametrize("hw", [(1, 1), (16, 16), (129, 97), (33, 200)])
def test_odd_and_tiny_pictures_work(hw):
    for seed in range(4):
        sample = person(seed, hw)
        assert sample["image"].shape == (*hw, 3)
        assert ((sample["seg"] > 0) == np.isfinite(sample["depth"])).all()


@pytest.mark.parametrize("name", POSES)
def test_every_pose_stands_on_the_ground_and_keeps_its_limbs(name):
    body = build(np.random.default_rng(1))
    at = frames(body, POSES[name], look=(0, 0, 0), turn=40)
    for side in ("left", "right"):
        thigh = np.linalg.norm(at[f"{side}_knee"][1] - at[f"{side}_hip"][1])
        assert thigh == pytest.approx(0.425 * body.scale)
    assert all(origin[1] > -1e-9 for _, origin in at.values())
    assert min(origin[1] for _, origin in at.values()) < 0.12 * body.scale


def test_people_differ_in_what_they_show(people):
    shown = set().union(*(np.unique(sample["seg"]) for sample in people))
    assert len(shown) >= 24
    share = [(sample["seg"] > 0).mean() for sample in people]
    assert min(share) < 0.12
    assert max(share) > 0.35


def test_samples_are_numbered_and_the_same_from_any_number_of_processes():
    alone = list(samples(3, seed=5, hw=(32, 24)))
    shared = list(samples(3, seed=5, hw=(32, 24), workers=2))
    assert [name for name, _ in alone] == [name for name, _ in shared] == ["000000", "000001", "000002"]
    for (_, one), (_, other) in zip(alone, shared):
        assert all(one[name].tobytes() == other[name].tobytes() for name in CORE)
    assert alone[1][1]["image"].tobytes() == person((5, 1), (32, 24))["image"].tobytes()


def test_nobody_is_bare():
    torso, top, bottom = (NAMES["seg"].index(name) for name in ("Torso", "Upper_Clothing", "Lower_Clothing"))
    for seed in range(60):
        counts = np.bincount(person([5, seed], (96, 72))["seg"].ravel(), minlength=28)
        assert counts[top] + counts[bottom] > 0.15 * counts[1:].sum() or counts[2:4].sum() > 0.4 * counts[1:].sum(), seed
        assert counts[torso] <= 0.5 * counts[top] + 30, seed


def test_no_cloth_has_the_colour_of_skin():
    rng = np.random.default_rng(0)
    cloths = np.array([fabric.dye(rng) for _ in range(200)])
    skins = np.array([fabric.skin_tone(rng) for _ in range(200)])
    cloths, skins = (x / x.sum(1, keepdims=True) for x in (cloths, skins))
    assert np.linalg.norm(cloths[:, None] - skins[None], axis=2).min() > 0.04
