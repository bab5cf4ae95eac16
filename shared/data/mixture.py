"""Mixture: shards of several data sets as one list of samples, each in the model's vocabulary."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from shared.data import tarindex
from shared.data.fields import Sample
from shared.data.paths import tar_paths
from shared.data.shards import NAMED, NamesDiffer, Shards
from shared.data.wanted import Wanted, held


class Mixture:
    """Samples of shards whose names may differ: people with 17 points beside people with 308, each mapped by its own names.

    Shards that agree in their names lie together; where all agree, the order is that of `Shards`.

    Args:
        spec: a folder, a tar file, a brace pattern or a list of those, see `Shards`.
        wanted: the fields that the model needs; a part of the shards may lack some, not all of them.

    Attributes:
        counts: samples per shard.
        lacks: wanted fields that no sample has, where `wanted` bears that.

    Raises:
        FileNotFoundError: a shard does not exist.
        ValueError: no sample; or no sample with a wanted field; or a part that names nothing the model knows, or not at all.
    """

    def __init__(self, spec: str | Path | Sequence[str | Path], wanted: Wanted) -> None:
        try:
            self.parts = [Shards(spec)]
        except NamesDiffer:
            self.parts = _apart(spec, wanted)
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
    def paths(self) -> list[Path]:
        """Of the shards, in the order of `counts`."""
        return [path for part in self.parts for path in part.paths]

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


def _apart(spec: str | Path | Sequence[str | Path], wanted: Wanted) -> list[Shards]:
    """The shards by what they call their ids; refused where some do not say."""
    groups: dict[str, list[str | Path]] = {}
    for path in tar_paths(spec):
        groups.setdefault(repr(sorted(tarindex.load(path).names.items())), []).append(path)
    parts = [Shards(paths) for paths in groups.values()]
    for field in NAMED & wanted.fields.keys():
        for part in parts:
            if field in held(part) and field not in part.names:
                told = f"{part.paths[0]} names its {field} not at all, but other shards do"
                raise ValueError(f"{told}; read it apart, or pack it again with names")
    return parts
