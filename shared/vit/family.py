"""Generations of models are data: one block, one row of what stands in it.

Sapiens is the plain ViT of 2021; Sapiens2 (ICLR 2026) has the parts that language models settled on since; DINOv3 stands between
them and is here as an initialisation.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from timm.layers import GluMlp, Mlp
from torch import nn

NORM_EPS = 1e-6  # everywhere in the official encoders and in the decoder of the pretraining
Norm = nn.LayerNorm | nn.RMSNorm


class Family(NamedTuple):
    """What the blocks of one generation are made of.

    Attributes:
        norm: width -> a norm over the last axis.
        mlp: width -> the feed-forward, four times as wide inside.
        initialise: gives one module its first weights.
        qk_norm: queries and keys of each head are normalised before they meet.
        layer_scale: first value of the factors on what attention adds; None: no factors.
        scaled_mlp: the feed-forward has such factors too.
        rotary: positions turn queries and keys; otherwise a table is added to the patches once.
        storage: tokens after cls that belong to no patch; a family that has them always has cls.
        full: in this many first and last blocks each query head has its own key head, two share one between; None: nowhere.
    """

    norm: Callable[[int], Norm]
    mlp: Callable[[int], nn.Module]
    initialise: Callable[[nn.Module], None]
    qk_norm: bool = False
    layer_scale: float | None = None
    scaled_mlp: bool = False
    rotary: bool = False
    storage: int = 0
    full: int | None = None

    def kv_heads(self, heads: int, block: int, depth: int) -> int:
        """How many heads the keys and values of a block have."""
        shared = self.full is not None and self.full <= block < depth - self.full
        return heads // 2 if shared else heads


def _gelu(dim: int) -> nn.Module:
    return Mlp(dim, 4 * dim)


def _swiglu(dim: int) -> nn.Module:
    return GluMlp(dim, 8 * dim, act_layer=nn.SiLU, gate_last=False)  # one projection gives the gate, then the values


def _xavier(module: nn.Module) -> None:
    """Xavier for every linear layer, as MAE and Sapiens do; norms keep PyTorch's 1 and 0."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def _normal(module: nn.Module) -> None:
    """Deviation 0.02, biases 0; Sapiens2 also cuts at 2, a hundred deviations away, where nothing ever is."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


FAMILIES = {
    "sapiens": Family(norm=partial(nn.LayerNorm, eps=NORM_EPS), mlp=_gelu, initialise=_xavier),
    "sapiens2": Family(
        norm=partial(nn.RMSNorm, eps=NORM_EPS),
        mlp=_swiglu,
        initialise=_normal,
        qk_norm=True,
        layer_scale=1e-4,
        rotary=True,
        storage=8,
        full=8,
    ),
    "dinov3": Family(  # Siméoni et al. 2025, the sizes with a plain feed-forward
        norm=nn.LayerNorm, mlp=_gelu, initialise=_normal, layer_scale=1e-5, scaled_mlp=True, rotary=True, storage=4
    ),
}
WINDOW = Family(norm=partial(nn.RMSNorm, eps=NORM_EPS), mlp=_swiglu, initialise=_normal)  # inside Sapiens2's 4K tokenizer
