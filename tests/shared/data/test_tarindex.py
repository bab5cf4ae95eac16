"""The index beside a shard: it says where everything lies, can be lost without loss, and notices damage."""

import io
import logging
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from webdataset.writer import TarWriter

from shared.data import tarindex
from shared.data.codec import encode
from shared.data.shards import DamagedSample, Shards, write_shards

NAMES = {"seg": ["background", "hair", "skin"]}


def person(seed: int) -> dict[str, np.ndarray]:
    """A small sample whose depth does not compress away."""
    rng = np.random.default_rng(seed)
    return {
        "depth": rng.uniform(0.3, 30, (24, 18)).astype(np.float32),
        "seg": rng.integers(0, 3, (24, 18), dtype=np.uint8),
        "box": np.array([1, 2, 3, seed], np.float32),
    }


def people(count: int) -> list[tuple[str, dict]]:
    return [(f"set/{i:04d}", person(i)) for i in range(count)]


@pytest.fixture
def packed(tmp_path) -> Path:
    """Seven people in shards of three."""
    write_shards(people(7), tmp_path / "packed", names=NAMES, per_shard=3)
    return tmp_path / "packed"


def foreign(path: Path, *samples: dict, **options) -> Path:
    with open(path, "wb") as file, TarWriter(file, **options) as writer:
        for sample in samples:
            writer.write(sample)
    return path


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def index_of(shard: Path) -> Path:
    return shard.with_name(shard.name + ".index.json")


def test_the_index_is_built_again_where_it_is_absent_or_nonsense(packed):
    before = [Shards(packed).read(i) for i in range(7)]
    shards = sorted(packed.glob("*.tar"))
    kept = [index_of(shard).read_text() for shard in shards]
    index_of(shards[0]).unlink()
    index_of(shards[1]).write_text("{")
    index_of(shards[2]).write_text(kept[2].replace('"seg.png":[', '"seg.png":[9'))
    again = Shards(packed)
    assert again.names == NAMES
    for i in range(7):
        np.testing.assert_equal(again.read(i), before[i])
    assert [index_of(shard).read_text() for shard in shards] == kept


def test_a_shard_that_was_replaced_is_indexed_again(tmp_path):
    first, second = ({"__key__": key, "seg.png": png(np.full((2, 2), value))} for key, value in (("a", 1), ("b", 2)))
    path = foreign(tmp_path / "x.tar", first, encoder=False)
    assert Shards(path).key(0) == "a"
    size = path.stat().st_size
    foreign(path, second, encoder=False)
    assert path.stat().st_size == size  # tar pads, so the size alone tells nothing
    os.utime(path, ns=(0, index_of(path).stat().st_mtime_ns + 1))
    assert Shards(path).read(0)["seg"].max() == 2


def test_an_index_that_cannot_be_kept_is_no_hindrance(packed):
    for shard in packed.glob("*.tar"):
        index_of(shard).unlink()
        index_of(shard).mkdir()  # in the way, for root as well
    assert len(Shards(packed)) == 7
    assert len(list(packed.iterdir())) == 6


@pytest.mark.parametrize("content", [b"", b"this is no tar\n" * 100, b"\x1f\x8b\x08" + bytes(600)])
def test_a_file_that_is_no_tar_is_told_in_a_sentence(tmp_path, content):
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.tar is not a readable tar"):
        Shards(tmp_path / "x.tar")


