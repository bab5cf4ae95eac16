"""Arithmetic over known pixels. Unknown is a value, not a branch: it costs exactly zero and leaves the gradient finite."""

import math

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def masked_mean(values: Tensor, known: Tensor) -> Tensor:
    """Mean of `values` where `known`; both of one shape. Nothing known: exactly 0, with zero gradient.

    In distributed training the mean is over the known pixels of all processes: each process returns its share times the number of
    processes, so that the average of gradients that DDP takes is the gradient of one process with the whole batch, however
    unevenly the labels lie.

    `values` must be finite also where unknown (clean first: NaN times zero leaks into the gradient).
    """
    total = torch.where(known, values, 0).sum()
    return total / share(known.sum())


def share(count: Tensor) -> Tensor:
    """What a sum over this process is divided by: the count over all processes, at least 1, over the number of processes."""
    if not _distributed():
        return count.clamp(min=1)
    everywhere = count.detach().float()  # .float() copies: all_reduce writes in place
    dist.all_reduce(everywhere)
    return everywhere.clamp(min=1) / dist.get_world_size()


def capped(cost: Tensor, limit: float) -> Tensor:
    """A cost that a limit bounds, the mean over all processes counting; beyond it the gradient shrinks as the cost grows.

    `cost` is this process's share, as `masked_mean` returns it.
    """
    mean = cost.detach().clone()
    if _distributed():
        dist.all_reduce(mean)
        mean /= dist.get_world_size()
    return cost * (limit / mean.clamp(min=limit))


def silog(answer: Tensor, target: Tensor, known: Tensor, *, focus: float, floor: float) -> Tensor:
    """Scale-invariant logarithm (Eigen et al. 2014): root of mean g^2 - focus * (mean g)^2 per picture, g = ln target - ln answer.

    The mean over pictures with any known pixel. An exact answer costs 0 and has a finite gradient.

    Args:
        answer: (B,H,W), any finite number.
        target: (B,H,W), finite also where unknown.
        known: (B,H,W).
        focus: share of the squared mean that is forgiven.
        floor: below it the logarithm goes on as a straight line (docs/decisions/0006).
    """
    g = torch.where(known, line_log(target, floor) - line_log(answer, floor), 0)
    n = known.flatten(1).sum(1).clamp(min=1)
    variance = (g * g).flatten(1).sum(1) / n - focus * (g.flatten(1).sum(1) / n) ** 2
    curved = variance > 1e-12  # the root has an infinite slope at 0: an exact answer must not poison the gradient
    return masked_mean(torch.where(curved, variance, 1).sqrt() * curved, known.flatten(1).any(1))


def line_log(values: Tensor, floor: float) -> Tensor:
    """The natural logarithm, below `floor` its tangent there: no number is too small, and none is without a slope."""
    line = math.log(floor) + (values - floor) / floor
    return torch.where(values > floor, values.clamp(min=floor).log(), line)


def _distributed() -> bool:
    return torch.is_grad_enabled() and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def resize(raw: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """(B,C,h,w) -> (B,C,H,W) float32, bilinear, pixel areas aligned."""
    raw = raw.float()
    return raw if raw.shape[-2:] == tuple(size) else F.interpolate(raw, tuple(size), mode="bilinear", align_corners=False)


def levelled(maps: Tensor, eps: float = 1e-6) -> Tensor:
    """(B,...) less their median, over their mean distance from it, by picture (Ranftl et al. 2022): what scale and shift leave.

    A map that is the same everywhere is all 0; spreads below `eps` are divided by it.
    """
    flat = maps.flatten(1)
    centred = flat - flat.median(1, keepdim=True).values
    return (centred / centred.abs().mean(1, keepdim=True).clamp(min=eps)).view_as(maps)


def unit(vectors: Tensor, eps: float = 1e-6) -> Tensor:
    """(B,C,...) -> the same of length 1 along C; those shorter than `eps` are divided by it.

    Like F.normalize, whose norm over an outer axis takes processors a hundred nanoseconds a vector.
    """
    squares = vectors.new_zeros(())
    for channel in vectors.unbind(1):
        squares = squares + channel * channel
    return vectors * squares.clamp(min=eps**2).rsqrt()[:, None]


def scale_and_shift(answer: Tensor, truth: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares s, t with s * answer + t = truth over known pixels, float64: (B,...) three times -> (B,), (B,).

    A constant answer, or nothing known, gives s = 0 and t = the mean of the truth (0 if nothing is known).
    """
    a, y, w = answer.flatten(1).double(), truth.flatten(1).double(), known.flatten(1).double()
    a, y = torch.where(w > 0, a, 0), torch.where(w > 0, y, 0)
    n = w.sum(1).clamp(min=1)
    mean_a, mean_y = a.sum(1) / n, y.sum(1) / n
    da, dy = (a - mean_a[:, None]) * w, (y - mean_y[:, None]) * w
    variance = (da * da).sum(1)
    scale = torch.where(variance > 1e-12 * n, (da * dy).sum(1) / variance.clamp(min=1e-300), 0)
    return scale, mean_y - scale * mean_a
