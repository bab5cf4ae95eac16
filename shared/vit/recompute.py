"""What blocks keep for the backward pass, and what they compute again there (Chen et al. 2016; Korthikanti et al. 2022).

| recompute | kept of a block | computed again |
|---|---|---|
| 0 or False | everything | nothing |
| k, or True, which is 1 | of every k-th block its input; everything of the others | those blocks: a third more arithmetic at 1 |
| selective | its input, and what matrix products and attention answer | norms, activation, all that is cheap |

Gradients are the same bit for bit: what is computed again is computed in the same way.
"""

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

Recompute = bool | int | Literal["selective"]
EXPENSIVE = [  # operations whose answers `selective` keeps
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
]


def check(recompute: Any, depth: int) -> None:
    """Refuse what is no way to recompute some of so many blocks.

    Raises:
        ValueError: neither a number of blocks nor `selective`.
    """
    if recompute != "selective" and not (isinstance(recompute, int) and 0 <= recompute <= depth):
        raise ValueError(
            f"recompute={recompute!r} is no way to recompute {depth} blocks; choose 0 for none, k for every k-th, 1 for all of "
            "them, or selective"
        )


def again(recompute: Recompute, block: int) -> bool:
    """Whether that block, counted from 0, computes something again."""
    return recompute == "selective" or (bool(recompute) and (block + 1) % int(recompute) == 0)


def run(block: nn.Module, *inputs: Any, recompute: Recompute) -> Tensor:
    """The block's answer; in the backward pass it is computed again, but what `selective` keeps."""
    if recompute == "selective":
        return checkpoint(block, *inputs, use_reentrant=False, context_fn=partial(create_selective_checkpoint_contexts, EXPENSIVE))
    return checkpoint(block, *inputs, use_reentrant=False)
