"""Low-rank adaptation (LoRA, Hu et al. 2021): weights stand still, and a product of two thin matrices beside them is trained.

Letters: r rank, i and o the numbers that a layer takes and gives.
"""

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared.vit.model import ViT


class Adapted(nn.Module):
    """x W' + b + alpha / r * (x down') up': what `linear` gives, at first exactly, since `up` begins as zeros.

    Its tensors are called as those of `linear`, with `down` (r,i) and `up` (o,r) beside them.

    Args:
        linear: stands still.
        rank: r.
        alpha: weight of what is added, times r.
    """

    def __init__(self, linear: nn.Linear, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.weight, self.bias, self.scale = linear.weight, linear.bias, alpha / rank
        like = {"dtype": linear.weight.dtype, "device": linear.weight.device}
        self.down = nn.Parameter(torch.empty(rank, linear.in_features, **like))
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank, **like))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)  # as PyTorch begins a linear layer, and the authors' code this one

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias) + self.scale * F.linear(F.linear(x, self.down), self.up)


def adapt(backbone: ViT, *, rank: int, alpha: float) -> None:
    """Hold the backbone still but for such a product beside every linear layer of its blocks: attention and feed-forward.

    Raises:
        ValueError: a rank or a weight that is none, or a rank that is no saving.
    """
    if not isinstance(rank, int) or not 1 <= rank < backbone.dim or not alpha > 0:
        raise ValueError(
            f"lora has rank={rank} and alpha={alpha}; a rank is a whole number from 1 to {backbone.dim - 1}, the width of this "
            "backbone less one, and alpha is more than 0, for example rank=16, alpha=32"
        )
    backbone.requires_grad_(False)
    for part, name, linear in list(_layers(backbone)):
        setattr(part, name, Adapted(linear, rank=rank, alpha=alpha))


def _layers(backbone: ViT) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """Where each linear layer stands, its name there, and itself."""
    for block in backbone.blocks:
        for part in (block.attn, block.mlp):
            yield from ((part, name, child) for name, child in part.named_children() if isinstance(child, nn.Linear))  # type: ignore[union-attr]


def merge(state: Mapping[str, Tensor], *, alpha: float) -> dict[str, Tensor]:
    """The state dict of the same model without adaptation: each product is in the weight it stood beside.

    Args:
        state: of a model with an adapted part; one without comes back as it is.
        alpha: as in `adapt`.
    """
    merged = {name: tensor for name, tensor in state.items() if not name.endswith((".down", ".up"))}
    for name, down in state.items():
        if name.endswith(".down"):
            layer = name.removesuffix(".down")
            added = alpha / len(down) * (state[f"{layer}.up"].double() @ down.double())
            merged[f"{layer}.weight"] = (state[f"{layer}.weight"].double() + added).to(state[f"{layer}.weight"].dtype)
    return merged
