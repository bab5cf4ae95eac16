"""A head without gradient, strip by strip: one map in memory, and all is done to a strip while it is in the cache.

Layer by layer, each map is written and read six times, and two are alive at once. Here a layer reads rows of its map, norms them
(their statistics were added up while they were made), multiplies, and writes rows of the next map over rows that nobody needs any
more. Pictures go one by one, as they share nothing here. docs/decisions/0018-heads-go-strip-by-strip.md has the reasons.

Letters as in products.py: C channels in, N out, h w the grid of a map, k taps, f edge of the pixels that a place becomes.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared.dense.products import Direct, Layer, Scratch, Winograd, enlarged

NORM_EPS = 1e-5  # PyTorch's, and the official heads'
LEAST = 2**24  # values of the largest map from which strips pay: below, turning the weights takes longer (docs/log.md)
PLACES = 1024  # in a strip, about: weights are fetched once per strip, and what it needs stays in the cache


class Norm(NamedTuple):
    """InstanceNorm of a map, and SiLU. Both (C,), in float32 or better."""

    mean: Tensor
    scale: Tensor  # one over the deviation

    def apply(self, rows: Tensor, into: Tensor, scratch: Scratch) -> None:
        """Rows of the map, to another place and in the type of that place."""
        normed = into if into.dtype == self.mean.dtype else scratch("normed", rows.shape, self.mean.dtype)
        torch.sub(rows, self.mean, out=normed)
        F.silu(normed.mul_(self.scale), inplace=True)
        if normed is not into:
            into.copy_(normed)


class Statistics:
    """What the norm of a map needs, from rows as they are made: strips have means of their own, and spread about those."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self._strips: list[tuple[int, Tensor, Tensor]] = []  # pixels, their mean (C,), their squares about it (C,)

    def add(self, rows: Tensor) -> None:
        """More rows of the map, (n,w,C)."""
        values, wide = rows.flatten(0, 1), torch.promote_types(rows.dtype, torch.float32)
        about = self.scratch("about", values.shape, wide)
        values = values if rows.dtype == wide else about.copy_(values)
        mean = values.sum(0) / len(values)
        torch.sub(values, mean, out=about)
        self._strips.append((len(values), mean, about.mul_(about).sum(0)))

    def norm(self) -> Norm:
        """Of all the rows that came."""
        pixels, means, squares = zip(*self._strips)
        share = torch.tensor(pixels, dtype=torch.float64)[:, None] / sum(pixels)
        means, kind = torch.stack(means).double(), means[0].dtype
        mean = (share * means).sum(0)
        variance = torch.stack(squares).double().sum(0) / sum(pixels) + (share * (means - mean).square()).sum(0)
        return Norm(mean.to(kind), (variance + NORM_EPS).rsqrt().to(kind))


class Strip(NamedTuple):
    """Rows `first` .. `last` of places, and the rows of the normed and bordered map that they see, (last-first+k-1,w,C)."""

    first: int
    last: int
    seen: Tensor


