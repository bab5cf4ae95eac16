"""Masked autoencoding: learn to see people without labels (He et al. 2022; Sapiens, ECCV 2024, section 3).

Letters: B batch, N patches, n kept, D width, P = 3 * stride^2 numbers of a patch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.distil import Distil, Distiller, cls_of
from pretrain.masking import choose, drawn, keep, masks, removed, restore
from shared.task import Batch
from shared.vit.block import Block
from shared.vit.family import FAMILIES, NORM_EPS
from shared.vit.model import MEAN, STD, Normalise, ViT
from shared.vit.position import resample, sincos


class MaskedAutoencoder(nn.Module):
    """Hide most patches, encode the rest, paint the hidden ones.

    Behind a window tokenizer a "patch" is a window: every window is tokenized, then most are hidden, as in Sapiens2's 4K model.

    Args:
        backbone: the encoder; of Sapiens with cls, or of Sapiens2.
        ratio: share of hidden patches; two numbers: drawn between them for every iteration.
        block_share: of the pictures, is hidden in blocks instead of patches by themselves (Sapiens2: 0.4).
        dim: width of the decoder.
        depth: its blocks.
        heads: its heads.
        norm_pix: each patch's target has zero mean and unit variance.
        distil: cls learns besides, from a slow copy of the model; needs samples with crops. None: it only paints.
        mean: of RGB in 0..255.
        std: likewise.
    """

    tasks = ()  # nothing to score: the loss is the measure

    def __init__(
        self,
        backbone: ViT,
        *,
        ratio: float | Sequence[float] = 0.75,
        block_share: float = 0.0,
        dim: int = 512,
        depth: int = 8,
        heads: int = 16,
        norm_pix: bool = True,
        distil: Distil | None = None,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
    ) -> None:
        super().__init__()
        self.ratios, self.block_share, self.norm_pix = _range(ratio), _share(block_share), norm_pix
        self.ratio = self.ratios[0]  # until an iteration begins: what takes most memory
        self.normalise = Normalise(tuple(mean), tuple(std))
        self.backbone = backbone
        self.decoder_embed = nn.Linear(backbone.dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        table = F.pad(sincos(dim, backbone.grid), (0, 0, backbone.extra, 0))[None]
        self.decoder_pos_embed = nn.Parameter(table, requires_grad=False)
        self.decoder_blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.decoder_norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.decoder_pred = nn.Linear(dim, 3 * backbone.stride**2)
        self.apply(FAMILIES[backbone.size.family].initialise)
        nn.init.normal_(self.mask_token, std=0.02)
        self.distil = None if distil is None else Distiller(backbone, distil)

    def forward(self, image: Tensor, noise: Tensor, *, ratio: float | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Painted patches (B,N,P), target (B,N,P) and hidden (B,N) bool.

        Args:
            image: (B,3,H,W) normalised.
            noise: (B,N), of which the highest is hidden.
            ratio: share of hidden patches; None: that of the iteration.
        """
        kept, order = choose(noise, self.ratio if ratio is None else ratio)
        latent, grid = self._encode(image, kept)
        return self._paint(latent, order, grid), self.patchify(image), removed(order, kept.shape[1])

    def _encode(self, image: Tensor, kept: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """The kept patches (B,n) alone, (B,extra+n,D), and the grid: what is hidden costs nothing."""
        tokens, grid = self.backbone.embed(image, kept=kept)
        return self.backbone.encode(tokens, grid, kept=kept), grid

    def _paint(self, latent: Tensor, order: Tensor, grid: tuple[int, int], *, only: Tensor | None = None) -> Tensor:
        """All patches (B,N,P), or `only` those of indices (B,m)."""
        extra = self.backbone.extra
        tokens = self.decoder_embed(latent)
        tokens = torch.cat([tokens[:, :extra], restore(tokens[:, extra:], self.mask_token, order)], 1)
        tokens = tokens + resample(self.decoder_pos_embed, self.backbone.grid, grid)
        for block in self.decoder_blocks:
            tokens = block(tokens)
        tokens = tokens[:, extra:] if only is None else keep(tokens[:, extra:], only)
        return self.decoder_pred(self.decoder_norm(tokens))

    def patchify(self, image: Tensor, *, only: Tensor | None = None) -> Tensor:
        """(B,3,H,W) -> (B,N,P), or `only` the patches of indices (B,m); a patch is ordered row, column, channel."""
        p = self.backbone.stride
        H, W = image.shape[-2:]
        image = F.pad(image, (0, -W % p, 0, -H % p)).unflatten(3, (-1, p)).unflatten(2, (-1, p))  # (B,3,h,p,w,p)
        patches = image.permute(0, 2, 4, 3, 5, 1)  # (B,h,w,p,p,3)
        if only is None:
            return patches.flatten(3).flatten(1, 2)
        w = patches.shape[2]
        return patches[torch.arange(len(image), device=image.device)[:, None], only // w, only % w].flatten(2)

    def unpatchify(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B,N,P) -> (B,3,h*stride,w*stride)."""
        p = self.backbone.stride
        image = patches.unflatten(2, (p, p, 3)).unflatten(1, grid)  # (B,h,w,p,p,3)
        return image.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean squared error of the hidden patches, and what distillation adds. Needs `image` uint8 (B,3,H,W), `position` (B,).

        Distillation also needs `other` (B,3,H,W), another large view, and `local` (B,V-2,3,h,w), small ones.
        """
        if self.distil is not None and "other" not in batch:
            raise ValueError("distillation compares views of one picture; set crops={'type': 'shared.data.crops.Crops'}")
        image = self.normalise(torch.cat([batch["image"], batch["other"]]) if self.distil is not None else batch["image"])
        kept, order = choose(self._noise(batch, self.ratio, views=len(image) // len(batch["image"])), self.ratio)
        hidden = order.argsort(1)[:, kept.shape[1] :]  # of every picture as many
        latent, grid = self._encode(image, kept)
        painted, target = self._paint(latent, order, grid, only=hidden), self.patchify(image, only=hidden)
        if self.norm_pix:
            target = target - target.mean(2, keepdim=True)
            target = target / (target.square().sum(2, keepdim=True) / (target.shape[2] - 1) + 1e-6).sqrt()
        error = (painted.float() - target) ** 2
        found = {"loss/mae/mse": error.sum() / max(error.numel(), 1)}  # of a single patch nothing is hidden
        if self.distil is not None:
            parts = self.normalise(batch["local"].transpose(0, 1).flatten(0, 1))
            found |= self.distil(image, latent[:, 0], cls_of(self.backbone, parts))
        return found

    def begin(self, done: int, total: int) -> None:
        """Before an iteration, of which `done` of `total` are over: its share of hidden patches, and the teacher's schedule."""
        self.ratio = drawn(self.ratios, done)
        if self.distil is not None:
            self.distil.begin(self.backbone, done, total)

    def end(self, *, taken: bool) -> None:
        """After an iteration; `taken`: the weights made their step, and the teacher follows."""
        if self.distil is not None:
            self.distil.end(self.backbone, taken=taken)

    def export(self, state: Mapping[str, Tensor], description: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a run leaves, of its state and its description: an autoencoder, whose encoder is the teacher where there is one."""
        prefix = "distil.teacher.backbone."
        taught = {f"backbone.{name.removeprefix(prefix)}": value for name, value in state.items() if name.startswith(prefix)}
        kept = {name: value for name, value in state.items() if not name.startswith("distil.")}
        return kept | taught, {key: value for key, value in description.items() if key != "distil"}

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """uint8 RGB of what the encoder saw (hidden patches grey), and of the picture as painted: (B,3,H,W) each.

        Of a range of shares, the middle is hidden: pictures of one run can be compared.
        """
        image, ratio = self.normalise(batch["image"]), sum(self.ratios) / 2
        painted, target, hidden = self(image, self._noise(batch, ratio), ratio=ratio)
        if self.norm_pix:  # each painted patch is relative to its own mean and deviation, which only the truth knows
            painted = painted * (target.var(2, keepdim=True) + 1e-6).sqrt() + target.mean(2, keepdim=True)
        H, W = image.shape[-2:]
        grid = (-(-H // self.backbone.stride), -(-W // self.backbone.stride))
        seen = torch.where(hidden[..., None], 0, target)
        full = torch.where(hidden[..., None], painted.float(), target)
        return tuple(self._uint8(self.unpatchify(x, grid)[..., :H, :W]) for x in (seen, full))  # type: ignore[return-value]

    def _noise(self, batch: Batch, ratio: float, *, views: int = 1) -> Tensor:
        """(views*B,N), view by view."""
        h, w = (-(-n // self.backbone.stride) for n in batch["image"].shape[-2:])
        made = [masks(batch["position"], (h, w), ratio=ratio, block_share=self.block_share, seed=view) for view in range(views)]
        return torch.cat(made).to(batch["image"].device)

    def _uint8(self, image: Tensor) -> Tensor:
        return (image * self.normalise.std + self.normalise.mean).clamp(0, 255).round().to(torch.uint8)


def _range(ratio: float | Sequence[float]) -> tuple[float, float]:
    """The least and the most that is hidden."""
    least, most = (ratio, ratio) if isinstance(ratio, int | float) else ratio
    if not 0 < least <= most < 1:
        raise ValueError(f"the mask ratio is the share of hidden patches, or the least and the most, between 0 and 1, not {ratio}")
    return least, most


def _share(block_share: float) -> float:
    if not 0 <= block_share <= 1:
        raise ValueError(f"block_share={block_share} is no share of the pictures; it is between 0 and 1")
    return block_share
