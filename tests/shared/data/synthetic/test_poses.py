"""Poses: everyone's feet on the ground, no limb through the body, and the same seed the same pose."""

import numpy as np
import pytest

from shared.data.synthetic import poses
from shared.data.synthetic.limbs import Body, aligned, arm, fingers, leg, passes_through, reach, turn, twisted
from shared.data.synthetic.regions import REGIONS
from shared.data.synthetic.rig import Rig

RIG = Rig.load()
BODY = Body(RIG, RIG.mean, RIG.heads_mean)
SKIN = np.unique(RIG.quads["body"])
REGION = RIG.shares[SKIN].argmax(1)
CARRIED_BY = {"feet": ("Foot",), "seat": ("Foot",), "knee": ("Foot", "Lower_Leg", "Upper_Leg"), "back": REGIONS}


def lowest(points, *parts):
    """The least height of regions whose names end so, on the skin."""
    chosen = [k for k, name in enumerate(REGIONS) if name.endswith(parts)]
    return points[SKIN][np.isin(REGION, chosen), 2].min()


@pytest.mark.parametrize("family", poses.FAMILIES)
def test_every_family_stands_on_what_carries_it_and_keeps_its_limbs_out_of_its_body(family):
    rng = np.random.default_rng(sum(map(ord, family)))
    somebody = RIG.adult(rng)
    drawn = poses.pose(rng, identity=somebody, family=family)
    rest, heads = RIG.rest(somebody)
    posed = RIG.pose(rest, heads, drawn.rotations, drawn.root)
    assert drawn.name.split(", ")[0] == family.split(", ")[0]
    assert passes_through(RIG, posed) <= poses.TOUCHING
    floor = posed.points[SKIN, 2].min()
    assert lowest(posed.points, *CARRIED_BY[drawn.support]) - floor < 0.01
    if drawn.support == "back":
        assert np.ptp(posed.points[SKIN, 2]) < 1.1
    else:
        assert posed.points[SKIN][REGION == 0, 2].max() - floor > 0.6  # heads are up


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("legs", ["standing", "walking", "sitting", "crouching", "lunging", "kneeling"])
def test_both_feet_are_on_the_ground(legs, seed):
    rng = np.random.default_rng(seed)
    somebody = RIG.adult(rng)
    family = next(name for name in poses.FAMILIES if name.startswith(legs + ","))
    points = RIG.pose(*RIG.rest(somebody), poses.pose(rng, identity=somebody, family=family).rotations).points
    assert abs(lowest(points, "Left_Foot") - lowest(points, "Right_Foot")) < 0.025


@pytest.mark.parametrize("seed", range(6))
def test_the_knee_of_those_who_kneel_is_on_the_ground(seed):
    rng = np.random.default_rng(seed)
    somebody = RIG.adult(rng)
    points = RIG.pose(*RIG.rest(somebody), poses.pose(rng, identity=somebody, family="kneeling, hanging").rotations).points
    knees = [points[np.abs(place - 1) < 0.2, 2].min() for place in RIG.limb_u]
    assert abs(min(knees) - lowest(points, "Foot")) < 0.012


@pytest.mark.parametrize("arms", dict.fromkeys(poses.SEATED))
def test_hands_of_those_who_sit_stay_above_the_seat(arms):
    posed = RIG.pose(RIG.mean, RIG.heads_mean, poses.pose(np.random.default_rng(1), family=f"sitting, {arms}").rotations)
    hips = RIG.joint("l-upper-leg", posed.points)[2]
    assert lowest(posed.points, "Hand") > hips - 0.12


def test_the_test_for_passing_through_sees_an_arm_in_the_belly():
    inward = arm(BODY, 0, np.array([-0.3, 0.1, -0.45]), np.array([1.0, 0.2, 0]))
    assert passes_through(RIG, RIG.pose(RIG.mean, RIG.heads_mean, inward)) > 100
    assert passes_through(RIG, RIG.pose(RIG.mean, RIG.heads_mean, {})) == 0
    crossed = leg(BODY, 0, np.array([-0.25, 0, -0.95])) | leg(BODY, 1, np.array([-0.25, 0, -0.95]))
    assert passes_through(RIG, RIG.pose(RIG.mean, RIG.heads_mean, crossed)) > 20


