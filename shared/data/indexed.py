"""Indexed: shards -> a finite, ordered set with exact truth, for validation."""

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from shared.data.cache import Cache
from shared.data.fields import Sample, warp
from shared.data.paths import Spec
from shared.data.shards import DamagedSample, Shards
from shared.data.stream import frame
from shared.data.view import Size, View
from shared.data.wanted import Wanted

log = logging.getLogger(__name__)


class Item(NamedTuple):
    """One picture: what the network sees, and the truth at the picture's own size."""

    index: int
    image: Tensor  # (3,H,W) uint8, the view
    view: View
    source: np.ndarray  # (h,w,3) uint8, the picture
    truth: dict[str, Tensor]  # per field, channels last, the picture's own size and pixels

    @property
    def source_hw(self) -> Size:
        return self.source.shape[0], self.source.shape[1]


class Indexed(Dataset):
    """`indexed[i]` is an `Item`; the truth is never resampled.

    Args:
        shards: folder, address, brace pattern or list, see `Shards`.
        size: (H,W) of the network's input.
        wanted: the fields to score.
        framing: `whole` or `boxes`.
        limit: the first so many samples only; None: all.
        lenient: damaged samples are named and left out instead of ending everything: a long training looks at them again and again.
        cache: where shards behind addresses are kept.
    """

    def __init__(
        self,
        shards: Spec,
        *,
        size: Size,
        wanted: Wanted,
        framing: str = "whole",
        limit: int | None = None,
        lenient: bool = False,
        cache: Cache | None = None,
    ) -> None:
        self.shards = Shards(shards, cache=cache)
        self.size: Size = (int(size[0]), int(size[1]))
        self.wanted = wanted.over(self.shards)
        self.framing, self.lenient = framing, lenient
        if limit is not None and limit < 1:
            raise ValueError(f"limit={limit} leaves no picture; it is at least 1, or None for all")
        self.limit = len(self.shards) if limit is None else min(limit, len(self.shards))

    def __len__(self) -> int:
        return self.limit

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < self.limit:
            raise IndexError(index)
        sample: Sample = self.wanted.read(self.shards, index, only=self.wanted.reads)
        source = sample["image"]
        view = frame(sample, self.size, self.framing)
        seen = warp({"image": source}, view)["image"]
        sample |= self.wanted.fill(sample, (source.shape[0], source.shape[1]))
        truth = {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in sample.items() if name != "image"}
        return Item(index, torch.from_numpy(np.ascontiguousarray(seen.transpose(2, 0, 1))), view, source, truth)

    def readable(self, indices: Iterable[int]) -> Iterator[Item]:
        """The items of these numbers; without the damaged ones, if those are to be left out.

        Raises:
            DamagedSample: one is damaged, and none may be left out.
        """
        for index in indices:
            try:
                yield self[index]
            except DamagedSample as error:
                if not self.lenient:
                    raise
                log.warning("%s; it is left out of the scores", error)

    def batches(self, batch: int, *, rank: int = 0, processes: int = 1) -> Iterator[list[Item]]:
        """This process's share, every `processes`-th picture from `rank` on."""
        items = self.readable(range(rank, len(self), processes))
        while some := list(islice(items, batch)):
            yield some
