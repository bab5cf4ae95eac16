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
    x, y, score = _highest(heatmaps)
    cell = _logarithm(heatmaps, score, x, y, blur)
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


def _highest(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x, y and height of the first highest pixel: (B,K) each. By rows first, which processors do four times faster."""
    score, y = maps.amax(3).max(2)
    row = maps.gather(2, y[..., None, None].expand(-1, -1, 1, maps.shape[3]))[:, :, 0]
    return row.argmax(2), y, score


def _logarithm(heatmaps: Tensor, score: Tensor, x: Tensor, y: Tensor, blur: int) -> Tensor:
    """Of the blurred maps at the 3x3 pixels around (x,y), scaled to the height of the raw maps and cut to 1e-3 ... 50: (B,K,3,3).

    Scaling adds a constant to a logarithm, and steps depend on differences alone. So the height of the whole blurred map, slow
    to find, is asked for only where something may be cut: it is at least that of the blurred (x,y), at most that of the raw map.
    """
    smooth = _smooth_around(heatmaps, x, y, blur)
    centre = smooth[..., 1, 1].clamp(min=1e-12)
    scale = score.double() / centre
    doubtful = (score > 0) & ((smooth.amin((2, 3)) < 1e-3) | (smooth.amax((2, 3)) * scale > 50))
    if torch.compiler.is_exporting():  # where whether something may be cut cannot be asked
        whole = _smooth(heatmaps, blur).amax((2, 3)).double()
        scale = torch.where(doubtful, score.double() / whole.clamp(min=1e-12), scale)
    elif doubtful.any():
        whole = _smooth(heatmaps[doubtful][None], blur)[0].amax((1, 2)).double()
        scale[doubtful] = score[doubtful].double() / whole.clamp(min=1e-12)
    return (smooth * scale[..., None, None]).clamp(1e-3, 50).log()


def _smooth_around(maps: Tensor, x: Tensor, y: Tensor, kernel: int) -> Tensor:
    """The blurred maps at the 3x3 pixels around (x,y), edges repeated: (B,K,h,w), (B,K), (B,K) -> (B,K,3,3) float64."""
    h, w = maps.shape[-2:]
    reach = kernel // 2 + 1
    offsets = torch.arange(-reach, reach + 1, device=maps.device)
    rows, columns = y[..., None] + offsets, x[..., None] + offsets  # (B,K,kernel + 2)
    there = ((rows >= 0) & (rows < h))[..., :, None] & ((columns >= 0) & (columns < w))[..., None, :]
    index = rows.clamp(0, h - 1)[..., :, None] * w + columns.clamp(0, w - 1)[..., None, :]
    patch = maps.flatten(2).gather(2, index.flatten(2)).unflatten(2, index.shape[2:]).double()
    patch = torch.where(there, patch, 0)  # outside is zero for the blur
    weights = F.pad(_weights(kernel, maps.device), (0, 2))
    shifted = torch.stack([weights.roll(shift) for shift in range(3)])  # (3,kernel + 2): one pixel before, here, one after
    step = torch.arange(-1, 2, device=maps.device)
    down = shifted[(y[..., None] + step).clamp(0, h - 1) - y[..., None] + 1]  # (B,K,3,kernel + 2)
    across = shifted[(x[..., None] + step).clamp(0, w - 1) - x[..., None] + 1]
    return down @ patch @ across.mT


def _weights(kernel: int, device: torch.device) -> Tensor:
    """(kernel,) float64 of a Gaussian blur; the deviation follows from the kernel by OpenCV's rule."""
    sigma = 0.3 * ((kernel - 1) * 0.5 - 1) + 0.8
    offsets = torch.arange(kernel, device=device, dtype=torch.float64) - kernel // 2
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    return weights / weights.sum()


def _smooth(maps: Tensor, kernel: int) -> Tensor:
    """Gaussian blur with zeros outside: (B,K,h,w)."""
    each = maps.shape[1]  # by channel: faster than maps in the batch, and GPUs keep float32 where they would take TF32
    weights = _weights(kernel, maps.device).to(maps.dtype).expand(each, 1, 1, -1)
    maps = F.conv2d(maps, weights, padding=(0, kernel // 2), groups=each)
    return F.conv2d(maps, weights.mT, padding=(kernel // 2, 0), groups=each)
