"""Shards from addresses are kept whole: fetched once, by one, never more than there is room for, and never half a one."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.data import check
from shared.data.blend import Blend
from shared.data.cache import ABANDONED, Cache
from shared.data.shards import DamagedSample, Shards
from shared.data.stream import Stream

SIZE = (8, 8)
FOUR = "{000000..000003}.tar"


def held(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def fetched(served) -> int:
    return sum(times for (method, name), times in served.asked.items() if method == "GET" and name.endswith(".tar"))


@pytest.fixture
def bytes_each(many) -> int:
    return max(path.stat().st_size for path in many.glob("*.tar"))


def test_each_shard_is_fetched_once_and_the_stream_is_that_of_the_files(many, served, tmp_path):
    stream = Stream(f"{served.url}/{FOUR}", size=SIZE, cache=Cache(tmp_path / "kept"))
    whole = Stream(many, size=SIZE)
    for position in range(80):
        assert (stream[position]["image"] == whole[position]["image"]).all()
    assert fetched(served) == 4
    again = Stream(f"{served.url}/{FOUR}", size=SIZE, cache=Cache(tmp_path / "kept"))
    again[0]
    assert fetched(served) == 4, "also by the next run"


def test_an_index_that_is_built_reads_the_copy(many, served, tmp_path):
    for path in many.glob("*.json"):
        path.unlink()
    shards = Shards(f"{served.url}/{FOUR}", cache=Cache(tmp_path / "kept"))
    for i in range(40):
        shards.read(i)
    assert fetched(served) == 4


def test_there_is_never_more_than_there_is_room_for(served, tmp_path, bytes_each):
    cache = Cache(tmp_path / "kept", gigabytes=2.5 * bytes_each / 1e9)
    shards = Shards(f"{served.url}/{FOUR}", cache=cache)
    for i in (0, 10, 1, 20, 2, 11):  # of the shards 0 1 0 2 0 1
        assert int(shards.read(i)["image"].mean().round()) == i
        assert held(tmp_path / "kept") <= cache.gigabytes * 1e9
        time.sleep(0.01)  # so that it can be told what was read last
    assert [served.asked["GET", f"{k:06d}.tar"] for k in range(4)] == [1, 2, 1, 0], "what was read last stayed"


def test_a_shard_without_room_is_read_where_it_is(served, tmp_path, bytes_each):
    shards = Shards(f"{served.url}/{FOUR}", cache=Cache(tmp_path / "kept", gigabytes=bytes_each / 2e9))
    assert [int(shards.read(i)["image"].mean().round()) for i in (3, 17)] == [3, 17]
    assert held(tmp_path / "kept") == 0


def test_many_who_want_the_same_shard_fetch_it_once(served, tmp_path):
    shards = [Shards(f"{served.url}/{FOUR}", cache=Cache(tmp_path / "kept")) for _ in range(6)]
    served.slow = 0.02
    with ThreadPoolExecutor(6) as pool:
        assert len([*pool.map(lambda one: one.read(5), shards)]) == 6
    assert served.asked["GET", "000000.tar"] == 1


def test_half_a_shard_is_never_read(many, served, tmp_path):
    shards = Shards(f"{served.url}/{FOUR}", cache=Cache(tmp_path / "kept"))
    (many / "000001.tar").write_bytes((many / "000001.tar").read_bytes()[:3000])
    with pytest.raises(DamagedSample, match=r"000001.tar ends after 3,000 of [\d,]+ bytes; was it replaced"):
        shards.read(12)
    served.fails = (500, 10**9)
    with pytest.raises(DamagedSample, match="the server answers 500"):
        shards.read(0)
    assert held(tmp_path / "kept") == 0
    served.fails = (500, 0)
    shards.read(0)


def test_what_a_killed_process_left_is_in_nobodys_way(served, tmp_path, bytes_each):
    cache = Cache(tmp_path / "kept", gigabytes=1.5 * bytes_each / 1e9)
    left, fresh = (tmp_path / "kept" / f".{name}.tar" for name in ("left", "fresh"))
    shards = Shards(f"{served.url}/{FOUR}", cache=cache)
    left.parent.mkdir()
    for path in (left, fresh):
        path.write_bytes(bytes(bytes_each))
    old = time.time() - ABANDONED - 9
    os.utime(left, (old, old))
    shards.read(0)
    assert (left.exists(), held(left.parent)) == (True, 2 * bytes_each), "nothing goes for a shard that will not fit anyway"
    fresh.unlink()
    shards.read(0)
    assert (left.exists(), held(left.parent)) == (False, shards.sizes[0])


def test_a_cache_that_would_fetch_the_same_again_and_again_is_refused(many, served, tmp_path, bytes_each):
    small = Cache(tmp_path / "kept", gigabytes=3 * bytes_each / 1e9)
    url = f"{served.url}/{FOUR}"
    with pytest.raises(ValueError, match=r"but the shards that are shuffled together have up to .* GB; set gigabytes to twice"):
        Stream(url, size=SIZE, cache=small)
    assert Stream(url, size=SIZE, cache=small, window=2).together <= 2 * bytes_each
    with pytest.raises(ValueError, match="shuffled together"):
        Blend([{"shards": url}] * 2, size=SIZE, cache=small, window=2)
    Stream(many, size=SIZE, cache=small)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"folder": "x", "gigabytes": 0}, "holds nothing"),
        ({"folder": "s3://bucket/x"}, "is an address; shards are kept in a folder"),
    ],
)
def test_what_cannot_keep_anything_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Cache(**options)


def test_the_checker_keeps_what_it_reads(served, tmp_path, capsys):
    assert check.main([f"{served.url}/{FOUR}", "--quiet", "--cache", str(tmp_path / "kept")]) == 0
    assert fetched(served) == len(list((tmp_path / "kept").glob("*.tar"))) == 4
    assert "0 samples are damaged" in capsys.readouterr().out
