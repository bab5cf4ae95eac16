"""Whether a file answers what the model answers."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from shared.dense.model import DenseModel


class Limit(NamedTuple):
    """How far answers may be apart: of the values, `share` may be off by more than `off` of the largest."""

    off: float
    share: float


EXACT = Limit(1e-3, 1e-3)
ROUGH = Limit(0.1, 0.5)  # of int8, which rounds: this much is nonsense


class Difference(NamedTuple):
    """How far two answers are apart.

    Attributes:
        largest: of any value.
        scale: the largest value itself.
        share: of the values that are off by more than the limit's `off` of that; of whole numbers, that differ at all.
        limit: by which they are judged.
        whole: they are whole numbers.
    """

    largest: float
    scale: float
    share: float
    limit: Limit
    whole: bool = False

    @classmethod
    def of(cls, one: Tensor, other: Tensor, limit: Limit = EXACT) -> "Difference":
        if one.shape != other.shape or one.dtype != other.dtype:
            return cls(float("inf"), 0.0, 1.0, limit)
        whole = not one.is_floating_point()
        one, other = one.double(), other.double()
        apart = (one - other).abs().nan_to_num(float("inf")).where(one.isnan() != other.isnan(), (one - other).abs().nan_to_num(0))
        scale = float(other.nan_to_num(0).abs().max())
        share = float((apart > (0 if whole else limit.off * scale)).double().mean())
        return cls(float(apart.max()), scale, share, limit, whole)

    def __str__(self) -> str:
        if self.whole:
            return f"another number in {self.share:.2%} of its values"
        beyond = f"; by more than {self.limit.off:g} of that in {self.share:.2%} of its values" if self.share else ""
        return f"off by {self.largest:.1e} at most, where the largest value is {self.scale:.3g}{beyond}"


def refused(apart: Mapping[str, Difference]) -> str:
    """Which answers are too far apart, in words; empty where none is."""
    return ", ".join(f"{name} in {one.share:.1%} of its values" for name, one in apart.items() if one.share > one.limit.share)


def pictures(count: int, model: DenseModel) -> Tensor:
    """Clouds of colour with some grain, always the same: (count,3,H,W) uint8."""
    H, W = (n * model.backbone.stride for n in model.backbone.grid)
    chance = torch.Generator().manual_seed(0)
    clouds = F.interpolate(torch.rand(count, 3, 6, 5, generator=chance), (H, W), mode="bicubic", align_corners=False)
    return (255 * (clouds + 0.1 * torch.randn(count, 3, H, W, generator=chance)).clamp(0, 1)).to(torch.uint8)
