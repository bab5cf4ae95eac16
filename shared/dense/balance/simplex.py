"""Two small convex problems over weights that are at least 0 and sum to 1, told by the table of the gradients' products alone."""

import math

import numpy as np

STEPS = 250  # of Frank & Wolfe; Sener & Koltun's code
GAP = 1e-9  # relative to the largest product: how far from the least value is near enough


def shortest(gram: np.ndarray) -> np.ndarray:
    """The weights (n,) of the shortest vector in the convex hull of n gradients, from their products (n,n).

    Frank & Wolfe's method as Sener & Koltun (2018) use it, with steps that move weight from the worst task to the best one,
    so that it ends where theirs only comes near. Two tasks are one step, their closed form.
    """
    weights = np.full(len(gram), 1 / len(gram))
    for _ in range(STEPS):
        slope = gram @ weights
        worst, best = _pair(slope, weights)
        if slope[worst] - slope[best] <= GAP * gram.diagonal().max():
            break
        apart = gram[worst, worst] - 2 * gram[worst, best] + gram[best, best]
        _move(weights, worst, best, (slope[worst] - slope[best]) / apart if apart > 0 else math.inf)
    return weights


def least_conflict(gram: np.ndarray, c: float) -> np.ndarray:
    """The weights (n,) that minimise g_w . g_0 + c |g_0| |g_w|, g_0 the mean gradient (CAGrad, Liu et al. 2021)."""
    mean = gram.mean(1)  # (n,) products with g_0
    bound = c * math.sqrt(max(mean.mean(), 0.0))
    weights = np.full(len(gram), 1 / len(gram))
    for _ in range(STEPS):
        ahead = gram @ weights
        length = math.sqrt(max(weights @ ahead, 0.0))
        slope = mean + bound * ahead / length if length > 0 else mean
        worst, best = _pair(slope, weights)
        if slope[worst] - slope[best] <= GAP * gram.diagonal().max():
            break
        # along the move g_w is q0 + 2 q1 t + q2 t^2 long, squared, and the cost convex: halve until its slope is 0
        q0, q1 = weights @ ahead, ahead[best] - ahead[worst]
        q2 = gram[worst, worst] - 2 * gram[worst, best] + gram[best, best]
        low, high = 0.0, weights[worst]
        for _ in range(60):
            t = (low + high) / 2
            squared = q0 + 2 * q1 * t + q2 * t * t
            rises = mean[best] - mean[worst] + (bound * (q1 + q2 * t) / math.sqrt(squared) if squared > 0 else 0.0) > 0
            low, high = (low, t) if rises else (t, high)
        # at the end of the way the weight goes as a whole, or a rest of it would be moved for ever
        _move(weights, worst, best, math.inf if high == weights[worst] else high)
    return weights


def _pair(slope: np.ndarray, weights: np.ndarray) -> tuple[int, int]:
    """From which task weight should go, among those that have some, and to which."""
    return int(np.where(weights > 0, slope, -np.inf).argmax()), int(slope.argmin())


def _move(weights: np.ndarray, worst: int, best: int, step: float) -> None:
    moved = min(step, weights[worst])
    weights[best] += moved
    weights[worst] = 0.0 if moved == weights[worst] else weights[worst] - moved
