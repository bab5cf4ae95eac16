"""All rows of the table of `make gpu`: training steps, passes of models of four tasks, and photos from file to file.

Nine minutes on an H100 or H200, reasoned and not measured. At 40 % of 989 TFLOP/s: training steps 26 s (12 rows of 6 steps of 56 to
295 TFLOP), those by other hands 15 s more; passes 27 s (25 rows of 11, 9 TFLOP for all four answers of 300m and 15 of 1b, once or
eight times). Photos 110 s (7 rows of 64 at four a second, on which processors and disk decide). Making models 30 s, imports and
photos 30 s, three compiled ones at 75 s 225 s, the tests in `tests/gpu` 60 s: 520 s. Two more that are compiled stand last, and
after `LIMIT_S` no row begins.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import answering
import busy
import torch
from answering import Joint
from speed_table import Bench, Maker, Row, compiled, heading, line, measured
from training import Setup, ours, plain, transformers

from shared.engine import mfu

LIMIT_S = 440.0  # the longest row, a compiled one, takes 90 s more; and `tests/gpu` has been before
REPEATS = 10  # passes


class Steps(NamedTuple):
    """A kind of training step by several makers."""

    name: str
    kind: str
    setup: Setup
    makers: Sequence[Maker]

    def rows(self, bench: Bench) -> Iterator[Row]:
        """One for each maker."""
        return (measured(self.name, self.kind, self.setup, maker, until=bench.until) for maker in self.makers)


class Plan(NamedTuple):
    """What is measured, in this order.

    Attributes:
        steps: of training.
        joints: models, and whether photos are answered in every way, and passes compiled in the end.
        photos: how many are answered.
        photos_hw: their size, pixels.
        late: steps of training that are left out first where the time is up.
    """

    steps: Sequence[Steps]
    joints: Sequence[tuple[Joint, bool]]
    photos: int
    photos_hw: tuple[int, int]
    late: Sequence[Steps] = ()


def on_gpu(device: torch.device) -> Plan:
    """For a GPU of 80 GB or more."""
    small = Setup("300m", (1024, 1024), 32, device, torch.bfloat16)
    tall = small._replace(image_hw=(1024, 768), batch=8)
    large, taller = small._replace(size="1b"), tall._replace(size="1b", batch=4, recompute=True)
    steps = [
        Steps("MAE 300m 1024x1024", "mae", small, (ours, plain, transformers)),
        Steps("MAE 1b 1024x1024", "mae", large, (ours,)),
        Steps("seg 300m 1024x768", "seg", tall, (ours, plain)),
        Steps("seg 1b 1024x768", "seg", taller, (ours,)),
        Steps("seg 2b 1024x768", "seg", taller._replace(size="2b", batch=1), (ours,)),
    ]
    late = [some._replace(makers=(compiled,)) for some in (steps[0], steps[2], steps[1], steps[3])]
    joints = [(Joint(f"{size} 1024x768", size, (1024, 768), device), size == "300m") for size in ("1b", "300m")]
    return Plan(steps, joints, 32, (4096, 3072), late)


def rows(bench: Bench, plan: Plan, folder: Path) -> Iterator[Row]:
    """All of them, measured one by one; photos and answers lie in a folder meanwhile."""
    for some in plan.steps:
        yield from some.rows(bench)
    photos = busy.photos(folder / "photos", plan.photos, plan.photos_hw)
    for joint, thorough in plan.joints:
        model = joint.model()
        known = yield from answering.rows(bench, joint, model, repeats=REPEATS)
        yield from busy.rows(bench, joint, model, photos, folder, thorough=thorough)
        if thorough:
            yield from answering.compiled(bench, joint, model, known, repeats=REPEATS)
    for some in plan.late:
        yield from some.rows(bench)


def everything(folder: Path, *, say: Callable[[str], object]) -> list[Row]:
    """The rows of the GPU that is here, each said as soon as it is measured."""
    device = torch.device("cuda")
    name = torch.cuda.get_device_name(device)
    bench, found = Bench(device, time.perf_counter() + LIMIT_S), []
    say(heading(name))
    for row in rows(bench, on_gpu(device), folder):
        say(line(row, peak_tflops=mfu.peak_of(name)))
        found.append(row)
    return found
