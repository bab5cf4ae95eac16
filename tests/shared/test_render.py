"""Pictures of answers: the colours say what they should, nothing known is grey, and no size of picture is too odd."""

import cv2
import numpy as np
import pytest

from shared.render import (
    UNKNOWN_GREY,
    blend,
    colour_labels,
    colour_normals,
    colour_points,
    colour_scalar,
    draw_boxes,
    draw_keypoints,
    overlay_labels,
    panel,
)

COLOURS = ((0, 0, 0), (255, 0, 0), (0, 255, 0))
ODD_SIZES = [(1, 1), (1, 40), (48, 64), (97, 129), (1500, 2)]
GREY = [UNKNOWN_GREY] * 3


def photo(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def stick(size: float, *, at: tuple[float, float] = (20, 20)) -> np.ndarray:
    """One vertical bone, `size` px long."""
    return np.array([[at[0], at[1], 1], [at[0], at[1] + size, 1]], np.float32)


def drawn_width(size: int) -> int:
    """Pixels across the middle of a vertical bone drawn on black."""
    canvas = np.zeros((size + 40, size + 40, 3), np.uint8)
    picture = draw_keypoints(canvas, stick(size, at=(size / 2, 20)), [(0, 1)], [(255, 255, 255)] * 2)
    return int((picture[20 + size // 2, :, 0] > 128).sum())


def test_blending_by_half_is_the_mean():
    black, grey = np.zeros((4, 6, 3), np.uint8), np.full((4, 6, 3), 200, np.uint8)
    assert (blend(black, grey, 0.5) == 100).all()
    assert (blend(black, grey, 0) == 0).all()
    assert (blend(black, grey, 1) == 200).all()


def test_opacity_may_differ_from_pixel_to_pixel():
    black, white = np.zeros((1, 2, 3), np.uint8), np.full((1, 2, 3), 255, np.uint8)
    assert blend(black, white, np.array([[0.0, 1.0]]))[0, :, 0].tolist() == [0, 255]


def test_pictures_of_different_sizes_do_not_blend():
    with pytest.raises(ValueError, match="cannot be blended; resize"):
        blend(photo(4, 4), photo(4, 5), 0.5)


def test_opacity_of_another_size_is_refused():
    with pytest.raises(ValueError, match="one number per pixel"):
        blend(photo(4, 4), photo(4, 4), np.ones((2, 2)))


def test_labels_have_the_colours_of_the_table():
    picture = colour_labels(np.array([[0, 1], [2, 255]], np.uint8), COLOURS)
    assert picture.dtype == np.uint8
    assert picture.reshape(4, 3).tolist() == [[0, 0, 0], [255, 0, 0], [0, 255, 0], GREY]


def test_a_label_without_a_colour_is_an_error_not_a_wrong_colour():
    with pytest.raises(ValueError, match="hold class 3, the table 3 colours"):
        colour_labels(np.array([[3]], np.uint8), COLOURS)


def test_the_background_of_an_overlay_is_the_photo_itself():
    image, labels = photo(40, 50), np.zeros((40, 50), np.uint8)
    labels[10:30, 10:30] = 1
    picture = overlay_labels(image, labels, COLOURS)
    assert (picture[labels == 0] == image[labels == 0]).all()
    assert (picture[labels == 1] != image[labels == 1]).any(-1).mean() > 0.95


def test_without_outlines_an_overlay_is_a_plain_blend():
    image, labels = photo(20, 20), np.full((20, 20), 2, np.uint8)
    picture = overlay_labels(image, labels, COLOURS, alpha=0.6, outlines=False)
    assert np.allclose(picture, 0.4 * image + 0.6 * np.array(COLOURS[2]), atol=1)


def test_outlines_run_along_borders_only():
    image, labels = np.zeros((40, 40, 3), np.uint8), np.ones((40, 40), np.uint8)
    labels[:, 20:] = 2
    plain = overlay_labels(image, labels, COLOURS, outlines=False)
    changed = (overlay_labels(image, labels, COLOURS) != plain).any(-1)
    assert changed[:, 19:21].all()
    assert not changed[:, :18].any()
    assert not changed[:, 22:].any()


def test_near_is_bright_and_far_is_dark():
    ramp = np.linspace(1, 5, 200, dtype=np.float32)[None].repeat(3, 0)
    brightness = colour_scalar(ramp).astype(int).sum(-1)[0]
    assert (np.diff(brightness) <= 0).all()
    assert brightness[0] > 600 > 10 > brightness[-1]
    assert (colour_scalar(ramp, near_is_warm=False)[:, ::-1].astype(int) - colour_scalar(ramp) == 0).mean() > 0.9


def test_depth_in_other_units_looks_the_same():
    metres = np.random.default_rng(0).uniform(1, 5, (20, 30)).astype(np.float32)
    difference = colour_scalar(metres).astype(int) - colour_scalar(metres * 1024)
    assert np.abs(difference).max() <= 8  # one step of the colour table


def test_one_wild_value_does_not_hide_the_person():
    depth = np.random.default_rng(0).uniform(1, 2, (100, 100)).astype(np.float32)
    calm = colour_scalar(depth)
    depth[0, 0] = 1e30
    assert np.abs(colour_scalar(depth).astype(int) - calm)[1:].mean() < 2


def test_one_span_paints_two_frames_alike():
    near, far = np.full((2, 2), 1.0), np.full((2, 2), 3.0)
    assert (colour_scalar(near, span=(1, 3)) != colour_scalar(far, span=(1, 3))).any()
    assert (colour_scalar(far, span=(1, 3)) < 10).all()
    with pytest.raises(ValueError, match="nearest value first"):
        colour_scalar(near, span=(3, 1))


def test_unknown_depth_is_grey():
    depth = np.array([[1.0, np.nan, np.inf, 2.0]], np.float32)
    picture = colour_scalar(depth, np.array([[True, True, True, False]]))
    assert (picture[0, 1:] == UNKNOWN_GREY).all()
    assert (picture[0, 0] != UNKNOWN_GREY).any()


@pytest.mark.parametrize("size", ODD_SIZES)
def test_nothing_known_gives_grey(size):
    assert (colour_scalar(np.full(size, np.nan, np.float32)) == UNKNOWN_GREY).all()
    assert (colour_scalar(np.ones(size, np.float32), np.zeros(size, bool)) == UNKNOWN_GREY).all()
    assert (colour_normals(np.full((*size, 3), np.nan, np.float32)) == UNKNOWN_GREY).all()
    assert (colour_points(np.full((*size, 3), np.nan, np.float32)) == UNKNOWN_GREY).all()
    assert (colour_labels(np.full(size, 255, np.uint8), COLOURS) == UNKNOWN_GREY).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_wall_has_one_colour(dtype):
    picture = colour_scalar(np.full((8, 9), 2.5, dtype))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 1


def test_each_axis_of_a_normal_is_its_own_colour():
    axes = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [np.nan, 0, 1]]], np.float32)
    expected = [[255, 128, 128], [128, 255, 128], [128, 128, 255], [0, 128, 128], GREY]
    assert colour_normals(axes)[0].tolist() == expected
    assert (colour_normals(axes, np.zeros((1, 5), bool)) == UNKNOWN_GREY).all()


def test_a_wall_that_turns_away_is_darker_than_one_that_faces_us():
    y, x = np.mgrid[:6, :8].astype(np.float32)
    near, walls = np.full_like(x, 2), [np.stack([x, y, 2 + slope * x], -1) for slope in (0.0, 2.0)]
    facing, turned = (colour_points(wall).astype(int).sum(-1) for wall in walls)
    assert np.array_equal(colour_points(walls[0]), colour_scalar(near))
    assert turned[3, 0] < 0.8 * facing[3, 0]
    walls[0][0, 0, 2] = -1
    assert colour_points(walls[0])[0, 0].tolist() == GREY  # behind the camera


def test_nothing_is_drawn_in_place():
    image, labels, points = photo(64, 48), photo(64, 48)[..., 0] % 3, stick(30)
    depth, normals = np.where(labels, np.nan, 1.0), np.full((64, 48, 3), np.nan)
    before = [array.copy() for array in (image, labels, points, depth, normals)]
    answers = [
        blend(image, image, 0.3),
        overlay_labels(image, labels, COLOURS),
        draw_keypoints(image, points, [(0, 1)], COLOURS[:2]),
        draw_boxes(image, np.array([[1, 2, 30, 40]])),
        colour_scalar(depth),
        colour_normals(normals),
        panel([[image]], height=64),
    ]
    for array, kept in zip((image, labels, points, depth, normals), before):
        np.testing.assert_array_equal(array, kept)
    assert not any(np.shares_memory(answer, image) for answer in answers)


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


@pytest.mark.parametrize("wild", [np.nan, np.inf, 1e30, -1e9])
def test_a_point_far_outside_is_left_out(wild):
    points = np.array([[10, 10, 1], [wild, 12, 1]], np.float32)
    picture = draw_keypoints(np.zeros((64, 48, 3), np.uint8), points, [(0, 1)], COLOURS[1:])
    assert picture[10, 10].tolist() == [255, 0, 0]
    assert not picture[:, 25:].any()


@pytest.mark.parametrize("size", ODD_SIZES)
def test_any_size_of_picture_can_be_drawn_on(size):
    image, labels = photo(*size), np.ones(size, np.uint8)
    points = np.array([[0, 0, 1], [size[1] - 1, size[0] - 1, 1]], np.float32)
    for picture in (draw_keypoints(image, points, [(0, 1)], COLOURS[1:]), overlay_labels(image, labels, COLOURS)):
        assert picture.shape == image.shape
        assert picture.dtype == np.uint8


def test_views_with_strides_are_welcome():
    image, labels = photo(40, 60)[::2, ::-1], np.zeros((40, 60), np.uint8)[::2, ::-1]
    assert overlay_labels(image, labels, COLOURS).shape == (20, 60, 3)
    assert draw_keypoints(image.transpose(1, 0, 2), stick(10), [(0, 1)], COLOURS[1:]).shape == (60, 20, 3)


def test_a_4k_picture_takes_a_moment_not_a_minute():
    image = cv2.resize(photo(48, 64), (4096, 3072))
    labels = cv2.resize(photo(48, 64)[..., 0] % 3, (4096, 3072), interpolation=cv2.INTER_NEAREST)
    start = cv2.getTickCount()
    overlay_labels(image, labels, COLOURS)
    colour_scalar(image[..., 0].astype(np.float32))
    draw_keypoints(image, stick(2500, at=(2000, 200)), [(0, 1)], COLOURS[1:])
    assert (cv2.getTickCount() - start) / cv2.getTickFrequency() < 15
