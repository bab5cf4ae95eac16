"""What is written can be read again, and a half-written file never has the final name."""

import json

import numpy as np
import pytest

from shared.data.photo import read_photo
from shared.infer.writer import write

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8)


def test_every_format_comes_back(tmp_path):
    labels, depth = RNG.integers(0, 28, (7, 5), dtype=np.uint8), np.array([[1.5, np.nan]], np.float32)
    paths = write(tmp_path, "sub/photo", {"seg.png": labels, "rgb.png": PICTURE, "depth.npy": depth, "pose.json": {"people": []}})
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "sub/photo.seg.png",
        "sub/photo.rgb.png",
        "sub/photo.depth.npy",
        "sub/photo.pose.json",
    ]
    assert np.array_equal(read_photo(paths[0])[..., 0], labels)
    assert np.array_equal(read_photo(paths[1]), PICTURE), "colours must not change places"
    assert np.array_equal(np.load(paths[2]), depth, equal_nan=True)
    assert json.loads(paths[3].read_text()) == {"people": []}


def test_a_cloud_of_points_is_a_binary_ply_without_the_unknown_ones(tmp_path):
    points = np.arange(18, dtype=np.float32).reshape(2, 3, 3)
    points[0, 1, 2] = np.nan
    (path,) = write(tmp_path, "a", {"pointmap.ply": points})
    header, content = path.read_bytes().split(b"end_header\n")
    assert header.decode().splitlines() == [
        "ply",
        "format binary_little_endian 1.0",
        "element vertex 5",
        *(f"property float {axis}" for axis in "xyz"),
    ]
    assert np.frombuffer(content, "<f4").reshape(5, 3).tolist() == np.delete(points.reshape(6, 3), 1, 0).tolist()


def test_a_jpeg_is_close_to_the_picture_and_keeps_red_red(tmp_path):
    red = np.zeros((16, 16, 3), np.uint8) + np.array([250, 10, 20], np.uint8)
    (path,) = write(tmp_path, "a", {"seg.jpg": red})
    assert np.abs(read_photo(path).astype(int) - red).max() < 8


@pytest.mark.parametrize(
    ("suffix", "content", "error"),
    [
        ("json", {"now": object()}, TypeError),
        ("npy", np.array([object()]), ValueError),
        ("jpg", np.zeros((1, 70_000, 3), np.uint8), ValueError),
        ("png", np.zeros((0, 4, 3), np.uint8), ValueError),
    ],
)
def test_what_cannot_be_written_leaves_no_file(tmp_path, suffix, content, error):
    (tmp_path / f"a.{suffix}").write_text("the last good answer")
    with pytest.raises(error):
        write(tmp_path, "a", {suffix: content})
    assert [path.name for path in tmp_path.iterdir()] == [f"a.{suffix}"]
    assert (tmp_path / f"a.{suffix}").read_text() == "the last good answer"


def test_an_unknown_format_is_a_sentence(tmp_path):
    with pytest.raises(
        ValueError, match=r"a\.exr: there is no writer for \.exr files; choose one of \.png, \.jpg, \.npy, \.json, \.ply"
    ):
        write(tmp_path, "a", {"exr": PICTURE})


def test_a_picture_too_wide_for_its_format_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"jpg files cannot hold a picture of \(1, 70000, 3\) uint8; make the photo smaller"):
        write(tmp_path, "a", {"jpg": np.zeros((1, 70_000, 3), np.uint8)})
