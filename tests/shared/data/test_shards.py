"""What goes into a shard comes out of it, in any order, in any process, and WebDataset agrees."""

import io
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from webdataset.tariterators import group_by_keys, tar_file_expander
from webdataset.writer import TarWriter

from shared.data.photo import read_photo
from shared.data.shards import Shards, write_shards

HW = (24, 18)
NAMES = {"keypoints": ["nose", "left eye", "right eye"], "seg": ["background", "hair", "skin"]}


def angle_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(2 * np.arcsin(np.linalg.norm(a.astype(float) - b, axis=-1) / 2))


def person(seed: int) -> dict[str, np.ndarray]:
    """A sample with every field, some of it unknown."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(*HW, 3))
    normal = (normal / np.linalg.norm(normal, axis=2, keepdims=True)).astype(np.float32)
    depth = rng.uniform(0.3, 30, HW).astype(np.float32)
    normal[:3] = depth[:3] = np.nan
    seg = rng.integers(0, 3, HW, dtype=np.uint8)
    seg[-3:] = 255
    return {
        "image": np.full((*HW, 3), rng.integers(0, 256, 3), np.uint8),
        "seg": seg,
        "depth": depth,
        "normal": normal,
        "keypoints": rng.uniform(0, 18, (3, 3)).astype(np.float32),
        "box": np.array([1, 2, 3, np.nan], np.float32),
    }


def people(count: int) -> list[tuple[str, dict]]:
    return [(f"set/{i:04d}", person(i)) for i in range(count)]


@pytest.fixture
def packed(tmp_path) -> Path:
    """Seven people in shards of three."""
    write_shards(people(7), tmp_path / "packed", names=NAMES, per_shard=3)
    return tmp_path / "packed"


def assert_same(read: dict, written: dict) -> None:
    assert read.keys() == written.keys()
    for name, array in written.items():
        assert read[name].dtype == array.dtype, name
        if name == "image":
            assert np.abs(read[name].astype(int) - array).max() <= 3
        elif name == "normal":
            assert (np.isnan(read[name]) == np.isnan(array)).all()
            assert np.nanmax(angle_deg(read[name], array)) < 0.02
        else:
            np.testing.assert_array_equal(read[name], array)


def through_webdataset(shard: Path) -> list[dict]:
    with open(shard, "rb") as file:
        return list(group_by_keys(tar_file_expander([{"url": str(shard), "stream": file}])))


def test_every_field_comes_back_in_any_order(packed):
    shards = Shards(packed)
    assert (len(shards), shards.counts, shards.names) == (7, [3, 3, 1], NAMES)
    for i in (6, 0, 3, 2, 5, 1, 4):
        assert shards.key(i) == f"set/{i:04d}"
        assert shards.fields(i) == {"image", "seg", "depth", "normal", "keypoints", "box"}
        assert_same(shards.read(i), person(i))


def test_only_the_wanted_fields_are_read(packed):
    shards = Shards(packed)
    assert shards.read(4, only={"seg", "box", "absent"}).keys() == {"seg", "box"}
    assert shards.read(4, only=()) == {}


def test_samples_may_lack_fields(tmp_path):
    written = [("a", {"image": person(0)["image"]}), ("b", {"box": person(1)["box"]}), ("c", person(2))]
    write_shards(written, tmp_path)
    shards = Shards(tmp_path)
    for i, (_, sample) in enumerate(written):
        assert shards.fields(i) == sample.keys()
        assert_same(shards.read(i), sample)


def test_other_small_arrays_travel_in_json(tmp_path):
    write_shards([("a", {"focal_px": np.float32(812.5), "gravity": np.array([[0.1, np.nan]], np.float32)})], tmp_path)
    sample = Shards(tmp_path).read(0)
    assert sample["focal_px"] == 812.5
    np.testing.assert_array_equal(sample["gravity"], np.array([[0.1, np.nan]], np.float32))


@pytest.mark.parametrize(("kind", "suffix"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")])
def test_encoded_photos_pass_through_untouched(tmp_path, kind, suffix):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(out, kind)
    write_shards([("a", {"image": out.getvalue()})], tmp_path)
    (sample,) = through_webdataset(tmp_path / "000000.tar")
    assert sample[suffix] == out.getvalue()
    np.testing.assert_array_equal(Shards(tmp_path).read(0)["image"], read_photo(out.getvalue()))


def test_the_same_samples_give_the_same_bytes(tmp_path, packed):
    again = write_shards(people(7), tmp_path / "again", names=NAMES, per_shard=3)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in sorted(packed.glob("*.tar"))]


def test_no_samples_give_no_shards(tmp_path):
    assert write_shards([], tmp_path) == []


def test_webdataset_reads_our_shards(packed):
    samples = [sample for shard in sorted(packed.glob("*.tar")) for sample in through_webdataset(shard)]
    assert [sample["__key__"] for sample in samples] == [f"set/{i:04d}" for i in range(7)]
    suffixes = {name for name in samples[0] if not name.startswith("_")}
    assert suffixes == {"jpg", "seg.png", "depth.npz", "normal.npz", "json"}
    np.testing.assert_array_equal(np.load(io.BytesIO(samples[2]["depth.npz"]))["depth"], person(2)["depth"])


def foreign(path: Path, *samples: dict, **options) -> Path:
    with open(path, "wb") as file, TarWriter(file, **options) as writer:
        for sample in samples:
            writer.write(sample)
    return path


def test_we_read_plain_webdataset_shards(tmp_path):
    seg = np.arange(6, dtype=np.uint8).reshape(2, 3)
    image = np.zeros((2, 3, 3), np.float32)
    depth = np.full((2, 3), 1.5, np.float16)
    note = {"box": [0, 1, 2, 3], "caption": "two people", "ids": ["a"], "who": None, "nested": {"a": 1}, "ragged": [[1], [1, 2]]}
    path = foreign(
        tmp_path / "theirs.tar",
        {
            "__key__": "one",
            "JPEG": image,
            "seg.png": png(seg),
            "depth.npy": depth,
            "json": note,
            "cls": 3,
            "pkl": pickle.dumps(Bomb()),
        },
        {"__key__": "two", "cls": 1},
        {"__key__": "three", "png": image},
    )
    shards = Shards(path)
    assert [shards.key(i) for i in range(len(shards))] == ["one", "three"]
    sample = shards.read(0)
    assert sample.keys() == {"image", "seg", "depth", "box"} == shards.fields(0)
    np.testing.assert_array_equal(sample["seg"], seg)
    assert sample["depth"].dtype == np.float32
    assert shards.names == {}


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


def test_the_index_costs_what_the_docstring_says(tmp_path, packed):
    shards = Shards(packed)
    tables = [value for value in vars(shards).values() if isinstance(value, np.ndarray)]
    members = 5
    assert sum(table.nbytes for table in tables) - shards._ends.nbytes == 7 * (20 + len("set/0000") + 21 * members)


def read_in_child(shards: Shards, i: int) -> float:
    return float(np.nanmax(shards.read(i)["depth"]))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_shards_serve_other_processes(packed, method):
    shards = Shards(packed)
    expected = [read_in_child(shards, i) for i in range(3)]
    if method == "spawn":  # a real spawn imports this file again under --import-mode=importlib, so the pickle alone is sent
        code = f"import pickle; s = pickle.loads({pickle.dumps(shards)!r}); print(float(s.read(2)['box'][2]))"
        repository = Path(__file__).parents[3]
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=repository)
        assert float(done.stdout) == 3
        return
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.starmap(read_in_child, [(shards, i) for i in range(3)]) == expected
        pool.close()
        pool.join()


def test_few_files_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr("shared.data.shards.MAX_OPEN", 2)
    write_shards(people(6), tmp_path, per_shard=1)
    shards = Shards(tmp_path)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else None
    for i in (0, 1, 2, 3, 4, 5, 0):
        shards.read(i, only={"box"})
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_shards_are_named_by_folder_file_pattern_or_list(packed):
    pattern = f"{packed}/{{000000..000002}}.tar"
    assert Shards(pattern).counts == Shards(str(packed)).counts == [3, 3, 1]
    assert Shards(packed / "000001.tar").counts == [3]
    assert Shards([packed / "000002.tar", pattern]).counts == [1, 3, 3, 1]


def test_missing_shards_are_told_in_a_sentence(tmp_path, packed):
    with pytest.raises(FileNotFoundError, match=r"2 of 5 shards do not exist, the first is .*000003\.tar"):
        Shards(f"{packed}/{{000000..000004}}.tar")
    with pytest.raises(FileNotFoundError, match=r"holds no \.tar file"):
        Shards(tmp_path)
    with pytest.raises(ValueError, match="no shards were given"):
        Shards([])


def test_shards_without_known_members_are_refused(tmp_path):
    path = foreign(tmp_path / "x.tar", {"__key__": "a", "cls": b"1"}, encoder=False)
    with pytest.raises(ValueError, match="no sample with a known member"):
        Shards(path)


def test_shards_that_name_things_differently_do_not_mix(tmp_path, packed):
    write_shards(people(1), tmp_path / "other", names={**NAMES, "seg": ["background", "skin", "hair"]})
    with pytest.raises(ValueError, match=r"names its seg 3 names \(background, skin, hair.*but .* \(background, hair, skin"):
        Shards([packed, tmp_path / "other"])
    write_shards(people(1), tmp_path / "nameless")
    with pytest.raises(ValueError, match="names its keypoints not at all"):
        Shards([packed, tmp_path / "nameless"])


def test_shards_mix_with_shards_that_lack_the_named_fields(tmp_path, packed):
    write_shards([("a", {"image": person(0)["image"]})], tmp_path / "photos")
    shards = Shards([tmp_path / "photos", packed])
    assert len(shards) == 8
    assert shards.names == NAMES


@pytest.mark.parametrize("i", [-1, 7, 10**9])
def test_samples_beyond_the_end_are_an_index_error(packed, i):
    shards = Shards(packed)
    for ask in (shards.key, shards.fields, shards.read):
        with pytest.raises(IndexError, match="not one of 0 to 6"):
            ask(i)


class Bomb:
    def __reduce__(self):
        return os._exit, (3,)


@pytest.mark.parametrize("key", ["0001", "v1.2/photo", "Grüße aus Köln", "x" * 200, "a/__b__"])
def test_keys_come_back_from_both_readers(tmp_path, key):
    write_shards([(key, {"box": person(0)["box"]})], tmp_path)
    assert Shards(tmp_path).key(0) == key
    assert [sample["__key__"] for sample in through_webdataset(tmp_path / "000000.tar")] == [key]


def test_shards_are_never_overwritten(tmp_path):
    write_shards(people(1), tmp_path)
    with pytest.raises(FileExistsError, match="remove it, or choose another"):
        write_shards(people(1), tmp_path)
    assert [path.name for path in write_shards(people(1), tmp_path, prefix="more-")] == ["more-000000.tar"]
