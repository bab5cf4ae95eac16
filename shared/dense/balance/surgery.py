"""Gradient surgery: what the backbone makes of gradients that disagree. The scale is that of the plain sum."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from shared.dense.balance.rule import Steering, When
from shared.dense.balance.simplex import least_conflict, shortest

Steered = Literal["features", "trunk"]


class PCGrad(Steering):
    """Each gradient loses its component along every other that it points against, in random order; then they are added
    (Yu et al. 2020, algorithm 1). The projections are onto the original gradients; gradients that agree stay as they are.

    Args:
        tasks: names.
        where: gradients are compared, see `Place`; the paper compares those of all shared parameters, `trunk`.
    """

    def __init__(self, tasks: Sequence[str], *, where: Steered = "features") -> None:
        super().__init__(tasks)
        self.where = self.place(where, "features", "trunk")

    def steer(self, gram: np.ndarray, costs: np.ndarray, when: When) -> np.ndarray:
        factors = np.eye(len(gram))  # row i: the projected gradient of task i as a sum of the original ones
        for i, row in enumerate(factors):
            for j in when.draw.permutation(len(gram)):
                against = row @ gram[:, j]
                if j != i and against < 0:
                    row[j] -= against / gram[j, j]
        return factors.sum(0)


class CAGrad(Steering):
    """The direction within c |g_0| of the mean gradient g_0 that helps the worst-off task most (Liu et al. 2021).

    d = g_0 + c |g_0| / |g_w| g_w, with g_w of `least_conflict`; times n, so that c = 0 is the plain sum.

    Args:
        tasks: names.
        c: radius around the mean, 0 to 1 (not included); 0.4 is the paper's for NYUv2.
        where: gradients are compared, see `Place`.

    Raises:
        ValueError: c is no such radius.
    """

    def __init__(self, tasks: Sequence[str], *, c: float = 0.4, where: Steered = "features") -> None:
        super().__init__(tasks)
        if not 0 <= c < 1:
            raise ValueError(f"c={c} is no radius around the mean gradient; it is at least 0 and less than 1")
        self.c, self.where = c, self.place(where, "features", "trunk")

    def steer(self, gram: np.ndarray, costs: np.ndarray, when: When) -> np.ndarray:
        weights = least_conflict(gram, self.c)
        squared, mean = weights @ gram @ weights, max(gram.mean(), 0.0)
        if squared <= 1e-12 * gram.diagonal().max():  # no step helps every task: the mean alone
            return np.ones(len(gram))
        return 1 + len(gram) * self.c * math.sqrt(mean / squared) * weights


class MGDA(Steering):
    """The shortest vector in the convex hull of the gradients: no task gets worse, and at a Pareto point it is 0
    (Désidéri 2012; Sener & Koltun 2018). At the features it is their upper bound MGDA-UB. Times n, so that equal weights are
    the plain sum.

    Args:
        tasks: names.
        normalise: what gradients are divided by before their weights are sought: nothing (`none`), their norm (`l2`), their
            loss (`loss`), or both (`loss+`); the four of the authors' code. Without it the smallest gradient rules.
        where: gradients are compared, see `Place`.

    Raises:
        ValueError: there is no such normalisation.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        normalise: Literal["none", "l2", "loss", "loss+"] = "none",
        where: Steered = "features",
    ) -> None:
        super().__init__(tasks)
        if normalise not in ("none", "l2", "loss", "loss+"):
            raise ValueError(f"there is no normalisation {normalise!r}; choose none, l2, loss or loss+")
        self.normalise, self.where = normalise, self.place(where, "features", "trunk")

    def steer(self, gram: np.ndarray, costs: np.ndarray, when: When) -> np.ndarray:
        sizes = np.ones(len(gram))
        if self.normalise in ("l2", "loss+"):
            sizes = sizes * np.sqrt(gram.diagonal())
        if self.normalise in ("loss", "loss+"):
            sizes = sizes * costs
        return len(gram) * shortest(gram / np.outer(sizes, sizes))
