"""One answer from many views: the whole picture, and close views (tiles, people) that stand in it with soft borders.

A close view's weight is 1 inside and falls smoothly to 0 over a ramp at those of its sides that lie inside the picture; where the
weights of all close views add up to less than 1, the whole shows through, and where to more, they are averaged.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor

import numpy as np
import torch
from torch import Tensor

from shared.data.view import Size, View
from shared.dense.frame import LINES, STRIP, Rows, at_points, sample
from shared.dense.masked import scale_and_shift
from shared.task import Task

Raws = Mapping[str, Tensor]  # task name -> raw (C,h,w) of one view
TOGETHER = 4  # close views in one forward pass


@dataclass(frozen=True)
class Close:
    """A close view of a part of the picture.

    Args:
        view: upright.
        ramp: pixels of the picture over which it fades.
    """

    view: View
    ramp: float

    @property
    def sides(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom: the outer edges of its outer pixels, in pixels of the picture (the first's centre is 0)."""
        (H, W), m = self.view.size, self.view.matrix
        (x, left), (y, top) = (m[0, 0], m[0, 2]), (m[1, 1], m[1, 2])
        return (-0.5 - left) / x, (-0.5 - top) / y, (W - 0.5 - left) / x, (H - 0.5 - top) / y

    def weight(self, rows: tuple[int, int], source_hw: Size) -> Tensor:
        """(n,W) of the rows first .. last of the picture, 0..1."""
        left, top, right, bottom = self.sides
        y, x = torch.arange(*rows, dtype=torch.float64), torch.arange(source_hw[1], dtype=torch.float64)
        across = _window(x, left, right, self.ramp, source_hw[1])
        return (_window(y, top, bottom, self.ramp, source_hw[0])[:, None] * across).float()


def _window(at: Tensor, first: float, last: float, ramp: float, length: int) -> Tensor:
    """1 inside, 0 outside; a smooth step at ends that lie inside the picture, so that two that overlap by a ramp add up to 1."""
    rise = 1 if first <= 0 else ((at - first) / ramp).clamp(0, 1)
    fall = 1 if last >= length - 1 else ((last - at) / ramp).clamp(0, 1)
    inside = ((at >= first) & (at <= last)).double()
    return inside * _smooth(inside * rise) * _smooth(inside * fall)


def _smooth(t: Tensor) -> Tensor:
    return t * t * (3 - 2 * t)


def tiles(source_hw: Size, size: Size, *, scale: float = 1.0, overlap: float = 0.25) -> list[Close]:
    """Views of one size that cover the picture row by row; none where one of them would see it all.

    Args:
        source_hw: (H,W) of the picture.
        size: (H,W) of the network's input.
        scale: of the tiles: 1 is the picture's own resolution, 0.5 half of it.
        overlap: share of a tile that two neighbours share, at least; they fade over it.
    """
    shown = [n / scale for n in size]  # pixels of the picture in a tile
    if all(n <= have for n, have in zip(source_hw, shown)):
        return []
    tops, lefts = (_starts(length, tile, overlap * tile) for length, tile in zip(source_hw, shown))
    ramp = overlap * min(shown)
    return [Close(View(_at(left, top, scale), size), ramp) for top in tops for left in lefts]


def _starts(length: int, tile: float, overlap: float) -> list[float]:
    """First pixels of tiles that cover a length evenly; a tile longer than it is centred."""
    if tile >= length:
        return [(length - tile) / 2]
    count = ceil((length - overlap) / (tile - overlap))
    return [i * (length - tile) / (count - 1) for i in range(count)]


def _at(left: float, top: float, scale: float) -> np.ndarray:
    """The matrix of a view whose first pixel covers the picture from the edges `left` and `top` on, areas on areas."""
    return np.array([[scale, 0, scale * (0.5 - left) - 0.5], [0, scale, scale * (0.5 - top) - 0.5]])


