"""People drawn over their picture: points, bones and boxes in lines of each person's size."""

import numpy as np
import pytest

from shared.render import draw_boxes, draw_keypoints

COLOURS = ((0, 0, 0), (255, 0, 0), (0, 255, 0))


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def stick(size: float, *, at: tuple[float, float] = (20, 20)) -> np.ndarray:
    """One vertical bone, `size` px long."""
    return np.array([[at[0], at[1], 1], [at[0], at[1] + size, 1]], np.float32)


def drawn_width(size: int) -> int:
    """Pixels across the middle of a vertical bone drawn on black."""
    canvas = np.zeros((size + 40, size + 40, 3), np.uint8)
    picture = draw_keypoints(canvas, stick(size, at=(size / 2, 20)), [(0, 1)], [(255, 255, 255)] * 2)
    return int((picture[20 + size // 2, :, 0] > 128).sum())


def test_a_picture_with_nobody_in_it_stays_as_it_is():
    image = photo(48, 64)
    assert (draw_keypoints(image, np.zeros((3, 3), np.float32), [(0, 1)], COLOURS) == image).all()
    assert (draw_keypoints(image, np.zeros((0, 3), np.float32), [], ()) == image).all()


def test_a_bone_needs_both_its_ends():
    image, points = np.zeros((100, 100, 3), np.uint8), stick(60, at=(50, 20))
    points[1, 2] = 0.29
    picture = draw_keypoints(image, points, [(0, 1)], COLOURS[1:], threshold=0.3)
    assert (picture[20, 50] == COLOURS[1]).all()
    assert not picture[45:].any()


def test_each_half_of_a_bone_has_the_colour_of_its_end():
    picture = draw_keypoints(np.zeros((200, 200, 3), np.uint8), stick(160, at=(100, 20)), [(0, 1)], COLOURS[1:])
    assert picture[60, 100].tolist() == [255, 0, 0]
    assert picture[140, 100].tolist() == [0, 255, 0]


def test_lines_grow_with_the_person():
    widths = {size: drawn_width(size) for size in (50, 400, 1600)}
    assert widths[50] < widths[400] < widths[1600]
    assert 2.5 < widths[1600] / widths[400] < 4.5  # OpenCV adds about a pixel on either side
    assert widths[50] >= 1


def test_each_of_several_people_has_lines_of_its_own_size():
    image = np.zeros((700, 300, 3), np.uint8)
    small, large = stick(50, at=(30, 20)), stick(600, at=(200, 20))
    together = draw_keypoints(image, np.stack([small, large]), [(0, 1)], COLOURS[1:])
    for person in (small, large):
        alone = draw_keypoints(image, person, [(0, 1)], COLOURS[1:])
        assert np.array_equal(together[alone.any(-1)], alone[alone.any(-1)])
    assert (draw_keypoints(image, np.zeros((0, 2, 3)), [(0, 1)], COLOURS[1:]) == image).all()


def test_the_size_of_the_person_may_be_told():
    image, points = np.zeros((400, 400, 3), np.uint8), stick(100, at=(200, 20))
    thin, thick = (draw_keypoints(image, points, [(0, 1)], COLOURS[1:], size_px=size) for size in (100, 1000))
    assert (thick > 0).sum() > 2 * (thin > 0).sum()


def test_a_crowded_face_is_drawn_finer_than_a_body_of_the_same_size():
    image = np.zeros((300, 300, 3), np.uint8)
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    ring = np.stack([150 + 100 * np.cos(angle), 150 + 100 * np.sin(angle), np.ones(200)], -1)
    crowd = draw_keypoints(image, ring, [], [(255, 255, 255)] * 200)
    few = draw_keypoints(image, ring[::50], [], [(255, 255, 255)] * 4)
    assert (crowd[150, 230:270] > 128).sum() < (few[150, 230:270] > 128).sum()


def test_a_box_is_a_light_line_around_its_pixels():
    image = np.full((60, 80, 3), 100, np.uint8)
    picture = draw_boxes(image, np.array([[19.5, 9.5, 59.5, 49.5]]))
    changed = (picture != image).any(-1)
    assert changed[10, 20:60].all()
    assert changed[49, 20:60].all()
    assert changed[10:50, 20].all()
    assert changed[10:50, 59].all()
    assert not changed[13:47, 23:57].any(), "nothing within"
    assert not changed[:8].any()
    assert not changed[52:].any()
    assert picture[10, 20:60].max() < 255, "the photo shows through"
    assert picture[10, 40, 0] > 150


def test_lines_of_boxes_grow_with_the_person():
    image = np.zeros((3000, 4000, 3), np.uint8)
    lines = [(draw_boxes(image, np.array([[1000, 100, 1000 + w, 100 + 2 * w]]))[150] > 100).any(-1).sum() for w in (50, 1400)]
    assert lines[0] == 2
    assert lines[1] >= 8


@pytest.mark.parametrize("box", [(-50, -50, 900, 900), (5, 5, 5, 5), (100, 100, 120, 120), (-1e6, -1e6, 1e6, 1e6)])
def test_boxes_of_any_size_and_place_are_drawn_without_harm(box):
    image = np.full((40, 30, 3), 100, np.uint8)
    assert draw_boxes(image, np.array([box], np.float32)).shape == image.shape
    assert (draw_boxes(image, np.zeros((0, 4), np.float32)) == image).all()


def test_a_crowd_of_points_makes_neither_the_others_nor_long_bones_thin():
    image, body = np.zeros((700, 400, 3), np.uint8), stick(600, at=(300, 50))
    face = np.stack([60 + np.arange(100) % 10, 60 + np.arange(100) // 10, np.ones(100)], -1)
    alone = draw_keypoints(image, body, [(0, 1)], COLOURS[1:], size_px=600)
    both = draw_keypoints(image, np.r_[body, face], [(0, 1), (2, 3)], [*COLOURS[1:], *[(255, 255, 255)] * 100], size_px=600)
    assert np.array_equal(both[:, 200:], alone[:, 200:])
    assert (both[:, :200] > 128).any(-1).sum() < 20 * 20, "and a bone of the crowd is as thin as its points"


@pytest.mark.parametrize("wild", [np.nan, np.inf, 1e30, -1e9])
def test_a_point_far_outside_is_left_out(wild):
    points = np.array([[10, 10, 1], [wild, 12, 1]], np.float32)
    picture = draw_keypoints(np.zeros((64, 48, 3), np.uint8), points, [(0, 1)], COLOURS[1:])
    assert picture[10, 10].tolist() == [255, 0, 0]
    assert not picture[:, 25:].any()
