"""Keypoints <-> heatmaps: unbiased (UDP, Huang et al. 2020) Gaussians, and sub-pixel peaks (DARK, Zhang et al. 2020) on any device.

Letters: B batch, K keypoints, h w pixels of a heatmap. Points are (x,y) in heatmap pixels unless said otherwise.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

FLOAT32_EPS = torch.finfo(torch.float32).eps  # added to the Hessian's diagonal, as in the official decoding


def gaussians(points: Tensor, hw: tuple[int, int], sigma: float) -> tuple[Tensor, Tensor]:
    """Heatmaps with a Gaussian at each point, cut off at three sigma from its nearest pixel.

    Args:
        points: (B,K,2) heatmap pixels.
        hw: (h,w).
        sigma: heatmap pixels.

    Returns:
        (B,K,h,w), and (B,K) bool: the Gaussian touches the map.
    """
    h, w = hw
    centre = (points + 0.5).trunc()
    gx, in_x = _profile(points[..., 0], centre[..., 0], w, sigma)
    gy, in_y = _profile(points[..., 1], centre[..., 1], h, sigma)
    return gy[..., :, None] * gx[..., None, :], in_x & in_y


def _profile(p: Tensor, centre: Tensor, n: int, sigma: float) -> tuple[Tensor, Tensor]:
    """One axis: (B,K) -> (B,K,n) and whether anything is left of it."""
    pixels = torch.arange(n, device=p.device, dtype=p.dtype)
    near = (pixels - centre[..., None]).abs() <= 3 * sigma
    value = torch.exp(-((pixels - p[..., None]) ** 2) / (2 * sigma**2))
    return torch.where(near, value, 0), near.any(-1)


def peaks(heatmaps: Tensor, *, blur: int = 11, reach: float = 1.0) -> Tensor:
    """Sub-pixel maxima: (B,K,h,w) -> (B,K,3), x, y, height of the raw maximum.

    The map is blurred, its logarithm's gradient and Hessian at the highest pixel give one Newton step, which is exact for a
    Gaussian. A map without a positive value has no peak: (-1, -1), where the official decoding has NaN or a number without meaning.

    Args:
        heatmaps: raw, at least 2x2.
        blur: odd edge of the Gaussian kernel, pixels (official: 11).
        reach: longest step along either axis, pixels. A step beyond the neighbours says that the map is flat, not where its peak
            is; the official decoding takes steps of any length.
    """
    w = heatmaps.shape[-1]
    score, index = heatmaps.flatten(2).max(2)  # (B,K)
    x, y = index % w, index // w
    log = _smooth(heatmaps, blur)
    top = heatmaps.amax((2, 3)) / log.amax((2, 3)).clamp(min=1e-12)
    log = (log * top[..., None, None]).clamp(1e-3, 50).log()
    cell = _neighbourhood(log, x, y)  # (B,K,3,3) in float64
    dx, dy = (cell[..., 1, 2] - cell[..., 1, 0]) / 2, (cell[..., 2, 1] - cell[..., 0, 1]) / 2
    dxx = cell[..., 1, 2] - 2 * cell[..., 1, 1] + cell[..., 1, 0] + FLOAT32_EPS
    dyy = cell[..., 2, 1] - 2 * cell[..., 1, 1] + cell[..., 0, 1] + FLOAT32_EPS
    diagonal = cell[..., 2, 2] + cell[..., 0, 0] + 2 * cell[..., 1, 1]
    dxy = (diagonal - cell[..., 1, 2] - cell[..., 2, 1] - cell[..., 1, 0] - cell[..., 0, 1]) / 2
    determinant = dxx * dyy - dxy * dxy
    safe = torch.where(determinant.abs() > 1e-12, determinant, torch.inf)  # flat: no step
    step = torch.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], -1) / safe[..., None]
    xy = torch.stack([x, y], -1) - step.clamp(-reach, reach)
    xy = torch.where((score > 0)[..., None], xy, -1.0)
    return torch.cat([xy.to(score.dtype), score[..., None]], -1)


def _smooth(maps: Tensor, kernel: int) -> Tensor:
    """Gaussian blur with zeros outside; the deviation follows from the kernel by OpenCV's rule."""
    sigma = 0.3 * ((kernel - 1) * 0.5 - 1) + 0.8
    offsets = torch.arange(kernel, device=maps.device, dtype=maps.dtype) - kernel // 2
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    each = maps.shape[1]  # by channel: faster than maps in the batch, and GPUs keep float32 where they would take TF32
    weights = weights.expand(each, 1, 1, -1)
    maps = F.conv2d(maps, weights, padding=(0, kernel // 2), groups=each)
    return F.conv2d(maps, weights.mT, padding=(kernel // 2, 0), groups=each)


def _neighbourhood(maps: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The 3x3 pixels around (x,y), edges repeated: (B,K,h,w), (B,K), (B,K) -> (B,K,3,3) float64."""
    h, w = maps.shape[-2:]
    around = torch.arange(-1, 2, device=maps.device)
    rows = (y[..., None] + around).clamp(0, h - 1)  # (B,K,3)
    columns = (x[..., None] + around).clamp(0, w - 1)
    index = rows[..., :, None] * w + columns[..., None, :]
    return maps.flatten(2).gather(2, index.flatten(2)).unflatten(2, (3, 3)).double()
