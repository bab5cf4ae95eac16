"""Where the backbone's features go to the decoders, and where on the way back the gradients of all tasks are in one hand.

An ordinary backward pass adds up the gradients that the decoders return. The fork takes them one by one instead, in that same pass:
telling the tasks apart costs the memory of T maps of features and no further backward pass, gradients of the decoders stay as
they are, and DDP, recomputed activations and autocast see the one graph that they always see.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from shared.dense.balance.rule import Place

Join = Callable[[Tensor, tuple[Tensor, ...]], Tensor]


class Fork(torch.autograd.Function):
    """Features -> the same features for each of `count` tasks; backward, `join(features, gradients)` is what the backbone gets."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, count: int, join: Join) -> tuple[Tensor, ...]:
        ctx.save_for_backward(features)
        ctx.join = join
        return tuple(features.view_as(features) for _ in range(count))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return ctx.join(ctx.saved_tensors[0], gradients), None, None


def parameters_at(backbone: nn.Module, where: Place) -> list[nn.Parameter]:
    """The trained parameters at that place; none stand for the features themselves."""
    if where == "features":
        return []
    layer = backbone if where == "trunk" else backbone.norm
    return [parameter for parameter in layer.parameters() if parameter.requires_grad]  # type: ignore[union-attr]


def rows_of(features: Tensor, gradients: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> Tensor:
    """The gradients of T tasks at the features -> (T,m) float32, at the features or at the parameters below them.

    Features of other processes are other numbers; parameters are the same ones, and their gradient is the mean of all processes.
    """
    if not parameters:
        return torch.stack([gradient.flatten().float() for gradient in gradients])
    rows = [torch.cat([part.flatten().float() for part in _below(features, parameters, gradient)]) for gradient in gradients]
    return averaged(torch.stack(rows))


def _below(features: Tensor, parameters: Sequence[nn.Parameter], gradient: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(features, parameters, gradient, retain_graph=True, materialize_grads=True)


def products(rows: Tensor) -> Tensor:
    """(T,m) -> (T,T), in the full precision of float32 whatever surrounds it."""
    with torch.autocast(rows.device.type, enabled=False):
        return rows @ rows.T


def averaged(value: Tensor) -> Tensor:
    """The mean over all processes."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value / dist.get_world_size()
