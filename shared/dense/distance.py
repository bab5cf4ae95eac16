"""How far off depth is, in the measures of the literature (Eigen et al. 2014), over the pixels of one picture.

Every number is a mean or a count over pixels, so that rows of pictures add up in any order and grouping. n is the number of known
pixels.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from shared.dense.masked import scale_and_shift

NEAREST = 1e-6  # metres: what a fit puts behind the camera is there
ERRORS = ("abs_rel", "sq_rel", "mse", "mse_log", "log10", "delta1", "delta2", "delta3")
ROOTS = {"mse": "rmse_m", "mse_log": "rmse_log"}  # what is reported is the root of the mean over pictures
DELTA = 1.25
STEP = 0.05  # of the distance: the least that counts as an edge, the lowest threshold of Depth Pro (Bochkovskii et al. 2024)
REACH = 0.0075  # of the diagonal: how far apart the two sides of an edge are looked at, so that a soft edge is one


def seen(depth: Tensor) -> Tensor:
    """Where depth is known: finite and before the camera. Files that write 0 for a hole mean a hole."""
    return depth.isfinite() & (depth > 0)


def errors(answer: Tensor, truth: Tensor) -> Tensor:
    """Means over pixels, in the order of ERRORS: (n,) and (n,) metres, n > 0 -> (8,) float64.

    |a - t| / t, (a - t)^2 / t, (a - t)^2, (ln a - ln t)^2, |log10 a - log10 t|, and the shares with max(a / t, t / a) below
    1.25, 1.25^2 and 1.25^3.
    """
    a, t = answer.double().clamp(min=NEAREST), truth.double()
    off, log = (a - t).abs(), (a / t).log()
    ratio = torch.maximum(a / t, t / a)
    terms = (off / t, off**2 / t, off**2, log**2, log.abs() / math.log(10))
    return torch.stack([*(term.mean() for term in terms), *((ratio < DELTA**k).double().mean() for k in (1, 2, 3))])


def fitted(answer: Tensor, truth: Tensor) -> Tensor:
    """The answer after the least-squares scale and shift onto the truth: (n,) and (n,) -> (n,) float64 metres."""
    scale, shift = scale_and_shift(answer[None], truth[None], torch.ones_like(truth, dtype=torch.bool)[None])
    return (scale * answer.double() + shift).clamp(min=NEAREST)


def scaled(answer: Tensor, truth: Tensor) -> Tensor:
    """The answer times what brings its median onto the truth's: (n,) and (n,) -> (n,) float64 metres.

    An answer whose median is not positive cannot be scaled; it is all at the camera then.
    """
    middle, wanted = (float(np.median(values.double().numpy())) for values in (answer, truth))
    scale = wanted / middle if middle > NEAREST else 0.0
    return (scale * answer.double()).clamp(min=NEAREST)


ALIGNED = {"as answered": lambda answer, truth: answer, "median": scaled, "scale and shift": fitted}


def compared(answer: Tensor, truth: Tensor, ways: Sequence[str]) -> Tensor:
    """One picture's part of the rows that `alignments` reads: (n,) and (n,) metres, n >= 0 -> (1 + 8 per way,) float64.

    A 1 that says that there is depth, then the errors under each of these names in ALIGNED; all 0 where n is 0.
    """
    if not len(truth):
        return torch.zeros(1 + len(ways) * len(ERRORS), dtype=torch.float64)
    there = torch.ones(1, dtype=torch.float64)
    return torch.cat([there, *(errors(ALIGNED[way](answer, truth), truth) for way in ways)])


def steps(answer: Tensor, truth: Tensor) -> Tensor:
    """Edges: pairs of pixels, side by side or one above the other, of which one is at least 5 % farther away than the other.

    The two are 0.75 % of the diagonal apart, at least a pixel. An edge is found where the answer has one that falls the same way.

    Args:
        answer: (H,W) metres.
        truth: (H,W) metres, unknown where not `seen`; a pair with an unknown end does not count.

    Returns:
        (3,) float64: how many edges are in both, in the answer, in the truth.
    """
    known = seen(truth)
    reach = max(1, round(REACH * math.hypot(*truth.shape)))
    logs = [torch.where(known, depth.double().clamp(min=NEAREST), 1).log() for depth in (answer, truth)]
    counts = torch.zeros(3, dtype=torch.float64)
    for axis in (0, 1):
        n = truth.shape[axis] - reach
        if n <= 0:
            continue
        both = known.narrow(axis, 0, n) & known.narrow(axis, reach, n)
        found, real = (_falls(log.narrow(axis, reach, n) - log.narrow(axis, 0, n), both) for log in logs)
        counts += torch.stack([((found == real) & (real != 0)).sum(), (found != 0).sum(), (real != 0).sum()]).double()
    return counts


def _falls(rise: Tensor, known: Tensor) -> Tensor:
    """1 where depth rises by a step, -1 where it falls by one, 0 elsewhere."""
    return torch.where(known & (rise.abs() > math.log(1 + STEP)), rise.sign(), 0)


def named(means: Sequence[float]) -> dict[str, float]:
    """Means over pictures, in the order of ERRORS, under the names of scores; squares become roots."""
    return {ROOTS.get(name, name): value**0.5 if name in ROOTS else value for name, value in zip(ERRORS, means, strict=True)}


def harmony(both: float, answer: float, truth: float) -> float:
    """F: the harmonic mean of precision and recall from counts of hits, of what was answered and of what is true."""
    return 2 * both / (answer + truth) if truth else float("nan")


def alignments(rows: Tensor, names: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
    """A table of errors: rows (n, 1 + 8 per name), the first column 1 where a picture has depth -> name -> score -> value."""
    count = rows[:, 0].sum().item()
    means = (rows[:, 1:].sum(0) / count).tolist() if count else [float("nan")] * (rows.shape[1] - 1)
    size = len(ERRORS)
    return {name: named(means[i * size : (i + 1) * size]) for i, name in enumerate(names)}