def _strips(source: Tensor, norm: Norm | None, layer: Layer, dtype: torch.dtype, scratch: Scratch) -> Iterator[Strip]:
    """A map (h,w,C) from top to bottom; each row is read and normed once, before the strip goes out that sees it first."""
    (h, w, C), border, more = source.shape, layer.border, layer.taps - 1
    places, width = h + 2 * border - more, w + 2 * border
    step = max(2, PLACES // width // 2 * 2)
    room = scratch("seen", (min(step, places) + more, width, C), dtype)
    room.zero_()
    known = border  # rows of the bordered map that are in the room
    for first in range(0, places, step):
        last = min(first + step, places)
        top, bottom = first + known - border, min(last + more - border, h)  # rows of the map that are new
        seen, inner = room[: last - first + more], room[known : known + bottom - top, border : border + w]
        if norm is None:
            inner.copy_(source[top:bottom])
        else:
            norm.apply(source[top:bottom], inner, scratch)
        seen[known + bottom - top :] = 0  # the border below, where that is seen
        yield Strip(first, last, seen)
        known = more
        room[:more] = seen[last - first :].clone()


def _next(layer: Layer, source: Tensor, norm: Norm | None, target: Tensor, scratch: Scratch) -> Norm:
    """A map (h,w,C) and its norm -> the next map, into `target` (h*f,w*f,N), and its norm."""
    fast = layer.taps > 1 and torch.finfo(target.dtype).bits >= 32
    multiply = Winograd(layer, scratch) if fast else Direct(layer, scratch)
    (H, W, _), f, spare = target.shape, layer.factor, layer.spare
    found = Statistics(scratch)
    for first, last, seen in _strips(source, norm, layer, target.dtype, scratch):
        begin, end = max(first * f - spare, 0), min(last * f - spare, H)
        above = begin - (first * f - spare)
        target[begin:end] = multiply(seen)[above : above + end - begin, spare : spare + W]
        found.add(target[begin:end])
    return found.norm()


def _in_one_room(shapes: Sequence[tuple[int, int, int]], dtype: torch.dtype) -> list[Tensor]:
    """Maps in one piece of memory, each over the one before: a larger one ends where that ends, a smaller begins where it begins.

    So from top to bottom no row is written over before it is read: towards a common end, no less is left to write than to read;
    from a common beginning, no more has been written than read.
    """
    sizes = [prod(shape) for shape in shapes]
    starts = [0]
    for before, size in pairwise(sizes):
        starts.append(starts[-1] + min(before - size, 0))
    origin = min(starts)
    room = torch.empty(max(start + size for start, size in zip(starts, sizes)) - origin, dtype=dtype)
    return [room[start - origin :][:size].view(shape) for start, size, shape in zip(starts, sizes, shapes)]


def shapes(steps: Sequence[nn.Module], hw: Sequence[int]) -> list[tuple[int, int, int]]:
    """(h,w,N) of the map after each step, from features of `hw`."""
    found, (h, w) = [], hw
    for step in steps:
        conv, *after = step.children()
        assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
        f = enlarged(after)
        N, f = (conv.out_channels, 2) if isinstance(conv, nn.ConvTranspose2d) else (conv.out_channels // f**2, f)
        h, w = h * f, w * f
        found.append((h, w, N))
    return found


def pay(features: Tensor, steps: Sequence[nn.Module]) -> bool:
    """Whether to go strip by strip: without gradient, on a processor, and where the largest map is no small one.

    What compiles or exports a model sees its layers.
    """
    if torch.is_grad_enabled() or features.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    return bool(steps) and max(map(prod, shapes(steps, features.shape[2:]))) >= LEAST


def decoded(features: Tensor, steps: Sequence[nn.Module], last: nn.Conv2d, dtype: torch.dtype, *, precise: bool) -> Tensor:
    """Features (B,D,h,w), steps of a convolution and its norm, and a last 1x1 convolution -> (B,N,H,W).

    Args:
        features: on the processor.
        steps: one at least.
        last: without a norm.
        dtype: of the maps and of all products.
        precise: the last convolution has the precision of its weights.
    """
    maps, scratch = _in_one_room(shapes(steps, features.shape[2:]), dtype), Scratch()
    kind = last.weight.dtype if precise else dtype
    raw = torch.empty(len(features), last.out_channels, *maps[-1].shape[:2], dtype=kind)
    final = Layer.of((last,), kind)._replace(bias=None if last.bias is None else last.bias.to(kind))
    for picture, answer in zip(features, raw):
        source, norm = picture.permute(1, 2, 0), None
        for step, target in zip(steps, maps):
            source, norm = target, _next(Layer.of(step.children(), dtype), source, norm, target, scratch)
        multiply = Direct(final, scratch)
        for first, end, seen in _strips(source, norm, final, kind, scratch):
            answer[:, first:end] = multiply(seen).permute(2, 0, 1)
    return raw
