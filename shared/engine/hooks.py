"""What happens beside the training step: the progress line, the balancer's curves, pictures."""

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from shared.dense.balance import Balancer
from shared.engine.survive import Guard
from shared.engine.watch import Pace, Stopwatch, peak_gib

log = logging.getLogger(__name__)


class Progress(Hook):
    """A bar on a terminal, a line every `every` iterations elsewhere, TensorBoard scalars in both cases.

    Args:
        every: iterations between two lines.
        images: pictures of one iteration, all processes together; the mean where they differ.
        folder: of the event files; None on processes that do not write.
        title: in front of the line.
        guard: says how large gradients are, and which steps are left out.
        watch: where the time goes.
        replaced: how many damaged samples were met so far by this process.
        mfu: share of the devices' peak that is used at one picture per second; None: not known.
    """

    priority = "BELOW_NORMAL"  # before the scheduler (LOW) sets the rate of the next iteration

    def __init__(
        self,
        *,
        every: int,
        images: float,
        folder: Path | None,
        title: str,
        guard: Guard,
        watch: Stopwatch,
        replaced: Callable[[], int],
        mfu: float | None = None,
    ) -> None:
        self.every, self.images, self.folder, self.title = every, images, folder, title
        self.guard, self.watch, self.replaced, self.mfu = guard, watch, replaced, mfu
        self._sums: dict[str, float] = {}
        self._counts: Counter[str] = Counter()  # some values are there in some iterations
        self._seen = 0
        self._since = self._paused = 0.0

    def before_train(self, runner: Runner) -> None:
        if self.folder is None:
            return
        self._writer = SummaryWriter(str(self.folder), purge_step=runner.iter)
        self._pace, self._since = Pace(runner.iter), time.perf_counter()
        terminal = sys.stderr.isatty()
        self._bar = tqdm(total=runner.max_iters, initial=runner.iter, desc=self.title, unit="it", disable=not terminal, leave=True)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        if self.folder is None:
            return
        if not self.guard.left_out:
            for name, value in {**(outputs or {}), "gradient": torch.tensor(self.guard.norm)}.items():
                self._sums[name] = self._sums.get(name, 0.0) + value.detach()
                self._counts[name] += 1
        self._seen += 1
        self._bar.update()
        step = runner.iter + 1
        left = self._pace.left(step, runner.max_iters)
        if step % self.every == 0 or step == runner.max_iters:
            self._report(runner, step, left)

    def _report(self, runner: Runner, step: int, left: float) -> None:
        now = time.perf_counter()
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        phases = {name: seconds / self._seen for name, seconds in self.watch.lap().items()}
        speed = self._seen * self.images / (now - self._since)
        rate = max(runner.optim_wrapper.get_lr()["lr"])  # type: ignore[union-attr]
        used = {} if self.mfu is None else {"mfu": speed * self.mfu}
        told = "".join(f" {name} {share:.3f}" for name, share in used.items())
        line = f"{_losses(means)} | lr {rate:.2g} | {speed:.1f} img/s{told} | {_seconds(phases)} | {peak_gib():.1f} GiB"
        faults = {"skipped": self.guard.skipped, "damaged": self.replaced()}
        line += "".join(f" | {count} {name}" for name, count in faults.items() if count)
        if self._bar.disable:
            share = 100 * step / runner.max_iters
            log.info("%s %d/%d %d %% | %s | ETA %s", self.title, step, runner.max_iters, share, line, _clock(left))
        else:
            self._bar.set_postfix_str(line)
        curves = {**means, "lr": rate, "images_per_s": speed, "peak_gib": peak_gib(), **used, **faults}
        for name, value in {**curves, **{f"seconds/{name}": value for name, value in phases.items()}}.items():
            self._writer.add_scalar(name, value, step)
        self._sums, self._counts, self._seen, self._since = {}, Counter(), 0, now

    def before_val_epoch(self, runner: Runner) -> None:
        self._paused = time.perf_counter()

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        if self.folder is None or not metrics:
            return
        self._since += time.perf_counter() - self._paused  # validation is not training time
        for name, value in metrics.items():
            self._writer.add_scalar(f"val/{name}", value, runner.iter)
        log.info(
            "%s %d/%d | val %s", self.title, runner.iter, runner.max_iters, " ".join(f"{k} {v:.4g}" for k, v in metrics.items())
        )

    def after_train(self, runner: Runner) -> None:
        if self.folder is not None:
            self._bar.close()
            self._writer.close()


class Balancing(Hook):
    """Tells the balancer where the training is, lets it learn from steps that are taken, and puts its curves among the outputs."""

    priority = "ABOVE_NORMAL"  # before averaging, progress and checkpoints see the iteration

    def __init__(self, balance: Balancer, guard: Guard) -> None:
        self.balance, self.guard = balance, guard

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.balance.begin(runner.iter, runner.max_iters)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        told = self.balance.end(learn=not self.guard.left_out)
        if outputs is not None:
            outputs.update(told)


class Preview(Hook):
    """Pictures of the same samples at every validation, under `preview/`.

    Args:
        folder: of the run.
        draw: writes a picture to the path it is given.
    """

    priority = "ABOVE_NORMAL"  # before the averaging hook (NORMAL) takes the averaged weights out again

    def __init__(self, *, folder: Path, draw: Callable[[Path], None]) -> None:
        self.folder, self.draw = folder / "preview", draw

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        self.draw(self.folder / f"{runner.iter:07d}.jpg")


def _losses(means: Mapping[str, float]) -> str:
    """Loss, its terms and the gradient; dashes where every step was left out."""
    if not means:
        return "loss - | grad -"
    terms = " ".join(f"{n.removeprefix('loss/')} {v:.4g}" for n, v in means.items() if n not in ("loss", "gradient"))
    return f"loss {means['loss']:.4g} ({terms}) | grad {means['gradient']:.3g}"


def _seconds(phases: Mapping[str, float]) -> str:
    return " ".join(f"{name} {seconds:.3f}" for name, seconds in phases.items()) + " s"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
