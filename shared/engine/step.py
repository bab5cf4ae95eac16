"""How mmengine sees a model and a step: the adapter between its Runner and anything that has `losses(batch)`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from shared.dense.balance import Balancer
from shared.dense.distil import Distillation
from shared.engine.survive import Guard
from shared.engine.watch import Stopwatch


class Step(BaseModel):
    """Any module with `losses(batch) -> {"loss/<task>/<term>": scalar}`, and what balances and teaches it, if anything."""

    def __init__(self, model: nn.Module, balance: Balancer | None = None, teaching: Distillation | None = None) -> None:
        super().__init__(BaseDataPreprocessor(non_blocking=True))  # batches come in pinned memory
        self.model, self.balance, self.teaching = model, balance, teaching

    def forward(self, mode: str = "loss", **batch: Tensor) -> Any:
        if mode != "loss":
            raise ValueError(f"the training step computes losses, not {mode!r}")
        options = {} if self.balance is None else {"fork": self.balance.fork}
        if self.teaching is None:
            losses = self.model.losses(batch, **options)  # type: ignore[operator]
        else:
            losses = self.teaching.losses(self.model, batch, **options)  # type: ignore[arg-type]
        return losses if self.balance is None else self.balance.weigh(losses)

    @property
    def init_weights(self) -> Any:  # type: ignore[override]
        """None: our modules initialise themselves. mmengine would use it if it were there, and send each parameter to everybody."""
        raise AttributeError("modules initialise themselves, and a pretrained backbone stays as it was loaded")


class Autocast(OptimWrapper):
    """An optimiser step whose forward pass runs under autocast, on CPUs too (mmengine's own asserts a GPU).

    Args:
        device_type: `cpu` or `cuda`.
        dtype: None is plain float32.
        clip: largest norm of the gradient; 0: as it is.
        guard: asked before every step.
        watch: takes the time of forward, backward and optimiser.
        kwargs: as for mmengine's OptimWrapper.
    """

    def __init__(
        self, *, device_type: str, dtype: torch.dtype | None, clip: float, guard: Guard, watch: Stopwatch, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.device_type, self.dtype, self.clip, self.guard, self.watch = device_type, dtype, clip, guard, watch
        self._loss: Tensor | None = None  # of the micro-batches since the last step

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Forward under autocast, and no gradient exchange before the last of accumulated batches."""
        autocast = torch.autocast(self.device_type, self.dtype, enabled=self.dtype is not None)
        with self.watch("forward"), super().optim_context(model), autocast:
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """As mmengine's, and the loss is kept for the guard."""
        self._loss = loss.detach() if self._loss is None else self._loss + loss.detach()
        with self.watch("backward"):
            super().backward(loss, **kwargs)

    def step(self, **kwargs: Any) -> None:
        """Clip, and follow the gradient if the guard lets it pass."""
        loss, self._loss = self._loss, None
        assert loss is not None, "there is no step without a loss"
        with self.watch("optimiser"):
            parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
            norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
            norm = norm.full_tensor() if isinstance(norm, DTensor) else norm  # of shares of gradients: the norm of all of them
            if not self.guard.passes(loss, norm):
                return
            if self.clip:
                clip_grads_with_norm_(parameters, self.clip, norm)
            self.optimizer.step(**kwargs)
