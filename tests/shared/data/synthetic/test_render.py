"""Is the truth of a rendered scene exact?"""

from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.data.synthetic.camera import Camera
from shared.data.synthetic.light import PERIOD, pattern, toward_sky
from shared.data.synthetic.materials import PATTERNS, noise, surface
from shared.data.synthetic.mesh import PART, PARTS, material
from shared.data.synthetic.picture import expose, sensor
from shared.data.synthetic.render import render
from shared.vocabulary import Vocabulary

HW = (96, 72)


def rays_of(camera: Camera, hw):
    fx, fy, cx, cy = camera.intrinsics(hw)
    x, y = np.meshgrid((np.arange(hw[1]) - cx) / fx, (np.arange(hw[0]) - cy) / fy)
    return np.stack([x, y, np.ones(hw)], -1)


def slopes(depth, camera, hw):
    """Unit normals (H-2,W-2,3), x right, y up, z toward the viewer, from the depth of neighbours."""
    points = rays_of(camera, hw) * depth[..., None].astype(float)
    across = np.cross(points[1:-1, 2:] - points[1:-1, :-2], points[:-2, 1:-1] - points[2:, 1:-1])
    return across / np.linalg.norm(across, axis=-1, keepdims=True) * (1, -1, -1)


def test_a_sphere_has_its_depth_normals_label_person_and_albedo(world, ahead, sphere):
    maps = render(world([sphere], [0]), ahead, HW)
    ways = rays_of(ahead, HW)
    a, b, c = (ways**2).sum(-1), 3 * ways[..., 2], 9 - 0.25
    root = b**2 - a * c
    inside = root > 1e-3
    depth = (b - np.sqrt(np.maximum(root, 0))) / a
    assert maps.depth[inside] == pytest.approx(depth[inside], abs=2e-4)
    exact = (ways * depth[..., None] - (0, 0, 3)) / 0.5 * (1, -1, -1)
    assert np.degrees(np.arccos(np.clip((exact * maps.normal).sum(-1), -1, 1)))[inside].max() < 1
    assert (maps.part[inside] == PART["Face_Neck"]).all()
    assert (maps.person == np.where(np.isfinite(maps.depth), 0, -1)).all()
    assert np.isinf(maps.depth[root < -1e-3]).all()
    assert np.isnan(maps.normal[root < -1e-3]).all()
    assert (maps.albedo[inside] > 0).all()


def test_a_plane_has_the_depth_and_the_normal_of_its_equation(world, ahead, wall):
    maps = render(world([wall], [-1]), ahead, HW)
    ways = rays_of(ahead, HW)
    assert maps.depth == pytest.approx(4 / (0.3 * ways[..., 0] + ways[..., 2] - 0.2 * ways[..., 1]), abs=1e-5)
    normal = np.array([-0.3, -0.2, 1]) / np.linalg.norm([0.3, 0.2, 1])
    assert maps.normal.reshape(-1, 3) == pytest.approx(np.tile(normal, (maps.depth.size, 1)), abs=1e-5)
    assert (maps.person == -1).all()
    assert (maps.alpha == 0).all()


def test_normals_are_the_slope_of_depth(world, ahead, sphere, wall):
    hw = (240, 180)
    maps = render(world([sphere, wall], [0, -1]), ahead, hw)
    angle = np.degrees(np.arccos(np.clip((slopes(maps.depth, ahead, hw) * maps.normal[1:-1, 1:-1]).sum(-1), -1, 1)))
    near = cv2.erode((maps.person >= 0).astype(np.uint8), np.ones((9, 9)))[1:-1, 1:-1] > 0
    far = cv2.erode((maps.person < 0).astype(np.uint8), np.ones((5, 5)))[1:-1, 1:-1] > 0
    assert np.median(angle[near]) < 1
    assert np.percentile(angle[near], 99) < 4
    assert angle[far].max() < 0.2


def test_normals_are_unit_and_face_the_camera(world, ahead, sphere, wall):
    normal = render(world([sphere, wall], [0, -1]), ahead, HW).normal
    assert np.linalg.norm(normal, axis=-1) == pytest.approx(1, abs=1e-5)
    assert ((normal * (1, -1, -1) * rays_of(ahead, HW)).sum(-1) < 0).all()


