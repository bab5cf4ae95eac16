"""What could not be read: named once, passed over without another try, counted; a stream that meets little else ends."""

import logging
import time
from collections import deque

import numpy as np
import torch
from torch.utils.data import get_worker_info

from shared.data.mixture import Mixture
from shared.data.remote import Remote, Unreachable
from shared.data.shards import DamagedSample

log = logging.getLogger(__name__)
SLOTS = 257  # the process itself and up to 256 workers, each with counters of its own
RECENT, LEAST = 256, 64  # reads that are looked back upon, and how many there have to be before they are judged
MOST = 0.5  # share of damaged ones among them that is borne
AWAY = (FileNotFoundError, PermissionError, Unreachable)  # what a shard that is not there is told by
PAUSES = (0.2, 2.0)  # seconds before a shard that is not there is looked for again: networks come back


class Quarantine:
    """Samples and shards that one stream does without, in each process that reads; the counters are seen by all of them.

    What takes a damaged sample's place does not depend on what was met before, as damage stays: passing over saves time alone.

    Args:
        shards: what is read.
    """

    def __init__(self, shards: Mixture) -> None:
        self.shards = shards
        self.counters = torch.zeros(SLOTS, 2, dtype=torch.int64).share_memory_()  # samples replaced; 1 + position that is read
        self._samples: set[int] = set()
        self._lost: set[int] = set()  # shards that are gone
        self._ends = np.cumsum(shards.counts)
        self._recent: deque[bool] = deque(maxlen=RECENT)  # whether each read failed

    @property
    def replaced(self) -> int:
        """How often, in all workers of this process together, another sample had to take the place of a damaged one."""
        return int(self.counters[:, 0].sum())

    def begins(self, position: int) -> None:
        """Note what this process turns to now."""
        self.counters[_slot(), 1] = position + 1

    def position(self, worker: int) -> int | None:
        """The position that a worker turned to last; None where it has not begun."""
        noted = int(self.counters[worker + 1, 1])
        return noted - 1 if noted else None

    def holds(self, index: int) -> bool:
        """Whether sample `index` need not be tried."""
        return index in self._samples or self._shard(index) in self._lost

    def take(self, index: int, error: DamagedSample) -> None:
        """Pass over a sample from now on, or its whole shard where that has gone."""
        if isinstance(error.__cause__, AWAY) and self._gone(shard := self._shard(index)):
            self._lost.add(shard)
            path = self.shards.paths[shard]
            told = f"{error.__cause__}: it" if isinstance(path, Remote) else f"shard {path}"
            log.warning("%s has gone; its %d samples are passed over", told, self.shards.counts[shard])
            return
        self._samples.add(index)
        log.warning("%s; the next sample takes its place", error)

    def judge(self, failed: int) -> None:
        """Note that a sample was read after so many failures.

        Raises:
            DamagedSample: most of the recent ones failed.
        """
        self._recent.extend([True] * failed + [False])
        self.counters[_slot(), 0] += failed
        bad, many = sum(self._recent), len(self._recent)
        if many >= LEAST and bad > MOST * many:
            raise DamagedSample(
                f"{bad} of the last {many} samples are damaged or missing ({len(self._lost)} shards are gone); repair the shards, "
                "or name only those that are whole: `python -m shared.data.check` tells which"
            )

    def _shard(self, index: int) -> int:
        return int(np.searchsorted(self._ends, index, side="right"))

    def _gone(self, shard: int) -> bool:
        """Whether a shard stays away for longer than a network takes to come back."""
        for pause in PAUSES:
            time.sleep(pause)
            if self.shards.paths[shard].exists():
                return False
        return True


def _slot() -> int:
    """The row of counters that this process writes: no two write the same."""
    worker = get_worker_info()
    return 0 if worker is None else (worker.id + 1) % SLOTS
