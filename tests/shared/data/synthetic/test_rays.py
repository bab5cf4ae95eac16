"""Does a ray meet what it should, where it should?"""

import sys

import numpy as np
import pytest

from shared.data.synthetic.mesh import NORMALS, POINTS, material, piece, soup, vertex_normals
from shared.data.synthetic.rays import Rays, faces_at

GREY = material("plain")


def square(y: float) -> tuple[np.ndarray, np.ndarray]:
    return np.array([(x, y, z) for x, z in ((-1, -1), (1, -1), (1, 1), (-1, 1))], float), np.array([(0, 1, 2), (0, 2, 3)])


@pytest.fixture
def two():
    """Two squares, at 2 and 5 m."""
    return soup([piece(*square(2.0), GREY, 0), piece(*square(5.0), GREY, 1)], [-1, 0])


@pytest.mark.usefixtures("embree")
def test_a_ray_meets_the_nearest_face_at_its_depth(two):
    hits = Rays(two).first(np.zeros(3), np.array([(0, 1, 0), (0, -1, 0), (2, 1, 0)], np.float32))
    assert two.owner[hits.face[0]] == 0
    assert hits.depth[0] == pytest.approx(2, abs=1e-6)
    assert (hits.face[1:] == -1).all()
    assert np.isinf(hits.depth[1:]).all()


@pytest.mark.usefixtures("embree")
def test_depth_counts_in_lengths_of_the_direction(two):
    hits = Rays(two).first(np.zeros(3), np.array([(0.3, 1, 0.2)], np.float32))
    assert hits.depth[0] == pytest.approx(2, abs=1e-6)


@pytest.mark.usefixtures("embree")
def test_corners_interpolate_to_the_place_that_was_met(two):
    way = np.array([(0.3, 1, -0.2)], np.float32)
    hits = Rays(two).first(np.zeros(3), way)
    found, facet = faces_at(two, hits)
    assert found[:, POINTS] == pytest.approx(2 * way, abs=1e-5)
    assert np.abs(facet) == pytest.approx(np.array([[0, 1, 0]]), abs=1e-6)
    assert np.abs(found[:, NORMALS]) == pytest.approx(np.array([[0, 1, 0]]), abs=1e-6)


@pytest.mark.usefixtures("embree")
def test_a_ray_is_blocked_only_within_its_reach(two):
    rays, start, way = Rays(two), np.zeros((1, 3)), np.array([(0, 1.0, 0)])
    assert rays.blocked(start, way)[0]
    assert rays.blocked(start, way, 2.1)[0]
    assert not rays.blocked(start, way, 1.9)[0]
    assert not rays.blocked(start, -way)[0]


@pytest.mark.usefixtures("embree")
def test_no_rays_meet_nothing(two):
    hits = Rays(two).first(np.zeros(3), np.zeros((0, 3), np.float32))
    assert len(hits.face) == len(hits.depth) == len(hits.weights) == 0
    assert len(Rays(two).blocked(np.zeros((0, 3)), np.zeros((0, 3)))) == 0


def test_normals_of_a_square_point_out_of_its_winding():
    points, faces = square(0.0)
    assert vertex_normals(points, faces) == pytest.approx(np.tile([0, -1, 0], (4, 1)))


def test_without_embree_a_sentence_says_what_to_install(two, monkeypatch):
    monkeypatch.setitem(sys.modules, "embreex.mesh_construction", None)
    with pytest.raises(ImportError, match=r"pip install embreex.*shards that were made before work without it"):
        Rays(two)
