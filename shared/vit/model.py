"""The backbone: pixels -> features. A plain ViT at high resolution (Sapiens, ECCV 2024; Dosovitskiy et al. 2021).

Letters: B batch, D width, H W pixels, h w patches, N tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from shared.vit.attention import Backend
from shared.vit.block import NORM_EPS, Block
from shared.vit.position import resample, sincos
from shared.vit.sizes import SIZES

MEAN = (123.675, 116.28, 103.53)  # of RGB in 0..255; ImageNet's, as in every official config
STD = (58.395, 57.12, 57.375)


class ViT(nn.Module):
    """Normalised image (B,3,H,W) float -> features (B,D,ceil(H/patch),ceil(W/patch)).

    Any H and W: an image that is no multiple of the patch is padded with zeros on the right and at the bottom, and the position
    table is resampled to the grid that results.

    Args:
        size: a name of `SIZES`.
        image_hw: the size the position table is made for, in pixels, a multiple of `patch`.
        patch: edge of a patch, pixels.
        patch_padding: 0, or 2 for those official checkpoints whose patches start two pixels outside (specification, trap 1).
        cls: with a cls token, which takes part in attention and is dropped from the features (the MAE encoder).
        fixed_position: the position table is a constant (pretraining) or trained (fine-tuning).
        attention: back end, see `shared/vit/attention.py`.
        drop_path: rate of stochastic depth at the last block, rising linearly from 0.
        recompute: recompute the activations of each block in the backward pass instead of storing them.
    """

    def __init__(
        self,
        size: str = "300m",
        *,
        image_hw: tuple[int, int] = (1024, 768),
        patch: int = 16,
        patch_padding: int = 0,
        cls: bool = False,
        fixed_position: bool = False,
        attention: Backend = "auto",
        drop_path: float = 0.0,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"there is no ViT size {size!r}; choose one of {', '.join(SIZES)}")
        if image_hw[0] % patch or image_hw[1] % patch:
            raise ValueError(f"image_hw {tuple(image_hw)} is not a multiple of the patch ({patch})")
        dim, depth, heads = SIZES[size]
        self.dim, self.patch, self.patch_padding, self.recompute = dim, patch, patch_padding, recompute
        self.grid = (image_hw[0] // patch, image_hw[1] // patch)
        self.patch_embed = nn.Conv2d(3, dim, patch, stride=patch, padding=patch_padding)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if cls else None
        table = F.pad(sincos(dim, self.grid), (0, 0, int(cls), 0))[None]  # the row of cls is zero
        self.pos_embed = nn.Parameter(table, requires_grad=not fixed_position)
        rates = [drop_path * i / max(depth - 1, 1) for i in range(depth)]  # not linspace: models are also built on "meta"
        self.blocks = nn.ModuleList(Block(dim, heads, backend=attention, drop_path=rate) for rate in rates)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.apply(_initialise)
        nn.init.xavier_uniform_(self.patch_embed.weight.view(dim, -1))
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=0.02)

    def embed(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Patches with their positions, without cls: (B,3,H,W) -> ((B,N,D), (h,w))."""
        H, W = image.shape[-2:]
        if not self.patch_padding:
            image = F.pad(image, (0, -W % self.patch, 0, -H % self.patch))
        patches = self.patch_embed(image)  # (B,D,h,w)
        h, w = patches.shape[-2:]
        return patches.flatten(2).transpose(1, 2) + self._positions((h, w))[:, self.extra :], (h, w)

    def encode(self, tokens: Tensor) -> Tensor:
        """Put cls in front where there is one, then blocks and final norm: (B,N,D) -> (B,extra+N,D)."""
        if self.cls_token is not None:
            first = (self.cls_token + self.pos_embed[:, :1]).expand(tokens.shape[0], -1, -1)
            tokens = torch.cat([first, tokens], 1)
        for block in self.blocks:
            again = self.recompute and self.training
            tokens = checkpoint(block, tokens, use_reentrant=False) if again else block(tokens)
        return self.norm(tokens)

    def forward(self, image: Tensor) -> Tensor:
        tokens, grid = self.embed(image)
        return self.encode(tokens)[:, self.extra :].transpose(1, 2).unflatten(2, grid)

    @property
    def extra(self) -> int:
        """How many tokens stand before the patches: 1 with cls, else 0."""
        return int(self.cls_token is not None)

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        return resample(self.pos_embed, self.grid, grid)


class Normalise(nn.Module):
    """RGB in 0..255, uint8 or float (B,3,H,W) -> zero mean and unit variance, float32."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return (image.float() - self.mean) / self.std


def _initialise(module: nn.Module) -> None:
    """Xavier for every linear layer, as MAE and Sapiens do; norms keep PyTorch's 1 and 0."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
