"""The convolutions of the heads, as products of matrices over rows of a map: what `strips.py` multiplies with.

Letters: C channels in, N channels out, k taps of a convolution, f edge of the pixels that a place becomes.
A place of a convolution is where k by k pixels of the map and of a border of zeros around it lie side by side.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def enlarged(after: Iterable[nn.Module]) -> int:
    """By how much the layers after a convolution enlarge."""
    return next((int(layer.upscale_factor) for layer in after if isinstance(layer, nn.PixelShuffle)), 1)


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
    def of(cls, step: Iterable[nn.Module], dtype: torch.dtype) -> "Layer":
        """From a convolution, and the PixelShuffle after it where there is one; copies are made so that C is read along lines."""
        conv, *after = step
        assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
        weight = conv.weight.to(dtype)
        if isinstance(conv, nn.ConvTranspose2d):
            C, N = weight.shape[:2]
            turned = weight.view(C, -1).t().contiguous().view(N, 2, 2, 2, 2, C)  # (N,k,f,k,f,C), taps backwards
            weight = weight.new_empty(2, 2, N, 2, 2, C)
            for i, j in product((0, 1), (0, 1)):
                weight[:, :, :, i, j] = turned[:, 1 - i, :, 1 - j].permute(1, 2, 0, 3)
            return cls(weight)
        f = enlarged(after)
        weight = weight.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)  # (N*f*f,k,k,C)
        bias = None if f == 1 or conv.bias is None else conv.bias.to(dtype).unflatten(0, (-1, f, f)).permute(1, 2, 0)
        return cls(weight.unflatten(0, (-1, f, f)).permute(1, 2, 0, 3, 4, 5), bias)

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

    def __init__(self, layer: Layer, scratch: Scratch) -> None:
        self.layer, self.scratch = layer, scratch
        f, _, N, k, _, C = layer.weight.shape
        self.weight = layer.weight.reshape(f * f * N, k * k * C).t()
        self.bias = None if layer.bias is None else layer.bias.flatten()

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
    """k by k taps at two by two places in (k+1)^2 products instead of 4 k^2: Winograd's F(2,k), exact but for rounding.

    With pixels a b c and taps u v the two places of a line are a*u + b*v = (a-b)*u + b*(u+v) and b*u + c*v = b*(u+v) - (b-c)*v:
    three products, which they share; `_pixels`, `_taps` and `_places` have the sums, for three taps too. In bfloat16 they would
    round too much.

    Raises:
        ValueError: neither two taps nor three.
    """

    def __init__(self, layer: Layer, scratch: Scratch) -> None:
        f, _, N, k, _, C = layer.weight.shape
        if k not in (2, 3):
            raise ValueError(f"sums are known for 2 and 3 taps, this layer has {k}; use Direct")
        self.scratch, self.bias = scratch, layer.bias
        self.weight = layer.weight.new_empty(f, f, k + 1, k + 1, N, C)
        for i, line in enumerate(_taps(layer.weight.unbind(3))):
            for j, value in enumerate(_taps(line.unbind(3))):
                self.weight[:, :, i, j] = value

    def __call__(self, seen: Tensor) -> Tensor:
        """As `Direct`."""
        f, _, t, _, N, C = self.weight.shape
        n, w = seen.shape[0] - t + 2, seen.shape[1] - t + 2
        H, W = -(-n // 2), -(-w // 2)  # squares of two by two places
        seen = F.pad(seen, (0, 0, 0, w % 2, 0, n % 2)) if n % 2 or w % 2 else seen
        lines = self.scratch("lines", (t, H, 2 * W + t - 2, C), seen.dtype)
        sums = self.scratch("sums", (t, t, H, W, C), seen.dtype)
        _pixels(seen, lines)
        for line, into in zip(lines, sums):
            _pixels(line.transpose(0, 1), into.transpose(1, 2))
        pixels = self.scratch("pixels", (H, 2, f, W, 2, f, N), seen.dtype)
        made = self.scratch("made", (t, t, H, W, N), seen.dtype)
        for y, x in product(range(f), range(f)):
            weight = self.weight[y, x].flatten(0, 1).transpose(1, 2)
            torch.bmm(sums.view(t * t, H * W, C), weight, out=made.view(t * t, H * W, N))
            _places(made, made[0], made[-1])
            _places(made[0], pixels[:, 0, y, :, 0, x], pixels[:, 0, y, :, 1, x])
            _places(made[-1], pixels[:, 1, y, :, 0, x], pixels[:, 1, y, :, 1, x])
            if self.bias is not None:
                pixels[:, :, y, :, :, x] += self.bias[y, x]
        return pixels.view(2 * f * H, 2 * f * W, N)[: n * f, : w * f]


def _pixels(lines: Tensor, into: Tensor) -> None:
    """The sums of each pair of lines and the one or two after it: (2n+1,...) -> (3,n,...), or (2n+2,...) -> (4,n,...)."""
    k = len(into) - 1
    n = (len(lines) - k + 1) // 2
    a, b, c, *rest = (lines[i : i + 2 * n - 1 : 2] for i in range(k + 1))
    if not rest:
        torch.sub(a, b, out=into[0])
        into[1].copy_(b)
        torch.sub(b, c, out=into[2])
        return
    torch.sub(a, c, out=into[0])
    torch.add(b, c, out=into[1])
    torch.sub(c, b, out=into[2])
    torch.sub(b, rest[0], out=into[3])


def _taps(lines: Sequence[Tensor]) -> list[Tensor]:
    """The sums of two lines of taps, or of three."""
    if len(lines) == 2:
        return [lines[0], lines[0] + lines[1], lines[1]]
    outer = lines[0] + lines[2]
    return [lines[0], (outer + lines[1]) / 2, (outer - lines[1]) / 2, lines[2]]


def _places(products: Tensor, first: Tensor, second: Tensor) -> None:
    """Three or four products of lines -> the lines at both places; these may be the first product and the last."""
    torch.add(products[0], products[1], out=first)
    torch.sub(products[1], products[-1], out=second)
    if len(products) == 4:
        first += products[2]
        second -= products[2]
