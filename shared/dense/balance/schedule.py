"""Weights that are known before the training: fixed ones, and those of a schedule."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from shared.dense.balance.rule import Seen, Weighing, When


class Fixed(Weighing):
    """Every task as `weights` of the config say: the training without balancing."""

    def weigh(self, costs: Tensor, when: When) -> Tensor:
        return torch.ones_like(costs)

    def learn(self, seen: Seen) -> None:
        """There is nothing to learn."""


class Staged(Weighing):
    """Priorities that change in the course of training: straight lines between the stages, so that two that lie close are a step.

    Args:
        tasks: names.
        stages: dict(at=share of the training from 0 to 1, weights=dict(task=factor)), in order; a task that is not named has 1.

    Raises:
        ValueError: no stages, out of order, of a task that is not there, or with a negative weight.
    """

    table: Tensor  # (S,T)

    def __init__(self, tasks: Sequence[str], *, stages: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(tasks)
        self.at = [float(stage["at"]) for stage in stages]
        if not stages or any(a >= b for a, b in pairwise(self.at)) or not 0 <= self.at[0] <= self.at[-1] <= 1:
            raise ValueError(f"stages stand at {self.at}; give shares of the training that rise from 0 to 1, each once")
        table = torch.ones(len(stages), len(self.tasks))
        for row, stage in zip(table, stages):
            row[self.index(stage["weights"], option="stages")] = torch.tensor([float(w) for w in stage["weights"].values()])
        if (table < 0).any():
            raise ValueError(f"stages have a weight of {float(table.min())}; a weight is at least 0")
        self.register_buffer("table", table, persistent=False)

    def weigh(self, costs: Tensor, when: When) -> Tensor:
        later = next((i for i, at in enumerate(self.at) if at > when.share), len(self.at))
        if later in (0, len(self.at)):
            return self.table[max(later - 1, 0)]
        begin, end = self.at[later - 1 : later + 1]
        return torch.lerp(self.table[later - 1], self.table[later], (when.share - begin) / (end - begin))

    def learn(self, seen: Seen) -> None:
        """There is nothing to learn."""
