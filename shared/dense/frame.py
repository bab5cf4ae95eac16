"""From the network's frame back to the picture: raw answers in a view -> the answer at the picture's own size."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shared.data.view import View
from shared.dense.canonical import metres_per_canonical
from shared.task import Task

STRIP = 2**22  # raw values that one strip may hold: 16 MiB in float32
LINES = 256  # lines of the picture in a strip, at most
BLUR = 0.8  # deviation of one pass of `Back.blur`, pixels


class Back(NamedTuple):
    """The way back of a map. Ours is one interpolation of the raw answer; the official ones are in docs/checkpoints.md.

    Attributes:
        through: interpolate twice: to the network's size, and from there to the picture's.
        late: decode at the network's size, cut off what the picture does not cover, and interpolate the answer.
        blur: how often a late answer is smoothed (3x3) before it is enlarged.
    """

    through: bool = False
    late: bool = False
    blur: int = 0


DIRECT = Back()


def settle(
    task: Task, raw: Tensor, view: View, source_hw: tuple[int, int], back: Back = DIRECT, *, focal_px: float | None = None
) -> Tensor:
    """One view's raw answer (C,h,w) -> the answer for the picture: map (H,W,...) or points (K,3), on the CPU.

    Maps are resampled and decoded in horizontal strips: beside the answer itself the peak is a strip, whatever the number of
    classes and of pixels. `focal_px` is the picture's, for tasks that answer metres by it; None: the usual one of canonical.py.
    """
    raw = raw.float()
    if task.answers == "points":
        return points_of(task.decode(raw[None])[0], view, raw.shape[-2:])
    if back.late:
        strips = _strips(*_late(task, raw, view, source_hw, back.blur), source_hw)
    else:
        strips = (task.decode(strip[None])[0] for strip in _strips(raw, view, source_hw, through=back.through))
    rows = Rows(source_hw[0])
    for strip in strips:
        rows.add(strip)
    return counted(task, rows.whole(), view, source_hw, focal_px=focal_px)


def counted(task: Task, answer: Tensor, view: View, source_hw: tuple[int, int], *, focal_px: float | None = None) -> Tensor:
    """The answer to a view, (H,W,...) at the picture's size, in the units of the picture: pixels, and metres. Changes `answer`."""
    width = view.size[1] / abs(view.matrix[0, 0])  # of the view, in pixels of the picture
    for channel in task.lengths:
        answer[..., channel] *= width
    return answer.mul_(metres_per_canonical(source_hw, width, focal_px=focal_px)) if task.canonical else answer


def finished(task: Task, raw: Tensor, size: tuple[int, int]) -> Tensor:
    """What `settle` says of pictures that have the network's size, in one go: raw (B,C,h,w) -> map (B,H,W,...), points (B,K,3).

    A map in canonical metres stays one: the focal length is not known here.
    """
    raw = raw.float()
    if task.answers == "points":
        edges = [(n - 1) / max(m - 1, 1) for n, m in zip(size, raw.shape[2:])]  # heatmaps follow UDP: corners on corners
        return task.decode(raw) * raw.new_tensor([edges[1], edges[0], 1])
    if raw.shape[2:] != size:
        raw = F.interpolate(raw, size, mode="bilinear", align_corners=False)
    answer = task.decode(raw)
    if answer.dim() == 3:
        return answer
    widths = answer.new_tensor([float(size[1]) if channel in task.lengths else 1.0 for channel in range(answer.shape[1])])
    return answer.movedim(1, -1) * widths if task.lengths else answer.movedim(1, -1)


class Rows:
    """An answer that grows from top to bottom, on the CPU, channels last, without a second copy of it.

    Args:
        height: rows in all.
    """

    def __init__(self, height: int) -> None:
        self.height, self.filled, self.answer = height, 0, torch.empty(0)
        self._behind: torch.cuda.Stream | None = None  # on which rows are still coming

    def add(self, strip: Tensor) -> None:
        """The next rows: (n,W) or channels first, (C,n,W)."""
        strip = _channels_last(strip)
        if not self.filled:
            self.answer = torch.empty((self.height, *strip.shape[1:]), dtype=strip.dtype, pin_memory=strip.is_cuda)
            self._behind = torch.cuda.current_stream(strip.device) if strip.is_cuda else None
        self.answer[self.filled : self.filled + len(strip)].copy_(strip, non_blocking=True)
        self.filled += len(strip)

    def whole(self) -> Tensor:
        """(H,W) or (H,W,C); all rows have been added."""
        if self._behind is not None:
            self._behind.synchronize()
        return self.answer


def points_of(found: Tensor, view: View, hw: Sequence[int]) -> Tensor:
    """Points (K,3) that were decoded from heatmaps of (h,w) pixels of a view -> of the picture, on the CPU.

    Heatmaps follow UDP: their corners are the corners of the view.
    """
    (h, w), (H, W), found = hw, view.size, found.cpu()
    xy = found[:, :2].double().numpy() * [(W - 1) / max(w - 1, 1), (H - 1) / max(h - 1, 1)]
    return torch.from_numpy(np.c_[view.to_source(xy), found[:, 2].numpy()].astype(np.float32))


def unmirror(task: Task, raw: Tensor) -> Tensor:
    """What a mirrored view was answered, (B,C,h,w) raw, as an answer for the view itself; left and right change places."""
    raw = raw.flip(-1)
    if task.vocabulary is not None:
        raw = raw[:, torch.from_numpy(task.vocabulary.swap).to(raw.device)]
    signs = raw.new_tensor([-1 if channel in task.odd else 1 for channel in range(raw.shape[1])])
    return raw * signs[:, None, None]


