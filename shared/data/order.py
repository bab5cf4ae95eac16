"""In which order an endless stream visits its samples: a function of the seed and the position, so that nothing has to be replayed.

Position p of the stream belongs to pass p // n over n samples. Each pass shuffles the shards, then the samples within a window of
consecutive shards: neighbours on disk stay near each other in time, and the memory is one window, however many samples there are.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
KEPT = 2  # windows whose order is remembered: workers read ahead across one border at most


class Order:
    """Position in the stream -> index of a sample.

    Args:
        counts: samples per shard.
        seed: of every shuffle.
        window: shards that are mixed with one another.
    """

    def __init__(self, counts: Sequence[int], *, seed: int = 0, window: int = 16) -> None:
        self.counts = np.asarray(counts, np.int64)
        self.starts = np.concatenate([[0], self.counts.cumsum()[:-1]])
        self.seed, self.window = seed, window
        self.total = int(self.counts.sum())
        self._windows: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._passes: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def __getitem__(self, position: int) -> int:
        turn, offset = divmod(int(position), self.total)
        _, ends = self._pass(turn)
        window = int(np.searchsorted(ends, offset, side="right"))
        start = int(ends[window - 1]) if window else 0
        return int(self.members(turn, window)[offset - start])

    def windows(self, turn: int) -> tuple[np.ndarray, np.ndarray]:
        """The shards in the order of a pass, and (W,) which of them is the last of each window."""
        return self._pass(turn)[0], self._last()

    def _last(self) -> np.ndarray:
        return np.append(np.arange(self.window, len(self.counts), self.window), len(self.counts)) - 1

    def _pass(self, turn: int) -> tuple[np.ndarray, np.ndarray]:
        """The shards' order in this pass, and where each window ends."""

        def make() -> tuple[np.ndarray, np.ndarray]:
            shards = np.random.default_rng([self.seed, turn]).permutation(len(self.counts))
            return shards, self.counts[shards].cumsum()[self._last()]

        return remembered(self._passes, turn, make)

    def members(self, turn: int, window: int) -> np.ndarray:
        """The samples of one window of a pass, mixed."""

        def make() -> np.ndarray:
            shards = self._pass(turn)[0][window * self.window : (window + 1) * self.window]
            members = np.concatenate([self.starts[s] + np.arange(int(self.counts[s])) for s in shards])
            return np.random.default_rng([self.seed, turn, window]).permutation(members)

        return remembered(self._windows, (turn, window), make)


def remembered(cache: OrderedDict[Any, T], key: Any, make: Callable[[], T], *, room: int = KEPT) -> T:
    """What `make` gives, made once as long as it is among the latest `room`."""
    if key not in cache:
        cache[key] = make()
        if len(cache) > room:
            cache.popitem(last=False)
    return cache[key]


class Positions:
    """A batch sampler: which positions of the stream this process sees, batch by batch.

    Batch b of the whole job is positions [b * batch * processes, (b + 1) * batch * processes), dealt to the processes in
    consecutive pieces: two processes with batches of four see together what one with batches of eight sees.

    Args:
        batch: samples per process.
        start: the first batch.
        stop: the batch after the last.
        rank: of this process.
        processes: how many there are.
    """

    def __init__(self, batch: int, *, start: int, stop: int, rank: int = 0, processes: int = 1) -> None:
        self.batch, self.start, self.stop, self.rank, self.processes = batch, start, stop, rank, processes

    def __len__(self) -> int:
        return max(self.stop - self.start, 0)

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            first = (step * self.processes + self.rank) * self.batch
            yield list(range(first, first + self.batch))
