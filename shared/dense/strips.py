"""A head without gradient, strip by strip: one map in memory, and all is done to a strip while it is in the cache.

Layer by layer, each map is written and read six times, and two are alive at once. Here a layer reads rows of its map, norms them
(their statistics were added up while they were made), multiplies, and writes rows of the next map over rows that nobody needs any
more. Pictures go one by one, as they share nothing here.

Letters: C channels in, N channels out, h w the grid of a map, k taps of a convolution, f edge of the pixels that a place becomes.
A place of a convolution is where k by k pixels of the map and of a border of zeros around it lie side by side.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = 1e-5  # PyTorch's, and the official heads'
LEAST = 2**20  # values of the largest map from which strips pay; measured, docs/log.md
PLACES = 1024  # in a strip, about: weights are fetched once per strip, and what it needs stays in the cache


class Layer(NamedTuple):
    """A convolution of stride 1 whose answer at each place, f*f*N values, is f by f pixels of the next map.

    So is every layer of every head. A transposed 4x4 convolution of stride 2 has k = f = 2: its places are the corners between
    pixels, and of the pixels that the outer corners make, the outer ones are left out.

    Attributes:
        weight: (f,f,N,k,k,C).
        bias: (f,f,N), or None where the norm that follows takes it away again.
    """

    weight: Tensor
    bias: Tensor | None = None

    @classmethod
    def of(cls, step: Iterable[nn.Module]) -> "Layer":
        """From a convolution, and the PixelShuffle after it where there is one."""
        conv, *after = step
        assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
        if isinstance(conv, nn.ConvTranspose2d):
            C, N = conv.weight.shape[:2]
            weight = conv.weight.view(C, -1).t().contiguous().view(N, 2, 2, 2, 2, C).flip(1, 3)  # (N,k,f,k,f,C)
            return cls(weight.permute(2, 4, 0, 1, 3, 5))
        f = next((shuffle.upscale_factor for shuffle in after if isinstance(shuffle, nn.PixelShuffle)), 1)
        weight = conv.weight.unflatten(0, (-1, f, f)).permute(1, 2, 0, 4, 5, 3)
        bias = conv.bias
        return cls(weight, None if f == 1 or bias is None else bias.unflatten(0, (-1, f, f)).permute(1, 2, 0))

    @property
    def taps(self) -> int:
        return self.weight.shape[-2]

    @property
    def factor(self) -> int:
        return self.weight.shape[0]

    @property
    def border(self) -> int:
        """Zeros around the map."""
        return self.taps // 2

    @property
    def spare(self) -> int:
        """Rows and columns of the answer that lie outside the next map, on each side."""
        return (self.factor - 1) * (1 - self.taps % 2)


class Scratch:
    """Memory for one strip after the other: fresh memory costs more than the arithmetic on it."""

    def __init__(self) -> None:
        self._rooms: dict[tuple[str, torch.dtype], Tensor] = {}

    def __call__(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Anything is in it; the same name is the same memory."""
        room = self._rooms.get((name, dtype))
        if room is None or room.numel() < prod(shape):
            room = self._rooms[name, dtype] = torch.empty(prod(shape), dtype=dtype)
        return room[: prod(shape)].view(shape)


class Direct:
    """One product: the k*k*C values at each place times the weights."""

    def __init__(self, layer: Layer, dtype: torch.dtype, scratch: Scratch) -> None:
        self.layer, self.scratch = layer, scratch
        f, _, N, k, _, C = layer.weight.shape
        self.weight = layer.weight.to(dtype).reshape(f * f * N, k * k * C).t()  # read along rows, which is the faster way
        self.bias = None if layer.bias is None else layer.bias.to(dtype).flatten()

    def __call__(self, seen: Tensor) -> Tensor:
        """Rows of the bordered map (n+k-1,w,C) -> rows of the next (n*f,(w-k+1)*f,N)."""
        f, _, N, k, _, C = self.layer.weight.shape
        n, w = seen.shape[0] - k + 1, seen.shape[1] - k + 1
        if k > 1:
            around = [seen[i : i + n, j : j + w] for i in range(k) for j in range(k)]
            seen = torch.cat(around, 2, out=self.scratch("around", (n, w, k * k * C), seen.dtype))
        made = self.scratch("made", (n * w, f * f * N), seen.dtype)
        torch.mm(seen.view(n * w, -1), self.weight, out=made)
        if self.bias is not None:
            made += self.bias
        if f == 1:
            return made.view(n, w, N)
        pixels = self.scratch("pixels", (n, f, w, f, N), seen.dtype)
        return pixels.copy_(made.view(n, w, f, f, N).transpose(1, 2)).view(n * f, w * f, N)


