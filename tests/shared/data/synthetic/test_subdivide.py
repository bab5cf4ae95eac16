"""Catmull-Clark: a cube by hand, its limit, open edges, and a map that is affine."""

import itertools

import numpy as np
import pytest

from shared.data.synthetic.subdivide import catmull_clark, subdivided, triangles

CUBE = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))  # vertex 4a + 2b + c
SIDES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
SQUARE = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])


def rows(points):
    return {tuple(np.round(point, 6)) for point in points}


def test_a_cube_after_one_step_is_the_one_worked_out_by_hand():
    matrix, quads = catmull_clark(8, SIDES)
    fine = matrix @ CUBE
    corners = set(itertools.product((-5 / 9, 5 / 9), repeat=3))
    middles = {(1.0, 0, 0), (-1.0, 0, 0), (0, 1.0, 0), (0, -1.0, 0), (0, 0, 1.0), (0, 0, -1.0)}
    edges = {p for a, b in itertools.product((-0.75, 0.75), repeat=2) for p in ((a, b, 0.0), (a, 0.0, b), (0.0, a, b))}
    assert fine.shape == (26, 3)
    assert quads.shape == (24, 4)
    assert rows(fine) == rows(corners) | rows(middles) | rows(edges)


def test_the_corner_of_a_cube_goes_to_its_known_limit():
    matrix, _ = subdivided(8, SIDES, 5)
    corner = (matrix @ CUBE)[7]
    np.testing.assert_allclose(corner, 0.5, atol=2e-3)  # (9 P + 4 neighbours - 1 diagonals) / 24


def test_a_cube_becomes_ever_rounder():
    spread = [np.ptp(np.linalg.norm(subdivided(8, SIDES, level)[0] @ CUBE, axis=1)) for level in (1, 2, 3)]
    assert spread[0] > spread[1] * 0.999
    assert spread[2] < 0.2


def test_faces_keep_looking_outward():
    matrix, quads = subdivided(8, SIDES, 2)
    points, faces = matrix @ CUBE, triangles(quads)
    first, middle, last = (points[faces[:, k]] for k in range(3))
    outward = (np.cross(middle - first, last - first) * first).sum(1)
    assert (outward > 0).all() or (outward < 0).all()
    assert len(faces) == 2 * len(quads)


def test_the_open_edge_of_a_square_follows_a_spline():
    matrix, _ = catmull_clark(4, np.array([[0, 1, 2, 3]]))
    fine = matrix @ SQUARE
    assert rows(fine) == rows([(x, y) for x in (-0.75, 0.75) for y in (-0.75, 0.75)] + [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)])


@pytest.mark.parametrize("levels", [0, 1, 3])
def test_the_map_is_affine(levels):
    matrix, _ = subdivided(8, SIDES, levels)
    np.testing.assert_allclose(np.asarray(matrix.sum(1)).ravel(), 1, atol=1e-6)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    np.testing.assert_allclose(matrix @ (CUBE @ turn + 3), (matrix @ CUBE) @ turn + 3, atol=1e-5)


def test_vertices_that_no_face_uses_are_dropped():
    matrix, quads = subdivided(100, SIDES + 50, 0)
    assert matrix.shape == (8, 100)
    assert quads.max() == 7


def test_faces_that_are_not_of_four_are_refused():
    with pytest.raises(ValueError, match="four vertices"):
        catmull_clark(3, np.array([[0, 1, 2]]))
