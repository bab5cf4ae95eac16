"""Cutting garments: the cut is where the field says, loses nothing and leaves no crack."""

import numpy as np
import pytest

from shared.data.synthetic.hems import border, clip, lip, split
from shared.data.synthetic.mesh import vertex_normals


def sheet(n: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A bumpy sheet of 2 n n triangles over 0..1 squared: points (N,3), faces (M,3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: n + 1, : n + 1] / n
    points = np.stack([x, y, 0.1 * rng.random(x.shape)], 2).reshape(-1, 3)
    a = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    return points, np.concatenate([np.stack([a, a + 1, a + n + 2], 1), np.stack([a, a + n + 2, a + n + 1], 1)])


def area(points: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (points[faces[:, k]] for k in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


@pytest.mark.parametrize("seed", range(5))
def test_both_sides_of_a_cut_add_up_to_the_whole(seed):
    points, faces = sheet(seed=seed)
    field = np.random.default_rng(seed).normal(size=len(points))
    sides = [clip(faces, sign * field) for sign in (1, -1)]
    assert sum(area(cut.matrix @ points, cut.faces) for cut in sides) == pytest.approx(area(points, faces), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_beyond_the_level_is_left(seed):
    points, faces = sheet(seed=seed)
    field = np.random.default_rng(seed).normal(size=len(points))
    cut = clip(faces, field)
    assert (cut.matrix @ field).min() > -1e-12
    assert len(np.unique(cut.faces)) == len(cut.matrix @ field)


def test_the_new_border_lies_on_the_level_and_has_no_crack():
    points, faces = sheet()
    radius = np.linalg.norm(points[:, :2] - 0.5, axis=1)
    cut = clip(faces, 0.35 - radius)
    edges = border(cut.faces)
    assert np.abs((cut.matrix @ (0.35 - radius))[edges]).max() < 1e-12
    ends, counts = np.unique(edges, return_counts=True)  # one closed ring: every vertex is left once and reached once
    assert (counts == 2).all()
    assert len(ends) == len(edges)


def test_a_field_without_a_zero_keeps_all_or_nothing():
    points, faces = sheet()
    whole, none = clip(faces, np.ones(len(points))), clip(faces, -np.ones(len(points)))
    assert len(whole.faces) == len(faces)
    assert len(none.faces) == 0
    assert len(border(none.faces)) == 0


def test_triangles_keep_their_orientation():
    points, faces = sheet()
    cut = clip(faces, points[:, 0] - 0.37)
    assert vertex_normals(cut.matrix @ points, cut.faces)[:, 2].min() > 0


def test_a_lip_closes_the_border_and_reaches_as_deep_as_told():
    points, faces = sheet()
    points[:, 2] = 0
    cut = clip(faces, 0.35 - np.linalg.norm(points[:, :2] - 0.5, axis=1))
    rim = cut.matrix @ points
    band = lip(rim, vertex_normals(rim, cut.faces), cut.faces, 0.02)
    assert band.points[:, 2].min() == pytest.approx(-0.02)
    assert len(band.faces) == 2 * len(border(cut.faces))
    outward = band.points - [0.5, 0.5, 0]
    outward[:, 2] = 0
    assert ((band.normals * outward).sum(1) > 0).all()  # the lip of a disc looks away from its middle


@pytest.mark.parametrize("seed", range(3))
def test_a_mesh_split_along_a_field_is_whole_and_no_triangle_is_on_both_sides(seed):
    points, faces = sheet(seed=seed)
    field = np.random.default_rng(seed).normal(size=len(points))
    cut = split(faces, field)
    assert (cut.matrix @ points)[: len(points)] == pytest.approx(points)
    assert area(cut.matrix @ points, cut.faces) == pytest.approx(area(points, faces), rel=1e-12)
    corners = (cut.matrix @ field)[cut.faces]
    assert np.minimum(corners.max(1), -corners.min(1)).max() < 1e-12
    assert len(border(cut.faces)) == len(border(faces)) + (np.diff(np.sign(field)[border(faces)], axis=1) != 0).sum()
