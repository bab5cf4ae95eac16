"""Several data sets as one stream, in exact proportions: what comes at position p depends on the seed, the weights and p alone."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from shared.data.cache import Cache
from shared.data.stream import Stream
from shared.data.view import Size
from shared.data.wanted import Wanted

APART = 1_000_003  # between the seeds of two data sets


class Proportions:
    """Position -> (data set, position within it): among the first n positions, any n, each data set has its share of n, give or
    take two. Nothing is drawn, so that nothing has to be replayed.

    Args:
        weights: of the data sets, more than 0; only their ratios count.

    Raises:
        ValueError: no weight, or one that is no share.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        wrong = [weight for weight in weights if not 0 < weight < float("inf")]
        if wrong or not weights:
            raise ValueError(f"the weight {wrong[0] if wrong else 'of nothing'} is no share; give every data set one above 0")
        exact = [Fraction(str(weight)) for weight in weights]  # 0.1 is a tenth
        self.shares = [weight / sum(exact[k:]) for k, weight in enumerate(exact)]  # of what the earlier ones leave

    def __getitem__(self, position: int) -> tuple[int, int]:
        for source, share in enumerate(self.shares):
            before = position * share.numerator // share.denominator  # how many of the earlier positions it had
            if (position + 1) * share.numerator // share.denominator > before:
                return source, before
            position -= before
        raise AssertionError("the last one takes all that is left")


class Blend(Dataset):
    """Endless training samples of several data sets, as `Stream` has them of one.

    Args:
        sources: dict(shards=..., weight=...) of each data set; without a weight it is 1.
        wanted: the fields that the model needs; every data set has some of them, together they have all.
        seed: of everything; each data set has its own from it.
        cache: where shards behind addresses are kept.
        buckets: as for Stream; each group of positions then is of one data set, and the shares are those of groups.
        group: as for Stream.
        options: as for Stream.

    Raises:
        ValueError: no data set, another key than those, a weight that is no share, a field that none of them has, or a cache
            that is too small.
    """

    def __init__(
        self,
        sources: Sequence[Mapping[str, Any]],
        *,
        wanted: Wanted | None = None,
        seed: int = 0,
        cache: Cache | None = None,
        buckets: Sequence[Size] | None = None,
        group: int = 1,
        **options: Any,
    ) -> None:
        for source in sources:
            if "shards" not in source or set(source) - {"shards", "weight"}:
                raise ValueError(f"{dict(source)} is no data set to mix; write dict(shards=..., weight=...)")
        self.proportions = Proportions([source.get("weight", 1) for source in sources])
        asked = wanted or Wanted({})
        partly = Wanted(asked.fields, derive=asked.derive, partly=True, optional=asked.optional)
        self.dealt = 1 if buckets is None else group  # positions that are dealt together
        options |= {"cache": cache, "buckets": buckets, "group": group}
        self.streams = [
            Stream(source["shards"], wanted=partly, seed=seed + k * APART, **options) for k, source in enumerate(sources)
        ]
        if cache is not None:
            cache.require(sum(stream.together for stream in self.streams))
        if missing := set.intersection(*(stream.shards.lacks for stream in self.streams)):
            raise ValueError(f"no sample of any data set has the field {min(missing)!r} that the task needs")

    def __len__(self) -> int:
        return 2**62  # endless; the batch sampler says where to stop

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        number, slot = divmod(int(position), self.dealt)
        source, inner = self.proportions[number]
        return self.streams[source][inner * self.dealt + slot] | {"position": torch.tensor(position)}

    @property
    def samples(self) -> int:
        """How many different ones there are."""
        return sum(stream.samples for stream in self.streams)

    @property
    def replaced(self) -> int:
        """How often another sample had to take the place of a damaged one, in this process and its workers."""
        return sum(stream.replaced for stream in self.streams)

    def reading(self, worker: int) -> str:
        """What a worker turned to last in each data set, for the sentence when it hangs."""
        return " or ".join(stream.reading(worker) for stream in self.streams)
