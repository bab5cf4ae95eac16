"""One table of training steps on one device: pictures per second, use of its peak, memory."""

import gc
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from training import Setup, Take, in_turn, ours, plain, transformers

from shared.dense.compiled import compile_parts
from shared.engine import mfu
from shared.engine.plan import ATTENTION

TRAINING = 3  # passes: forward, and the gradients of activations and of weights
ROUNDS = 5
Maker = Callable[[Setup, str], tuple[Take, nn.Module]]


class Row(NamedTuple):
    """One step, measured; or why it was not."""

    name: str
    images_per_s: float = 0.0
    tflops: float = 0.0
    peak_gib: float = 0.0
    why: str = ""


def compiled(setup: Setup, kind: str) -> tuple[Take, nn.Module]:
    """Ours with compile=True."""
    take, model = ours(setup, kind)
    compile_parts(model, True, setup.device)
    return take, model


def on_gpu(device: torch.device) -> list[tuple[str, str, Setup, Sequence[Maker]]]:
    """What is measured on a GPU of 80 GB or more: name, kind, setup, makers."""
    small = Setup("300m", (1024, 1024), 32, device, torch.bfloat16)
    tall = small._replace(image_hw=(1024, 768))
    return [
        ("MAE 300m 1024x1024", "mae", small, (ours, compiled, plain, transformers)),
        ("MAE 1b 1024x1024", "mae", small._replace(size="1b"), (ours, compiled)),
        ("seg 300m 1024x768", "seg", tall._replace(batch=8), (ours, compiled, plain)),
        ("seg 1b 1024x768", "seg", tall._replace(size="1b", batch=4, recompute=True), (ours, compiled)),
        ("seg 2b 1024x768", "seg", tall._replace(size="2b", batch=1, recompute=True), (ours,)),
    ]


def measured(name: str, kind: str, setup: Setup, maker: Maker, *, rounds: int = ROUNDS) -> Row:
    """One row; a step for which there is no room is told, not raised."""
    called = f"{name}, batch {setup.batch}, {maker.__name__}"
    cuda = setup.device.type == "cuda"
    try:
        flops = forward_flops(setup, kind)
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        take, model = maker(setup, kind)
        seconds = statistics.median(in_turn({"": take}, rounds=rounds, device=setup.device)[""])
    except torch.OutOfMemoryError:
        return Row(called, why="out of memory")
    finally:
        take = model = None  # noqa: F841  # room for the next
        gc.collect()
        if cuda:
            torch.cuda.empty_cache()
    peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else 0.0
    return Row(called, setup.batch / seconds, TRAINING * flops / seconds / 1e12, peak)


def forward_flops(setup: Setup, kind: str) -> int:
    """Of the forward pass of a batch, by PyTorch's count for our model; recomputing is no work of the model."""
    one = setup._replace(batch=1, recompute=False)
    _, model = ours(one, kind)
    with FlopCounterMode(display=False, custom_mapping=ATTENTION) as counter, torch.no_grad():
        model.losses(one.pictures())  # type: ignore[operator]
    return setup.batch * counter.get_total_flops()


def table(rows: Iterable[Row], *, device: str, peak_tflops: float | None) -> str:
    """The rows as text."""
    lines = [f"{device}, torch {torch.__version__}", f"{'':48}{'images/s':>10}{'TFLOP/s':>10}{'MFU':>7}{'GiB':>8}"]
    for row in rows:
        used = f"{row.tflops / peak_tflops:7.2f}" if peak_tflops else f"{'-':>7}"
        numbers = row.why or f"{row.images_per_s:10.1f}{row.tflops:10.2f}{used}{row.peak_gib:8.1f}"
        lines.append(f"{row.name:48}{numbers}")
    return "\n".join(lines)


def everything() -> str:
    """The table of the GPU that is here."""
    device = torch.device("cuda")
    name = torch.cuda.get_device_name(device)
    rows = [measured(title, kind, setup, maker) for title, kind, setup, makers in on_gpu(device) for maker in makers]
    return table(rows, device=name, peak_tflops=mfu.peak_of(name))
