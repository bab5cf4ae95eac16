"""One table of what one device does: rows of pictures per second, use of its peak, memory; and the rows of training steps."""

import gc
import math
import statistics
import time
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from training import Setup, Take, in_turn, model_of, ours

from shared.dense.compiled import compile_parts
from shared.engine.plan import ATTENTION

TRAINING = 3  # passes: forward, and the gradients of activations and of weights
ROUNDS = 5
TITLE = 54  # characters of the first column
Maker = Callable[[Setup, str], tuple[Take, nn.Module]]


class Row(NamedTuple):
    """Something, measured; or why it was not.

    Attributes:
        busy: share of the time in which the device computes or copies; NaN where it was not looked at.
        computing: share of the time in which it computes.
        broken: neither room nor time is lacking: something is wrong.
    """

    name: str
    images_per_s: float = 0.0
    tflops: float = 0.0
    peak_gib: float = 0.0
    why: str = ""
    busy: float = math.nan
    computing: float = math.nan
    broken: bool = False


class Bench(NamedTuple):
    """Where rows are measured, and until when one may begin, by time.perf_counter()."""

    device: torch.device
    until: float = math.inf

    def row(self, name: str, measure: Callable[[], Row]) -> Row:
        """One row, with its peak of memory; what lacks room or time, or breaks, is told, not raised: others are wanted, too."""
        if time.perf_counter() > self.until:
            return Row(name, why="left out: the time is up")
        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            found = measure()
        except torch.OutOfMemoryError:
            return Row(name, why="out of memory")
        except Exception as error:
            traceback.print_exc()
            return Row(name, why=f"broke: {type(error).__name__}, {' '.join(str(error).split())[:100]}", broken=True)
        finally:
            if cuda:  # room for the next
                gc.collect()
                torch.cuda.empty_cache()
        peak = torch.cuda.max_memory_allocated(self.device) / 2**30 if cuda else 0.0
        return found._replace(name=name, peak_gib=peak)


def compiled(setup: Setup, kind: str) -> tuple[Take, nn.Module]:
    """Ours with compile=True."""
    take, model = ours(setup, kind)
    compile_parts(model, True, setup.device)
    return take, model


def measured(name: str, kind: str, setup: Setup, maker: Maker, *, rounds: int = ROUNDS, until: float = math.inf) -> Row:
    """One training step."""
    called = f"{name}, batch {setup.batch}, {maker.__name__}"
    return Bench(setup.device, until).row(called, partial(_step, kind, setup, maker, rounds))


def _step(kind: str, setup: Setup, maker: Maker, rounds: int) -> Row:
    flops = forward_flops(setup, kind)
    take, _ = maker(setup, kind)
    seconds = statistics.median(in_turn({"": take}, rounds=rounds, device=setup.device)[""])
    return Row("", setup.batch / seconds, TRAINING * flops / seconds / 1e12)


def forward_flops(setup: Setup, kind: str) -> int:
    """Of the forward pass of a batch, by PyTorch's count for our model; what is computed again is no work of it. Nothing runs."""
    one = setup._replace(batch=1, recompute=False, device=torch.device("meta"))
    model = model_of(one, kind)
    with FlopCounterMode(display=False, custom_mapping=ATTENTION) as counter, torch.no_grad():
        model.losses(one.pictures())
    return setup.batch * counter.get_total_flops()


def heading(device: str) -> str:
    """The first two lines of a table."""
    columns = f"{'images/s':>10}{'TFLOP/s':>10}{'MFU':>7}{'GiB':>8}{'busy':>7}{'computing':>11}"
    return f"{device}, torch {torch.__version__}\n{'':{TITLE}}{columns}"


def line(row: Row, *, peak_tflops: float | None) -> str:
    """A row as text."""
    if row.why:
        return f"{row.name:{TITLE}}{row.why}"
    used = f"{row.tflops / peak_tflops:7.2f}" if peak_tflops else f"{'-':>7}"
    numbers = f"{row.images_per_s:10.1f}{row.tflops:10.2f}{used}{row.peak_gib:8.1f}"
    shares = "" if math.isnan(row.busy) else f"{row.busy:7.2f}{row.computing:11.2f}"
    return f"{row.name:{TITLE}}{numbers}{shares}"


def table(rows: Iterable[Row], *, device: str, peak_tflops: float | None) -> str:
    """The rows as text."""
    return "\n".join([heading(device), *(line(row, peak_tflops=peak_tflops) for row in rows)])
