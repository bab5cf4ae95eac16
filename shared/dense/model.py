"""DenseModel: one backbone, one decoder per task. A single task is the case of one."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import cast

import torch
from torch import Tensor, nn

from shared.dense.decoder import Decoder, Spec
from shared.task import Batch, Task
from shared.vit.model import MEAN, STD, Normalise, ViT

Fork = Callable[[Tensor, Sequence[str], nn.Module], Mapping[str, Tensor]]  # features, names, backbone -> features for each name


class DenseModel(nn.Module):
    """uint8 RGB (B,3,H,W) -> raw answers by task name, each (B,C,h,w).

    The image may have any size: the backbone pads to its patch on the right and at the bottom, and the raw answers are cut back to
    the image's frame (exactly where the stride of the head divides the size, else rounded up to it).

    Args:
        backbone: normalised image -> features (B,D,h,w); has `dim` and `stride`.
        tasks: one decoder each, in this order.
        decoder: widths for every decoder; None takes each task's own, which are the official ones.
        weights: task name -> factor of its losses; 1 where absent.
        mean: of RGB in 0..255.
        std: likewise.

    Raises:
        ValueError: two tasks of one name, or a weight for a task that is not there.
    """

    def __init__(
        self,
        backbone: ViT,
        tasks: Sequence[Task],
        *,
        decoder: Spec | None = None,
        weights: Mapping[str, float] | None = None,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
    ) -> None:
        super().__init__()
        names = [task.name for task in tasks]
        if len(set(names)) != len(names):
            raise ValueError(f"two tasks have the same name: {', '.join(names)}; give each task once")
        self.weights = dict(weights or {})
        if unknown := set(self.weights) - set(names):
            raise ValueError(f"weights names {', '.join(sorted(unknown))}, but the tasks are {', '.join(names)}")
        self.tasks = tuple(tasks)
        self.normalise = Normalise(tuple(mean), tuple(std))
        self.backbone = backbone
        self.decoders = nn.ModuleDict(
            {t.name: Decoder(backbone.dim, t.channels, **{**t.head, **({"spec": decoder} if decoder else {})}) for t in tasks}
        )

    def forward(self, image: Tensor, *, only: Sequence[str] | None = None, fork: Fork | None = None) -> dict[str, Tensor]:
        """Raw answers; `only` leaves the other decoders out, `fork` stands where the features go to the decoders."""
        features = self.backbone(self.normalise(image))
        names = [t.name for t in self.tasks] if only is None else only
        each = dict.fromkeys(names, features) if fork is None else fork(features, names, self.backbone)
        return {name: self._cut(self.decoders[name](each[name]), features, image) for name in names}

    def losses(self, batch: Batch, *, fork: Fork | None = None) -> dict[str, Tensor]:
        """Weighted terms, `loss/<task>/<term>`: the whole demand of the engine on a model; `fork` as in `forward`."""
        return self.costs(self(batch["image"], fork=fork), batch)

    def costs(self, raw: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """`losses` of answers that are there already."""
        return {
            f"loss/{task.name}/{term}": self.weights.get(task.name, 1.0) * value
            for task in self.tasks
            for term, value in task.loss(raw[task.name].float(), batch).items()
        }

    def lower(self, dtype: torch.dtype) -> None:
        """Keep the weights of products in the precision to which autocast would cast them for every picture; answers stay.

        From then on the model runs under that autocast alone, and cannot learn.
        """
        decoders = [layer for decoder in self.decoders.values() for layer in cast(Decoder, decoder).lowered()]
        for layer in (*self.backbone.modules(), *decoders):
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                layer.requires_grad_(False).to(dtype)
        _give_back()

    def _cut(self, raw: Tensor, features: Tensor, image: Tensor) -> Tensor:
        """Leave out what stands on the backbone's padding."""
        stride = self.backbone.stride * features.shape[-1] / raw.shape[-1]
        H, W = (int(-(-n // stride)) for n in image.shape[-2:])
        return raw[..., :H, :W]


def _give_back() -> None:
    """Freed memory back to the system. The C library keeps what lies between pieces in use: of a 0.3b, half a gigabyte."""
    with suppress(AttributeError, OSError, TypeError):  # C libraries other than GNU's have no such call
        ctypes.CDLL(None).malloc_trim(0)
