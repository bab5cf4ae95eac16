"""torch.compile: each block of a backbone and each decoder by itself, so that twenty-four alike are compiled once.

Modules are compiled in place: their names, weights, copies (averaging) and checkpoints are those of plain ones, and what shares a
block out or exchanges its gradients stands around it. What was compiled is kept on disk by PyTorch (TORCHINDUCTOR_CACHE_DIR, else a
folder of the user's under /tmp), for the next run.
"""

import os
import shutil
from typing import Any

import torch
from torch import nn

from shared.dense.decoder import Decoder
from shared.vit.block import Block

MODES: dict[Any, str | None] = {True: None, "max-autotune": "max-autotune-no-cudagraphs"}  # graphs would pin every block's outputs
COMPILERS = ("g++", "clang++", "c++")


def compile_parts(
    model: nn.Module, how: bool | str | None, device: torch.device, *, fixed: bool = True, backend: str = "inductor"
) -> int:
    """Compile what a model spends its time in, before it is shared out; it happens at the first step or picture.

    Args:
        model: with blocks and decoders in it.
        how: False or None leaves it as it is; True; or `max-autotune`, which tries kernels out and takes minutes.
        device: that it will run on.
        fixed: every shape is compiled by itself. Training has one (batches are never cut short, and as many patches are hidden of
            every picture), and validation another. False: batches of any length, after the second one.
        backend: of torch.compile.

    Returns:
        How many parts.

    Raises:
        ValueError: no such way, or no compiler for processors is there, or no parts.
    """
    if not how:
        return 0
    if how not in MODES:
        raise ValueError(f"there is no compile={how!r}; choose False, True or 'max-autotune'")
    if device.type == "cpu" and backend == "inductor" and not any(map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS))):
        raise ValueError("to compile for processors takes a C++ compiler, and there is none; install g++, or go on without compile")
    parts = [part for part in model.modules() if isinstance(part, Block | Decoder)]
    if not parts:
        raise ValueError("there is nothing to compile: an exported model runs as it was written; leave --compile out")
    for part in parts:
        part.compile(backend=backend, dynamic=False if fixed else None, **({"mode": MODES[how]} if MODES[how] else {}))
    return len(parts)
