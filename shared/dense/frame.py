"""From the network's frame back to the picture: raw answers in a view -> the answer at the picture's own size."""

import numpy as np
import torch
from torch import Tensor

from shared.data.view import View
from shared.task import Task

STRIP = 2**22  # raw values that one strip may hold: 16 MiB in float32


def settle(task: Task, raw: Tensor, view: View, source_hw: tuple[int, int]) -> Tensor:
    """One view's raw answer (C,h,w) -> the answer for the picture: map (H,W,...) or points (K,3), on the CPU.

    Maps are resampled and decoded in horizontal strips: beside the answer itself the peak is a strip, whatever the number of
    classes and of pixels.
    """
    raw = raw.float()
    if task.answers == "points":
        return _points(task.decode(raw[None])[0], view, raw.shape[-2:])
    H, W = source_hw
    rows = max(1, STRIP // (raw.shape[0] * W))
    strips = (sample(raw, view, (top, min(top + rows, H)), W) for top in range(0, H, rows))
    return torch.cat([_channels_last(task.decode(strip[None])[0]).cpu() for strip in strips])


def sample(raw: Tensor, view: View, rows: tuple[int, int], width: int) -> Tensor:
    """Raw (C,h,w) of a view at the source pixels of these rows: (C, rows, width), bilinear, clamped at the view's border.

    Raises:
        ValueError: the view is turned; only training looks at pictures askew.
    """
    (H, W), m = view.size, view.matrix
    if m[0, 1] or m[1, 0]:
        raise ValueError("the view is turned, and answers go back into a picture from upright views only")
    h, w = raw.shape[-2:]
    # source -> view -> raw, whose pixels are H/h by W/w pixels of the view
    below, above, part = _between(((m[1, 1] * torch.arange(*rows).double() + m[1, 2]) + 0.5) * h / H - 0.5, h, raw)
    left, right, across = _between(((m[0, 0] * torch.arange(width).double() + m[0, 2]) + 0.5) * w / W - 0.5, w, raw)
    # Widen first: raw has fewer lines than the strip, and picking columns is slow where picking lines is a copy.
    first = int(below.min())
    lines = raw[:, first : int(above.max()) + 1]
    lines = torch.lerp(lines[..., left], lines[..., right], across)  # (C, few, width)
    return torch.lerp(lines[:, below - first], lines[:, above - first], part[:, None])


def _between(x: Tensor, n: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two pixels of n beside each coordinate, and the share of the second."""
    x = x.clamp(0, n - 1)
    low = x.floor().clamp(max=max(n - 2, 0))
    return low.long().to(like.device), (low + 1).clamp(max=n - 1).long().to(like.device), (x - low).to(like)


def _points(points: Tensor, view: View, hw: tuple[int, ...]) -> Tensor:
    """(K,3) in heatmap pixels -> in source pixels. Heatmaps follow UDP: their corners are the corners of the view."""
    (h, w), (H, W) = hw, view.size
    xy = points[:, :2].double().cpu().numpy() * [(W - 1) / max(w - 1, 1), (H - 1) / max(h - 1, 1)]
    return torch.from_numpy(np.c_[view.to_source(xy), points[:, 2].cpu().numpy()].astype(np.float32))


def _channels_last(answer: Tensor) -> Tensor:
    return answer.movedim(0, -1) if answer.dim() == 3 else answer