def test_the_nearer_thing_hides_the_farther(world, ahead, sphere, wall):
    maps = render(world([wall, sphere], [-1, 0]), ahead, HW)
    assert maps.person[HW[0] // 2, HW[1] // 2] == 0
    assert maps.part[0, 0] == 0


def test_chunks_change_nothing(world, ahead, sphere, wall):
    scene = world([sphere, wall], [0, -1])
    whole, parts = render(scene, ahead, HW), render(scene, ahead, HW, chunk=7 * HW[1] + 5)
    for one, other in zip(whole, parts):
        assert np.array_equal(one, other, equal_nan=True)


def test_alpha_is_the_share_of_the_pixel_that_people_cover(world, ahead, sphere, wall):
    maps = render(world([sphere, wall], [0, -1]), ahead, HW)
    assert maps.alpha * 5 == pytest.approx(np.rint(maps.alpha * 5), abs=1e-6)  # the centre and four points around it
    assert ((maps.alpha > 0) & (maps.alpha < 1)).any()
    assert maps.alpha.sum() == pytest.approx((maps.person >= 0).sum(), rel=0.03)
    assert (maps.people[maps.alpha == 0] == 0).all()
    assert (maps.behind[maps.alpha == 1] == 0).all()


@pytest.mark.parametrize("hw", [(1, 1), (7, 129), (129, 7)])
def test_odd_sizes_are_drawn(world, ahead, sphere, hw):
    maps = render(world([sphere], [0]), ahead, hw)
    assert maps.people.shape == (*hw, 3)
    assert np.isfinite(maps.people).all()
    assert expose(maps.people, maps.behind, maps.alpha, sensor(np.random.default_rng(3))).shape == (*hw, 3)


def test_every_block_of_pixels_looks_at_all_of_the_lamp():
    rows, columns = np.mgrid[3 : 3 + PERIOD, 6 : 6 + PERIOD]
    assert sorted(np.floor(pattern(rows.ravel(), columns.ravel()))) == list(range(PERIOD**2))


def test_blocks_of_pixels_look_at_different_points_of_the_lamp():
    rows, columns = np.mgrid[0 : 16 * PERIOD : PERIOD, 0 : 16 * PERIOD : PERIOD]
    within = pattern(rows.ravel(), columns.ravel()) % 1
    assert np.histogram(within, 8, (0.25, 0.75))[0].min() > 16


def test_directions_to_the_sky_are_unit_and_above_the_surface():
    normal = np.random.default_rng(0).normal(size=(500, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    ways = toward_sky(normal.astype(np.float32), np.arange(500) % PERIOD**2)
    assert np.linalg.norm(ways, axis=1) == pytest.approx(1, abs=1e-4)
    assert ((ways * normal).sum(1) > 0).all()


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_of_cloth_stays_between_its_two_colours(name):
    rest = np.random.default_rng(0).uniform(-1, 1, (400, 3)).astype(np.float32)
    cloth = material("cloth", colour=(0.2, 0.2, 0.2), second=(0.6, 0.6, 0.6), pattern=name)
    found = surface(cloth, rest, np.zeros((400, 5), np.float32), np.full(400, 0.01, np.float32)).albedo
    assert found.shape == (400, 3)
    assert (found > 0.05).all()
    assert (found < 0.95).all()
    assert name == "plain" or np.ptp(found) > 0.2


@pytest.mark.parametrize("name", [name for name in PATTERNS if name not in ("plain", "halves")])
def test_a_pattern_finer_than_a_pixel_is_seen_as_one_colour(name):
    rest = np.random.default_rng(0).uniform(-1, 1, (400, 3)).astype(np.float32)
    cloth = material("cloth", colour=(0.2, 0.2, 0.2), second=(0.6, 0.6, 0.6), pattern=name, period=0.01)
    near, far = (surface(cloth, rest, rest, np.full(400, size, np.float32)).albedo[:, 0] for size in (0.0005, 0.02))
    assert far.std() < 0.35 * near.std()
    assert far.mean() == pytest.approx(near.mean(), abs=0.04)


def test_noise_is_the_same_everywhere_it_is_asked_and_has_unit_spread():
    points = np.random.default_rng(0).uniform(-50, 50, (20000, 3)).astype(np.float32)
    assert np.array_equal(noise(points, octaves=3), noise(points, octaves=3))
    assert noise(points, octaves=3).std() == pytest.approx(1, abs=0.25)


def test_parts_are_those_of_sapiens_and_glasses():
    known = Vocabulary.load(Path(__file__).parents[4] / "tasks/seg/labels/sapiens28.toml").names
    assert tuple(PARTS[:28]) == tuple(known)
    assert PARTS[28] == "Eyeglass"
