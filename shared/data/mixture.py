"""Mixture: shards of several data sets as one list of samples, each in the model's vocabulary."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from shared.data import tarindex
from shared.data.cache import Cache
from shared.data.fields import Sample
from shared.data.paths import Named, Spec, tar_paths
from shared.data.remote import Remote
from shared.data.shards import NAMED, NamesDiffer, Shards
from shared.data.wanted import Wanted, held


class Mixture:
    """Samples of shards whose names may differ: people with 17 points beside people with 308, each mapped by its own names.

    Shards that agree in their names lie together; where all agree, the order is that of `Shards`.

    Args:
        spec: a folder, a tar file, a brace pattern or a list of those, see `Shards`.
        wanted: the fields that the model needs; a part of the shards may lack some, not all of them.
        cache: where shards behind addresses are kept.
        sized: `hw` will be asked for.

    Attributes:
        counts: samples per shard.
        lacks: wanted fields that no sample has, where `wanted` bears that.

    Raises:
        FileNotFoundError: a shard does not exist.
        ValueError: no sample; or no sample with a wanted field; or a part that names nothing the model knows, or not at all.
    """

    def __init__(self, spec: Spec, wanted: Wanted, *, cache: Cache | None = None, sized: bool = False) -> None:
        try:
            self.parts = [Shards(spec, cache=cache, sized=sized)]
        except NamesDiffer:
            self.parts = _apart(spec, wanted, cache, sized)
        everything = set().union(*(wanted.found_in(part) for part in self.parts)) if len(self.parts) > 1 else set()
        self._wanted = [wanted.over(part, beside=everything) for part in self.parts]
        self.lacks = set.intersection(*(part.lacks for part in self._wanted))
        self.counts = [count for part in self.parts for count in part.counts]
        self._ends = np.cumsum([len(part) for part in self.parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def key(self, i: int) -> str:
        """The name of sample i, unique within its shard."""
        part, inside = self._place(i)
        return self.parts[part].key(inside)

    @property
    def paths(self) -> list[Path | Remote]:
        """Of the shards, in the order of `counts`."""
        return [path for part in self.parts for path in part.paths]

    @property
    def hw(self) -> np.ndarray:
        """(N,2) H W px of the pictures, 0 0 where unknown."""
        return np.concatenate([np.zeros((len(part), 2), np.int32) if part.hw is None else part.hw for part in self.parts])

    def together(self, window: int) -> int:
        """Bytes that the largest so many shards behind addresses have."""
        sizes = [size for part in self.parts for path, size in zip(part.paths, part.sizes) if isinstance(path, Remote)]
        return sum(sorted(sizes)[-window:])

    def where(self, i: int) -> str:
        """Sample i as sentences name it."""
        part, inside = self._place(i)
        return self.parts[part].where(inside)

    def read(self, i: int, *, only: Collection[str], late: Collection[str] = ()) -> Sample:
        """Sample i in the model's vocabulary; see `Wanted.read`."""
        part, inside = self._place(i)
        return self._wanted[part].read(self.parts[part], inside, only=only, late=late)

    def _place(self, i: int) -> tuple[int, int]:
        """Which part, and which sample of it."""
        part = int(np.searchsorted(self._ends, i, side="right"))
        return part, i - (int(self._ends[part - 1]) if part else 0)


def _apart(spec: Spec, wanted: Wanted, cache: Cache | None, sized: bool) -> list[Shards]:
    """The shards by what they call their ids; refused where some do not say."""
    groups: dict[str, list[Named]] = {}
    paths = tar_paths(spec, cache=cache)
    for path, index in zip(paths, tarindex.load_all(paths), strict=True):
        groups.setdefault(repr(sorted(index.names.items())), []).append(path)
    parts = [Shards(paths, sized=sized) for paths in groups.values()]
    for field in NAMED & wanted.fields.keys():
        for part in parts:
            if field in held(part) and field not in part.names:
                told = f"{part.paths[0]} names its {field} not at all, but other shards do"
                raise ValueError(f"{told}; read it apart, or pack it again with names")
    return parts
