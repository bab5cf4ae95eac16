"""Muon (Jordan et al. 2024): a step of a matrix moves all its directions alike. timm's and PyTorch's own compute it in bf16 only,
which processors without bf16 emulate some thirty times slower (docs/log.md); the arithmetic here is timm's, in a precision that
suits the device."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from timm.optim.muon import zeropower_via_newtonschulz
from torch import Tensor, optim

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic, Jordan et al. 2024
STEPS = 5
RMS = 0.2  # of an update of AdamW; Liu et al. 2025, section 2.2


class Muon(optim.AdamW):
    """Muon for groups with `orthogonal=True`, AdamW for the others.

    Args:
        params: groups with `params`, `lr`, `weight_decay`, `orthogonal`; orthogonal tensors have two or more axes, and those of
            convolutions are read as matrices of their first axis against the rest.
        lr: one rate for both kinds, since Muon's steps are scaled to the size of AdamW's.
        momentum: of Muon, with Nesterov's look ahead.
        betas: of AdamW.
    """

    def __init__(self, params: Iterable[dict[str, Any]], *, lr: float, betas: tuple[float, float], momentum: float = 0.95) -> None:
        super().__init__(params, lr=lr, betas=betas, fused=True)
        self.momentum = momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; a closure is not called, as nothing here looks for a better step."""
        if closure is not None:
            raise ValueError("this optimizer takes no closure; call backward before step")
        done: list[tuple[Tensor, Tensor]] = []
        for group in self.param_groups:
            for weight in group["params"] if group["orthogonal"] else ():
                if weight.grad is not None:
                    self._turn(weight, weight.grad, group["lr"], group["weight_decay"])
                    done.append((weight, weight.grad))
                    weight.grad = None  # AdamW passes over what has no gradient
        super().step()
        for weight, gradient in done:
            weight.grad = gradient

    def _turn(self, weight: Tensor, gradient: Tensor, lr: float, weight_decay: float) -> None:
        state = self.state[weight]
        if not state:
            state |= {"momentum": torch.zeros_like(weight), "step": torch.zeros(())}  # AdamW looks for its `step` on loading
        state["step"] += 1
        average = state["momentum"].lerp_(gradient, 1 - self.momentum)
        matrix = gradient.lerp(average, self.momentum).flatten(1)
        dtype = torch.bfloat16 if weight.is_cuda else torch.float32
        update = zeropower_via_newtonschulz(matrix, STEPS, [COEFFICIENTS], dtype=dtype).reshape(weight.shape)
        weight.mul_(1 - lr * weight_decay).add_(update.to(weight.dtype), alpha=-lr * RMS * max(matrix.shape) ** 0.5)
