"""Damage is met in every stream that is long enough: it is passed over, told once, counted, and borne up to a half."""

import logging
import os
import pickle
import shutil
import time

import pytest

from shared.data import quarantine
from shared.data.mixture import Mixture
from shared.data.quarantine import LEAST, RECENT, Quarantine
from shared.data.shards import DamagedSample, Shards
from shared.data.stream import Stream
from shared.data.wanted import Wanted


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(quarantine, "PAUSES", (0.0, 0.01))


def seen(stream: Stream, count: int = 40) -> list[int]:
    return [int(stream[position]["image"].float().mean().round()) for position in range(count)]


def spoil(shard, keys) -> None:
    """Turn a few bits of the pictures with these keys."""
    shards = Shards(shard)
    content = bytearray(shard.read_bytes())
    for i in range(len(shards)):
        if shards.key(i) in keys:
            picture = shards.member(i, "jpg")
            assert picture is not None
            content[content.index(picture) + len(picture) // 2] ^= 0xFF
    times = shard.stat()
    shard.write_bytes(content)
    os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_shard_that_goes_is_named_once_and_its_samples_are_replaced(many, hurried, caplog):
    stream = Stream(many, size=(8, 8))
    whole = seen(stream)
    assert sorted(whole) == list(range(40))
    fresh = Stream(many, size=(8, 8))
    (many / "000002.tar").unlink()
    left = seen(fresh)
    assert set(left) == {*range(20), *range(30, 40)}
    assert all(a == b for a, b in zip(whole, left, strict=True) if a // 10 != 2), "what is whole stays where it was"
    assert [text for text in caplog.messages if "000002.tar" in text] == [
        f"shard {many / '000002.tar'} has gone; its 10 samples are passed over"
    ]
    assert fresh.replaced >= 10
    assert seen(fresh) == left, "damage that is known is passed over alike"


def test_a_shard_that_comes_back_is_not_lost(many, monkeypatch, caplog):
    stream = Stream(many, size=(8, 8), seed=3)
    first = stream.order[0] // 10
    shard = many / f"{first:06d}.tar"
    hidden = shutil.move(shard, many / "hidden")
    monkeypatch.setattr(quarantine.time, "sleep", lambda pause: shutil.move(hidden, shard))
    stream[0]
    assert "has gone" not in caplog.text
    assert int(stream.quarantine.replaced) == 1, "one sample is the price"


def test_a_shard_that_is_cut_off_while_it_is_read_is_damaged_where_it_lacks(many, caplog):
    stream = Stream(many, size=(8, 8))
    shard = many / "000001.tar"
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size // 2)
    left = set(seen(stream))
    assert set(range(10)) | set(range(20, 40)) <= left
    assert 10 in left
    assert 19 not in left
    assert "it ends after 0 of" in caplog.text


def test_flipped_bits_are_named_once_and_not_read_again(many, caplog):
    spoil(many / "000000.tar", {"03", "07"})
    stream = Stream(many, size=(8, 8))
    with caplog.at_level(logging.WARNING):
        left = seen(stream, 120)
    assert set(left) == set(range(40)) - {3, 7}
    assert len([text for text in caplog.messages if "sample '03'" in text]) == 1
    assert len(caplog.messages) == 2
    assert stream.replaced >= 6, "in every pass"


def test_a_stream_that_is_mostly_damaged_ends_with_a_sentence(many):
    for shard in range(3):
        spoil(many / f"{shard:06d}.tar", {f"{i:02d}" for i in range(shard * 10, shard * 10 + 9)})
    stream = Stream(many, size=(8, 8))
    with pytest.raises(DamagedSample, match=r"of the last \d+ samples are damaged or missing \(0 shards are gone\); repair"):
        seen(stream, 200)


def test_a_few_bad_ones_at_the_beginning_end_nothing(many):
    quarantined = Quarantine(Mixture(many, Wanted({})))
    quarantined.judge(5)
    for failed in [0] * LEAST + [1] * RECENT:  # a half of the recent ones in the end
        quarantined.judge(failed)
    with pytest.raises(DamagedSample, match="are damaged or missing"):
        quarantined.judge(200)


def test_a_slow_shard_changes_nothing(many, monkeypatch):
    plain = seen(Stream(many, size=(8, 8)))
    stream = Stream(many, size=(8, 8))
    read = stream.wanted.read

    def slowly(*args, **options):
        time.sleep(0.001)
        return read(*args, **options)

    monkeypatch.setattr(stream.wanted, "read", slowly)
    assert seen(stream) == plain
    assert stream.replaced == 0


def test_a_worker_that_hangs_can_be_told_what_it_reads(many):
    stream = Stream(many, size=(8, 8))
    assert stream.reading(0) == "nothing yet"
    stream[5]
    assert stream.reading(-1) == stream.shards.where(stream.order[5]), "without workers, this process"
    assert "000" in stream.reading(-1)
    assert pickle.loads(pickle.dumps(stream)).reading(-1) == stream.reading(-1)
