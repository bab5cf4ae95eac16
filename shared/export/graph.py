"""What is traced: a model that is called with pictures alone and gives its answers in a fixed order."""

from typing import Any

import torch
from torch import Tensor, nn

from shared.dense.frame import finished
from shared.dense.model import DenseModel


class Graph(nn.Module):
    """uint8 RGB (B,3,H,W) of the network's size -> an answer of each task, in their order.

    Args:
        model: whose answers.
        raw: as the decoders give them, (B,C,h,w), for whoever blends and decodes; else as `finished`.
    """

    def __init__(self, model: DenseModel, *, raw: bool) -> None:
        super().__init__()
        self.model, self.raw = model, raw

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found = self.model(image)
        size = (image.shape[2], image.shape[3])
        return tuple(found[t.name] if self.raw else finished(t, found[t.name], size) for t in self.model.tasks)


def traced(graph: Graph, pictures: Tensor, *, fixed: bool) -> Any:
    """A program of torch.export. It is traced as for training: without gradients, heads on processors take ways of their own.

    `strict=False` runs the model's Python as it is instead of analysing it: a branch is baked in as it was taken, and whoever
    writes the program compares it with the model on other pictures, and on another number of them.
    """
    shapes = None if fixed else ({0: torch.export.Dim("batch", min=1, max=2**16)},)
    try:
        with torch.enable_grad():
            return torch.export.export(graph, (pictures,), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # whatever a model does that a graph cannot
        raise ValueError(f"this model cannot be traced{'' if fixed else ' for any number of pictures; try --batch 1'}: "
                         f"{str(error).strip().splitlines()[0]}") from error  # fmt: skip
