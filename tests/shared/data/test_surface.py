"""Surfaces whose normals are known by geometry, and people: what depth says agrees with what is true."""

import numpy as np
import pytest

from shared.data.fields import warp
from shared.data.surface import disagreement_deg, normals, points
from shared.data.view import View

HW = (60, 80)
CAMERA = np.array([70.0, 70.0, 39.5, 29.5], np.float32)


def rays() -> np.ndarray:
    """(H,W,3) directions of the pixels, z 1."""
    return points(np.ones(HW), CAMERA)


def plane(normal) -> tuple[np.ndarray, np.ndarray]:
    """Depth of a plane 3 m ahead that faces along `normal` (x right, y up, z toward us), and that normal."""
    normal = np.asarray(normal, float) / np.linalg.norm(normal)
    there = normal * [1, -1, -1]  # in the axes of points
    return (there[2] * 3) / (rays() @ there), normal


def angle_deg(a, b) -> np.ndarray:
    return np.degrees(np.arccos((a * b).sum(-1).clip(-1, 1)))


def test_a_pixel_is_where_its_ray_meets_its_depth():
    at = points(np.full(HW, 3.0), CAMERA)
    assert at[30, 40].tolist() == pytest.approx([0.5 * 3 / 70, 0.5 * 3 / 70, 3])
    assert np.isnan(points(np.full(HW, np.nan), CAMERA)).all()


@pytest.mark.parametrize("normal", [(0, 0, 1), (0.4, 0, 1), (-0.4, 0, 1), (0, 0.5, 1), (0, -0.5, 1), (0.3, -0.6, 1)])
def test_a_plane_faces_one_way(normal):
    depth, wanted = plane(normal)
    found = normals(depth, CAMERA)[1:-1, 1:-1]
    assert np.isfinite(found).all()
    assert angle_deg(found, wanted).max() < 0.05
    assert found.dtype == np.float32


def test_a_ball_faces_away_from_its_centre():
    centre, radius = np.array([0.1, -0.05, 3.0]), 0.8
    direction = rays()
    b, a, c = direction @ centre, (direction**2).sum(-1), centre @ centre - radius**2
    with np.errstate(invalid="ignore"):
        depth = (b - np.sqrt(b**2 - a * c)) / a  # NaN beside the ball
    wanted = (points(depth, CAMERA) - centre) / radius * [1, -1, -1]
    found = normals(depth, CAMERA)
    known = np.isfinite(found).all(-1)
    assert known.sum() > 0.7 * np.isfinite(depth).sum()
    off = angle_deg(found, wanted)[known]
    assert np.median(off) < 0.5
    assert (found[known][:, 2] > 0).all(), "what is seen faces the camera"
    assert off[wanted[known][:, 2] > 0.5].max() < 3


def test_nothing_is_said_where_depth_steps_or_is_unknown():
    depth = np.full(HW, 2.0)
    depth[:, 40:] = 2.5
    depth[20, 10], depth[20, 30] = np.nan, 0.0
    said = np.asarray(np.isfinite(normals(depth, CAMERA)).all(-1))
    assert not said[:, 39:41].any()
    assert not said[[0, -1]].any()
    for column in (10, 30):
        assert not said[19:22, column].any()
        assert not said[20, column - 1 : column + 2].any()
    assert said[5:15, 5:35].all()
    assert said[5:15, 45:75].all()
    assert np.isnan(normals(depth, np.full(4, np.nan, np.float32))).all()
    assert np.isnan(normals(depth[:2], CAMERA)).all()


def test_people_agree_with_themselves_and_not_with_other_axes(person):
    truth, depth, camera = person["normal"], person["depth"], person["intrinsics"]
    off = disagreement_deg(truth, depth, camera)
    assert np.isfinite(off).sum() > 0.5 * np.isfinite(depth).sum()
    assert np.nanmedian(off) < 6
    for signs in ([-1, 1, 1], [1, -1, 1], [1, 1, -1]):
        assert np.nanmedian(disagreement_deg(truth * signs, depth, camera)) > 3 * np.nanmedian(off)
    assert np.nanmedian(disagreement_deg(truth[..., ::-1], depth, camera)) > 3 * np.nanmedian(off)


@pytest.mark.parametrize("degrees", [-30, 40])
def test_normals_from_turned_depth_are_turned_normals(person, degrees):
    view = View.about((95.5, 127.5), 1.5, (256, 192), degrees=degrees, flip=degrees > 0)
    turned = warp({name: person[name] for name in ("normal", "depth", "intrinsics")}, view)
    off = disagreement_deg(turned["normal"], turned["depth"], turned["intrinsics"])
    unturned = warp({"normal": person["normal"] * [-1, 1, 1]}, view)["normal"]
    assert np.nanmedian(off) < 15
    assert np.nanmedian(disagreement_deg(unturned, turned["depth"], turned["intrinsics"])) > 2 * np.nanmedian(off)
