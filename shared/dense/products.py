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
        f, N, (H, W) = len(self.weight), self.weight.shape[4], (-(-n // 2), -(-w // 2))  # H by W squares of places
        seen = F.pad(seen, (0, 0, 0, w % 2, 0, n % 2)) if n % 2 or w % 2 else seen
        sums, lines = self.scratch("sums", (3, 3, H, W, C), seen.dtype), self.scratch("lines", (3, H, 2 * W + 1, C), seen.dtype)
        _differences(seen, lines)
        for line, into in zip(lines, sums):
            _differences(line.transpose(0, 1), into.transpose(1, 2))
        pixels = self.scratch("pixels", (H, 2, f, W, 2, f, N), seen.dtype)
        made = self.scratch("made", (3, 3, H, W, N), seen.dtype)
        for y in range(f):
            for x in range(f):
                weight = self.weight[y, x].flatten(0, 1).transpose(1, 2)
                torch.bmm(sums.view(9, H * W, C), weight, out=made.view(9, H * W, N))
                made[0] += made[1]
                torch.sub(made[1], made[2], out=made[2])
                for (first, middle, last), into in ((made[0], pixels[:, 0, y]), (made[2], pixels[:, 1, y])):
                    torch.add(first, middle, out=into[:, :, 0, x])
                    torch.sub(middle, last, out=into[:, :, 1, x])
        return pixels.view(2 * f * H, 2 * f * W, N)[: n * f, : w * f]


def _differences(lines: Tensor, into: Tensor) -> None:
    """Lines a b c, c d e, ... -> (a-b, b, b-c) of each: (2n+1,...) -> (3,n,...)."""
    before, middle, after = lines[:-1:2], lines[1::2], lines[2::2]
    torch.sub(before, middle, out=into[0])
    into[1].copy_(middle)
    torch.sub(middle, after, out=into[2])