def compose(
    tasks: Sequence[Task],
    whole: Raws,
    view: View,
    close: Sequence[Close],
    answer: Callable[[Sequence[View]], Sequence[Raws]],
    source_hw: Size,
) -> dict[str, Tensor]:
    """Answers of map tasks at the picture's size, (H,W,...) on the CPU, from the whole view and close ones.

    The picture is walked through from top to bottom: a close view is answered when its first row comes, a few at a time, and
    forgotten after its last, so memory grows with those side by side and not with their number.

    Args:
        tasks: with answers per pixel.
        whole: raw answers of `view`, by task.
        view: of the whole picture.
        close: in any order.
        answer: views -> their raw answers, by task.
        source_hw: (H,W) of the picture.
    """
    H, W = source_hw
    waiting = sorted(close, key=lambda piece: piece.sides[1])
    alive: list[tuple[Close, Raws]] = []
    cuts = sorted({0, H} | {min(max(ceil(edge), 0), H) for piece in waiting for edge in piece.sides[1::2]})
    done = {task.name: Rows(H) for task in tasks}
    for first, last in pairwise(cuts):
        alive = [(piece, raws) for piece, raws in alive if piece.sides[3] > first]
        while waiting and waiting[0].sides[1] < last:
            some = [piece for piece in waiting[:TOGETHER] if piece.sides[1] < last]
            waiting = waiting[len(some) :]
            found = answer([piece.view for piece in some])
            alive += [(piece, _like(tasks, raws, piece.view, whole, view)) for piece, raws in zip(some, found)]
        for task in tasks:
            pieces = [(piece, raws[task.name]) for piece, raws in alive]
            step = min(max(1, STRIP // (task.channels * W)), LINES)
            for top in range(first, last, step):
                strip = _strip(whole[task.name], view, pieces, (top, min(top + step, last)), source_hw)
                done[task.name].add(task.decode(strip[None])[0])
    return {name: rows.whole() for name, rows in done.items()}


def _like(tasks: Sequence[Task], raws: Raws, view: View, whole: Raws, whole_view: View) -> Raws:
    """A close view's raw answers in the terms of the whole: what is relative gets the scale and shift that fit it best."""
    return {t.name: _fitted(raws[t.name], view, whole[t.name], whole_view) if t.relative else raws[t.name] for t in tasks}


def _fitted(raw: Tensor, view: View, whole: Tensor, whole_view: View) -> Tensor:
    """Least squares onto the whole at the pixels of `raw` (C,h,w); one that runs against the whole says nothing but its mean."""
    (h, w), (H, W), m = raw.shape[-2:], view.size, view.matrix
    y = ((torch.arange(h).double() + 0.5) * H / h - 0.5 - m[1, 2]) / m[1, 1]
    x = ((torch.arange(w).double() + 0.5) * W / w - 0.5 - m[0, 2]) / m[0, 0]
    target = at_points(whole, whole_view, y, x)
    scale, shift = scale_and_shift(raw, target, torch.ones_like(raw, dtype=torch.bool))
    against = scale <= 0
    scale, shift = torch.where(against, 0, scale), torch.where(against, target.flatten(1).double().mean(1), shift)
    return (raw.double() * scale[:, None, None] + shift[:, None, None]).to(raw)


def _strip(whole: Tensor, view: View, close: Sequence[tuple[Close, Tensor]], rows: tuple[int, int], hw: Size) -> Tensor:
    """The blended raw answer (C,n,W) of some rows."""
    weights = [piece.weight(rows, hw).to(whole.device) for piece, _ in close]
    total = torch.stack([torch.zeros(rows[1] - rows[0], hw[1], device=whole.device), *weights]).sum(0)
    blend = sample(whole, view, rows, (0, hw[1]))
    if not close:
        return blend
    blend *= (1 - total).clamp(min=0)
    for (piece, raw), weight in zip(close, weights):
        left, _, right, _ = piece.sides
        columns = (min(max(ceil(left), 0), hw[1]), min(max(floor(right) + 1, 0), hw[1]))
        if columns[0] < columns[1]:
            part = slice(*columns)
            blend[..., part] += weight[:, part] * sample(raw, piece.view, rows, columns)
    return blend.div_(total.clamp(min=1))
