"""Processes that read ahead are killed, stopped and slow on real machines; what they bring does not depend on it."""

import multiprocessing
import os
import signal
import subprocess
from itertools import count

import pytest
import torch

from shared.data.shards import DamagedSample
from shared.data.stream import Stream
from shared.engine import feed
from shared.engine.loop import Loader
from shared.engine.session import Session

HERE = Session(torch.device("cpu"))


@pytest.fixture
def hurried(monkeypatch):
    """It is looked after the workers more often than in a real run."""
    monkeypatch.setattr(feed, "CHECK", 0.25)


def loader(shards, **options) -> tuple[Stream, Loader]:
    stream = Stream(shards, size=(16, 12))
    options = {"batch": 2, "accumulate": 1, "workers": 1, "timeout": 0.0, **options}
    return stream, Loader(stream, session=HERE, reading=stream.reading, **options)


def worker() -> int:
    """Number of the one process that reads ahead."""
    (process,) = multiprocessing.active_children()
    assert process.pid is not None
    return process.pid


def test_a_worker_that_is_killed_is_replaced(small_shards, hurried, caplog):
    plain = list(loader(small_shards, workers=0)[1].between(2, 40))
    made = loader(small_shards, timeout=3600.0)[1]
    batches = made.between(2, 40)
    found = [next(batches)]
    for name in ("-TERM", "-USR1"):  # sent to all processes of a job: the worker leaves it to the run
        subprocess.run(["kill", name, str(worker())], check=True)
    found.append(next(batches))
    assert not caplog.messages
    os.kill(worker(), signal.SIGKILL)
    found += [next(batches) for _ in range(4)]  # two of them may have been ready
    assert "a process that reads ahead was killed" in caplog.text
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(plain[: len(found)], found, strict=True))
    assert [batch["position"].tolist() for batch in found] == [[k, k + 1] for k in range(4, 16, 2)]


def test_a_worker_that_hangs_is_named_and_does_not_stay(small_shards, hurried, monkeypatch):
    clock = count(0.0, 1000.0)

    def look() -> float:
        """Every look takes a quarter of an hour; the worker stands still from the first one on."""
        for process in multiprocessing.active_children():
            os.kill(process.pid or 0, signal.SIGSTOP)
        return next(clock)

    monkeypatch.setattr(feed, "monotonic", look)
    with pytest.raises(
        TimeoutError, match=r"process 0 of the 1 that read ahead gave nothing for 3600 s\. What .* last: nothing yet\."
    ):
        next(loader(small_shards, timeout=3600.0)[1].between(2, 40))
    for process in multiprocessing.active_children():
        process.join(60)
        assert process.exitcode == -signal.SIGKILL


def test_a_worker_leaves_when_the_run_tells_it_to(small_shards):
    batches = loader(small_shards)[1].between(0, 9)
    next(batches)
    (process,) = multiprocessing.active_children()
    process.terminate()  # as at the end of a run whose batches somebody holds on to
    process.join(60)
    assert process.exitcode == 0


def test_damage_is_counted_in_the_workers_and_told_in_one_sentence(small_shards, tmp_path):
    for shard in small_shards.iterdir():
        (tmp_path / shard.name).write_bytes(shard.read_bytes())
    stream, made = loader(tmp_path, batch=1)
    (tmp_path / "000001.tar").write_bytes(b"")
    batches = made.between(0, 1000)
    for _ in range(12):
        next(batches)
    assert stream.replaced >= 4
    for shard in tmp_path.glob("*.tar"):
        shard.write_bytes(b"")
    with pytest.raises(DamagedSample, match=r"^100 samples in a row are damaged, the last is '\d+'; pack the shards again$"):
        list(batches)
