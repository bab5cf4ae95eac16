"""AdamW whose moments have eight bits (Dettmers et al. 2021), by torchao: two bytes for each number of a matrix instead of eight.

torchao keeps moments of small tensors, and of those that blocks do not divide, in float32, and compiles the step for GPUs. The
arithmetic of a step is in float32 in any case.
"""

from importlib import import_module
from typing import Any

import torch
from torch import nn, optim

BLOCK = 256  # numbers that share a scale; torchao's, after bitsandbytes
SMALL = 4096  # numbers from which on a tensor is kept in eight bits
TABLE = 4 * 256  # bytes of what the 256 values of a moment stand for, once for each


def adamw8bit(groups: list[dict], *, lr: float, betas: tuple[float, float]) -> optim.Optimizer:
    """The optimiser of these groups.

    Raises:
        ValueError: torchao is not there.
    """
    try:
        kind = import_module("torchao.optim").AdamW8bit  # heavy, and few need it: only when it was asked for
    except ImportError as error:
        raise ValueError(
            f"optimizer=adamw8bit needs torchao, which cannot be imported ({error}); pip install torchao, or use optimizer=adamw"
        ) from error
    rates = [group["lr"] for group in groups]
    made = kind(groups, lr=lr, betas=betas, block_size=BLOCK)

    def before(*_: Any) -> None:
        """torchao wants rates as tensors, schedulers and logs want numbers; processors need not compile, which takes minutes."""
        rates[:] = [group["lr"] for group in made.param_groups]
        for group in made.param_groups:
            group["lr"] = torch.tensor(group["lr"], dtype=torch.float32)
        if not any(parameter.is_cuda for group in made.param_groups for parameter in group["params"]):
            torch.compiler.set_stance("force_eager")

    def after(*_: Any) -> None:
        for group, rate in zip(made.param_groups, rates, strict=True):
            group["lr"] = rate
        torch.compiler.set_stance("default")

    after()
    made.register_step_pre_hook(before)
    made.register_step_post_hook(after)
    return made


def state_bytes(parameter: nn.Parameter) -> int:
    """What the moments of a parameter take."""
    count = parameter.numel()
    if count < SMALL or count % BLOCK:
        return 8 * count
    return 2 * (count + 4 * count // BLOCK + TABLE)