def test_members_may_lie_in_any_order_under_a_leading_dot(tmp_path):
    members = {f"./in/{key}.{suffix}": person(0) for suffix in ("depth.npz", "seg.png") for key in "ab"}
    with tarfile.open(tmp_path / "gnu.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for name, sample in members.items():
            content = encode(sample)[name.split(".", 2)[2]]
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    shards = Shards(tmp_path / "gnu.tar")
    assert [shards.key(i) for i in range(2)] == ["in/a", "in/b"]
    assert shards.fields(1) == {"depth", "seg"}


@pytest.mark.parametrize("name", ["../../etc/x.jpg", "/etc/x.jpg"])
def test_members_outside_the_archive_are_refused(tmp_path, name):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(ValueError, match="points outside the archive"):
        Shards(tmp_path / "x.tar")


def test_one_member_twice_is_refused(tmp_path):
    sample = {"__key__": "k", "jpg": b"x"}
    with pytest.raises(ValueError, match=r"holds 'k\.jpg' twice"):
        Shards(foreign(tmp_path / "x.tar", sample, sample, encoder=False))


def test_a_shard_cut_off_in_the_middle_gives_its_complete_samples(packed, caplog):
    shard = packed / "000000.tar"
    whole = shard.read_bytes()
    entries = tarindex.load(shard).samples
    third = min(place.offset for place in entries[2].members.values())
    for end in (third + 10, third + 1500, max(place.offset for place in entries[2].members.values()) + 1):
        caplog.clear()
        shard.write_bytes(whole[:end])
        with caplog.at_level(logging.WARNING):
            shards = Shards(shard)
        assert [shards.key(i) for i in range(len(shards))] == ["set/0000", "set/0001"]
        np.testing.assert_equal(shards.read(1), person(1))
        (record,) = caplog.records
        assert "000000.tar is cut off" in record.getMessage()
        assert "first 2 samples are kept" in record.getMessage()
        assert "again to repair" in record.getMessage()
    caplog.clear()
    Shards(shard)
    assert len(caplog.records) == 1  # a kept index does not hush the damage up


def test_a_shard_without_its_end_mark_counts_as_cut(packed, caplog):
    shard = packed / "000000.tar"
    last = max((place for entry in tarindex.load(shard).samples for place in entry.members.values()), key=lambda p: p.offset)
    padded = -(-(last.offset + last.size) // 512) * 512
    os.truncate(shard, padded)
    assert len(Shards(shard)) == 2
    assert len(caplog.records) == 1


def flip(shard: Path, offset: int) -> None:
    times = shard.stat()
    with open(shard, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))
    os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns))  # disks do not tell when they forget


def test_one_flipped_bit_is_noticed(packed):
    shard = packed / "000001.tar"
    place = tarindex.load(shard).samples[1].members["depth.npz"]
    flip(shard, place.offset + place.size // 2)
    shards = Shards(packed)
    with pytest.raises(DamagedSample, match=r"depth\.npz of sample 'set/0004' of shard .*000001\.tar is damaged: its checksum"):
        shards.read(4)
    np.testing.assert_equal(shards.read(3), person(3))
    assert shards.read(4, only={"seg"}).keys() == {"seg"}


def test_a_shard_that_shrinks_while_it_is_read_is_noticed(packed):
    shards = Shards(packed)
    os.truncate(packed / "000002.tar", 600)
    with pytest.raises(DamagedSample, match="ends after 0 of"):
        shards.read(6)


@pytest.mark.parametrize("key", ["", "a.b", "/a", "../a", "a/../b", "a/", "a//b", "__a__", "a\nb", ".a"])
def test_keys_that_cannot_name_a_file_are_refused(tmp_path, key):
    with pytest.raises(ValueError, match="cannot be a key"):
        write_shards([(key, person(0))], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_key_may_not_come_twice(tmp_path):
    with pytest.raises(ValueError, match="'a' comes twice"):
        write_shards([("a", person(0)), ("a", person(1))], tmp_path)


def test_names_are_lists_of_text(tmp_path):
    wrong: list[Any] = [{"seg": "hair"}, {"seg": [1, 2]}, {"seg": None}]
    for names in wrong:
        with pytest.raises(ValueError, match="names"):
            write_shards(people(1), tmp_path, names=names)
    with pytest.raises(ValueError, match="per_shard must be at least 1"):
        write_shards(people(1), tmp_path, per_shard=0)
