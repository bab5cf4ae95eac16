"""Rotary positions: queries and keys are turned by where their patch is, so that attention sees how far apart two patches are.

The axial form of DINOv3 and Sapiens2: rows turn one half of the planes of a head, columns the other. Letters: B batch, N tokens,
d width of a head.
"""

from math import pi
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Precision = Literal["fp32", "bf16"]

BASE = 100.0  # the longest period is nearly this many half pictures; Sapiens2's


class Rotary(nn.Module):
    """Grid of patches -> cosines and sines for `rotate`, (2,B or 1,1,extra + N,d).

    Pictures of every size span -1 to 1 on both axes, so that a grid never seen in training has familiar positions.

    Args:
        head_dim: d.
        precision: `bf16` rounds every step as the official code does by default, `fp32` is exact. The weights suit both.

    Attributes:
        periods: (d/4,) float32, in half pictures. Loaded with the weights: official files may hold rounded ones.

    Raises:
        ValueError: `head_dim` is no multiple of four, or there is no such precision.
    """

    periods: Tensor

    def __init__(self, head_dim: int, *, precision: Precision = "fp32") -> None:
        super().__init__()
        if head_dim % 4:
            raise ValueError(f"rotary positions need heads whose width is a multiple of 4, not {head_dim}")
        if precision not in get_args(Precision):
            raise ValueError(f"rope_dtype is one of {', '.join(get_args(Precision))}, not {precision!r}")
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        exponents = torch.arange(head_dim // 4, dtype=torch.float64) * (4 / head_dim)
        self.register_buffer("periods", (BASE**exponents).float())

    def forward(self, grid: tuple[int, int], *, extra: int = 0, kept: Tensor | None = None) -> Tensor:
        """The first `extra` tokens have no place and stay as they are; `kept` (B,n) are the patches that are there, None: all."""
        angles = self._angles(grid)
        angles = angles[None] if kept is None else angles[kept]  # (B or 1,n,d)
        angles = F.pad(angles, (0, 0, extra, 0))[:, None]  # no angle is no turn
        return torch.stack([angles.cos(), angles.sin()])

    def _angles(self, grid: tuple[int, int]) -> Tensor:
        """(h*w,d): turns of the row, turns of the column, and both again for the other half of the planes."""
        places = [torch.arange(0.5, n, dtype=self.dtype, device=self.periods.device) / n for n in grid]
        place = torch.stack(torch.meshgrid(*places, indexing="ij"), -1).flatten(0, 1) * 2 - 1  # (h*w,2) in (-1,1)
        angles = 2 * pi * place[..., None] / self.periods.to(self.dtype)  # (h*w,2,d/4)
        return angles.flatten(1).tile(2)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn each plane (x[i], x[i + d/2]) of every head: (B,heads,N,d) -> the same, computed in the precision of `turns`."""
    cos, sin = turns
    exact = x.to(cos.dtype)
    first, second = exact.chunk(2, -1)
    return (exact * cos + torch.cat([-second, first], -1) * sin).to(x.dtype)
