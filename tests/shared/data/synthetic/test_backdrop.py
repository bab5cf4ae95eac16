"""Backdrops: things stand on the ground within the radius they name, touch nobody, and are of many kinds."""

import numpy as np
import pytest

from shared.data.synthetic.backdrop import GAP, SHARES, Stage, backdrop
from shared.data.synthetic.camera import Camera
from shared.data.synthetic.clutter import CLUTTER, bar, bicycle, fence
from shared.data.synthetic.furniture import MAKERS
from shared.data.synthetic.store import Store

EVERYTHING = sorted({maker for makers in (*MAKERS.values(), *CLUTTER.values()) for maker in makers}, key=lambda one: one.__name__)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("maker", EVERYTHING, ids=lambda maker: maker.__name__)
def test_a_thing_stands_on_the_ground_and_its_faces_are_whole(maker, seed):
    rng = np.random.default_rng(seed)
    thing, radius = maker(rng, Store(rng).pick)
    points = np.concatenate([shape.points for shape in thing])
    assert np.isfinite(points).all()
    assert -0.5 < points[:, 2].min() < 0.2
    assert 0 < radius < 2.5
    for shape in thing:
        assert shape.faces.max() < len(shape.points) == len(shape.normals) == len(shape.uv)


@pytest.mark.parametrize("maker", [fence, bicycle])
def test_clutter_lets_what_is_behind_it_be_seen(maker):
    """Its bars cover less than 60 % of its outline, seen from the front."""
    rng = np.random.default_rng(0)
    shapes, _ = maker(rng, Store(rng).pick)
    corners = np.concatenate([shape.points[shape.faces][..., [0, 2]] for shape in shapes])
    (ax, az), (bx, bz) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    assert np.abs(ax * bz - az * bx).sum() / 4 < 0.6 * np.ptp(corners.reshape(-1, 2), axis=0).prod()


def test_a_bar_joins_its_ends():
    start, end = np.array([0.0, 0, 0]), np.array([0.3, 0.4, 1.2])
    points = bar(start, end, 0.02, 0).points
    assert points[:4].mean(0) == pytest.approx(start)
    assert points[4:].mean(0) == pytest.approx(end)
    assert np.linalg.norm(points[:4] - start, axis=1) == pytest.approx(0.02)


@pytest.mark.parametrize("kind", SHARES)
def test_no_thing_of_any_backdrop_touches_the_people(kind):
    camera = Camera(np.array([(1.0, 0, 0), (0, 0, -1), (0, 1, 0)]), np.array([0, -3.0, 1.2]), 4.0)
    bodies = np.random.default_rng(0).uniform((-0.3, -0.2, 0), (0.3, 0.2, 1.7), (300, 3))
    for seed in range(6):
        made = backdrop(np.random.default_rng(seed), Stage(camera, bodies), kind=kind)
        for piece in made.pieces:
            upright = piece.points[(piece.points[:, 2] > 0.15) & (piece.points[:, 2] < 1.7)]
            if len(upright):
                away = np.linalg.norm(upright[:, None, :2] - bodies[None, ::10, :2], axis=2)
                assert away.min() > 0.3 * GAP
