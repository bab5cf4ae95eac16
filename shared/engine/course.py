"""What some models have beside `losses`: a course that they follow in training, and a form in which they leave it.

`begin(done, total)` is called before an iteration and `end(taken=...)` after it; `export(state, description)` gives what stands in
`model.safetensors`. A model without them has neither.
"""

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from shared.engine.survive import Guard
from shared.vit import lora

Export = tuple[Mapping[str, Tensor], Mapping[str, Any]]


class Course(Hook):
    """Tells a model where the training is, and after each step whether it was taken.

    Args:
        model: has `begin` and `end`; what it keeps of a course has to be in its state.
        guard: knows which steps are left out.
    """

    priority = "ABOVE_NORMAL"  # before averaging and checkpoints see the iteration

    def __init__(self, model: Any, guard: Guard) -> None:
        self.model, self.guard = model, guard

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.model.begin(runner.iter, runner.max_iters)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        self.model.end(taken=not self.guard.left_out)


def export(model: Any, adapted: Mapping[str, Any] | None, state: Mapping[str, Tensor], description: Mapping[str, Any]) -> Export:
    """Tensors and description of the file that a run leaves.

    Args:
        model: that was trained.
        adapted: dict(rank=, alpha=) of LoRA, whose products are put into the weights, which then load as any; None: there are none.
        state: of the model, whole.
        description: what the model was built from.
    """
    tensors = state if adapted is None else lora.merge(state, alpha=adapted["alpha"])
    return model.export(tensors, description) if hasattr(model, "export") else (tensors, description)
