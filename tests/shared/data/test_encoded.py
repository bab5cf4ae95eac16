"""A photo that is decoded no larger than a view needs it looks as if all of it had been decoded, and lies where it lay."""

import io
import logging

import cv2
import numpy as np
import pytest
from PIL import Image

from shared.data.encoded import Encoded
from shared.data.fields import warp
from shared.data.photo import read_photo
from shared.data.shards import Shards, write_shards
from shared.data.stream import Stream
from shared.data.view import Jitter, View
from shared.data.wanted import Wanted

SIZE = (96, 72)


def encoded(pixels: np.ndarray, kind: str = "JPEG", orientation: int = 1) -> bytes:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(out, kind, **({"quality": 90, "exif": exif} if kind == "JPEG" else {}))
    return out.getvalue()


@pytest.fixture(scope="module")
def large(person) -> np.ndarray:
    """A photo of 1021 x 765 with grain, nowhere black."""
    pixels = 60 + 0.7 * cv2.resize(person["image"], (765, 1021), interpolation=cv2.INTER_CUBIC)
    return np.clip(pixels + np.random.default_rng(0).normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)


def views(hw: tuple[int, int], scale: float) -> list[View]:
    middle = ((hw[1] - 1) / 2 + 7.3, (hw[0] - 1) / 2 - 11.8)
    turned = {"degrees": 17.0, "flip": True}
    return [View.about(middle, scale, SIZE), View.about(middle, scale, SIZE, **turned), View.about((0.0, 0.0), scale, SIZE)]


def both(content: bytes, view: View) -> tuple[np.ndarray, np.ndarray]:
    """What the view shows of the photo in its file, and of all its pixels."""
    late = warp({"image": Encoded(content)}, view)["image"]  # type: ignore[dict-item]
    return late, warp({"image": read_photo(content)}, view)["image"]


def off(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """By how many pixels (x, y) one picture lies beside another, by least squares over the gradient."""
    grey, difference = wanted.astype(float).mean(2), (found.astype(float) - wanted).mean(2)
    dy, dx = np.gradient(grey)
    inside = (slice(2, -2), slice(2, -2))
    slopes = np.stack([dx[inside].ravel(), dy[inside].ravel()], 1)
    return np.linalg.lstsq(slopes, -difference[inside].ravel(), rcond=None)[0]


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("scale", [0.5, 0.45, 0.3, 0.25, 0.13, 0.1])
def test_a_view_of_the_file_is_that_of_its_pixels(large, scale, orientation):
    stored = large if orientation == 1 else large[:1016, :760]  # what is turned has to be a multiple of eight
    content = encoded(np.ascontiguousarray(stored), orientation=orientation)
    assert Encoded(content).decoded(int(1 / scale))[1] > 1
    for view in views(read_photo(content).shape[:2], scale):
        late, whole = both(content, view)
        assert np.array_equal((late == 0).all(2), (whole == 0).all(2)), "the picture ends where it ended"
        assert np.abs(late.astype(int) - whole).mean() < 2
        assert np.abs(off(late, whole)).max() < 0.04, "of a pixel of the view"


@pytest.mark.parametrize("scale", [0.5, 0.34, 0.25, 0.125])
def test_where_sides_are_multiples_hardly_a_level_differs(large, scale):
    content = encoded(np.ascontiguousarray(large[:1016, :760]))
    for view in views((1016, 760), scale):
        late, whole = both(content, view)
        assert np.abs(late.astype(int) - whole).mean() < 0.7
        assert np.abs(late.astype(int) - whole).max() < 16
        assert np.abs(off(late, whole)).max() < 0.01


@pytest.mark.parametrize(("kind", "scale", "orientation"), [("JPEG", 0.6, 1), ("JPEG", 1.3, 1), ("PNG", 0.2, 1), ("JPEG", 0.2, 6)])
def test_where_nothing_can_be_saved_not_a_pixel_differs(large, kind, scale, orientation):
    """No JPEG, a view that needs all of it, a turned one whose sides are odd."""
    content = encoded(large[:509, :381] if kind == "PNG" else large, kind, orientation)
    for view in views(read_photo(content).shape[:2], scale):
        late, whole = both(content, view)
        assert np.array_equal(late, whole)


def test_the_shape_is_known_before(large):
    photo = Encoded(encoded(large, orientation=6))
    assert photo.shape == read_photo(photo.content).shape == (765, 1021, 3)
    assert photo.decoded(1)[0].dtype == photo.dtype
    assert photo.decoded(1)[0].ndim == photo.ndim


def test_labels_are_seen_where_the_picture_is(large, tmp_path):
    """The picture marks its labels: bright where the class is 1."""
    seg = np.zeros((1021, 765), np.uint8)
    seg[300:700, 200:500] = 1
    image = np.where(seg[..., None] > 0, 230, 40).astype(np.uint8).repeat(3, 2)
    write_shards([("a", {"image": encoded(image), "seg": seg})], tmp_path, names={})
    stream = Stream(tmp_path, size=SIZE, jitter=Jitter(scale=(1.0, 2.0)), wanted=Wanted({"seg": None}))
    for position in range(8):
        sample = {name: value.numpy() for name, value in stream[position].items()}
        share = (sample["image"].mean(0) - 40) / 190  # of class 1 under each pixel
        known = sample["seg"] < 255
        wrong = ((share > 0.5) != (sample["seg"] == 1)) & known
        assert wrong.mean() < 0.004, "no more than pixels on the border, half and half"
        assert share[known].mean() == pytest.approx((sample["seg"][known] == 1).mean(), abs=0.004)


def test_a_photo_that_is_damaged_inside_its_file_is_replaced_and_named(large, tmp_path, caplog):
    """Packed so: its checksum is right, and its header, too."""
    good = encoded(large)
    write_shards([("a", {"image": good}), ("b", {"image": good[: len(good) // 2]})], tmp_path)
    assert len(Shards(tmp_path)) == 2
    stream = Stream(tmp_path, size=SIZE)
    with caplog.at_level(logging.WARNING):
        samples = [stream[position] for position in range(4)]
    assert all(sample["image"].float().mean() > 20 for sample in samples)
    assert stream.replaced > 0
    assert "the image of sample 'b'" in caplog.text
    assert "truncated" in caplog.text
