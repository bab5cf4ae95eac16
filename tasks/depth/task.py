"""Depth: how far is each pixel? Relative within the picture, 0 nearest and 1 farthest (Sapiens, ECCV 2024, section 4.3)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from shared.data.surface import points
from shared.dense.decoder import DEPTH
from shared.dense.distance import ERRORS, alignments, errors, fitted, harmony, scaled, seen, steps
from shared.dense.masked import masked_mean, resize
from shared.formats import Ask, levels, thinned
from shared.render import colour_scalar
from shared.task import Batch, Framing, Score, Task

EPS = 1e-6  # the official floor: the nearest pixel, whose target is 0, is left out
ALIGNMENTS = ("scale and shift", "median")


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
    relative: ClassVar[bool] = True
    score: ClassVar[Score] = Score("abs_rel", higher_is_better=False)
    formats: ClassVar = {"npy": "depth.npy", "png16": "depth.16.png", "exr": "depth.exr", "ply": "depth.ply"}
    by_focal: ClassVar[tuple[str, ...]] = ("ply",)

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
        """Whether there is depth; the errors after the least-squares scale and shift onto the truth; those after the scale that
        brings median onto median; then edges in both, in the aligned answer and in the truth.
        """
        target = truth["depth"]
        known = seen(target)
        row = torch.zeros(1 + len(ALIGNMENTS) * len(ERRORS) + 3, dtype=torch.float64)
        if known.any():
            a, t = answer[known], target[known]
            metres = fitted(a, t)
            row[:-3] = torch.cat([torch.ones(1, dtype=torch.float64), errors(metres, t), errors(scaled(a, t), t)])
            row[-3:] = steps(torch.ones_like(target, dtype=torch.float64).masked_scatter(known, metres), target)
        return row

    def summarise(self, rows: Tensor) -> dict[str, float]:
        """Means over pictures that have any depth, after scale and shift, and `edge_f` over the edges of all of them."""
        both, found, real = rows[:, -3:].sum(0).tolist()
        return {**self.details(rows)["scale and shift"], "edge_f": harmony(both, found, real)}

    def details(self, rows: Tensor) -> Mapping[str, Mapping[str, float]]:
        """The errors under each alignment. There are none without: relative depth has no metres."""
        return alignments(rows[:, :-3], ALIGNMENTS)

    def trivial(self, batch: Batch) -> Tensor:
        """One distance everywhere, which the fit turns into the mean depth of each picture."""
        return torch.full((1, 2, 2), 0.5)

    def files(self, answer: np.ndarray) -> dict[str, Any]:
        return {"depth.npy": answer.astype(np.float32)}

    def content(self, answer: np.ndarray, form: str, ask: Ask) -> Any:
        """`png16`: levels that know their scale. `ply`: a cloud as a lens of the focal length sees it, centred, 0 and 1 put where
        `ask.span_m` says.
        """
        if form == "png16":
            return levels(answer)
        if form != "ply":
            return answer.astype(np.float32)
        if ask.focal_px is None:
            raise ValueError("a cloud of points from depth needs a focal length in pixels; pass --focal")
        near, far = ask.span_m
        (H, W), focal = answer.shape, ask.focal_px
        return thinned(points(near + (far - near) * answer, np.array([focal, focal, (W - 1) / 2, (H - 1) / 2])))

    def render(self, image: np.ndarray, answer: np.ndarray) -> np.ndarray:
        return colour_scalar(answer, np.isfinite(answer))


def relative(depth: Tensor) -> tuple[Tensor, Tensor]:
    """Depth (B,H,W), NaN or a hole of 0 where unknown -> (0 nearest .. 1 farthest per picture and 0 where unknown, known)."""
    known = seen(depth)
    near = torch.where(known, depth, torch.inf).flatten(1).amin(1)[:, None, None]
    far = torch.where(known, depth, -torch.inf).flatten(1).amax(1)[:, None, None]
    span = far - near
    known = known & (span > 0)  # a flat picture has no relative depth
    return torch.where(known, (depth - near) / torch.where(span > 0, span, 1), 0), known
