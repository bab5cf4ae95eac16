"""What a rule of balancing is. There are two kinds: one weighs the tasks' losses, the other steers what their gradients do to the
backbone. Every rule sees numbers that are the same on all processes, so that all decide alike.

Letters: T tasks, n of them with labels in this batch. The gradient of a task is that of its loss, fixed weight included.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor, nn

Place = Literal["features", "last", "trunk"]
"""Where gradients are looked at: the features that all decoders read, which costs nothing more than a table of their products; the
backbone's last layer, its final norm, for T backward passes through that one layer; all of the backbone, for T backward passes
through it and the memory of T copies of its gradient."""


class When(NamedTuple):
    """The moment of a decision."""

    iteration: int
    share: float  # of the training that is done, 0 to 1
    draw: np.random.Generator  # the same on all processes and after a restart


class Seen(NamedTuple):
    """What an iteration has shown of the T tasks, on all processes and in all its micro-batches."""

    costs: Tensor  # (T,) mean loss of the micro-batches with labels, before balancing; 0 where there was none
    known: Tensor  # (T,) bool: whether there was one
    gram: Tensor | None = None  # (T,T) float64: products of the gradients, the rule's weights included; None: not looked at


class Rule(nn.Module):
    """What both kinds have. State that outlives an iteration is in buffers, and with them in the checkpoints to go on from.

    Args:
        tasks: their names.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)

    def place(self, where: Place, *among: Place) -> Place:
        """Where gradients are looked at.

        Raises:
            ValueError: this rule does not look there.
        """
        if where not in among:
            raise ValueError(f"there is no place {where!r}; choose {', '.join(among[:-1])} or {among[-1]}")
        return where

    def index(self, names: Collection[str], *, option: str) -> list[int]:
        """Where these tasks stand.

        Raises:
            ValueError: there is no such task.
        """
        if unknown := set(names) - set(self.tasks):
            raise ValueError(f"{option} names {', '.join(sorted(unknown))}, but the tasks are {', '.join(self.tasks)}")
        return [self.tasks.index(name) for name in names]


class Weighing(Rule, ABC):
    """Factors of the losses: they reach the decoders, too."""

    where: Place | None = None  # None: it does not look at gradients

    @abstractmethod
    def weigh(self, costs: Tensor, when: When) -> Tensor:
        """(T,) losses of this micro-batch, exactly 0 without labels -> (T,) finite factors, without a gradient."""

    @abstractmethod
    def learn(self, seen: Seen) -> None:
        """Take an iteration into the state; what was not known leaves no trace."""


class Steering(Rule, ABC):
    """Factors of the gradients that reach the backbone: each decoder learns from its own loss as it is.

    PCGrad, CAGrad and the Pareto step all end at a sum of the tasks' gradients with factors that follow from their products
    alone, so that a table of n x n numbers is all they have to see. Equal factors of 1 are the plain sum.
    """

    where: Place

    @abstractmethod
    def steer(self, gram: np.ndarray, costs: np.ndarray, when: When) -> np.ndarray:
        """(n,n) products of the gradients that are not 0 and (n,) losses, float64 -> (n,) factors of these gradients."""