def test_the_same_seed_is_the_same_pose_and_another_is_another():
    first, again, other = (poses.pose(np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert first.name == again.name
    assert first.expression == again.expression
    assert all(np.array_equal(first.rotations[bone], again.rotations[bone]) for bone in first.rotations)
    assert not np.array_equal(first.gaze, other.gaze)
    assert any(not np.array_equal(first.rotations[bone], other.rotations[bone]) for bone in first.rotations)


def test_all_turns_are_rotations_of_known_bones():
    for seed in range(5):
        drawn = poses.pose(np.random.default_rng(seed))
        assert set(drawn.rotations) <= set(RIG.bones)
        for turned in drawn.rotations.values():
            np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-9)
            assert np.linalg.det(turned) > 0


def test_two_mirrors_are_none():
    drawn = poses.pose(np.random.default_rng(2)).rotations
    back = poses.mirrored(poses.mirrored(drawn))
    assert all(np.allclose(back[bone], drawn[bone]) for bone in drawn)
    assert set(back) == set(drawn)


def test_faces_are_made_of_known_units():
    seen = [poses.expression(np.random.default_rng(seed)) for seed in range(200)]
    assert set().union(*seen) <= set(RIG.expressions)
    assert all(0 <= strength <= 1 for face in seen for strength in face.values())
    assert len({tuple(sorted(face)) for face in seen}) >= len(poses.MOODS) - 1


def test_a_family_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="no family of poses 'standing, flying'"):
        poses.pose(np.random.default_rng(0), family="standing, flying")


def test_a_wrist_goes_where_it_is_sent():
    wrist = np.array([0.1, 0.5, -0.4])
    for side, sign, letter in ((0, 1, "l"), (1, -1, "r")):
        points = RIG.pose(RIG.mean, RIG.heads_mean, arm(BODY, side, wrist, np.array([0.5, -0.5, -0.8]))).points
        shoulder, elbow, hand = (BODY.joint(f"{letter}-{name}") for name in ("shoulder", "elbow", "hand"))
        length = np.linalg.norm(elbow - shoulder) + np.linalg.norm(hand - elbow)
        asked = shoulder + length * np.array([sign * wrist[0], -wrist[1], wrist[2]])
        assert np.linalg.norm(RIG.joint(f"{letter}-hand", points) - asked) < 0.01


def test_an_ankle_goes_where_it_is_sent_with_a_level_foot():
    points = RIG.pose(RIG.mean, RIG.heads_mean, leg(BODY, 0, np.array([0.05, 0.3, -0.7]), yaw=0.0)).points
    hip, knee, ankle = (BODY.joint(f"l-{name}") for name in ("upper-leg", "knee", "ankle"))
    length = np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee)
    moved = RIG.joint("l-ankle", points)
    assert np.linalg.norm(moved - (hip + length * np.array([0.05, -0.3, -0.7]))) < 0.01
    foot = SKIN[RIG.region[SKIN] == "Left_Foot"]
    before, after = RIG.mean[foot], points[foot]
    sole = before[:, 2] < 0.02
    np.testing.assert_allclose(after[sole] - moved, before[sole] - ankle, atol=5e-3)
    assert RIG.joint("l-knee", points)[1] < knee[1] - 0.1  # the knee points forward


def test_a_lifted_heel_leaves_the_toes_on_the_ground():
    flat, lifted = (
        RIG.pose(RIG.mean, RIG.heads_mean, leg(BODY, 0, np.array([0, -0.2, -0.9]), heel=heel)).points for heel in (0.0, 0.08)
    )
    assert abs(lowest(flat, "Left_Foot") - lowest(lifted, "Left_Foot")) < 0.003
    assert RIG.joint("l-ankle", lifted)[2] > RIG.joint("l-ankle", flat)[2] + 0.05


def test_what_is_out_of_reach_is_reached_for():
    s, m, e = np.zeros(3), np.array([0, 0, -1.0]), np.array([0, 0, -2.0])
    bend = reach(s, m, e, np.array([5.0, 0, 0]), np.array([0, -1.0, 0]), np.array([1.0, 0, 0]), 2.4)
    end = bend.upper @ m + bend.upper @ bend.lower @ (e - m)
    np.testing.assert_allclose(end, [2, 0, 0], atol=0.07)


def test_curled_fingers_close_toward_the_palm():
    for side, letter in ((0, "l"), (1, "r")):
        points = RIG.pose(RIG.mean, RIG.heads_mean, fingers(BODY, side, np.full(4, 1.0), 0.0, 0.0)).points
        thumb = RIG.joint(f"{letter}-finger-1-3")
        before = np.linalg.norm(BODY.joint(f"{letter}-finger-3-4") - thumb)
        assert np.linalg.norm(RIG.joint(f"{letter}-finger-3-4", points) - thumb) < before - 0.02


def test_a_twist_is_shared_without_loss():
    axis = np.array([0.6, 0, -0.8])
    whole = turn(np.array([0.3, 1, 0.2]), 1.2) @ turn(axis, 0.9)
    first, second = twisted(whole, axis)
    np.testing.assert_allclose(first @ second, whole, atol=1e-9)
    np.testing.assert_allclose(second @ axis, axis, atol=1e-12)
    np.testing.assert_allclose(aligned(axis, -axis) @ axis, -axis, atol=1e-9)
