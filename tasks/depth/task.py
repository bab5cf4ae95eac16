"""Depth: how far is each pixel? Relative to the picture, 0 nearest and 1 farthest (Sapiens, ECCV 2024, section 4.3), or metres."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from shared.data.surface import points
from shared.dense.canonical import canonical_scale, focal_of
from shared.dense.decoder import DEPTH
from shared.dense.distance import alignments, compared, fitted, harmony, seen, steps
from shared.dense.masked import levelled, resize, silog
from shared.formats import Ask, levels, thinned
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
        metric: metres, by way of the canonical camera of shared/dense/canonical.py: the raw answer is canonical, and the focal
            length of the picture makes metres of it. Samples without a focal length cost nothing.

    Raises:
        ValueError: metric with a variance_focus of 1, which would never learn how long a metre is.
    """

    variance_focus: float = 0.5
    floor: float = 1e-2
    metric: bool = False

    name: ClassVar[str] = "depth"
    field: ClassVar[str] = "depth"
    answers: ClassVar = "map"
    alike: ClassVar[tuple[str, ...]] = ("metric",)
    framing: ClassVar[Framing] = Framing.WHOLE
    score: ClassVar[Score] = Score("abs_rel", higher_is_better=False)
    formats: ClassVar = {"npy": "depth.npy", "png16": "depth.16.png", "exr": "depth.exr", "ply": "depth.ply"}
    by_focal: ClassVar[tuple[str, ...]] = ("ply",)

    def __post_init__(self) -> None:
        if self.metric and self.variance_focus >= 1:
            raise ValueError(
                f"variance_focus={self.variance_focus:g} forgives any scale, so metric depth has no metres; take less, such as 0.5"
            )

    @property
    def also(self) -> tuple[str, ...]:
        return ("intrinsics",) if self.metric else ()

    @property
    def relative(self) -> bool:  # type: ignore[override]
        return not self.metric

    @property
    def canonical(self) -> bool:
        return self.metric

    @property
    def alignments(self) -> tuple[str, ...]:
        """How answers are brought onto the truth before they are compared, the way of the main scores first."""
        return ("as answered", "median", "scale and shift") if self.metric else ("scale and shift", "median")

    @property
    def channels(self) -> int:
        return 1

    @property
    def head(self) -> Mapping[str, Any]:
        # Where the logarithm starts: in the middle of the range, or a width away through a normal lens.
        return {"spec": DEPTH, "bias": 1.0 if self.metric else 0.5}

    def loss(self, raw: Tensor, batch: Batch) -> dict[str, Tensor]:
        """`silog`: root of mean g^2 - variance_focus * (mean g)^2 per picture, g = log target - log raw; mean over pictures."""
        target, known = self.target(batch)
        raw = resize(raw, target.shape[-2:])[:, 0]
        return {"silog": silog(raw, target, known, focus=self.variance_focus, floor=self.floor)}

    def imitate(self, raw: Tensor, taught: Tensor) -> Tensor:
        """Relative: the mean distance once each map's own level and spread are out of it (MiDaS's L_ssi with the mean absolute
        error, Ranftl et al. 2022), so that it is the order and the proportions of depths that count. Metric: as `loss`.
        """
        raw, taught = raw[:, 0], resize(taught, raw.shape[-2:])[:, 0]
        if self.metric:
            known = torch.ones_like(raw, dtype=torch.bool)
            return silog(raw, taught, known, focus=self.variance_focus, floor=self.floor)
        return (levelled(raw) - levelled(taught)).abs().mean()

    def target(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the raw answer should be, (B,H,W), 0 where unknown; and where it is known."""
        depth = batch["depth"]
        if not self.metric:
            target, known = relative(depth)
            return target, known & (target > EPS)
        scale, seen_by = canonical_scale(batch["intrinsics"], depth.shape[-1])
        known = seen(depth) & seen_by[:, None, None]
        return torch.where(known, depth, 0) * scale[:, None, None], known

    def decode(self, raw: Tensor) -> Tensor:
        """(B,1,h,w) -> (B,h,w), relative depth, or canonical, of which `settle` makes metres."""
        return raw[:, 0]

    def measure(self, answer: Tensor, truth: Mapping[str, Tensor]) -> Tensor:
        """Whether there is depth (for metric depth: and a focal length); the errors under each of `alignments`; then edges in both,
        in the answer under the first alignment, and in the truth.
        """
        target = truth["depth"]
        known = seen(target) & (not self.metric or focal_of(truth) is not None)
        a, t = answer[known], target[known]
        edges = torch.zeros(3, dtype=torch.float64)
        if len(t):
            metres = a.double() if self.metric else fitted(a, t)
            edges = steps(torch.ones_like(target, dtype=torch.float64).masked_scatter(known, metres), target)
        return torch.cat([compared(a, t, self.alignments), edges])

    def summarise(self, rows: Tensor) -> dict[str, float]:
        """Means over pictures that have any depth, under the first of `alignments`, and `edge_f` over the edges of all of them."""
        both, found, real = rows[:, -3:].sum(0).tolist()
        return {**self.details(rows)[self.alignments[0]], "edge_f": harmony(both, found, real)}

    def details(self, rows: Tensor) -> Mapping[str, Mapping[str, float]]:
        """The errors under each alignment. Relative depth has none without: it has no metres."""
        return alignments(rows[:, :-3], self.alignments)

    def trivial(self, batch: Batch) -> Tensor:
        """One distance everywhere. The fit turns it into the mean depth of each picture; metric depth takes the geometric mean of
        the canonical distances, so that a longer lens is answered with more metres.
        """
        if not self.metric:
            return torch.full((1, 2, 2), 0.5)
        target, known = self.target(batch)
        middle = target[known].log().mean().exp().item() if known.any() else 1.0
        return torch.full((1, 2, 2), middle)

    def files(self, answer: np.ndarray) -> dict[str, Any]:
        return {"depth.npy": answer.astype(np.float32)}

    def content(self, answer: np.ndarray, form: str, ask: Ask) -> Any:
        """`png16`: levels that know their scale. `ply`: a cloud as a lens of the focal length sees it, centred; of relative depth,
        0 and 1 put where `ask.span_m` says.
        """
        if form == "png16":
            return levels(answer, unit="metres" if self.metric else "0 nearest, 1 farthest")
        if form != "ply":
            return answer.astype(np.float32)
        if ask.focal_px is None:
            raise ValueError("a cloud of points from depth needs a focal length in pixels; pass --focal")
        (H, W), focal, (near, far) = answer.shape, ask.focal_px, ask.span_m
        metres = np.where(answer > 0, answer, np.nan) if self.metric else near + (far - near) * answer
        return thinned(points(metres, np.array([focal, focal, (W - 1) / 2, (H - 1) / 2])))

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
