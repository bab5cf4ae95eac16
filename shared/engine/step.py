"""How mmengine sees a model and a step: the adapter between its Runner and anything that has `losses(batch)`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from shared.dense.balance import Balancer


class Step(BaseModel):
    """Any module with `losses(batch) -> {"loss/<task>/<term>": scalar}`, and what balances its tasks, if anything does."""

    def __init__(self, model: nn.Module, balance: Balancer | None = None) -> None:
        super().__init__()
        self.model, self.balance = model, balance

    def forward(self, mode: str = "loss", **batch: Tensor) -> Any:
        if mode != "loss":
            raise ValueError(f"the training step computes losses, not {mode!r}")
        if self.balance is None:
            return self.model.losses(batch)  # type: ignore[operator]
        return self.balance.weigh(self.model.losses(batch, fork=self.balance.fork))  # type: ignore[operator]

    def init_weights(self) -> None:
        """Nothing: our modules initialise themselves, and a pretrained backbone must stay as it was loaded."""


class Autocast(OptimWrapper):
    """An optimiser step whose forward pass runs under autocast, on CPUs too (mmengine's own asserts a GPU).

    Args:
        device_type: `cpu` or `cuda`.
        dtype: None is plain float32.
        kwargs: as for mmengine's OptimWrapper.
    """

    def __init__(self, *, device_type: str, dtype: torch.dtype | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.device_type, self.dtype = device_type, dtype

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Forward under autocast, and no gradient exchange before the last of accumulated batches."""
        with super().optim_context(model), torch.autocast(self.device_type, self.dtype, enabled=self.dtype is not None):
            yield
