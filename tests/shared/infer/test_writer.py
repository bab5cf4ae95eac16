"""What is written can be read again, and a half-written file never has the final name."""

import json
import resource

import cv2
import numpy as np
import pytest
from PIL import Image

from shared.data.codec import decode
from shared.data.photo import read_photo
from shared.formats import Png, levels, read_levels, read_vectors, vectors
from shared.infer.writer import exr_is_there, write

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
        ValueError, match=r"a\.tif: there is no writer for \.tif files; choose one of \.png, \.jpg, \.npy, \.json, \.ply, \.exr"
    ):
        write(tmp_path, "a", {"tif": PICTURE})


def test_exr_comes_back_where_opencv_has_it_and_is_a_sentence_where_not(tmp_path):
    depth, normal = RNG.normal(size=(7, 5)).astype(np.float32), RNG.normal(size=(7, 5, 3)).astype(np.float32)
    if not exr_is_there():
        with pytest.raises(ValueError, match=r"this build of OpenCV cannot write \.exr files"):
            write(tmp_path, "a", {"depth.exr": depth})
        assert not list(tmp_path.iterdir())
        return
    paths = write(tmp_path, "a", {"depth.exr": depth, "normal.exr": normal})
    back = [np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)) for path in paths]
    assert np.array_equal(back[0], depth)
    assert np.array_equal(back[1][..., ::-1], normal)


def test_a_png_may_have_a_palette_and_say_something(tmp_path):
    ids, colours = RNG.integers(0, 3, (7, 5), dtype=np.uint8), [(255, 0, 0), (0, 255, 0), (1, 2, 3)]
    (path,) = write(tmp_path, "a", {"png": Png(ids, palette=colours, text={"unit": "class", "names": "a, b, ü"})})
    with Image.open(path) as image:
        image.verify()  # checksums
    with Image.open(path) as image:
        assert image.mode == "P"
        assert np.array_equal(np.array(image), ids)
        assert np.array_equal(np.array(image.convert("RGB")), np.array(colours)[ids])
        assert (image.info["unit"], image.info["names"]) == ("class", "a, b, ü")
    assert np.array_equal(np.asarray(cv2.imread(str(path)))[..., ::-1], np.array(colours)[ids]), "others read it, too"


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
@pytest.mark.parametrize("more", [(), (3,)])
def test_pngs_keep_every_level_of_any_size(tmp_path, kind, more):
    for hw in ((1, 1), (1, 300), (129, 97)):
        values = RNG.integers(0, np.iinfo(kind).max, (*hw, *more), dtype=kind, endpoint=True)
        (path,) = write(tmp_path, "a", {"png": values})
        back = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
        assert np.array_equal(back[..., ::-1] if more else back, values)


def test_levels_know_their_scale_and_come_back(tmp_path):
    values = (3 * RNG.normal(size=(40, 30))).astype(np.float32)
    values[2, 3:7] = np.nan
    (path,) = write(tmp_path, "a", {"depth.16.png": levels(values)})
    with Image.open(path) as image:
        assert image.mode.startswith("I;16")
        scale = float(image.info["scale"])
    back = read_levels(path)
    assert np.array_equal(np.isnan(back), np.isnan(values))
    assert np.nanmax(np.abs(back - values)) <= scale / 2 + 1e-6
    assert scale == pytest.approx(np.ptp(values[np.isfinite(values)]) / 65534)


@pytest.mark.parametrize("value", [0.0, -3.5, np.nan])
def test_levels_of_one_value_are_that_value(tmp_path, value):
    (path,) = write(tmp_path, "a", {"depth.16.png": levels(np.full((3, 4), value, np.float32))})
    assert np.array_equal(read_levels(path), np.full((3, 4), value, np.float32), equal_nan=True)


def test_a_png_without_a_scale_is_a_sentence(tmp_path):
    (path,) = write(tmp_path, "a", {"png": PICTURE[..., 0]})
    with pytest.raises(ValueError, match="does not say its scale"):
        read_levels(path)
    with pytest.raises(ValueError, match="is no picture of normals"):
        read_vectors(path)


@pytest.mark.parametrize(("bits", "degrees"), [(8, 0.5), (16, 0.002)])
def test_normals_come_back_from_a_picture(tmp_path, bits, degrees):
    normal = RNG.normal(size=(40, 30, 3))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    normal[0, 0], normal[3, 4] = [0, 0, 1], np.nan
    (path,) = write(tmp_path, "a", {"normal.png": vectors(normal, bits=bits)})
    back = read_vectors(path)
    known = np.isfinite(normal).all(-1)
    assert np.array_equal(np.isfinite(back).all(-1), known)
    apart = np.degrees(2 * np.arcsin(np.linalg.norm(back - normal, axis=-1)[known] / 2))
    assert apart.max() < degrees
    assert back[0, 0, 2] > 0.999, "z must be blue"


def test_a_palette_leaves_the_ids_as_they_are(tmp_path):
    labels = RNG.integers(0, 28, (7, 5), dtype=np.uint8)
    colours = [(i, 100 + i, 255 - i) for i in range(28)]
    (path,) = write(tmp_path, "a", {"seg.palette.png": Png(labels, palette=colours)})
    with Image.open(path) as image:
        assert image.mode == "P"
        assert np.array_equal(np.array(image), labels)
        assert np.array_equal(np.array(image.convert("RGB")), np.array(colours, np.uint8)[labels])
    assert np.array_equal(decode("seg.png", path.read_bytes())["seg"], labels), "it can be packed as it is"


def test_a_picture_too_wide_for_its_format_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"jpg files cannot hold a picture of \(1, 70000, 3\) uint8; make the photo smaller"):
        write(tmp_path, "a", {"jpg": np.zeros((1, 70_000, 3), np.uint8)})


def test_an_array_that_finds_the_disk_full_is_a_sentence(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**12, before[1]))  # Python ignores the signal, and the write fails
    try:
        with pytest.raises(OSError, match=r"a\.depth\.npy could not be saved in .*; make room there, and the same command goes on"):
            write(tmp_path, "a", {"depth.npy": np.zeros((99, 99), np.float32)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())
