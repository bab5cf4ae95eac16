"""Position embeddings: fixed sin-cos tables, and tables resampled to another grid."""

import torch
import torch.nn.functional as F
from torch import Tensor


def sincos(dim: int, grid: tuple[int, int]) -> Tensor:
    """The fixed 2-D table, (h*w, dim) float32: sin and cos of the row, then of the column.

    Rows come first, as in Sapiens; the original MAE puts columns first (specification of Sapiens, section 2).

    Raises:
        ValueError: `dim` is not a multiple of four.
    """
    if dim % 4:
        raise ValueError(f"a sin-cos table needs a width that is a multiple of 4, not {dim}")
    frequency = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    row, column = (x.flatten()[:, None] * frequency for x in torch.meshgrid(*map(_integers, grid), indexing="ij"))
    return torch.cat([row.sin(), row.cos(), column.sin(), column.cos()], 1).float()


def _integers(n: int) -> Tensor:
    return torch.arange(n, dtype=torch.float64)


def resample(table: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """A table for another grid: (1, extra + h*w, D) -> (1, extra + h'*w', D); `extra` leading rows (cls) stay as they are.

    Bicubic in float32 without corner alignment, as the official models do on load and at other input sizes.
    """
    if source == target:
        return table
    extra = table.shape[1] - source[0] * source[1]
    head, body = table[:, :extra], table[:, extra:]
    image = body.transpose(1, 2).unflatten(2, source).float()  # (1,D,h,w)
    image = F.interpolate(image, target, mode="bicubic", align_corners=False)
    return torch.cat([head, image.flatten(2).transpose(1, 2).to(table.dtype)], 1)
