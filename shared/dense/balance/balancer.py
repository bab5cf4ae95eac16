"""The balancer: it stands between a model's losses and the optimiser, and lets a rule decide how much each task counts."""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from shared.dense.balance.fork import Fork, averaged, parameters_at, products, rows_of
from shared.dense.balance.rule import Place, Seen, Steering, Weighing, When


class Balancer(nn.Module):
    """A rule at work. An iteration is `begin`; for each micro-batch `fork` and `weigh` in the forward pass; and `end`.

    A task without labels costs exactly 0 and has no gradient: it is left out of every decision, and out of what is learnt.

    Args:
        rule: decides.
        seed: of random decisions, which are functions of it, the iteration and the micro-batch.
        compare: look at the gradients at the features although the rule does not, to tell their norms and cosines.
    """

    def __init__(self, rule: Weighing | Steering, *, seed: int = 0, compare: bool = False) -> None:
        super().__init__()
        self.rule, self.seed = rule, seed
        self.where: Place | None = rule.where or ("features" if compare else None)
        self.begin(0, 1)

    def begin(self, iteration: int, iters: int) -> None:
        """Iteration `iteration` of `iters` begins."""
        self._iteration, self._iters = iteration, iters
        self._costs: list[Tensor] = []  # (T,) of each micro-batch
        self._factors: list[Tensor] = []  # (T,) likewise: of the loss, and of the gradient where it is steered
        self._rows: Tensor | None = None  # (T,m) at parameters: the gradient of the iteration so far
        self._gram: Tensor | None = None  # (T,T) at the features: of all pictures so far

    def when(self, batch: int = 0) -> When:
        """The moment of this iteration's micro-batch."""
        draw = np.random.default_rng((self.seed, self._iteration, batch))
        return When(self._iteration, self._iteration / self._iters, draw)

    def fork(self, features: Tensor, names: Sequence[str], backbone: nn.Module) -> Mapping[str, Tensor]:
        """The features for each decoder; on the way back their gradients are compared, if anybody wants to know."""
        if self.where is None or not features.requires_grad:
            return dict.fromkeys(names, features)
        parameters = parameters_at(backbone, self.where)
        each = Fork.apply(features, len(names), lambda of, gradients: self._join(of, gradients, parameters))
        return dict(zip(names, each))  # type: ignore[arg-type]

    def weigh(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`loss/<task>/<term>` -> the same, times what the rule gives the task."""
        own = [[value for name, value in losses.items() if name.split("/")[1] == task] for task in self.rule.tasks]
        costs = averaged(torch.stack([torch.stack(terms).sum() for terms in own]).detach())
        factors = self.rule.weigh(costs, self.when(len(self._costs))) if isinstance(self.rule, Weighing) else torch.ones_like(costs)
        self._costs.append(costs)
        self._factors.append(factors)
        of = dict(zip(self.rule.tasks, factors))
        return {name: value * of[name.split("/")[1]] for name, value in losses.items()}

    def end(self, *, learn: bool = True) -> dict[str, Tensor]:
        """The iteration is over: the rule learns, unless the step was left out, and what is worth a curve is told."""
        costs = torch.stack(self._costs)  # (k,T)
        labelled = costs.isfinite() & (costs > 0)
        known = labelled.any(0)
        mean = torch.where(labelled, costs, 0).sum(0) / labelled.sum(0).clamp(min=1)
        gram = self._gram if self._rows is None else products(self._rows)
        gram = gram.double() if gram is not None and gram.isfinite().all() else None
        if learn and isinstance(self.rule, Weighing):
            self.rule.learn(Seen(mean, known, gram))
        told = {f"balance/cost/{task}": cost for task, cost in zip(self.rule.tasks, mean)}
        told |= {f"balance/weight/{task}": factor for task, factor in zip(self.rule.tasks, torch.stack(self._factors).mean(0))}
        return told | (_compared(self.rule.tasks, gram) if gram is not None else {})

    def _join(self, features: Tensor, gradients: tuple[Tensor, ...], parameters: list[nn.Parameter]) -> Tensor:
        """Backward: what the backbone gets."""
        rows = rows_of(features, gradients, parameters)
        gram = products(rows)
        if parameters:
            self._rows = rows if self._rows is None else self._rows + rows
        else:  # the pictures of all processes are one batch, and each process's loss is its share of it times their number
            gram = averaged(gram) / (dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1)
            self._gram = gram if self._gram is None else self._gram + gram
        if isinstance(self.rule, Weighing):
            return reduce(torch.add, reversed(gradients))  # the order of an ordinary backward pass: the same to the last bit
        factors = self._steered(gram)
        self._factors[-1] = factors
        return torch.tensordot(factors, torch.stack(gradients).float(), 1).to(features.dtype)

    def _steered(self, gram: Tensor) -> Tensor:
        """(T,T) -> (T,) factors: 1 for who does not pull, and for all if a number is none. Waits for the GPU."""
        assert isinstance(self.rule, Steering)
        table, costs = gram.double().cpu().numpy(), self._costs[-1].double().cpu().numpy()
        factors = np.ones(len(costs))
        pulls = np.flatnonzero((table.diagonal() > 0) & (costs > 0))
        if len(pulls) and np.isfinite(table).all() and np.isfinite(costs).all():
            factors[pulls] = self.rule.steer(table[np.ix_(pulls, pulls)], costs[pulls], self.when(len(self._costs) - 1))
        return torch.from_numpy(factors).to(gram)


def _compared(tasks: Sequence[str], gram: Tensor) -> dict[str, Tensor]:
    """Norms of the gradients, and cosines of the pairs; of those that are not 0."""
    gram = gram.cpu()
    norms = gram.diagonal().sqrt()
    pulls = [i for i in range(len(tasks)) if norms[i] > 0]
    told = {f"balance/norm/{tasks[i]}": norms[i] for i in pulls}
    pairs = [(i, j) for i in pulls for j in pulls if i < j]
    return told | {f"balance/cosine/{tasks[i]}-{tasks[j]}": gram[i, j] / (norms[i] * norms[j]) for i, j in pairs}
