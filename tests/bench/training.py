"""Training steps of equal models, ours and others', and how long each takes.

`plain` is what is written in an afternoon: timm's blocks, torch's AdamW as it comes, autocast, clipping; nothing of ours is in it
but the table of positions. Letters: B batch, N patches, n kept.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from pretrain.model import MaskedAutoencoder
from shared.dense.decoder import Spec
from shared.dense.model import DenseModel
from shared.engine import optim
from shared.engine.session import Session
from shared.engine.step import Autocast, Step
from shared.engine.survive import Guard, Signals
from shared.engine.watch import Stopwatch
from shared.vit.model import MEAN, STD, ViT
from shared.vit.position import sincos
from shared.vit.sizes import size_of
from tasks.seg.task import Seg

RATIO, PATCH = 0.75, 16
Take = Callable[[], Any]  # one training step


class Setup(NamedTuple):
    """What is trained, on what, in which precision."""

    size: str | Mapping[str, Any]
    image_hw: tuple[int, int]
    batch: int
    device: torch.device
    dtype: torch.dtype | None
    decoder: tuple[int, int, int] = (512, 8, 16)  # of MAE: width, blocks, heads
    head: tuple[int, ...] = (768, 768, 768)  # of the dense model: as many doublings, and as many convolutions
    recompute: bool = False

    def pictures(self) -> dict[str, Tensor]:
        made = torch.Generator().manual_seed(0)
        image = torch.randint(0, 256, (self.batch, 3, *self.image_hw), dtype=torch.uint8, generator=made)
        seg = torch.randint(0, 28, (self.batch, *self.image_hw), dtype=torch.uint8, generator=made)
        return {"image": image.to(self.device), "seg": seg.to(self.device), "position": torch.arange(self.batch)}


class PlainMAE(nn.Module):
    """Masked autoencoding by hand, after the paper (He et al. 2022)."""

    pos: Tensor
    decoder_pos: Tensor

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        dim, depth, heads, *_ = size_of(setup.size)
        width, blocks, queries = setup.decoder
        grid = (setup.image_hw[0] // PATCH, setup.image_hw[1] // PATCH)
        self.patch_embed = nn.Conv2d(3, dim, PATCH, PATCH)
        self.cls_token, self.mask_token = nn.Parameter(torch.zeros(1, 1, dim)), nn.Parameter(torch.zeros(1, 1, width))
        for name, size in (("pos", dim), ("decoder_pos", width)):
            self.register_buffer(name, F.pad(sincos(size, grid), (0, 0, 1, 0))[None])
        self.blocks = nn.ModuleList(Block(dim, heads, qkv_bias=True) for _ in range(depth))
        self.norm, self.embed = nn.LayerNorm(dim), nn.Linear(dim, width)
        self.decoder = nn.ModuleList(Block(width, queries, qkv_bias=True) for _ in range(blocks))
        self.decoder_norm, self.predict = nn.LayerNorm(width), nn.Linear(width, 3 * PATCH**2)

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.patch_embed(image).flatten(2).transpose(1, 2) + self.pos[:, 1:]
        B, N, _ = tokens.shape
        shuffle = torch.rand(B, N, device=image.device).argsort(1)
        order, n = shuffle.argsort(1), int(N * (1 - RATIO))
        tokens = tokens.gather(1, shuffle[:, :n, None].expand(-1, -1, tokens.shape[2]))
        tokens = torch.cat([(self.cls_token + self.pos[:, :1]).expand(B, -1, -1), tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.embed(self.norm(tokens))
        full = torch.cat([tokens[:, 1:], self.mask_token.expand(B, N - n, -1).to(tokens.dtype)], 1)
        full = full.gather(1, order[..., None].expand(-1, -1, full.shape[2]))
        tokens = torch.cat([tokens[:, :1], full], 1) + self.decoder_pos
        for block in self.decoder:
            tokens = block(tokens)
        painted = self.predict(self.decoder_norm(tokens))[:, 1:].float()
        target = F.pixel_unshuffle(image, PATCH).flatten(2).transpose(1, 2)
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        hidden = (order >= n).float()
        return (((painted - target) ** 2).mean(-1) * hidden).sum() / hidden.sum()


class PlainDense(nn.Module):
    """A ViT of timm's blocks and a head of transposed convolutions, with cross-entropy."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        dim, depth, heads, *_ = size_of(setup.size)
        self.grid = (setup.image_hw[0] // PATCH, setup.image_hw[1] // PATCH)
        self.patch_embed = nn.Conv2d(3, dim, PATCH, PATCH)
        self.pos = nn.Parameter(sincos(dim, self.grid)[None])
        self.blocks = nn.ModuleList(Block(dim, heads, qkv_bias=True) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        layers: list[nn.Module] = []
        for width in setup.head:
            layers += [nn.ConvTranspose2d(dim, width, 4, 2, 1, bias=False), nn.InstanceNorm2d(width), nn.SiLU(inplace=True)]
            dim = width
        for width in setup.head:
            layers += [nn.Conv2d(dim, width, 1), nn.InstanceNorm2d(width), nn.SiLU(inplace=True)]
            dim = width
        self.head = nn.Sequential(*layers, nn.Conv2d(dim, 28, 1))

    def forward(self, image: Tensor, seg: Tensor) -> Tensor:
        tokens = self.patch_embed(image).flatten(2).transpose(1, 2) + self.pos
        for block in self.blocks:
            tokens = block(tokens)
        raw = self.head(self.norm(tokens).transpose(1, 2).unflatten(2, self.grid)).float()
        raw = F.interpolate(raw, seg.shape[-2:], mode="bilinear", align_corners=False)
        return F.cross_entropy(raw, seg.long(), ignore_index=255)


def model_of(setup: Setup, kind: str) -> MaskedAutoencoder | DenseModel:
    """Our model of `mae` or `seg`, made where it is trained: a GPU draws a billion numbers in no time."""
    mae = kind == "mae"
    width, blocks, heads = setup.decoder
    with setup.device:
        vit = ViT(setup.size, image_hw=setup.image_hw, cls=mae, fixed_position=mae, recompute=setup.recompute)
        if mae:
            return MaskedAutoencoder(vit, ratio=RATIO, dim=width, depth=blocks, heads=heads)
        return DenseModel(vit, [Seg(weighted=False)], decoder=Spec(setup.head, setup.head))


def ours(setup: Setup, kind: str) -> tuple[Take, nn.Module]:
    """The step as the engine takes it, of `mae` or `seg`."""
    model = model_of(setup, kind)
    step = Step(model).to(setup.device).train()
    wrapper = Autocast(
        device_type=setup.device.type,
        dtype=setup.dtype,
        clip=1.0,
        guard=Guard(Session(setup.device), Signals(), spike=0.0, skips=10),
        watch=Stopwatch(setup.device),
        optimizer=optim.adamw(model, lr=1e-4, weight_decay=0.05, layer_decay=1.0, betas=(0.9, 0.95)),
    )
    batch = setup.pictures()
    return lambda: step.train_step(batch, optim_wrapper=wrapper), model  # type: ignore[arg-type]


def plain(setup: Setup, kind: str) -> tuple[Take, nn.Module]:
    """The same by hand."""
    model = (PlainMAE if kind == "mae" else PlainDense)(setup).to(setup.device).train()
    return _loop(setup, model, lambda image, batch: model(image) if kind == "mae" else model(image, batch["seg"])), model


def transformers(setup: Setup, kind: str) -> tuple[Take, nn.Module]:
    """ViTMAEForPreTraining of the same sizes, in the same loop; its pictures are square."""
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    dim, depth, heads, *_ = size_of(setup.size)
    width, blocks, queries = setup.decoder
    model = ViTMAEForPreTraining(
        ViTMAEConfig(
            hidden_size=dim,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            intermediate_size=4 * dim,
            image_size=setup.image_hw[0],
            patch_size=PATCH,
            decoder_hidden_size=width,
            decoder_num_hidden_layers=blocks,
            decoder_num_attention_heads=queries,
            decoder_intermediate_size=4 * width,
            mask_ratio=RATIO,
            norm_pix_loss=True,
        )
    )
    model = model.to(setup.device).train()  # type: ignore[arg-type]
    return _loop(setup, model, lambda image, batch: model(pixel_values=image).loss), model


def _loop(setup: Setup, model: nn.Module, loss_of: Callable[[Tensor, dict[str, Tensor]], Tensor]) -> Take:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, betas=(0.9, 0.95))
    mean, std = (torch.tensor(values, device=setup.device).view(1, 3, 1, 1) for values in (MEAN, STD))
    batch = setup.pictures()

    def take() -> None:
        image = (batch["image"].float() - mean) / std
        with torch.autocast(setup.device.type, setup.dtype, enabled=setup.dtype is not None):
            loss = loss_of(image, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()  # for the log

    return take


def in_turn(steps: Mapping[str, Take], *, rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each step, one after the other in every round; after a round that does not count."""
    cuda = device.type == "cuda"
    found: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, take in steps.items():
            if cuda:
                torch.cuda.synchronize()
            began = time.perf_counter() if cuda else time.process_time()
            take()
            if cuda:
                torch.cuda.synchronize()
            if number:
                found[name].append((time.perf_counter() if cuda else time.process_time()) - began)
    return found


def ratios(found: Mapping[str, list[float]], *, mine: str = "ours") -> dict[str, float]:
    """How many times as long each other step takes, the median over rounds."""
    return {name: statistics.median(b / a for a, b in zip(found[mine], seconds)) for name, seconds in found.items() if name != mine}