def _strips(raw: Tensor, view: View, source_hw: tuple[int, int], *, through: bool = False) -> Iterator[Tensor]:
    """The picture from top to bottom, (C, some rows, W) at a time."""
    H, W = source_hw
    line = max(W, view.size[1] * abs(view.matrix[1, 1])) if through else W  # values that a row of the picture asks for
    rows = min(max(1, int(STRIP // (raw.shape[0] * line))), LINES)
    return (sample(raw, view, (top, min(top + rows, H)), (0, W), through=through) for top in range(0, H, rows))


def _late(task: Task, raw: Tensor, view: View, source_hw: tuple[int, int], blur: int) -> tuple[Tensor, View]:
    """The answer on the pixels of the view that the picture covers, channels first, and the view of those alone."""
    if raw.shape[-2:] != torch.Size(view.size):
        raw = F.interpolate(raw[None], view.size, mode="bilinear", align_corners=False)[0]
    edges = view.to_view(np.array([[-0.5, -0.5], [source_hw[1] - 0.5, source_hw[0] - 0.5]])) + 0.5
    (left, top), (right, bottom) = edges.round().astype(int).clip(0, view.size[::-1]).tolist()
    answer = task.decode(raw[None])[0][..., top : max(bottom, top + 1), left : max(right, left + 1)]
    answer = answer if answer.dim() == 3 else answer[None]
    covered = View.stretch(source_hw, (answer.shape[-2], answer.shape[-1]))
    for _ in range(blur if covered.scale < 1 else 0):
        answer = _smooth(answer)
    return answer, covered


def _smooth(maps: Tensor) -> Tensor:
    """One 3x3 Gaussian, mirrored about the outer pixels as OpenCV does: (C,h,w) -> (C,h,w)."""
    side = float(np.exp(-1 / (2 * BLUR**2)))
    weights = maps.new_tensor([side, 1, side]) / (1 + 2 * side)
    h, w = maps.shape[-2:]
    maps = F.pad(maps[:, None], (1, 1, 1, 1), mode="reflect" if min(h, w) > 1 else "replicate")
    return F.conv2d(F.conv2d(maps, weights.view(1, 1, 1, 3)), weights.view(1, 1, 3, 1))[:, 0]


def sample(raw: Tensor, view: View, rows: tuple[int, int], columns: tuple[int, int], *, through: bool = False) -> Tensor:
    """Raw (C,h,w) of a view at a rectangle of the picture: (C, rows, columns), bilinear, clamped at the view's border.

    Args:
        raw: covers the whole view.
        view: upright; x and y may be scaled apart.
        rows: first and last + 1 of the picture.
        columns: likewise.
        through: by way of the network's size, of which only the lines for these rows are made.

    Raises:
        ValueError: the view is turned; only training looks at pictures askew.
    """
    y, x = torch.arange(*rows).double(), torch.arange(*columns).double()
    if not through:
        return at_points(raw, view, y, x)
    y, x = _in_view(view, y, x)
    (h, w), (H, W) = raw.shape[-2:], view.size
    y = y.clamp(0, H - 1)
    first, last = int(y.min().floor()), int(y.max().ceil())
    lines = torch.arange(first, last + 1).double()
    raw = _bilinear(raw, (lines + 0.5) * h / H - 0.5, (torch.arange(W).double() + 0.5) * w / W - 0.5)
    return _bilinear(raw, y - first, x)


def at_points(raw: Tensor, view: View, y: Tensor, x: Tensor) -> Tensor:
    """Raw (C,h,w) of a view at lines y (n,) times columns x (m,) of the picture, pixels, any numbers: (C,n,m)."""
    y, x = _in_view(view, y, x)
    (h, w), (H, W) = raw.shape[-2:], view.size
    return _bilinear(raw, (y + 0.5) * h / H - 0.5, (x + 0.5) * w / W - 0.5)  # a raw pixel is H/h by W/w pixels of the view


def _in_view(view: View, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    m = view.matrix
    if m[0, 1] or m[1, 0]:
        raise ValueError("the view is turned, and answers go back into a picture from upright views only")
    return m[1, 1] * y + m[1, 2], m[0, 0] * x + m[0, 2]


def _bilinear(raw: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Raw (C,h,w) at y (n,) times x (m,) in its own pixels, clamped at its border: (C,n,m)."""
    below, above, part = _between(y, raw.shape[-2], raw)
    left, right, across = _between(x, raw.shape[-1], raw)
    # Widen first: raw has fewer lines than the strip. Then its lines are mixed by a product of matrices; picking them takes longer.
    first = int(below.min())
    lines = raw[:, first : int(above.max()) + 1]
    lines = torch.lerp(lines[..., left], lines[..., right], across)  # (C, few, m)
    mix, row = lines.new_zeros(len(y), lines.shape[1]), torch.arange(len(y), device=raw.device)
    mix[row, below - first] = 1 - part
    mix[row, above - first] += part
    return mix @ lines


def _between(x: Tensor, n: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two pixels of n beside each coordinate, and the share of the second."""
    x = x.clamp(0, n - 1)
    low = x.floor().clamp(max=max(n - 2, 0))
    return low.long().to(like.device), (low + 1).clamp(max=n - 1).long().to(like.device), (x - low).to(like)


def _channels_last(answer: Tensor) -> Tensor:
    return answer.movedim(0, -1) if answer.dim() == 3 else answer
