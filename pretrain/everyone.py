"""What all processes of a training know together; alone, a process is everyone. Letters: b rows of one process, B of all."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gathered(rows: Tensor) -> tuple[Tensor, int]:
    """Rows (b,D) of this process -> those of everyone (B,D), and the number of its first one among them.

    What the others' costs want of a row comes back to it with the gradient. All have equally many, and all have to ask.
    """
    if not _several():
        return rows, 0
    together: Any = _Gathered.apply(rows)
    return together, dist.get_rank() * len(rows)


def averaged(values: Tensor) -> Tensor:
    """The mean of a tensor over the processes, which all have to ask. No gradient."""
    if not _several():
        return values
    mean = values.detach().clone()
    dist.all_reduce(mean)
    return mean / dist.get_world_size()


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *pulls: Tensor) -> Tensor:
        pull = pulls[0].contiguous().clone()
        dist.all_reduce(pull)
        return pull.chunk(dist.get_world_size())[dist.get_rank()]


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
