"""One process among others: device, rank, process group. Everything here works alone, under torchrun on CPUs and on GPUs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.distributed as dist

from shared.checkpoint import device_of


class Session(NamedTuple):
    """Who this process is."""

    device: torch.device
    rank: int = 0
    processes: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0


@contextmanager
def session(device: str = "auto") -> Iterator[Session]:
    """Join the job that torchrun started, if it did; leave it at the end.

    Raises:
        ValueError: the device is not there.
    """
    chosen = device_of(device)
    if "RANK" not in os.environ:
        if chosen.type == "cuda" and chosen.index is not None:
            torch.cuda.set_device(chosen)  # where whatever names no number belongs: events, timers, peak memory
        yield Session(chosen)
        return
    if chosen.type == "cuda":
        chosen = device_of(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Session(chosen, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def precision_of(name: str, device: torch.device) -> torch.dtype | None:
    """`auto`, `fp32`, `bf16` -> the type of autocast, None for full float32. `auto` is bf16 on GPUs that have it.

    Raises:
        ValueError: no such precision.
    """
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else None
    if name not in ("fp32", "bf16"):
        raise ValueError(f"there is no precision {name!r}; choose auto, fp32 or bf16")
    return torch.bfloat16 if name == "bf16" else None
