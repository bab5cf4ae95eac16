"""Rows of one pass through a model of four tasks: each task alone and all of them together, on one device.

`shared.engine.compare` measures and counts; a pass is a forward one and nothing else, in bf16. Autocast lowers each weight
once for all passes of a row. Answers stay on the device as the network gives them: what becomes of photos is in busy.py.
"""

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from speed_table import Bench, Row
from torch import Tensor

from shared.dense.decoder import Spec
from shared.dense.model import DenseModel
from shared.engine.compare import REPEATS, Cost, cost
from shared.infer.predictor import Predictor
from shared.vit.model import ViT
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pose.task import Pose
from tasks.seg.task import Seg

TOGETHER = "all in one pass"


class Joint(NamedTuple):
    """A model of four tasks with random weights."""

    name: str
    size: str | Mapping[str, Any]
    image_hw: tuple[int, int]
    device: torch.device
    decoder: Spec | None = None  # of every task; None: the official ones
    batches: tuple[int, ...] = (1, 8)
    skeleton: str = "sapiens308"

    def model(self) -> DenseModel:
        """Made where it answers: a GPU draws a billion numbers in no time."""
        with self.device:
            vit = ViT(self.size, image_hw=self.image_hw)
            return DenseModel(vit, [Pose(skeleton=self.skeleton), Seg(), Depth(), Normal()], decoder=self.decoder).eval()

    def pictures(self, batch: int) -> Tensor:
        """(B,3,H,W) uint8 of noise."""
        made = torch.Generator().manual_seed(0)
        image = torch.randint(0, 256, (batch, 3, *self.image_hw), dtype=torch.uint8, generator=made)
        return image.to(self.device)


def ways(model: DenseModel) -> dict[str, list[str]]:
    """How a model may be asked: title -> names of the tasks."""
    names = [task.name for task in model.tasks]
    return {TOGETHER: names, **{f"{name} alone": [name] for name in names}}


def rows(bench: Bench, joint: Joint, model: DenseModel, *, repeats: int = REPEATS) -> Generator[Row, None, dict[str, Cost]]:
    """Of every batch; returns the costs of the last one by way."""
    known: dict[str, Cost] = {}
    for batch in joint.batches:
        known = yield from passes(bench, f"{joint.name}, batch {batch}", model, joint.pictures(batch), repeats=repeats)
    return known


def compiled(bench: Bench, joint: Joint, model: DenseModel, known: Mapping[str, Cost], *, repeats: int = REPEATS) -> Iterator[Row]:
    """Of the last batch, compiled as `--compile` does; from then on the model is. `known` are its costs before."""
    Predictor(model, device=bench.device, compiled=True)
    batch = joint.batches[-1]
    yield from passes(bench, f"{joint.name}, batch {batch}, compiled", model, joint.pictures(batch), repeats=repeats, known=known)


def passes(
    bench: Bench, name: str, model: DenseModel, image: Tensor, *, repeats: int = REPEATS, known: Mapping[str, Cost] | None = None
) -> Generator[Row, None, dict[str, Cost]]:
    """A row for each way, and what the joint pass takes of what the others take; returns the costs by way.

    Args:
        bench: where.
        name: what the rows have in common.
        model: of several tasks.
        image: (B,3,H,W) uint8, on the device.
        repeats: measured passes.
        known: costs before the model was compiled; only these ways are measured, and their arithmetic is not counted again.
    """
    found: dict[str, Cost] = {}

    def measure(way: str, only: list[str]) -> Row:
        flops = None if known is None else known[way].flops
        one = found[way] = cost(model, image, only, repeats=repeats, bf16=True, flops=flops)
        return Row("", len(image) / one.seconds, one.flops / one.seconds / 1e12)

    for way, only in ways(model).items():
        if known is None or way in known:
            yield bench.row(f"{name}, {way}", partial(measure, way, only))
    alone = [one for way, one in found.items() if way != TOGETHER]
    if TOGETHER in found and len(alone) == len(model.tasks):
        seconds, flops = (getattr(found[TOGETHER], of) / sum(getattr(one, of) for one in alone) for of in ("seconds", "flops"))
        yield Row(f"{name}, one pass / apart", why=f"{seconds:.3f} of the seconds, {flops:.3f} of the arithmetic")
    return found
