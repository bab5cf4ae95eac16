"""Groups of data that take turns: each micro-batch is of one group, at its own size and number of pictures, in exact proportions.

Whose turn it is depends on the number of the micro-batch alone: all processes have the same group at the same time, and a run that
goes on has nothing to replay.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor
from torch.utils.data import Dataset

from shared.data.blend import Blend, Proportions
from shared.data.stream import Stream, tensors
from shared.data.wanted import Wanted

Place = tuple[int, int]  # a group, and a position in its stream


class Group(NamedTuple):
    """Pictures of one kind.

    Attributes:
        stream: of them, at the size of their views.
        batch: pictures per process and micro-batch.
        weight: how many micro-batches it has, beside the others.
    """

    stream: Stream | Blend
    batch: int
    weight: float = 1.0


class Turns(Dataset):
    """Endless training samples of groups: `turns[group, p]`, or `turns[p]` as if batches were of one picture.

    Args:
        groups: each with the fields that its labels are of.
        wanted: the fields of all of them; those that a group does not have are unknown there.

    Raises:
        ValueError: no group, a weight that is no share, or a batch of nothing.
    """

    def __init__(self, groups: Sequence[Group], *, wanted: Wanted | None = None) -> None:
        self.proportions = Proportions([group.weight for group in groups])
        for group in groups:
            if group.batch < 1:
                raise ValueError(f"a group of data has batch={group.batch}; it is at least 1")
        self.groups, self.wanted = tuple(groups), wanted or Wanted({})

    def __len__(self) -> int:
        return 2**62  # endless; the batch sampler says where to stop

    def __getitem__(self, place: int | Place) -> dict[str, Tensor]:
        group, position = self.proportions[place] if isinstance(place, int) else place
        sample = self.groups[group].stream[position]
        height, width = sample["image"].shape[-2:]
        return sample | tensors({}, self.wanted.fill(sample, (height, width)))  # type: ignore[arg-type]  # asks for names alone

    def places(self, *, start: int, stop: int, rank: int = 0, processes: int = 1) -> "Places":
        """Which samples this process sees in the micro-batches start .. stop - 1."""
        return Places(self.proportions, [group.batch for group in self.groups], range(start, stop), rank, processes)

    @property
    def pictures(self) -> float:
        """How many a micro-batch of one process has, on average."""
        return sum(group.weight * group.batch for group in self.groups) / sum(group.weight for group in self.groups)

    @property
    def samples(self) -> int:
        """How many different ones there are."""
        return sum(group.stream.samples for group in self.groups)

    @property
    def replaced(self) -> int:
        """How often another sample had to take the place of a damaged one, in this process and its workers."""
        return sum(group.stream.replaced for group in self.groups)

    def reading(self, worker: int) -> str:
        """What a worker turned to last in each group, for the sentence when it hangs."""
        return " or ".join(group.stream.reading(worker) for group in self.groups)


class Places:
    """A batch sampler like `Positions`: of all processes together, a group's n-th micro-batch is the n-th piece of its stream.

    Args:
        proportions: number of a micro-batch -> its group, and the how manieth of that group it is.
        batches: samples per process, of each group.
        numbers: of the micro-batches.
        rank: of this process.
        processes: how many there are.
    """

    def __init__(self, proportions: Proportions, batches: Sequence[int], numbers: range, rank: int, processes: int) -> None:
        self.proportions, self.batches, self.numbers = proportions, batches, numbers
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[list[Place]]:
        for number in self.numbers:
            group, turn = self.proportions[number]
            batch = self.batches[group]
            first = (turn * self.processes + self.rank) * batch
            yield [(group, position) for position in range(first, first + batch)]


Pictures = Stream | Blend | Turns  # what a run is trained on
