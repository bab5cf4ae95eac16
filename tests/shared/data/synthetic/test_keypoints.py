"""Keypoints: the names of the tasks, on the body, mirrored with it, moving with it."""

import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import KDTree

from shared.data.synthetic import keypoints, poses
from shared.data.synthetic.limbs import turn
from shared.data.synthetic.rig import Rig

RIG = Rig.load()
TABLES = Path(__file__).parents[4] / "tasks" / "pose" / "skeletons"
NAMES = list(keypoints.NAMES)


def table(name):
    return tomllib.loads((TABLES / f"{name}.toml").read_text(encoding="utf-8"))


def at(points, name):
    return points[NAMES.index(name)]


@pytest.mark.parametrize(
    ("name", "ours"),
    [("coco17", keypoints.COCO17), ("wholebody133", keypoints.WHOLEBODY133), ("sapiens308", keypoints.SAPIENS308)],
)
def test_names_are_those_of_the_tasks_in_their_order(name, ours):
    assert [entry["name"] for entry in table(name)["entries"]] == list(ours)
    assert set(ours) <= set(NAMES)
    assert len(set(NAMES)) == len(NAMES) == 388


def test_none_of_the_points_is_unknown():
    placed = keypoints.place(RIG, RIG.mean)
    assert placed.shape == (len(NAMES), 3)
    assert np.isfinite(placed).all()
    assert "none of the 308 is unknown" in (keypoints.__doc__ or "")
    np.testing.assert_allclose(np.asarray(keypoints.mixture(RIG).sum(1)).ravel(), 1, atol=1e-5)


def test_without_curves_the_skin_has_no_points():
    bare = dataclasses.replace(RIG, anchors={})
    placed = keypoints.place(bare, bare.mean)
    assert np.isnan(at(placed, "tip_of_nose")).all()
    assert np.isfinite(at(placed, "left_knee")).all()


@pytest.mark.parametrize("seed", range(5))
def test_every_point_lies_on_or_in_the_posed_body(seed):
    rng = np.random.default_rng(seed)
    somebody = RIG.adult(rng)
    drawn = poses.pose(rng, identity=somebody)
    points = RIG.pose(*RIG.rest(somebody, drawn.expression), drawn.rotations).points
    surface = np.concatenate([RIG.part(part, 1).matrix @ points for part in ("body", "eye_left", "eye_right")])
    placed = keypoints.place(RIG, points)
    apart, _ = KDTree(surface).query(placed)
    assert (apart < keypoints.TOLERANCE).all(), [n for n, far in zip(NAMES, apart > keypoints.TOLERANCE) if far]
    face = [NAMES.index(name) for name in (*keypoints.SAPIENS308[70:], *(f"face-{i}" for i in range(68)))]
    assert apart[face].max() < 0.006


@pytest.mark.parametrize("name", ["coco17", "wholebody133", "sapiens308"])
@pytest.mark.parametrize("family", [None, "walking, swinging", "standing, waving"])
def test_a_mirrored_pose_mirrors_the_points(name, family):
    drawn = poses.pose(np.random.default_rng(5), family=family) if family else None
    rotations = drawn.rotations if drawn else {}
    placed = keypoints.place(RIG, RIG.pose(RIG.mean, RIG.heads_mean, rotations).points)
    other = keypoints.place(RIG, RIG.pose(RIG.mean, RIG.heads_mean, poses.mirrored(rotations)).points)
    pairs = table(name)["pairs"]
    single = {entry["name"] for entry in table(name)["entries"]} - {one for pair in pairs for one in pair}
    for left, right in [*pairs, *((one, one) for one in single)]:
        np.testing.assert_allclose(at(other, left) * (-1, 1, 1), at(placed, right), atol=4e-3, err_msg=left)


