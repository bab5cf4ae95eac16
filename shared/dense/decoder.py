"""features -> pixels: the one upsampling stack. Every head of Sapiens and Sapiens2 is a row of numbers here.

Letters: B batch, D width of the features, C channels out, h w grid of the features.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared.dense import strips
from shared.dense.strips import NORM_EPS

PIECE = 512  # pixels that are added up in single precision


@dataclass(frozen=True)
class Spec:
    """A head: how wide each doubling of the resolution is, how wide each convolution after it, how much is dropped.

    Args:
        up: doublings, each a transposed 4x4 convolution; with `shuffle` a 3x3 convolution to four times as many channels,
            which become 2x2 pixels.
        refine: convolutions after them, 1x1; with `shuffle` 3x3.
        dropout: share of channels dropped before the last layer.
        shuffle: the trunk of Sapiens2's normals and pointmaps, which also begins with a 3x3 convolution.
        scale: of a branch that answers one number per picture: `convs`, the widths of its 1x1 convolutions, each halving the
            resolution; `grid`, the (h,w) they leave; `hidden`, the widths of the linear layers before the last. None: no branch.
    """

    up: Sequence[int] = (768, 768, 768)
    refine: Sequence[int] = (768, 768, 768)
    dropout: float = 0.0
    shuffle: bool = False
    scale: Mapping[str, Sequence[int]] | None = None


# Sapiens' heads (specification, sections 3.1, 4 and 5)
HEATMAP = Spec(up=(768, 768), refine=(768, 768))
DENSE = Spec(up=(768, 768, 768), refine=(768, 768, 768), dropout=0.1)
DEPTH = Spec(up=(384, 384, 384, 384), refine=(384, 384), dropout=0.1)

# Sapiens2's heads (its specification, sections 2.1 to 2.4): of all sizes but those that have a row of their own
HEATMAP_V2 = Spec(up=(1024, 768), refine=(512, 512, 256))
HEATMAP_V2_1B = Spec(up=(1536, 1024), refine=(768, 512, 256))
SEG_V2 = Spec(up=(512, 256, 128, 64), refine=(64, 64))
NORMAL_V2 = Spec(up=(768, 512, 256, 128), refine=(64, 32, 16), shuffle=True)
NORMAL_V2_5B = Spec(up=(1536, 768, 512, 256), refine=(128, 64, 32), shuffle=True)
SCALE = {"convs": (1536, 512, 128), "hidden": (512, 128), "grid": (8, 6)}
POINTMAP = Spec(up=(1536, 768, 512, 256), refine=(64, 32, 16), shuffle=True, scale=SCALE)
POINTMAP_5B = Spec(up=(1536, 768, 768, 768), refine=(128, 64, 32), shuffle=True, scale=SCALE)


class Decoder(nn.Module):
    """(B,D,h,w) -> (B,C,h*2^n,w*2^n), n the number of doublings. No activation at the end.

    With `spec.scale` the last channel is the number that the scale branch answers, the same everywhere in a picture. Its linear
    layers need a grid of one size. The official network has it at 1024x768 only; features of other sizes are brought to that
    size by adaptive average pooling first, which at the native size (strictly: wherever the official network runs) is left out.

    Args:
        dim: D.
        channels: C.
        spec: the widths.
        bias: what the raw answer is before anything is learnt, one number or C.
        std: deviation of the last layer's first weights.
    """

    def __init__(self, dim: int, channels: int, spec: Spec, *, bias: float | Sequence[float] = 0.0, std: float = 0.01) -> None:
        super().__init__()
        first = torch.as_tensor(bias, dtype=torch.float32).expand(channels).clone()
        widths = [dim, *spec.up]
        if spec.shuffle:
            self.stem = _step(nn.Conv2d(dim, dim, 3, padding=1))
            ups = (_step(nn.Conv2d(a, 4 * b, 3, padding=1), nn.PixelShuffle(2)) for a, b in pairwise(widths))
        else:
            self.stem = nn.Sequential()
            ups = (_step(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False)) for a, b in pairwise(widths))
        self.up = nn.Sequential(*ups)
        widths, kernel = [widths[-1], *spec.refine], 3 if spec.shuffle else 1
        self.refine = nn.Sequential(*(_step(nn.Conv2d(a, b, kernel, padding=kernel // 2)) for a, b in pairwise(widths)))
        self.dropout = nn.Dropout2d(spec.dropout)
        self.grid: tuple[int, ...] | None = None
        if spec.scale:
            self.grid = tuple(spec.scale["grid"])
            first, middle = first[:-1].clone(), first[-1:].clone()  # parameters that share no memory
            halved, wide = [dim, *spec.scale["convs"]], [spec.scale["convs"][-1] * prod(self.grid), *spec.scale["hidden"]]
            self.scale_convs = nn.Sequential(*(_step(nn.Conv2d(a, b, 1, 2)) for a, b in pairwise(halved)))
            hidden = [layer for a, b in pairwise(wide) for layer in (nn.Linear(a, b), nn.SiLU())]
            self.scale_mlp = nn.Sequential(*hidden, nn.Linear(wide[-1], 1))
            self.scale_mlp[-1].bias = nn.Parameter(middle)
        self.last = nn.Conv2d(widths[-1], len(first), 1)
        nn.init.normal_(self.last.weight, std=std)
        self.last.bias = nn.Parameter(first)
        self.precise = spec.shuffle or spec.scale is not None

    def forward(self, features: Tensor) -> Tensor:
        if features.device.type == "cpu" and not torch.is_grad_enabled():
            features = features.contiguous(memory_format=torch.channels_last)  # convolutions of processors are up to twice as fast
        scale = None if self.grid is None else self._scale(features, self.grid)
        raw = self._raw(features)
        return raw if scale is None else torch.cat([raw, scale[:, :, None, None].expand(-1, -1, *raw.shape[-2:])], 1)

    def _raw(self, features: Tensor) -> Tensor:
        """All channels but the scale."""
        steps = [step for step in (self.stem, *self.up, *self.refine) if any(step.children())]
        if not (self.training and self.dropout.p) and strips.pay(features, steps):
            kind = _kind(features)
            with _as_stored(features):
                return strips.decoded(features, steps, self.last, kind, precise=self.precise)
        for step in steps:
            for layer in step.children():
                features = layer(features)  # one name for all: no map outlives its layer, and at full size each is a gigabyte
        if not self.precise:
            return self.last(self.dropout(features)).contiguous()
        with _as_stored(features):  # metres in bfloat16 are steps of a centimetre, and these last layers are narrow
            return self.last(self.dropout(features.to(self.last.weight.dtype))).contiguous()

    def lowered(self) -> list[nn.Module]:
        """The layers that autocast lowers."""
        steps = nn.ModuleList([self.stem, self.up, self.refine])
        return [*steps.modules(), *([] if self.precise else [self.last])]

    def _scale(self, features: Tensor, grid: tuple[int, ...]) -> Tensor:
        """(B,1), one number per picture."""
        halvings = 2 ** len(self.scale_convs)
        if tuple(-(-n // halvings) for n in features.shape[-2:]) != grid:
            features = F.adaptive_avg_pool2d(features, tuple(n * halvings for n in grid))
        with _as_stored(features):
            features = self.scale_convs(features.to(self.last.weight.dtype))
            return self.scale_mlp(features.flatten(1))


def _as_stored(features: Tensor) -> AbstractContextManager:
    """In the precision of the weights, also where autocast is on."""
    return torch.autocast(features.device.type, enabled=False) if _lowered(features) else nullcontext()


def _kind(features: Tensor) -> torch.dtype:
    """The precision that a convolution has here."""
    return torch.get_autocast_dtype(features.device.type) if _lowered(features) else features.dtype


def _lowered(features: Tensor) -> bool:
    kind = features.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def _step(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers, NormSiLU())


class NormSiLU(nn.Module):
    """InstanceNorm without parameters or stored statistics, then SiLU (trap 2).

    On processors without gradient in place: there a map is a gigabyte, whose first touch takes longer than the norm (docs/log.md).
    """

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or x.is_cuda:  # cuDNN's norm moves 3 maps where the steps below move 6, counted by their bytes
            return F.silu(F.instance_norm(x), inplace=True)
        pixels = x[0, 0].numel()
        mean = (_sums(x) / pixels)[..., None, None]
        x = x.sub_(mean.to(x.dtype))
        scale = (_sums(x, square=True) / pixels + NORM_EPS).rsqrt()[..., None, None]
        return F.silu(x.mul_(scale.to(x.dtype)), inplace=True)


def _sums(x: Tensor, *, square: bool = False) -> Tensor:
    """Each map's sum, or sum of squares: (B,C,h,w) -> (B,C) float64, first over short pieces in x's own type.

    torch.var_mean takes six times as long, and so does reducing to another type; norms over an outer axis take twenty times.
    """
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        pieces = x.permute(0, 2, 3, 1).flatten(1, 2).split(PIECE, 1)
        return torch.stack([((piece * piece if square else piece).sum(1)).double() for piece in pieces]).sum(0)
    lines = torch.linalg.vector_norm(x, dim=3).double().square() if square else x.sum(3).double()
    return lines.sum(2)
