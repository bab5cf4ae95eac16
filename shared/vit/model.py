"""The backbone: pixels -> features. A plain ViT at high resolution (Sapiens, ECCV 2024; Sapiens2, ICLR 2026).

Letters: B batch, D width, H W pixels, h w patches, N tokens.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared.vit.attention import Backend
from shared.vit.block import Block
from shared.vit.family import FAMILIES
from shared.vit.position import resample, sincos
from shared.vit.recompute import Recompute, again, check, run
from shared.vit.rotary import Precision, Rotary
from shared.vit.sizes import size_of
from shared.vit.tokenizer import EDGE, WindowTokenizer

MEAN = (123.675, 116.28, 103.53)  # of RGB in 0..255; ImageNet's, as in every official config
STD = (58.395, 57.12, 57.375)


class ViT(nn.Module):
    """Normalised image (B,3,H,W) float -> features (B,D,ceil(H/stride),ceil(W/stride)).

    Any H and W: an image that is no multiple of the stride is padded with zeros on the right and at the bottom (official Sapiens2
    cuts off what is left over instead). A position table is resampled to the grid that results; rotary positions fit any.

    Args:
        size: a name of `SIZES`, or dict(dim=, depth=, heads=[, family=, tokenizer=]).
        image_hw: the size the position table is made for, in pixels, a multiple of the stride.
        patch: edge of a patch, pixels.
        patch_padding: 0, or 2 for those official checkpoints whose patches start two pixels outside (specification, trap 1).
        cls: with a cls token, which takes part in attention and is dropped from the features (the MAE encoder). Sapiens2 always
            has it, and eight storage tokens after it.
        fixed_position: the position table is a constant (pretraining) or trained (fine-tuning). Rotary positions have no table.
        attention: back end, see `shared/vit/attention.py`.
        drop_path: rate of stochastic depth at the last block, rising linearly from 0.
        recompute: what blocks compute again in the backward pass instead of storing it, in training: 0 or False nothing, k every
            k-th block, 1 or True all of them, `selective` all but products and attention; `shared/vit/recompute.py`.
        tokenizer: windows of four by four patches become one token first: Sapiens2's 4K models, of stride 64.
        rope_dtype: precision of rotary positions: `fp32`, or `bf16` as the official code computes them by default.

    Raises:
        ValueError: no such size, a size that is no multiple of the stride, a tokenizer for a model that has none, or nothing that
            `recompute` can be.
    """

    pos_embed: nn.Parameter  # of families without rotary positions
    recompute: Recompute

    def __init__(
        self,
        size: str | Mapping[str, Any] = "300m",
        *,
        image_hw: tuple[int, int] = (1024, 768),
        patch: int = 16,
        patch_padding: int = 0,
        cls: bool = False,
        fixed_position: bool = False,
        attention: Backend = "auto",
        drop_path: float = 0.0,
        recompute: Recompute = False,
        tokenizer: bool = False,
        rope_dtype: Precision = "fp32",
    ) -> None:
        super().__init__()
        self.size = size_of(size)
        dim, depth, heads, name, windows = self.size
        check(recompute, depth)
        if tokenizer and (not windows or patch_padding):
            why = f"has a patch padding of {patch_padding}" if windows else f"has no tokenizer blocks: {self.size}"
            raise ValueError(f"the window tokenizer is for sizes with `tokenizer` blocks and unpadded patches; this model {why}")
        self.dim, self.patch, self.patch_padding, self.recompute = dim, patch, patch_padding, recompute
        self.stride = patch * EDGE if tokenizer else patch  # pixels from one feature to the next
        if image_hw[0] % self.stride or image_hw[1] % self.stride:
            what = "patch" if self.stride == patch else "window"
            raise ValueError(f"image_hw {tuple(image_hw)} is not a multiple of the {what} ({self.stride})")
        self.grid = (image_hw[0] // self.stride, image_hw[1] // self.stride)
        family = FAMILIES[name]
        self.patch_embed = nn.Conv2d(3, dim, patch, stride=patch, padding=patch_padding)
        self.tokenizer = WindowTokenizer(dim, heads, depth=windows, backend=attention) if tokenizer else None
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if cls or family.storage else None
        self.storage_tokens = nn.Parameter(torch.zeros(1, family.storage, dim)) if family.storage else None
        self.rope = Rotary(dim // heads, precision=rope_dtype) if family.rotary else None
        if self.rope is None:
            table = F.pad(sincos(dim, self.grid), (0, 0, self.extra, 0))[None]  # the row of cls is zero
            self.pos_embed = nn.Parameter(table, requires_grad=not fixed_position)
        self.blocks = nn.ModuleList(
            Block(
                dim,
                heads,
                family=family,
                kv_heads=family.kv_heads(heads, i, depth),
                backend=attention,
                drop_path=drop_path * i / max(depth - 1, 1),  # not linspace: models are also built on "meta"
            )
            for i in range(depth)
        )
        self.norm = family.norm(dim)
        self._initialise()

    def embed(self, image: Tensor, *, kept: Tensor | None = None) -> tuple[Tensor, tuple[int, int]]:
        """Patches, or windows of them, without the tokens in front: (B,3,H,W) -> ((B,N,D), (h,w)). A table's positions are in.

        `kept`, (B,n) indices of patches, row by row: these alone, (B,n,D). The others are computed behind a tokenizer only.
        """
        H, W = image.shape[-2:]
        if not self.patch_padding:
            image = F.pad(image, (0, -W % self.stride, 0, -H % self.stride))
            if kept is not None and self.tokenizer is None:
                return self._embed_some(image, kept)
        patches = self.patch_embed(image)  # (B,D,h,w)
        h, w = patches.shape[-2:]
        if self.tokenizer is None:
            tokens = patches.flatten(2).transpose(1, 2)
        else:
            tokens, h, w = self.tokenizer(patches), h // EDGE, w // EDGE
        tokens = tokens + self._positions((h, w))[:, self.extra :] if self.rope is None else tokens
        return (tokens if kept is None else tokens.gather(1, kept[..., None].expand(-1, -1, self.dim))), (h, w)

    def _embed_some(self, image: Tensor, kept: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Cut out some patches, then the convolution is a linear layer: (B,3,H,W), (B,n) -> ((B,n,D), (h,w))."""
        patches = image.unflatten(3, (-1, self.patch)).unflatten(2, (-1, self.patch)).permute(0, 2, 4, 1, 3, 5)  # (B,h,w,3,p,p)
        h, w = patches.shape[1:3]
        each = torch.arange(len(image), device=image.device)[:, None]
        some = patches[each, kept // w, kept % w].flatten(2)  # (B,n,3*p*p)
        tokens = F.linear(some, self.patch_embed.weight.flatten(1), self.patch_embed.bias)
        return (tokens + self._positions((h, w))[0, self.extra :][kept] if self.rope is None else tokens), (h, w)

    def encode(self, tokens: Tensor, grid: tuple[int, int], *, kept: Tensor | None = None) -> Tensor:
        """Put cls and storage in front where they are, then blocks and final norm: (B,n,D) -> (B,extra+n,D).

        Args:
            tokens: of `embed`, all or some.
            grid: (h,w) of `embed`.
            kept: (B,n) which of the h*w places the tokens are from, row by row; None: all of them, in order.
        """
        turns = None if self.rope is None else self.rope(grid, extra=self.extra, kept=kept)
        tokens = torch.cat([*(first.expand(tokens.shape[0], -1, -1) for first in self._first()), tokens], 1)
        for i, block in enumerate(self.blocks):
            keeps_all = not self.training or not again(self.recompute, i)
            tokens = block(tokens, turns) if keeps_all else run(block, tokens, turns, recompute=self.recompute)
        return self.norm(tokens)

    def forward(self, image: Tensor) -> Tensor:
        tokens, grid = self.embed(image)
        return self.encode(tokens, grid)[:, self.extra :].transpose(1, 2).unflatten(2, grid)

    def grid_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the features of an input of `size`, height and width in pixels.

        Raises:
            ValueError: it is no multiple of the stride.
        """
        if any(n < self.stride or n % self.stride for n in size):
            near = [max(self.stride, round(n / self.stride) * self.stride) for n in size]
            raise ValueError(f"the network's input {size[0]}x{size[1]} is not a multiple of {self.stride}; use {near[0]}x{near[1]}")
        return size[0] // self.stride, size[1] // self.stride

    def resize(self, size: tuple[int, int]) -> None:
        """Make it for inputs of another size: a table is resampled now, which otherwise happens for every picture.

        Raises:
            ValueError: the size is no multiple of the stride.
        """
        grid = self.grid_of(size)
        if self.rope is None:
            table = resample(self.pos_embed.detach(), self.grid, grid)
            self.pos_embed = nn.Parameter(table, requires_grad=self.pos_embed.requires_grad)
        self.grid = grid

    @property
    def extra(self) -> int:
        """How many tokens stand before the patches: cls and storage, where they are."""
        return sum(tokens.shape[1] for tokens in (self.cls_token, self.storage_tokens) if tokens is not None)

    def _first(self) -> list[Tensor]:
        """The tokens before the patches, (1,n,D) each; a table has a row for cls."""
        if self.cls_token is None:
            return []
        cls = self.cls_token if self.rope is not None else self.cls_token + self.pos_embed[:, :1]
        return [cls] if self.storage_tokens is None else [cls, self.storage_tokens]

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        return resample(self.pos_embed, self.grid, grid)

    def _initialise(self) -> None:
        self.apply(FAMILIES[self.size.family].initialise)
        if self.rope is None:
            nn.init.xavier_uniform_(self.patch_embed.weight.view(self.dim, -1))
        named = [self.cls_token, self.storage_tokens]
        named += [self.tokenizer.cls_token, self.tokenizer.pos_embed] if self.tokenizer is not None else []
        for tokens in named:
            if tokens is not None:
                nn.init.normal_(tokens, std=0.02)


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
