"""Pictures at their own aspect: an order of the stream in which the pictures of a batch share one of a few sizes.

Every picture belongs to the size whose aspect is nearest to its own. Each size has an endless queue: its pictures of pass 0 in the
shuffled order of that pass, then those of pass 1, and so on. A group of `group` pictures leaves a queue as soon as the shards read
so far fill it, and the groups of a window of shards are shuffled. What fills no group waits for the next window and, at the end of
a pass, for the next pass: nobody is left out, and nobody comes more often than another. Group and place in it are arithmetic on the
position, so that nothing has to be replayed, and all processes, which share a group out, have the same size at the same step.

Letters: S shards, K sizes, W windows.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from shared.data.order import Order, remembered
from shared.data.view import Size

ROOM = 64  # windows that are remembered; a group may begin in one pass and end in the next


def nearest(hw: np.ndarray, sizes: Sequence[Size]) -> np.ndarray:
    """Pictures (N,2) H W px -> (N,) which of the sizes is nearest by the logarithm of its aspect; the first for 0 0, unknown."""
    aspects = np.array([np.log(height / width) for height, width in sizes])
    known = np.all(hw > 0, axis=1)
    safe = np.where(known[:, None], hw, 1).astype(float)
    return np.where(known, np.abs(np.log(safe[:, :1] / safe[:, 1:]) - aspects).argmin(1), 0).astype(np.uint8)


def _sizes(given: Any) -> list[Size]:
    try:
        sizes = [(int(height), int(width)) for height, width in given]
    except (TypeError, ValueError):
        sizes = []
    if not 0 < len(sizes) < 256 or len({*sizes}) < len(sizes) or min(min(size) for size in sizes) < 1:
        raise ValueError(f"buckets={given!r} are no sizes to sort pictures by; give different (height, width) in pixels")
    return sizes


class Buckets:
    """Position in the stream -> index of a sample, as `Order`, and `size(position)`.

    Args:
        counts: samples per shard.
        hw: (N,2) H W px of all pictures, 0 0 where unknown.
        sizes: (H,W) of the views.
        group: consecutive positions, from a multiple of it on, that share a size: pictures of a step of all processes.
        seed: of every shuffle.
        window: shards that are mixed with one another.

    Raises:
        ValueError: no size, two alike, too many, or a group without pictures.
    """

    def __init__(
        self, counts: Sequence[int], hw: np.ndarray, *, sizes: Sequence[Size], group: int, seed: int = 0, window: int = 16
    ) -> None:
        self.sizes = _sizes(sizes)
        if group < 1:
            raise ValueError(f"a group has at least one picture, not {group}")
        self.order = Order(counts, seed=seed, window=window)
        self.group, self.seed, self.total = group, seed, self.order.total
        self.which = nearest(hw, self.sizes)  # (N,)
        shards = np.repeat(np.arange(len(counts)), self.order.counts)
        self.held = np.zeros((len(counts), len(self.sizes)), np.int64)  # (S,K) pictures of each size in each shard
        np.add.at(self.held, (shards, self.which), 1)
        self.each = self.held.sum(0)  # (K,) in a pass
        self._passes: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._windows: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._queues: OrderedDict[tuple[int, int], list[np.ndarray]] = OrderedDict()

    def size(self, position: int) -> Size:
        """(H,W) of the view at a position."""
        return self.sizes[self._at(position)[0]]

    def __getitem__(self, position: int) -> int:
        bucket, place = self._at(position)
        turn, inside = divmod(place, int(self.each[bucket]))
        held, _ = self._pass(turn)
        window = int(np.searchsorted(held[:, bucket], inside, side="right"))
        start = int(held[window - 1, bucket]) if window else 0
        return int(self._queue(turn, window)[bucket][inside - start])

    def _at(self, position: int) -> tuple[int, int]:
        """The size at a position, and the place in that size's queue."""
        step, slot = divmod(int(position), self.group)
        turn = self._turn(step)
        step -= self._steps(turn)
        _, ends = self._pass(turn)
        window = int(np.searchsorted(ends, step, side="right"))
        bucket, number = self._window(turn, window)[step - (int(ends[window - 1]) if window else 0)]
        return int(bucket), int(number) * self.group + slot

    def _steps(self, turn: int) -> int:
        """Groups that are full before pass `turn`."""
        return sum(turn * int(many) // self.group for many in self.each)

    def _turn(self, step: int) -> int:
        """The pass in which a group is filled."""
        turn = step * self.group // self.total  # no later, as rounding down loses less than a group of each size
        while self._steps(turn + 1) <= step:
            turn += 1
        return turn

    def _pass(self, turn: int) -> tuple[np.ndarray, np.ndarray]:
        """(W,K) pictures of each size up to the end of each window of a pass, and (W,) groups up to there."""

        def make() -> tuple[np.ndarray, np.ndarray]:
            shards, last = self.order.windows(turn)
            held = self.held[shards].cumsum(0)[last]
            return held, np.array([sum(row) for row in self._full(turn, held)], np.int64) - self._steps(turn)

        return remembered(self._passes, turn, make)

    def _full(self, turn: int, held: np.ndarray) -> list[list[int]]:
        """Groups of each size that are full, counted from the beginning of the stream, when so many of a pass were read."""
        return [[(turn * int(many) + int(there)) // self.group for many, there in zip(self.each, row)] for row in held]

    def _window(self, turn: int, window: int) -> np.ndarray:
        """(groups, 2): size and number in its queue of the groups that are full within a window, mixed."""

        def make() -> np.ndarray:
            held, _ = self._pass(turn)
            before = held[window - 1] if window else np.zeros_like(self.each)
            first, stop = self._full(turn, np.stack([before, held[window]]))
            full = [(k, number) for k, bounds in enumerate(zip(first, stop)) for number in range(*bounds)]
            return np.random.default_rng([self.seed, turn, window, 1]).permutation(np.array(full, np.int64).reshape(-1, 2))

        return remembered(self._windows, (turn, window), make)

    def _queue(self, turn: int, window: int) -> list[np.ndarray]:
        """The samples of a window by size, each in the order of the pass."""

        def make() -> list[np.ndarray]:
            members = self.order.members(turn, window)
            which = self.which[members]
            return [members[which == k] for k in range(len(self.sizes))]

        return remembered(self._queues, (turn, window), make, room=ROOM)