class Winograd:
    """Two by two taps at two by two places in 9 products instead of 16 (Winograd's F(2,2), exact but for rounding).

    With pixels a b c and taps u v the two places of a line are a*u + b*v = (a-b)*u + b*(u+v) and b*u + c*v = b*(u+v) - (b-c)*v:
    three products, which they share. In bfloat16 the sums would round too much.
    """

    def __init__(self, layer: Layer, scratch: Scratch) -> None:
        self.scratch = scratch
        f, _, N, _, _, C = layer.weight.shape
        self.weight = layer.weight.new_empty(f, f, 3, 3, N, C)
        upper, lower = layer.weight.unbind(3)  # (f,f,N,k,C)
        for i, line in enumerate((upper, upper + lower, lower)):
            left, right = line.unbind(3)
            for j, value in enumerate((left, left + right, right)):
                self.weight[:, :, i, j] = value

    def __call__(self, seen: Tensor) -> Tensor:
        """As `Direct`."""
        n, w, C = seen.shape[0] - 1, seen.shape[1] - 1, seen.shape[2]
        f, N, (I, J) = len(self.weight), self.weight.shape[4], (-(-n // 2), -(-w // 2))  # I by J squares of places
        seen = F.pad(seen, (0, 0, 0, w % 2, 0, n % 2)) if n % 2 or w % 2 else seen
        sums, lines = self.scratch("sums", (3, 3, I, J, C), seen.dtype), self.scratch("lines", (3, I, 2 * J + 1, C), seen.dtype)
        _differences(seen, lines)
        for line, into in zip(lines, sums):
            _differences(line.transpose(0, 1), into.transpose(1, 2))
        pixels = self.scratch("pixels", (I, 2, f, J, 2, f, N), seen.dtype)
        made = self.scratch("made", (3, 3, I, J, N), seen.dtype)
        for y in range(f):
            for x in range(f):
                weight = self.weight[y, x].flatten(0, 1).transpose(1, 2)
                torch.bmm(sums.view(9, I * J, C), weight, out=made.view(9, I * J, N))
                made[0] += made[1]
                torch.sub(made[1], made[2], out=made[2])
                for (first, middle, last), into in ((made[0], pixels[:, 0, y]), (made[2], pixels[:, 1, y])):
                    torch.add(first, middle, out=into[:, :, 0, x])
                    torch.sub(middle, last, out=into[:, :, 1, x])
        return pixels.view(2 * f * I, 2 * f * J, N)[: n * f, : w * f]


def _differences(lines: Tensor, into: Tensor) -> None:
    """Lines a b c, c d e, ... -> (a-b, b, b-c) of each: (2n+1,...) -> (3,n,...)."""
    before, middle, after = lines[:-1:2], lines[1::2], lines[2::2]
    torch.sub(before, middle, out=into[0])
    into[1].copy_(middle)
    torch.sub(middle, after, out=into[2])


class Norm:
    """InstanceNorm of a map whose rows come strip by strip, and SiLU; float32 or better, whatever the map is."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self._strips: list[tuple[int, Tensor, Tensor]] = []  # pixels, their mean (N,), their squares about it (N,)

    def add(self, rows: Tensor) -> None:
        """More rows of the map, (n,w,N)."""
        values, wide = rows.flatten(0, 1), torch.promote_types(rows.dtype, torch.float32)
        about = self.scratch("about", values.shape, wide)
        values = values if rows.dtype == wide else about.copy_(values)
        mean = values.sum(0) / len(values)
        torch.sub(values, mean, out=about)
        self._strips.append((len(values), mean, about.mul_(about).sum(0)))

    def close(self) -> None:
        """All rows have come."""
        counts, means, squares = zip(*self._strips)
        share = torch.tensor(counts, dtype=torch.float64)[:, None] / sum(counts)
        means, kind = torch.stack(means).double(), means[0].dtype
        mean = (share * means).sum(0)
        variance = torch.stack(squares).double().sum(0) / sum(counts) + (share * (means - mean) ** 2).sum(0)
        self.mean, self.scale = mean.to(kind), (variance + NORM_EPS).rsqrt().to(kind)

    def apply(self, rows: Tensor, into: Tensor) -> None:
        """Rows of the map, normed, to another place, in the type of that place."""
        normed = into if into.dtype == self.mean.dtype else self.scratch("normed", rows.shape, self.mean.dtype)
        torch.sub(rows, self.mean, out=normed)
        F.silu(normed.mul_(self.scale), inplace=True)
        if normed is not into:
            into.copy_(normed)


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
            norm.apply(source[top:bottom], inner)
        seen[known + bottom - top :] = 0  # the border below, where that is seen
        yield Strip(first, last, seen)
        known = more
        room[:more] = seen[last - first :].clone()


def _made(layer: Layer, source: Tensor, norm: Norm | None, target: Tensor, scratch: Scratch) -> Norm:
    """One layer: the map (h,w,C) with its norm -> the next map, into `target` (h*f,w*f,N), and its norm."""
    fast = layer.taps == 2 and torch.finfo(target.dtype).bits >= 32
    product = Winograd(layer, scratch) if fast else Direct(layer, target.dtype, scratch)
    f, spare, (H, W, _) = layer.factor, layer.spare, target.shape
    found = Norm(scratch)
    for first, last, seen in _strips(source, norm, layer, target.dtype, scratch):
        begin, end, above = max(first * f - spare, 0), min(last * f - spare, H), spare if not first else 0
        target[begin:end] = product(seen)[above : above + end - begin, spare : spare + W]
        found.add(target[begin:end])
    found.close()
    return found


def _in_one_room(shapes: Sequence[tuple[int, int, int]], dtype: torch.dtype) -> list[Tensor]:
    """Maps in one piece of memory, each over the one before: a larger one ends where that ends, a smaller begins where it begins.

    So whoever makes a map from top to bottom writes over rows of the one before only after the rows below them are read: the free
    space before a larger map's end shrinks by at most what is written, and the last row of both is the same memory.
    """
    sizes = [prod(shape) for shape in shapes]
    starts = [0]
    for before, size in pairwise(sizes):
        starts.append(starts[-1] + min(before - size, 0))
    origin = min(starts)
    room = torch.empty(max(start + size for start, size in zip(starts, sizes)) - origin, dtype=dtype)
    return [room[start - origin :][:size].view(shape) for start, size, shape in zip(starts, sizes, shapes)]


def shapes(steps: Sequence[Sequence[nn.Module]], hw: tuple[int, int]) -> list[tuple[int, int, int]]:
    """(h,w,N) of the map after each step, from features of `hw`."""
    found, (h, w) = [], hw
    for conv, *after in steps:
        f = next((shuffle.upscale_factor for shuffle in after if isinstance(shuffle, nn.PixelShuffle)), 1)
        N, f = (conv.out_channels, 2) if isinstance(conv, nn.ConvTranspose2d) else (conv.out_channels // f**2, f)
        h, w = h * f, w * f
        found.append((h, w, N))
    return found


def decoded(features: Tensor, steps: Sequence[Sequence[nn.Module]], last: nn.Conv2d, dtype: torch.dtype, *, precise: bool) -> Tensor:
    """Features (B,D,h,w), steps of a convolution and its norm, and a last 1x1 convolution -> (B,N,H,W).

    Args:
        features: on the processor.
        steps: one at least.
        last: without a norm.
        dtype: of the maps and of all products.
        precise: the last convolution has the precision of its weights.
    """
    maps, scratch = _in_one_room(shapes(steps, tuple(features.shape[2:])), dtype), Scratch()
    kind = last.weight.dtype if precise else dtype
    raw = torch.empty(len(features), last.out_channels, *maps[-1].shape[:2], dtype=kind)
    final = Layer.of((last,))._replace(bias=last.bias)
    for picture, answer in zip(features, raw):
        source, norm = picture.permute(1, 2, 0), None
        for step, target in zip(steps, maps):
            source, norm = target, _made(Layer.of(step), source, norm, target, scratch)
        product = Direct(final, kind, scratch)
        for first, end, seen in _strips(source, norm, final, kind, scratch):
            answer[:, first:end] = product(seen).permute(2, 0, 1)
    return raw
