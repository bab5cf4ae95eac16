"""Normals: where does the surface at each pixel face? Camera space, x right, y up, z toward the viewer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shared.dense.decoder import DENSE
from shared.dense.masked import masked_mean, resize, unit
from shared.formats import Ask, vectors
from shared.render import colour_normals
from shared.task import Batch, Framing, Score, Task

WITHIN_DEG = (5.0, 7.5, 11.25, 22.5, 30.0)
SHORTEST = 1e-3  # of a unit vector: what is shorter points nowhere
BINS = 3600  # a twentieth of a degree: every angle above is the end of a bin, and the median of the histogram is the median


@dataclass(frozen=True)
class Normal(Task):
    """Surface normals by L1 and cosine (Sapiens, ECCV 2024, section 4.4; Sapiens2 also by slope).

    Args:
        l1: weight of the L1 term, the sum of three components on the raw, not normalised answer.
        cosine: weight of one minus the cosine (Sapiens2: 10).
        slope: weight of the squared error of differences to the pixels right of and below, summed over components (Sapiens2: 10).
    """

    l1: float = 1.0
    cosine: float = 1.0
    slope: float = 0.0

    name: ClassVar[str] = "normal"
    field: ClassVar[str] = "normal"
    answers: ClassVar = "map"
    odd: ClassVar[tuple[int, ...]] = (0,)  # x
    framing: ClassVar[Framing] = Framing.WHOLE
    score: ClassVar[Score] = Score("mean_deg", higher_is_better=False)
    formats: ClassVar = {"npy": "normal.npy", "png": "normal.png", "png16": "normal.16.png", "exr": "normal.exr"}

    @property
    def channels(self) -> int:
        return 3

    @property
    def head(self) -> Mapping[str, Any]:
        return {"spec": DENSE}

    def loss(self, raw: Tensor, batch: Batch) -> dict[str, Tensor]:
        target = batch["normal"]
        known = told(target, 1)
        target = torch.where(known[:, None], target, 0)
        raw = resize(raw, target.shape[-2:])
        cosine = (unit(raw) * target).sum(1)
        terms = {
            "l1": self.l1 * masked_mean((raw - target).abs().sum(1), known),
            "cosine": self.cosine * masked_mean(1 - cosine, known),
        }
        if self.slope:
            terms["slope"] = self.slope * (_uneven(raw - target, known, 2) + _uneven(raw - target, known, 3))
        return terms

    def imitate(self, raw: Tensor, taught: Tensor) -> Tensor:
        """One minus the cosine."""
        return (1 - (unit(raw) * unit(resize(taught, raw.shape[-2:]))).sum(1)).mean()

    def decode(self, raw: Tensor) -> Tensor:
        """(B,3,h,w) -> (B,3,h,w) of unit length."""
        return unit(raw)

    def measure(self, answer: Tensor, truth: Mapping[str, Tensor]) -> Tensor:
        """Over known pixels (H,W,3): their number, sum of angles, sum of squares, then how many angles fall into each bin."""
        target = truth["normal"].double()
        known = told(target, -1)
        cosine = (F.normalize(answer.double(), dim=-1)[known] * F.normalize(target[known], dim=-1)).sum(-1)
        angle = torch.rad2deg(cosine.clamp(-1, 1).acos())
        bins = torch.histc(angle, BINS, 0, 180)
        return torch.cat([torch.stack([known.sum().double(), angle.sum(), (angle**2).sum()]), bins])

    def summarise(self, rows: Tensor) -> dict[str, float]:
        """Over all known pixels: `mean_deg`, `median_deg`, `rmse_deg` and the share `within_<angle>`."""
        n, total, squares = rows[:, :3].sum(0).tolist()
        share = rows[:, 3:].sum(0).cumsum(0) / n if n else torch.full((BINS,), torch.nan)
        width = 180 / BINS
        median = (torch.searchsorted(share, 0.5).item() + 0.5) * width if n else float("nan")
        scores = {"mean_deg": total / n if n else float("nan"), "median_deg": median}
        scores["rmse_deg"] = (squares / n) ** 0.5 if n else float("nan")
        return scores | {f"within_{limit:g}": share[round(limit / width) - 1].item() for limit in WITHIN_DEG}

    def trivial(self, batch: Batch) -> Tensor:
        """The mean normal, everywhere."""
        known = told(batch["normal"], 1)
        mean = batch["normal"].movedim(1, -1)[known].mean(0) if known.any() else torch.tensor([0.0, 0.0, 1.0])
        return mean[:, None, None].expand(3, 2, 2).contiguous()

    def files(self, answer: np.ndarray) -> dict[str, Any]:
        return {"normal.npy": answer.astype(np.float32)}

    def content(self, answer: np.ndarray, form: str, ask: Ask) -> Any:
        """`png`, `png16`: x y z as red green blue."""
        bits = {"png": 8, "png16": 16}.get(form)
        return vectors(answer, bits=bits) if bits else answer.astype(np.float32)

    def render(self, image: np.ndarray, answer: np.ndarray) -> np.ndarray:
        return colour_normals(answer)


def told(normal: Tensor, axis: int) -> Tensor:
    """Where there is a normal: all of it is finite, and it has a length. Some files write 0 0 0 where nothing is known."""
    return normal.isfinite().all(axis) & (normal.nan_to_num(0).norm(dim=axis) > SHORTEST)


def _uneven(error: Tensor, known: Tensor, axis: int) -> Tensor:
    """Mean square of the steps of an error (B,3,H,W) along one axis, where both ends are known (B,H,W)."""
    n = known.shape[axis - 1] - 1
    both = known.narrow(axis - 1, 0, n) & known.narrow(axis - 1, 1, n)
    return masked_mean((error.diff(dim=axis) ** 2).sum(1), both)
