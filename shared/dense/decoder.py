"""features -> pixels: the one upsampling stack. Every head of Sapiens is a row of numbers here.

Letters: B batch, D width of the features, C channels out, h w grid of the features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = 1e-5  # PyTorch's, and the official heads'


@dataclass(frozen=True)
class Spec:
    """A head: how wide each doubling of the resolution is, how wide each 1x1 convolution after it, how much is dropped."""

    up: Sequence[int] = (768, 768, 768)
    refine: Sequence[int] = (768, 768, 768)
    dropout: float = 0.0


# Sapiens' heads (specification, sections 3.1, 4 and 5)
HEATMAP = Spec(up=(768, 768), refine=(768, 768))
DENSE = Spec(up=(768, 768, 768), refine=(768, 768, 768), dropout=0.1)
DEPTH = Spec(up=(384, 384, 384, 384), refine=(384, 384), dropout=0.1)


class Decoder(nn.Module):
    """(B,D,h,w) -> (B,C,h*2^n,w*2^n), n the number of doublings. No activation at the end.

    Args:
        dim: D.
        channels: C.
        spec: the widths.
        bias: what the raw answer is before anything is learnt.
        std: deviation of the last layer's first weights.
    """

    def __init__(self, dim: int, channels: int, spec: Spec, *, bias: float = 0.0, std: float = 0.01) -> None:
        super().__init__()
        widths = [dim, *spec.up]
        self.up = nn.Sequential(*(_step(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False)) for a, b in pairwise(widths)))
        widths = [widths[-1], *spec.refine]
        self.refine = nn.Sequential(*(_step(nn.Conv2d(a, b, 1)) for a, b in pairwise(widths)))
        self.dropout = nn.Dropout2d(spec.dropout)
        self.last = nn.Conv2d(widths[-1], channels, 1)
        nn.init.normal_(self.last.weight, std=std)
        self.last.bias = nn.Parameter(torch.full((channels,), bias))

    def forward(self, features: Tensor) -> Tensor:
        for step in (*self.up, *self.refine):  # one name for all: no map outlives its step, and at full size each is a gigabyte
            features = step(features)
        return self.last(self.dropout(features))


def _step(convolution: nn.Module) -> nn.Sequential:
    return nn.Sequential(convolution, NormSiLU())


class NormSiLU(nn.Module):
    """InstanceNorm without parameters or stored statistics, then SiLU (trap 2); in place where no gradient is wanted."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return F.silu(F.instance_norm(x), inplace=True)
        variance, mean = torch.var_mean(x.float(), (2, 3), correction=0, keepdim=True)
        scale = (variance + NORM_EPS).rsqrt()
        return F.silu(x.mul_(scale.to(x.dtype)).sub_((mean * scale).to(x.dtype)), inplace=True)
