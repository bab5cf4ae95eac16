"""Views: where a point of the picture lies in the network's input, and where it came from."""

from dataclasses import fields, replace

import numpy as np
import pytest

from shared.data.view import Jitter, View

SIZE = (64, 48)
STILL = Jitter(scale=(1.0, 1.0), degrees=0, shift=0, flip=0)


def views(count=20):
    jitter = Jitter()
    return [jitter(View.whole((200, 300), SIZE), np.random.default_rng(seed)) for seed in range(count)]


BOX = np.array([5, 6, 40, 90.0])
PLAIN = [View.whole((200, 300), SIZE), View.box(BOX, SIZE), View.stretch((200, 300), SIZE), View.corners(BOX, SIZE)]


@pytest.mark.parametrize("view", [*PLAIN, *views(4)])
def test_points_come_back(view):
    xy = np.random.default_rng(0).uniform(-500, 500, (30, 2))
    assert np.allclose(view.to_source(view.to_view(xy)), xy)
    assert np.allclose(view.to_view(view.to_source(xy)), xy)


@pytest.mark.parametrize("source_hw", [(64, 48), (128, 96), (20, 300), (300, 20), (1, 1), (1080, 1920)])
def test_the_whole_picture_is_in_the_view_centred_and_touches_two_sides(source_hw):
    view = View.whole(source_hw, SIZE)
    h, w = source_hw
    edges = view.to_view(np.array([[-0.5, -0.5], [w - 0.5, h - 0.5]]))  # outer edges of the outer pixels
    assert (edges >= -0.5 - 1e-9).all()
    assert (edges <= np.array(SIZE[::-1]) - 0.5 + 1e-9).all()
    assert np.allclose(edges.mean(0), [(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2])
    assert np.isclose(edges[0], -0.5).any()


@pytest.mark.parametrize("times", [1, 2, 0.5])
def test_resizing_maps_areas(times):
    view = View.whole((64, 48), (int(64 * times), int(48 * times)))
    assert view.scale == pytest.approx(times)
    assert np.allclose(view.to_view(np.array([10.0, 20.0])), [times * 10.5 - 0.5, times * 20.5 - 0.5])


@pytest.mark.parametrize("box", [[10, 20, 50, 60], [10, 20, 12, 200], [-30, -30, 10, 0], [7, 7, 7, 7]])
def test_a_box_is_in_the_middle_of_its_view_with_room_around(box):
    view = View.box(np.array(box, np.float32), SIZE, padding=1.25)
    x0, y0, x1, y1 = box
    assert np.allclose(view.to_view(np.array([(x0 + x1) / 2, (y0 + y1) / 2])), [(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2])
    spanned = np.array([max(x1 - x0, 1), max(y1 - y0, 1)]) * view.scale / SIZE[::-1]
    assert spanned.max() == pytest.approx(1 / 1.25)


def test_a_stretched_picture_fills_its_rectangle_edge_to_edge():
    edges = np.array([[-0.5, -0.5], [299.5, 199.5]])
    assert np.allclose(View.stretch((200, 300), SIZE).to_view(edges), [[-0.5, -0.5], [47.5, 63.5]])
    inside = View.stretch((200, 300), SIZE, inside=(10, 4, 20, 30))  # top, left, height, width
    assert np.allclose(inside.to_view(edges), [[3.5, 9.5], [33.5, 29.5]])


@pytest.mark.parametrize("box", [[10, 20, 50, 60], [10, 20, 12, 200], [7, 7, 7, 7]])
def test_the_corners_of_a_grown_box_are_the_corner_pixels(box):
    x0, y0, x1, y1 = box
    view = View.corners(np.array(box), SIZE, padding=1.0)
    (left, top), (right, bottom) = view.to_source(np.array([[0, 0], [SIZE[1] - 1, SIZE[0] - 1]]))
    assert np.allclose([left + right, top + bottom], [x0 + x1, y0 + y1])
    assert (right - left) / (bottom - top) == pytest.approx(SIZE[1] / SIZE[0])
    assert min((right - left) / max(x1 - x0, 1), (bottom - top) / max(y1 - y0, 1)) == pytest.approx(1)


def test_a_box_that_is_not_finite_is_refused():
    for frame in (View.box, View.corners):
        with pytest.raises(ValueError, match=r"the box \[0.0, nan, 3.0, 4.0\] is not finite"):
            frame(np.array([0, np.nan, 3, 4]), SIZE)


def test_a_box_that_ends_before_it_begins_is_refused():
    for frame in (View.box, View.corners):
        for box in ([9, 0, 3, 4], [0, 5, 3, 4]):
            with pytest.raises(ValueError, match="ends before it begins; give x0 y0 x1 y1 in pixels, left and top first"):
                frame(np.array(box, np.float32), SIZE)


def test_turning_is_counter_clockwise_as_seen_and_mirroring_comes_last():
    turned = View.about((10, 10), 1, (21, 21), degrees=90)
    assert np.allclose(turned.to_view(np.array([15.0, 10.0])), [10, 5])  # what was on the right is on top
    mirrored = View.about((10, 10), 1, (21, 21), degrees=45, flip=True)
    assert np.allclose(mirrored.to_view(np.array([15.0, 10.0])), [10 - 5 * 0.5**0.5, 10 - 5 * 0.5**0.5])


@pytest.mark.parametrize("view", views(8))
def test_a_jittered_view_is_a_similarity_that_knows_whether_it_mirrors(view):
    linear = view.matrix[:, :2] / view.scale
    assert np.allclose(linear @ linear.T, np.eye(2))
    assert (np.linalg.det(linear) < 0) == view.flip


def test_a_jitter_stays_within_its_limits_and_reaches_them():
    plain = View.whole((64, 48), SIZE)
    middle = np.array([(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2])
    jitter = Jitter(scale=(0.5, 2.0), degrees=30, shift=0.1, flip=0.25)
    seen = [jitter(plain, np.random.default_rng(seed)) for seed in range(2000)]
    scales = np.array([view.scale for view in seen])
    assert 0.5 <= scales.min() < 0.52 < 1.9 < scales.max() <= 2
    assert np.median(scales) == pytest.approx(1, rel=0.05)  # as often smaller as larger
    moved = np.array([view.to_source(middle) - middle for view in seen]) / SIZE[::-1]
    assert 0.095 < np.abs(moved).max() <= 0.1 + 1e-9
    assert np.mean([view.flip for view in seen]) == pytest.approx(0.25, abs=0.03)
    upright = [view for view in seen if not view.flip]
    degrees = np.array([np.degrees(np.arctan2(view.matrix[0, 1], view.matrix[0, 0])) for view in upright])
    assert 29 < np.abs(degrees).max() <= 30 + 1e-9


def test_an_even_scale_is_as_often_in_one_part_of_its_range_as_in_another():
    plain, jitter = View.whole((64, 48), SIZE), replace(STILL, scale=(0.2, 2.0), even=True)
    scales = np.array([jitter(plain, np.random.default_rng(seed)).scale for seed in range(2000)])
    assert 0.2 <= scales.min() < 0.21 < 1.99 < scales.max() <= 2
    assert np.quantile(scales, [0.25, 0.5, 0.75]) == pytest.approx([0.65, 1.1, 1.55], abs=0.05)


def test_no_jitter_is_no_change():
    plain = View.whole((200, 300), SIZE)
    same = STILL(plain, np.random.default_rng(0))
    assert np.allclose(same.matrix, plain.matrix)
    assert (same.size, same.flip) == (SIZE, False)


CHANGES = {"scale": (0.5, 0.6), "degrees": 60.0, "shift": 0.3, "flip": 1.0, "turned": 0.0, "moved": 0.0, "bell": True, "even": True}


@pytest.mark.parametrize(
    "field", [f.name for f in fields(Jitter) if f.name not in ("largest", "fewest")]
)  # which tests of the stream see
def test_every_limit_changes_the_view(field):
    plain, changed = View.whole((200, 300), SIZE), replace(Jitter(), **{field: CHANGES[field]})
    pairs = [[jitter(plain, np.random.default_rng(seed)).matrix for jitter in (Jitter(), changed)] for seed in range(4)]
    assert any(not np.allclose(one, other) for one, other in pairs)


def test_a_view_is_turned_and_moved_as_often_as_asked_and_each_by_itself():
    plain, middle = View.whole((64, 48), SIZE), np.array([(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2])
    jitter = replace(STILL, degrees=80.0, shift=0.16, turned=0.6, moved=0.3)
    seen = [jitter(plain, np.random.default_rng(seed)) for seed in range(2000)]
    turned = np.array([abs(view.matrix[0, 1]) > 1e-9 for view in seen])
    moved = np.array([not np.allclose(view.to_source(middle), middle) for view in seen])
    assert turned.mean() == pytest.approx(0.6, abs=0.03)
    assert moved.mean() == pytest.approx(0.3, abs=0.03)
    assert (turned & moved).mean() == pytest.approx(0.18, abs=0.03)


def test_on_a_bell_the_middle_is_likelier_than_the_limits_and_half_of_the_views_show_more():
    """A normal distribution cut off at one deviation has its quarters at 0.44 of it; extents are 1 +- 0.5 of the plain one."""
    plain = View.whole((64, 48), SIZE)
    jitter = replace(STILL, scale=(2 / 3, 2.0), degrees=80.0, bell=True)
    seen = [jitter(plain, np.random.default_rng(seed)) for seed in range(4000)]
    extents = np.array([1 / view.scale for view in seen])
    degrees = np.degrees(np.arctan2([view.matrix[0, 1] for view in seen], [view.matrix[0, 0] for view in seen]))
    for draws in ((extents - 1) / 0.5, degrees / 80):
        assert 0.98 < np.abs(draws).max() <= 1 + 1e-9
        assert np.quantile(draws, [0.25, 0.5, 0.75]) == pytest.approx([-0.44, 0, 0.44], abs=0.04)
    assert abs(np.corrcoef(extents, degrees)[0, 1]) < 0.05


def test_the_same_draw_is_the_same_view():
    plain = View.whole((200, 300), SIZE)
    first, second = (Jitter()(plain, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first.matrix, second.matrix)


def test_a_mirror_image_of_a_mirror_image_is_none():
    mirror = replace(STILL, flip=1.0)
    plain = View.whole((64, 48), SIZE)
    once = mirror(plain, np.random.default_rng(0))
    twice = mirror(once, np.random.default_rng(0))
    assert (once.flip, twice.flip) == (True, False)
    assert np.allclose(twice.matrix, plain.matrix)
