"""Weights learnt beside the network, by an optimiser of their own: its weight decay, clipping and schedule do not touch them."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from shared.dense.balance.rule import Place, Seen, Weighing, When

BETAS = (0.9, 0.999)  # Kingma & Ba 2015, as in PyTorch
EPSILON = 1e-8


class Learnt(nn.Module):
    """T numbers that start at 0 and that Adam moves, each only when there is something to learn about it.

    Args:
        count: T.
        rate: the learning rate.

    Raises:
        ValueError: a rate of 0 or less.
    """

    value: Tensor
    mean: Tensor  # of the gradient
    square: Tensor  # mean of its square
    steps: Tensor  # that each number has taken

    def __init__(self, count: int, *, rate: float) -> None:
        super().__init__()
        if rate <= 0:
            raise ValueError(f"rate={rate} learns nothing; it is more than 0")
        self.rate = rate
        for name in ("value", "mean", "square", "steps"):
            self.register_buffer(name, torch.zeros(count))

    def step(self, gradient: Tensor, known: Tensor) -> None:
        """One step of the known numbers down the gradient, both (T,)."""
        mean = torch.lerp(gradient, self.mean, BETAS[0])
        square = torch.lerp(gradient.square(), self.square, BETAS[1])
        steps = self.steps + 1
        move = mean / (1 - BETAS[0] ** steps) / ((square / (1 - BETAS[1] ** steps)).sqrt() + EPSILON)
        after = {"value": self.value - self.rate * move, "mean": mean, "square": square, "steps": steps}
        for name, new in after.items():
            old: Tensor = getattr(self, name)
            old.copy_(torch.where(known, new, old))


class Uncertainty(Weighing):
    """Sum of exp(-s_i) L_i / 2 + s_i / 2 with learnt log-variances s_i (Kendall et al. 2018, equations 7 and 10).

    The weight cannot be negative. At rest s_i = log L_i, so a task weighs 1 / (2 L_i): sizes are evened out, importance is not
    measured. A softmax's likelihood has no half before the loss: there the weight is exp(-s_i), at rest 1 / (2 L_i) again.

    Args:
        tasks: names.
        classified: those whose loss is the cross-entropy of a softmax.
        rate: of learning; ours, the paper learns s as it learns the network.
        limit: the largest absolute s.

    Raises:
        ValueError: no such task, or a rate or a limit of 0 or less.
    """

    factor: Tensor  # (T,) before the loss: a half, or 1 for a softmax

    def __init__(self, tasks: Sequence[str], *, classified: Collection[str] = (), rate: float = 0.01, limit: float = 12.0) -> None:
        super().__init__(tasks)
        if limit <= 0:
            raise ValueError(f"limit={limit} leaves no variance to learn; it is more than 0")
        self.limit, self.learnt = limit, Learnt(len(self.tasks), rate=rate)
        factor = torch.full((len(self.tasks),), 0.5)
        factor[self.index(classified, option="classified")] = 1.0
        self.register_buffer("factor", factor, persistent=False)

    def weigh(self, costs: Tensor, when: When) -> Tensor:
        return self.factor * torch.exp(-self.learnt.value)

    def learn(self, seen: Seen) -> None:
        gradient = 0.5 - self.factor * torch.exp(-self.learnt.value) * seen.costs  # without labels there is no variance to learn
        self.learnt.step(gradient, seen.known)
        self.learnt.value.clamp_(-self.limit, self.limit)


class GradNorm(Weighing):
    """Weights under which all tasks train at one rate (Chen et al. 2018).

    G_i is the norm of the gradient of w_i L_i, r_i = (L_i / L_i(0)) / mean, and w goes down the gradient of the sum of
    |G_i - mean(G) r_i^alpha| with the targets held constant; then the weights are rescaled to keep their sum, T. They are
    learnt as logarithms, so that none can reach 0. Unknown tasks take no part, in the means either.

    Args:
        tasks: names.
        alpha: force by which slow tasks are favoured; 0: equal norms. 1.5 is the paper's for NYUv2.
        rate: of learning; ours.
        where: gradients are looked at: `last`, the paper's choice, here the final norm, or another `Place`.

    Raises:
        ValueError: a negative alpha, a rate of 0 or less, or no such place.
    """

    first: Tensor  # (T,) L_i(0), the loss of the first iteration with labels; 0: none yet

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        alpha: float = 1.5,
        rate: float = 0.01,
        where: Place = "last",
    ) -> None:
        super().__init__(tasks)
        if alpha < 0:
            raise ValueError(f"alpha={alpha} favours what is fast already; it is at least 0")
        self.where = self.place(where, "features", "last", "trunk")
        self.alpha, self.learnt = alpha, Learnt(len(self.tasks), rate=rate)
        self.register_buffer("first", torch.zeros(len(self.tasks)))

    def weigh(self, costs: Tensor, when: When) -> Tensor:
        return torch.exp(self.learnt.value)

    def learn(self, seen: Seen) -> None:
        self.first.copy_(torch.where(seen.known & (self.first == 0), seen.costs, self.first))
        if seen.gram is None:
            return
        norms = seen.gram.diagonal().sqrt().to(seen.costs)
        known = seen.known & (norms > 0)
        count = known.sum().clamp(min=1)
        ratio = torch.where(known, seen.costs / self.first.clamp(min=torch.finfo(norms.dtype).tiny), 0)
        rate = ratio * count / ratio.sum().clamp(min=torch.finfo(norms.dtype).tiny)
        target = torch.where(known, norms, 0).sum() / count * rate**self.alpha
        # the derivative of |G - target| by log w is its sign times G
        before = torch.where(known, torch.exp(self.learnt.value), 0).sum()
        self.learnt.step(torch.sign(norms - target) * norms, known)
        after = torch.where(known, torch.exp(self.learnt.value), 0).sum()
        scale = torch.where(known.any(), before / after, 1)
        self.learnt.value.add_(torch.where(known, torch.log(scale), 0))
