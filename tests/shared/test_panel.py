"""Contact sheets: pictures keep their shape, rows may differ, and titles stay in their bars."""

import numpy as np
import pytest

from shared.render import panel, title_bar


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


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


@pytest.mark.parametrize("width", [1, 30, 300])  # of 30, a letter and two dots take 26 in OpenCV 4.11 and 19 in 5.0
def test_a_title_stays_in_its_bar(width):
    bar = title_bar("a title that is much longer than its bar is wide", width, height=24)
    assert bar.shape == (24, width, 3)
    assert bar.min() < 120 or width == 1
    assert (title_bar("", width) == title_bar("", width)[0, 0]).all()
