"""Weights that follow from the sizes of the losses: the same size for all, or more for what falls slowly."""

from collections.abc import Sequence

import torch
from torch import Tensor

from shared.dense.balance.rule import Seen, Weighing, When


class LossMean(Weighing):
    """w_i = 1 / mean(L_i), a running exponential mean, rescaled so that the weights of the tasks seen so far average 1.

    Args:
        tasks: names.
        decay: of the mean, per iteration; it has no bias towards its start.

    Raises:
        ValueError: the decay is none.
    """

    total: Tensor  # (T,) of the losses with falling weights
    weight: Tensor  # (T,) of those weights

    def __init__(self, tasks: Sequence[str], *, decay: float = 0.99) -> None:
        super().__init__(tasks)
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay} is no decay; it is at least 0 and less than 1, for example 0.99")
        self.decay = decay
        self.register_buffer("total", torch.zeros(len(self.tasks)))
        self.register_buffer("weight", torch.zeros(len(self.tasks)))

    def weigh(self, costs: Tensor, when: When) -> Tensor:
        seen = self.weight > 0
        inverse = torch.where(seen, self.weight / self.total.clamp(min=torch.finfo(costs.dtype).tiny), 0)
        return torch.where(seen, inverse * seen.sum() / inverse.sum().clamp(min=torch.finfo(costs.dtype).tiny), 1)

    def learn(self, seen: Seen) -> None:
        self.total.copy_(torch.where(seen.known, self.decay * self.total + (1 - self.decay) * seen.costs, self.total))
        self.weight.copy_(torch.where(seen.known, self.decay * self.weight + (1 - self.decay), self.weight))


class ScaleMatch(Weighing):
    """L_main + sum of (L_main / L_aux) L_aux with the fraction held constant: every task costs what the main one does
    (as 3DDFA_V2 adds its landmarks; Guo et al. 2020). Without labels of the main task the last fractions stay.

    Args:
        tasks: names.
        main: the task that sets the scale; None: the first.
        limit: the largest factor.

    Raises:
        ValueError: there is no such task, or the limit is not above 0.
    """

    fraction: Tensor  # (T,)

    def __init__(self, tasks: Sequence[str], *, main: str | None = None, limit: float = 1e4) -> None:
        super().__init__(tasks)
        if limit <= 0:
            raise ValueError(f"limit={limit} leaves no weight; it is more than 0")
        self.main = self.index([main], option="main")[0] if main else 0
        self.limit = limit
        self.register_buffer("fraction", torch.ones(len(self.tasks)))

    def weigh(self, costs: Tensor, when: When) -> Tensor:
        return self._fractions(costs)

    def learn(self, seen: Seen) -> None:
        self.fraction.copy_(self._fractions(seen.costs))

    def _fractions(self, costs: Tensor) -> Tensor:
        known = costs.isfinite() & (costs > 0)
        found = (costs[self.main] / torch.where(known, costs, 1)).clamp(max=self.limit)
        return torch.where(known & known[self.main], found, self.fraction)


class DynamicAverage(Weighing):
    """w = T softmax(r / temperature), r_i = L_i(t - 1) / L_i(t - 2) (Liu et al. 2019): more for what falls slowly.

    The paper's t counts epochs; a stream has none, so t counts windows of iterations, and L is the mean of a window. A task has
    r = 1 until it was seen in two windows, and one in which it was not seen does not count for it.

    Args:
        tasks: names.
        window: iterations.
        temperature: 2 in the paper; the larger, the more even.

    Raises:
        ValueError: a window or a temperature of 0 or less.
    """

    sums: Tensor  # (T,) of the losses in the present window
    counts: Tensor  # (T,) of its iterations with labels
    age: Tensor  # () of its iterations
    last: Tensor  # (T,) mean of the last window with labels; 0: none yet
    before: Tensor  # (T,) of the one before

    def __init__(self, tasks: Sequence[str], *, window: int = 200, temperature: float = 2.0) -> None:
        super().__init__(tasks)
        if window < 1 or temperature <= 0:
            raise ValueError(f"window={window} and temperature={temperature} have to be more than 0")
        self.window, self.temperature = window, temperature
        for name in ("sums", "counts", "last", "before"):
            self.register_buffer(name, torch.zeros(len(self.tasks)))
        self.register_buffer("age", torch.zeros((), dtype=torch.long))

    def weigh(self, costs: Tensor, when: When) -> Tensor:
        ratio = torch.where(self.before > 0, self.last / torch.where(self.before > 0, self.before, 1), 1)
        return len(self.tasks) * torch.softmax(ratio / self.temperature, 0)

    def learn(self, seen: Seen) -> None:
        self.sums += torch.where(seen.known, seen.costs, 0)
        self.counts += seen.known
        self.age += 1
        over = self.age == self.window  # a tensor: asking for its value would wait for the GPU
        turned = over & (self.counts > 0)
        self.before.copy_(torch.where(turned, self.last, self.before))
        self.last.copy_(torch.where(turned, self.sums / self.counts.clamp(min=1), self.last))
        for gathered in (self.sums, self.counts, self.age):
            gathered.masked_fill_(over, 0)
