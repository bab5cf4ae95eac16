"""Members of a shard: what was written is what is read, and what is wrong is told, never unpickled, never believed."""

import io
import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from webdataset.writer import TarWriter

from shared.data.codec import decode, encode
from shared.data.shards import DamagedSample, Shards, write_shards


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def jpeg(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array.astype(np.uint8)).save(out, "JPEG")
    return out.getvalue()


def npy(array: np.ndarray, **options) -> bytes:
    out = io.BytesIO()
    np.save(out, array, **options)
    return out.getvalue()


def dump(value) -> bytes:
    return json.dumps(value).encode()


def foreign(path: Path, *samples: dict, **options) -> Path:
    with open(path, "wb") as file, TarWriter(file, **options) as writer:
        for sample in samples:
            writer.write(sample)
    return path


HW = (24, 18)


class Bomb:
    def __reduce__(self):
        return os._exit, (3,)


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return out.getvalue()


def promise(shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file and nothing behind it."""
    header = repr({"descr": "<f4", "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


PICKLED = npy(np.array([Bomb()], object), allow_pickle=True)
BAD_MEMBERS = {
    "pickled depth": ("depth.npy", PICKLED, "object"),
    "pickle in a zip": ("depth.npz", zipped(depth=PICKLED), "object"),
    "terabytes": ("depth.npy", promise((10**6, 10**6)), "promises"),
    "terabytes in a zip": ("normal.npz", zipped(normal=promise((10**6, 10**6, 3))), "promises"),
    "half an array": ("depth.npy", promise((4, 4)) + bytes(60), "ends after 60 of 64 bytes"),
    "no depth inside": ("depth.npz", zipped(width=npy(np.ones(2))), "with an array 'depth'"),
    "half a zip": ("depth.npz", zipped(depth=npy(np.ones((9, 9))))[:60], "no readable"),
    "noise": ("normal.npz", b"PK" + bytes(range(90)), "no readable"),
    "depth in millimetres": ("depth.npy", npy(np.ones((4, 4), np.uint16)), "must be float32"),
    "flat depth": ("depth.npy", npy(np.ones(16, np.float32)), "shape"),
    "label picture": ("seg.png", png(np.zeros((4, 4, 3))), "8-bit index PNG"),
    "labels as JPEG": ("seg.png", jpeg(np.zeros((4, 4))), "8-bit index PNG"),
    "half a label map": ("seg.png", png(np.random.default_rng(0).integers(0, 9, (40, 40)))[:-60], "damaged"),
    "coverage as JPEG": ("alpha.png", jpeg(np.zeros((4, 4))), "8-bit index PNG"),
    "no JPEG": ("jpg", b"<html>", "web page"),
    "JSON keypoints of COCO": ("json", dump({"keypoints": [1, 2, 2, 4, 5, 2]}), "shape"),
}


@pytest.mark.parametrize("name", BAD_MEMBERS)
def test_a_bad_member_is_told_in_a_sentence(tmp_path, name):
    suffix, content, told = BAD_MEMBERS[name]
    shards = Shards(foreign(tmp_path / "x.tar", {"__key__": "k", suffix: content}, encoder=False))
    with pytest.raises(DamagedSample, match=told) as raised:
        shards.read(0)
    for part in (str(tmp_path / "x.tar"), "'k'", suffix):
        assert part in str(raised.value)


def test_maps_of_different_sizes_are_damage(tmp_path):
    sample = {"__key__": "k", "jpg": jpeg(np.zeros((4, 6, 3))), "seg.png": png(np.zeros((4, 4)))}
    shards = Shards(foreign(tmp_path / "x.tar", sample, encoder=False))
    with pytest.raises(DamagedSample, match="differ in"):
        shards.read(0)
    assert shards.read(0, only={"seg"})["seg"].shape == (4, 4)


def test_label_maps_with_a_palette_keep_their_ids():
    image = Image.fromarray(np.array([[0, 3], [2, 1]], np.uint8))
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 0, 0, 128])
    for bits in (8, 2):
        out = io.BytesIO()
        image.save(out, "PNG", bits=bits)
        assert decode("seg.png", out.getvalue())["seg"].tolist() == [[0, 3], [2, 1]]


@pytest.mark.parametrize("camera", [[512.3, 511.9, 95.5, 127.5], [np.nan] * 4])
def test_a_camera_comes_back_to_the_last_bit(camera):
    camera = np.array(camera, np.float32)
    back = decode("json", encode({"intrinsics": camera})["json"])["intrinsics"]
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, camera)


def test_people_coverage_and_albedo_come_back():
    rng = np.random.default_rng(0)
    person, albedo = rng.choice([0, 1, 2, 255], HW).astype(np.uint8), rng.integers(0, 256, (*HW, 3)).astype(np.uint8)
    alpha = rng.random(HW, np.float32)
    alpha[0, :2] = 0, 1
    members = encode({"person": person, "alpha": alpha, "albedo": albedo, "sure": alpha})
    assert set(members) == {"person.png", "alpha.png", "albedo.png", "sure.png"}
    np.testing.assert_array_equal(decode("person.png", members["person.png"])["person"], person)
    np.testing.assert_array_equal(decode("albedo.png", members["albedo.png"])["albedo"], albedo)
    back = decode("alpha.png", members["alpha.png"])["alpha"]
    assert back.dtype == np.float32
    assert np.abs(back - alpha).max() <= 1 / 510 + 1e-6
    assert back[0, :2].tolist() == [0, 1]
    np.testing.assert_array_equal(decode("sure.png", members["sure.png"])["sure"], back)


def test_stored_normals_of_no_length_are_unknown():
    stored = np.zeros((2, 3, 3), np.int16)
    stored[0, :, 2] = 4095
    seen = decode("normal.npy", npy(stored))["normal"]
    assert seen[0].tolist() == [[0, 0, 1]] * 3
    assert np.isnan(seen[1]).all()
    with pytest.raises(ValueError, match="must hold unit vectors, but a length is off by 1"):
        encode({"normal": np.zeros((2, 3, 3), np.float32)})


def test_normals_made_from_packed_depth_are_as_before():
    rows, columns = np.mgrid[:64, :64]
    depth = (2.5 + 0.002 * columns + 0.3 * np.sin(rows / 20)).astype(np.float32)
    np.testing.assert_array_equal(decode("depth.npz", encode({"depth": depth})["depth.npz"])["depth"], depth)


NAMES = {"keypoints": ["nose", "left eye", "right eye"], "seg": ["background", "hair", "skin"]}


WRONG = {
    "seg of 64 bits": ({"seg": np.zeros(HW, np.int64)}, r"must be uint8.*int64.*astype\(np.uint8\)"),
    "depth with a channel": ({"depth": np.zeros((*HW, 1), np.float32)}, "shape"),
    "short box": ({"box": np.zeros(3, np.float32)}, "shape"),
    "more than all of a pixel": ({"alpha": np.full(HW, 1.1, np.float32)}, "between 0 and 1"),
    "unknown coverage": ({"alpha": np.full(HW, np.nan, np.float32)}, "known everywhere"),
    "half a camera": ({"intrinsics": np.ones(2, np.float32)}, "shape"),
    "empty picture": ({"image": np.zeros((0, 5, 3), np.uint8)}, "shape"),
    "two sizes": ({"depth": np.ones(HW, np.float32), "seg": np.zeros((5, 5), np.uint8)}, "differ in"),
    "two sizes, one encoded": ({"image": jpeg(np.zeros((4, 6, 3))), "seg": np.zeros((4, 4), np.uint8)}, "differ in"),
    "unknown id": ({"seg": np.full(HW, 3, np.uint8)}, "holds the id 3, but only 3 are named"),
    "missing point": ({"keypoints": np.zeros((2, 3), np.float32)}, "2 keypoints, but 3 are named"),
    "long normals": ({"normal": np.full((*HW, 3), 2, np.float32)}, "unit vectors"),
    "a large stranger": ({"flow": np.zeros((*HW, 20), np.float32)}, "no codec of its own"),
    "text": ({"caption": np.array("hello")}, "no codec of its own"),
    "infinity": ({"box": np.full(4, np.inf, np.float32)}, "infinity"),
    "a bitmap": ({"image": b"BM" + bytes(100)}, "picture"),
    "nothing": ({}, "is empty"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_sample_is_refused_and_leaves_nothing_behind(tmp_path, name):
    sample, told = WRONG[name]
    with pytest.raises(ValueError, match=told) as raised:
        write_shards([("good", {"box": np.zeros(4, np.float32)}), ("wrong", sample)], tmp_path, names=NAMES)
    assert "'wrong'" in str(raised.value)
    assert not list(tmp_path.iterdir())