@pytest.mark.parametrize(
    ("upper", "lower"),
    [
        ("left_eye", "nose"),
        ("center_of_glabella", "center_of_nose_root"),
        ("center_of_nose_root", "midpoint_2_of_nose_bridge"),
        ("midpoint_2_of_nose_bridge", "midpoint_1_of_nose_bridge"),
        ("midpoint_1_of_nose_bridge", "midpoint_3_of_nose_bridge"),
        ("midpoint_3_of_nose_bridge", "tip_of_nose_bridge"),
        ("tip_of_nose_bridge", "tip_of_nose"),
        ("tip_of_nose", "bottom_center_of_nose"),
        ("bottom_center_of_nose", "center_of_cupid_bow"),
        ("center_of_cupid_bow", "center_of_upper_inner_lip"),
        ("center_of_upper_inner_lip", "center_of_lower_inner_lip"),
        ("center_of_lower_inner_lip", "center_of_lower_outer_lip"),
        ("center_of_lower_outer_lip", "center_of_labiomental_groove"),
        ("center_of_labiomental_groove", "tip_of_chin"),
        ("upper_midpoint_1_of_l_eyebrow", "lower_midpoint_1_of_l_eyebrow"),
        ("lower_midpoint_1_of_l_eyebrow", "l_centerpoint_of_upper_crease_line"),
        ("l_centerpoint_of_upper_crease_line", "l_centerpoint_of_upper_eyelid_line"),
        ("l_centerpoint_of_upper_eyelid_line", "l_centerpoint_of_upper_lash_line"),
        ("l_centerpoint_of_upper_lash_line", "l_centerpoint_of_lower_lash_line"),
        ("l_centerpoint_of_lower_lash_line", "l_centerpoint_of_lower_eyelid_line"),
        ("r_border_of_iris_12", "r_center_of_iris"),
        ("l_top_point_of_tragus", "l_bottom_point_of_tragus"),
        ("l_top_connecting_point_of_helix", "l_bottom_connecting_point_of_ear_lobe"),
        ("upper_corner_of_l_nostril", "bottom_center_of_nose"),
        ("left_acromion", "left_shoulder"),
        ("neck", "left_hip"),
        ("left_heel", "left_big_toe"),
    ],
)
def test_points_lie_in_the_order_of_anatomy(upper, lower):
    placed = keypoints.place(RIG, RIG.mean)
    assert at(placed, upper)[2] > at(placed, lower)[2]


def test_the_left_is_the_persons_left():
    placed = keypoints.place(RIG, RIG.mean)
    for left in ("left_eye", "left_hip", "left_thumb4", "l_tip_of_ear_lobe", "l_center_of_iris", "face-16", "left_small_toe"):
        assert at(placed, left)[0] > 0.01
    for right in ("right_eye", "r_outer_corner_of_mouth", "face-0", "face-36", "face-48", "right_heel"):
        assert at(placed, right)[0] < -0.01
    assert at(placed, "l_outer_end_of_upper_lash_line")[0] > at(placed, "l_inner_end_of_upper_lash_line")[0]
    assert at(placed, "l_border_of_iris_3")[0] > at(placed, "l_center_of_iris")[0] > at(placed, "l_border_of_iris_9")[0]
    assert at(placed, "r_border_of_iris_3")[0] > at(placed, "r_center_of_iris")[0]  # 3 o'clock as the viewer sees it
    assert at(placed, "left_olecranon")[1] > at(placed, "left_cubital_fossa")[1]


def test_irises_follow_the_gaze():
    looking = turn(np.array([0, 0, 1.0]), 0.3)
    turned = keypoints.place(RIG, RIG.pose(RIG.mean, RIG.heads_mean, {"eye.L": looking, "eye.R": looking}).points)
    ahead = keypoints.place(RIG, RIG.mean)
    for name in ("l_center_of_iris", "r_center_of_pupil"):
        assert at(turned, name)[0] - at(ahead, name)[0] > 0.002  # to the person's left
    np.testing.assert_allclose(at(turned, "tip_of_nose"), at(ahead, "tip_of_nose"), atol=1e-6)


def test_lips_part_when_the_jaw_opens():
    somebody = RIG.adult(np.random.default_rng(4))
    gap = []
    for strength in (0.0, 0.5, 1.0):
        placed = keypoints.place(RIG, RIG.rest(somebody, {"jawOpen": strength})[0])
        gap.append(at(placed, "face-62")[2] - at(placed, "face-66")[2])
    assert gap[0] < gap[1] < gap[2]
    assert gap[2] > 0.01


def test_the_tip_of_the_elbow_stays_behind_when_the_arm_bends():
    bent = RIG.pose(RIG.mean, RIG.heads_mean, {"lowerarm01.L": turn(np.array([1.0, 0, 0.3]), -1.0)}).points
    placed = keypoints.place(RIG, bent)
    assert np.linalg.norm(at(placed, "left_olecranon") - at(placed, "left_elbow")) < 0.08
