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
    title_bar,
)

COLOURS = ((0, 0, 0), (255, 0, 0), (0, 255, 0))
ODD_SIZES = [(1, 1), (1, 40), (48, 64), (97, 129), (1500, 2)]
GREY = [UNKNOWN_GREY] * 3


def photo(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def stick(size: float, *, at: tuple[float, float] = (20, 20)) -> np.ndarray:
    """One vertical bone, `size` px long."""
    return np.array([[at[0], at[1], 1], [at[0], at[1] + size, 1]], np.float32)


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


@pytest.mark.parametrize("picture", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(picture):
    with pytest.raises(ValueError, match="must be RGB uint8"):
        panel([[picture]], height=20)


def test_a_contact_sheet_keeps_the_shape_of_its_pictures():
    red, blue = np.full((50, 100, 3), (255, 0, 0), np.uint8), np.full((200, 100, 3), (0, 0, 255), np.uint8)
    sheet = panel([[red, blue]], height=100)
    assert (sheet == (255, 0, 0)).all(-1).sum() == 100 * 200
    assert (sheet == (0, 0, 255)).all(-1).sum() == 100 * 50


def test_rows_of_a_contact_sheet_may_have_different_lengths():
    rows = [[photo(64, 48)], [], [photo(10, 300), photo(4, 2), photo(1, 1)]]
    sheet = panel(rows, [["one"]], height=60)
    assert sheet.shape[0] > 120
    assert sheet.shape[1] > 60 * 3
    assert panel(rows, height=60).shape[0] < sheet.shape[0]


def test_an_empty_contact_sheet_is_an_error():
    with pytest.raises(ValueError, match="no pictures; give at least one"):
        panel([[], []], height=60)


@pytest.mark.parametrize("width", [1, 20, 300])
def test_a_title_stays_in_its_bar(width):
    bar = title_bar("a title that is much longer than its bar is wide", width, height=24)
    assert bar.shape == (24, width, 3)
    assert bar.min() < 120 or width == 1
    assert (title_bar("", width) == title_bar("", width)[0, 0]).all()


def test_a_4k_picture_takes_a_moment_not_a_minute():
    image = cv2.resize(photo(48, 64), (4096, 3072))
    labels = cv2.resize(photo(48, 64)[..., 0] % 3, (4096, 3072), interpolation=cv2.INTER_NEAREST)
    start = cv2.getTickCount()
    overlay_labels(image, labels, COLOURS)
    colour_scalar(image[..., 0].astype(np.float32))
    draw_keypoints(image, stick(2500, at=(2000, 200)), [(0, 1)], COLOURS[1:])
    assert (cv2.getTickCount() - start) / cv2.getTickFrequency() < 15
