"""Depth: how far is each pixel? Relative within the picture, 0 nearest and 1 farthest (Sapiens, ECCV 2024, section 4.3)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from shared.dense.decoder import DEPTH
from shared.dense.masked import masked_mean, resize, scale_and_shift
from shared.render import colour_scalar
from shared.task import Batch, Framing, Score, Task

EPS = 1e-6  # the official floor: the nearest pixel, whose target is 0, is left out


@dataclass(frozen=True)
class Depth(Task):
    """Scale-invariant log depth (Eigen et al. 2014).

    Args:
        variance_focus: share of the squared mean that is forgiven; 0 is the plain log error, 1 ignores scale (official: 0.5).
        floor: below it the logarithm goes on as a straight line, for target and prediction alike. The official loss clamps at
            1e-6 instead, where a prediction below zero has no gradient and never comes back.
    """

    variance_focus: float = 0.5
    floor: float = 1e-2

    name: ClassVar[str] = "depth"
    field: ClassVar[str] = "depth"
    answers: ClassVar = "map"
    framing: ClassVar[Framing] = Framing.WHOLE
    score: ClassVar[Score] = Score("abs_rel", higher_is_better=False)

    @property
    def channels(self) -> int:
        return 1

    @property
    def head(self) -> Mapping[str, Any]:
        return {"spec": DEPTH, "bias": 0.5}  # the middle of the range: a logarithm has to start inside it

    def loss(self, raw: Tensor, batch: Batch) -> dict[str, Tensor]:
        """`silog`: root of mean g^2 - variance_focus * (mean g)^2 per picture, g = log target - log raw; mean over pictures."""
        target, known = relative(batch["depth"])
        known = known & (target > EPS)
        raw = resize(raw, target.shape[-2:])[:, 0]
        g = torch.where(known, self._log(target) - self._log(raw), 0)
        n = known.flatten(1).sum(1).clamp(min=1)
        variance = (g * g).flatten(1).sum(1) / n - self.variance_focus * (g.flatten(1).sum(1) / n) ** 2
        has_any = known.flatten(1).any(1)
        # The root has an infinite slope at 0: an exact answer must not poison the gradient.
        root = torch.where(variance > EPS**2, variance, 1).sqrt() * (variance > EPS**2)
        return {"silog": masked_mean(root, has_any)}

    def _log(self, depth: Tensor) -> Tensor:
        line = math.log(self.floor) + (depth - self.floor) / self.floor
        return torch.where(depth > self.floor, depth.clamp(min=self.floor).log(), line)

    def decode(self, raw: Tensor) -> Tensor:
        """(B,1,h,w) -> (B,h,w), relative depth."""
        return raw[:, 0]

    def measure(self, answer: Tensor, truth: Mapping[str, Tensor]) -> Tensor:
        """After the least-squares scale and shift onto the truth: known, AbsRel, squared RMSE in m^2, delta < 1.25."""
        target = truth["depth"].double()
        known = target.isfinite()
        scale, shift = scale_and_shift(answer[None], target[None], known[None])
        y = target[known]
        fitted = (scale * answer.double()[known] + shift).clamp(min=EPS)
        if not len(y):
            return torch.zeros(4, dtype=torch.float64)
        ratio = torch.maximum(fitted / y, y / fitted)
        errors = ((fitted - y).abs() / y).mean(), ((fitted - y) ** 2).mean(), (ratio < 1.25).double().mean()
        return torch.stack([torch.ones((), dtype=torch.float64), *errors])

    def summarise(self, rows: Tensor) -> dict[str, float]:
        """Means over pictures that have any depth: `abs_rel`, `rmse_m`, `delta1`."""
        abs_rel, mse, delta1 = (rows[:, 1:].sum(0) / rows[:, 0].sum()).tolist() if rows[:, 0].sum() else (float("nan"),) * 3
        return {"abs_rel": abs_rel, "rmse_m": mse**0.5, "delta1": delta1}

    def trivial(self, batch: Batch) -> Tensor:
        """One distance everywhere, which the fit turns into the mean depth of each picture."""
        return torch.full((1, 2, 2), 0.5)

    def files(self, answer: np.ndarray) -> dict[str, Any]:
        return {"depth.npy": answer.astype(np.float32)}

    def render(self, image: np.ndarray, answer: np.ndarray) -> np.ndarray:
        return colour_scalar(answer, np.isfinite(answer))


def relative(depth: Tensor) -> tuple[Tensor, Tensor]:
    """Depth (B,H,W), NaN unknown -> (0 nearest .. 1 farthest per picture and 0 where unknown, known)."""
    known = depth.isfinite()
    near = torch.where(known, depth, torch.inf).flatten(1).amin(1)[:, None, None]
    far = torch.where(known, depth, -torch.inf).flatten(1).amax(1)[:, None, None]
    span = far - near
    known = known & (span > 0)  # a flat picture has no relative depth
    return torch.where(known, (depth - near) / torch.where(span > 0, span, 1), 0), known
