"""Does the pose of a head turn as heads and cameras turn, and does it mean what the data sets of the field mean?"""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from shared.data.synthetic import faces
from shared.data.synthetic.camera import Camera
from shared.data.synthetic.groups import moved
from shared.data.synthetic.limbs import turn
from shared.data.synthetic.people import figure
from shared.data.synthetic.rig import Rig

X, Y, Z = np.eye(3)
FRONT = np.c_[faces.AXES, (0, 0, 1.6)]  # of somebody who stands upright and faces -y
TRIPLES = [(0, 0, 0), (30, 0, 0), (0, 30, 0), (0, 0, 30), (-70, 50, -40), (85, -60, 100), (-20, 170, -175), (10, -10, 10)]


def from_around(left: float, up: float, clockwise: float = 0) -> Camera:
    """A camera 2 m from (0, 0, 1.6), so many degrees to the left of who faces -y and above it, its head tilted."""
    a, b = np.radians((left, up))
    back = np.array([np.sin(a) * np.cos(b), -np.cos(a) * np.cos(b), np.sin(b)])
    right = np.array([np.cos(a), np.sin(a), 0])
    axes = np.stack([right, np.cross(-back, right), -back])
    return Camera(Rotation.from_euler("z", -clockwise, degrees=True).as_matrix() @ axes, np.array([0, 0, 1.6]) + 2 * back, 4.0)


def seen(frame, camera):
    return np.array(faces.angles(faces.seen(frame, camera)[:, :3]))


@pytest.mark.parametrize("triple", TRIPLES)
def test_angles_come_back(triple):
    turned = faces.rotation(*triple)
    assert turned @ turned.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(turned) == pytest.approx(1)
    assert faces.angles(turned) == pytest.approx(triple, abs=1e-9)


@pytest.mark.parametrize("yaw", [90, -90])
def test_where_pitch_and_roll_cannot_be_told_apart_the_rotation_is_kept(yaw):
    turned = faces.rotation(yaw, 20, 35)
    assert faces.angles(turned)[2] == 0
    assert faces.rotation(*faces.angles(turned)) == pytest.approx(turned, abs=1e-6)


@pytest.mark.parametrize("triple", TRIPLES)
def test_the_matrix_of_the_papers_is_ours_transposed_with_y_and_z_turned_round(triple):
    """6DRepNet builds Rz(roll) Ry(yaw) Rx(pitch) of the labels of 300W-LP; the mesh that was fitted is posed by its transpose."""
    yaw, pitch, roll = triple
    flip = np.diag([1.0, -1, -1])
    papers = Rotation.from_euler("xyz", (pitch, yaw, roll), degrees=True).as_matrix()
    assert flip @ faces.rotation(yaw, pitch, roll).T @ flip == pytest.approx(papers, abs=1e-12)


@pytest.mark.parametrize("triple", [one for one in TRIPLES if abs(one[1]) < 90])
def test_hopenets_reading_of_biwi_gives_our_angles(triple):
    """BIWI keeps head -> camera; Hopenet transposes it, reads Rz Ry Rx, then negates yaw and roll."""
    r = faces.rotation(*triple).T
    roll, yaw = -np.arctan2(r[1, 0], r[0, 0]), -np.arctan2(-r[2, 0], np.hypot(r[2, 1], r[2, 2]))
    pitch = np.arctan2(r[2, 1], r[2, 2])
    assert np.degrees((yaw, pitch, roll)) == pytest.approx(triple, abs=1e-9)


def test_who_faces_the_camera_has_the_identity_and_no_angles():
    turned = faces.seen(FRONT, from_around(0, 0))
    assert turned[:, :3] == pytest.approx(np.eye(3), abs=1e-12)
    assert turned[:, 3] == pytest.approx((0, 0, 2), abs=1e-12)


def test_yaw_looks_at_the_left_edge_pitch_up_and_roll_falls_clockwise():
    look, left_side = np.array([0, 0, -1.0]), X  # of a head that faces the camera; y of the picture points down
    assert (faces.rotation(30, 0, 0) @ look)[0] == pytest.approx(-0.5)
    assert (faces.rotation(0, 30, 0) @ look)[1] == pytest.approx(-0.5)
    assert (faces.rotation(0, 0, 30) @ left_side)[1] == pytest.approx(0.5)


@pytest.mark.parametrize("degrees", [-80, -25, 10, 60])
def test_a_camera_that_walks_around_sees_the_head_turn(degrees):
    """To the camera on the person's left the face looks at the left edge, to one above it looks down."""
    assert seen(FRONT, from_around(degrees, 0)) == pytest.approx((degrees, 0, 0), abs=1e-9)
    assert seen(FRONT, from_around(0, degrees)) == pytest.approx((0, -degrees, 0), abs=1e-9)
    assert seen(FRONT, from_around(0, 0, clockwise=degrees)) == pytest.approx((0, 0, -degrees), abs=1e-9)


@pytest.mark.parametrize(("axis", "which", "sign"), [(Z, 0, -1), (X, 1, -1), (Y, 2, 1)])
@pytest.mark.parametrize("degrees", [-30, 12, 40])
def test_a_head_that_turns_changes_one_angle(axis, which, sign, degrees):
    """About z to its left, about x down, about y toward its left shoulder."""
    rig = Rig.load()
    posed = rig.pose(rig.mean, rig.heads_mean, {"head": turn(axis, np.radians(degrees))})
    wanted = np.zeros(3)
    wanted[which] = sign * degrees
    assert seen(faces.head(rig, posed), from_around(0, 0)) == pytest.approx(wanted, abs=1e-6)


def test_the_head_turns_and_moves_with_its_person():
    one = figure(np.random.default_rng(3), "full")
    other = moved(one, np.radians(40), np.array([1.0, 2, 0]))
    camera = from_around(0, 0)
    before, after = faces.seen(one.head, camera), faces.seen(other.head, camera)
    about_vertical = Rotation.from_euler("y", -40, degrees=True).as_matrix()  # y points down
    assert after[:, :3] == pytest.approx(about_vertical @ before[:, :3], abs=1e-6)
    tips = [np.array(person.keypoints[0] - person.head[:, 3]) @ person.head[:, :3] for person in (one, other)]
    assert tips[0] == pytest.approx(tips[1], abs=1e-5)
    assert tips[0][2] < -0.02  # the nose lies before the eyes


def test_the_middle_between_the_eyes_is_the_origin():
    one = figure(np.random.default_rng(4), "full")
    eyes = (one.keypoints[1:3] - one.head[:, 3]) @ one.head[:, :3]
    assert eyes.mean(0)[:2] == pytest.approx((0, 0), abs=0.006)
    assert 0.05 < eyes[0, 0] - eyes[1, 0] < 0.08  # the left one at positive x
