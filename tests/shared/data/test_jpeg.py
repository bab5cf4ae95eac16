"""JPEGs are decoded as Pillow decodes them, and shrunk in the decoder no further than asked."""

import io

import numpy as np
import pytest
from PIL import Image

from shared.data import jpeg
from shared.data.photo import read_photo, read_shrunk

WAYS = [{"subsampling": 2}, {"subsampling": 0}, {"progressive": True}, {"restart_marker_blocks": 3}]


def encoded(pixels: np.ndarray | Image.Image, **options) -> bytes:
    out = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(out, "JPEG", quality=90, **options)
    return out.getvalue()


@pytest.fixture(scope="module")
def pixels(person) -> np.ndarray:
    """Of odd height and width."""
    return np.ascontiguousarray(person["image"][:123, :189])


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_pixels_are_those_of_pillow(pixels, way):
    for stored in (pixels, pixels[..., 1]):
        content = encoded(stored, **way)
        assert np.array_equal(read_photo(content), np.array(Image.open(io.BytesIO(content)).convert("RGB")))


def test_colours_that_opencv_mixes_up_are_left_to_pillow(pixels):
    content = encoded(Image.fromarray(pixels).convert("CMYK"))
    assert Image.open(io.BytesIO(content)).mode == "CMYK"
    shrunk, by = read_shrunk(content, 8)
    assert by == 1
    assert np.array_equal(shrunk, np.array(Image.open(io.BytesIO(content)).convert("RGB")))


@pytest.mark.parametrize(
    ("size", "most", "upright", "wanted"),
    [
        ((123, 189), 1, True, 1),
        ((123, 189), 3, True, 2),
        ((123, 189), 7, True, 4),
        ((123, 189), 100, True, 8),
        ((123, 189), 100, False, 1),
        ((120, 188), 100, False, 4),
        ((128, 192), 100, False, 8),
        ((128, 192), 0, True, 1),
    ],
)
def test_how_far_a_jpeg_is_shrunk(size, most, upright, wanted):
    assert jpeg.shrinking(size, most, upright=upright) == wanted


@pytest.mark.parametrize("by", [2, 4, 8])
def test_a_shrunk_pixel_is_the_mean_of_those_it_stands_for(pixels, by):
    content = encoded(pixels, subsampling=0)
    shrunk, found = read_shrunk(content, by)
    whole = read_photo(content)
    assert found == by
    assert shrunk.shape == (-(-123 // by), -(-189 // by), 3)
    h, w = 123 // by, 189 // by
    means = whole[: h * by, : w * by].reshape(h, by, w, by, 3).mean((1, 3))
    assert np.abs(shrunk[:h, :w] - means).mean() < 1


@pytest.mark.parametrize("by", [1, 2, 8])
def test_what_is_cut_off_is_none(pixels, by):
    content = encoded(pixels)
    for length in (len(content) - 1, len(content) // 2, 30):
        assert jpeg.pixels(content[:length], by) is None


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("by", [1, 2, 4, 8])
def test_the_first_rows_are_those_of_the_whole(pixels, way, by, capfd):
    content = encoded(pixels, **way)
    whole = read_shrunk(content, by)[0]
    some, found = read_shrunk(content, by, rows=48)
    assert found == by
    assert len(some) == (48 // by if "subsampling" in way else len(whole))
    assert np.array_equal(some, whole[: len(some)])
    assert capfd.readouterr().err == "", "the decoder has nothing to complain about"


def test_only_as_many_rows_are_decoded_as_are_wanted(pixels):
    shorter = jpeg.pixels(jpeg.top(encoded(pixels), 48))
    assert shorter is not None
    assert len(shorter) == 48 + jpeg.MARGIN
    for content in (encoded(pixels, progressive=True), encoded(pixels, restart_marker_blocks=3), encoded(pixels)[:-9], b"\xff\xd8"):
        assert jpeg.top(content, 48) is content
    assert len(jpeg.top(encoded(pixels), 100)) == len(encoded(pixels)), "no room is left"
