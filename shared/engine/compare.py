"""The command of `tasks/joint/compare.py`: what a joint model costs against a model for each task, and how well each one answers.

Of a model with several tasks there is a line for all of them in one pass, one for each task alone (the same backbone, its own
decoder and no other), and one for those one after another: what single-task models of that size cost. Parameters are counted;
arithmetic is that of one forward pass by torch.utils.flop_counter, a multiplication and an addition being two; seconds are the
median of measured passes of random pictures, in full precision unless asked otherwise. Reading pictures and bringing answers to
their size comes on top, the same for all. Scores are the main ones of a run's last validation, as its checkpoint has them.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from shared import checkpoint
from shared.build import build
from shared.data.options import positive
from shared.dense.model import DenseModel
from shared.engine.config import describe, load
from shared.engine.plan import ATTENTION

REPEATS = 5  # measured passes
TITLE = 34  # characters of the first column


class Cost(NamedTuple):
    """One pass for one batch."""

    parameters: int
    flops: int
    seconds: float


class Compared(NamedTuple):
    """A model, and what is known of it."""

    name: str
    model: DenseModel
    balance: str  # how its tasks shared the backbone in training
    scores: Mapping[str, float]  # `<task>/<score>`, as far as its checkpoint has them


def compared(path: str) -> Compared:
    """A model of a config (.py), untrained, or of a checkpoint.

    Raises:
        ValueError: it is neither, or a model that answers nothing.
    """
    if path.endswith(".py"):
        config, scores = load(path, []), {}
        model: nn.Module = build(describe(config))
    else:
        model, about = checkpoint.load(path)
        config, scores = about.get("config") or {}, about.get("scores") or {}
    if not isinstance(model, DenseModel):
        raise ValueError(f"{path} is a {type(model).__name__}, which answers nothing; give models of tasks")
    where = Path(path)
    name = where.stem if where.stem != "model" else where.parent.name
    return Compared(name, model.eval(), _rule(config.get("balance")), scores)


def _rule(balance: Any) -> str:
    """A balancing rule as the table names it."""
    if balance is None:
        return "-"
    kind = balance.get("type", balance) if isinstance(balance, Mapping) else balance
    return str(getattr(kind, "__name__", kind)).rpartition(".")[2]


def cost(
    model: DenseModel,
    image: Tensor,
    only: Sequence[str],
    *,
    repeats: int = REPEATS,
    bf16: bool = False,
    flops: int | None = None,
) -> Cost:
    """What answering some of a model's tasks takes.

    Args:
        model: where `image` is.
        image: (B,3,H,W) uint8.
        only: names of the tasks.
        repeats: measured passes, after one that warms up.
        bf16: autocast.
        flops: of the pass, where they are known: they cannot be counted in a model that is compiled.
    """
    parts = [model.backbone, *(model.decoders[name] for name in only)]
    parameters = sum(parameter.numel() for part in parts for parameter in part.parameters())
    counter, seconds = FlopCounterMode(display=False, custom_mapping=ATTENTION), []
    with torch.no_grad(), torch.autocast(image.device.type, torch.bfloat16, enabled=bf16):
        with counter if flops is None else nullcontext():
            model(image, only=only)
        for _ in range(repeats):
            began = _now(image)
            model(image, only=only)
            seconds.append(_now(image) - began)
    return Cost(parameters, counter.get_total_flops() if flops is None else flops, median(seconds))


def _now(image: Tensor) -> float:
    """Seconds, when all that was asked of the device is done."""
    if image.is_cuda:
        torch.cuda.synchronize(image.device)
    return time.perf_counter()


def rows(one: Compared, image: Tensor, **options: Any) -> dict[str, Cost]:
    """Lines of a model by title: all tasks in one pass and, where there are several, each alone and one after another."""
    names = [task.name for task in one.model.tasks]
    found = {one.name: cost(one.model, image, names, **options)}
    if len(names) > 1:
        each = {f"  {name} alone": cost(one.model, image, [name], **options) for name in names}
        found |= each | {"  one after another": Cost(*(sum(column) for column in zip(*each.values())))}
    return found


def table(models: Sequence[Compared], found: Sequence[Mapping[str, Cost]]) -> str:
    """The models as text; the last line of one with several tasks is its share of what they cost one after another."""
    main = list(dict.fromkeys(f"{task.name}/{task.score.name}" for one in models for task in one.model.tasks))
    lines = [f"{'model':{TITLE}}{'balance':>14}{'M params':>10}{'GFLOP':>10}{'ms':>10}" + "".join(f"{name:>17}" for name in main)]
    for one, lot in zip(models, found):
        for title, row in lot.items():
            own = title == one.name
            numbers = f"{row.parameters / 1e6:>10.2f}{row.flops / 1e9:>10.2f}{1e3 * row.seconds:>10.1f}"
            scores = "".join(f"{one.scores[name]:>17.4f}" if name in one.scores else f"{'-':>17}" for name in main) if own else ""
            lines.append(f"{title:{TITLE}}{one.balance if own else '':>14}{numbers}{scores}".rstrip())
        if len(lot) > 1:
            joint, apart = lot[one.name], lot["  one after another"]
            shares = "".join(f"{a / b:>10.3f}" for a, b in zip(joint, apart))
            lines.append(f"{'  one pass / one after another':{TITLE}}{'':>14}{shares}")
    return "\n".join(lines) + "\n"


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line: 0, or 2 for a model that cannot be built."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=raw,
        epilog="""examples:
  python tasks/joint/compare.py configs/joint/humans_300m.py
  python tasks/joint/compare.py runs/joint/*/model.safetensors runs/{seg,depth,normal,pose}/synthetic_nano/model.safetensors""",
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="configs (.py) and checkpoints")
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="pictures in a pass (default %(default)s)")
    parser.add_argument("--repeats", type=positive, default=REPEATS, metavar="N", help="measured passes (default %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default %(default)s)")
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast instead of full precision")
    options = parser.parse_args(arguments)
    try:
        device = checkpoint.device_of(options.device)
        models, found = [], []
        for path in options.models:
            one = compared(path)
            hw = (one.model.backbone.grid[0] * one.model.backbone.stride, one.model.backbone.grid[1] * one.model.backbone.stride)
            image = torch.randint(0, 256, (options.batch, 3, *hw), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
            one.model.to(device)
            found.append(rows(one, image.to(device), repeats=options.repeats, bf16=options.bf16))
            models.append(one)
            one.model.cpu()
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 2
    sys.stdout.write(table(models, found))
    return 0
