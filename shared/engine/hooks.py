"""What happens beside the training step: the progress line, checkpoints that survive a kill, the final weights, pictures."""

import logging
import os
import resource
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

from shared import checkpoint
from shared.dense.balance import Balancer

log = logging.getLogger(__name__)


class Progress(Hook):
    """A bar on a terminal, a line every `every` iterations elsewhere, TensorBoard scalars in both cases.

    Args:
        every: iterations between two lines.
        images: pictures of one iteration, all processes together.
        folder: of the event files; None on processes that do not write.
        title: in front of the line.
    """

    priority = "BELOW_NORMAL"  # before the scheduler (LOW) sets the rate of the next iteration

    def __init__(self, *, every: int, images: int, folder: Path | None, title: str) -> None:
        self.every, self.images, self.folder, self.title = every, images, folder, title
        self._sums: dict[str, float] = {}
        self._counts: Counter[str] = Counter()  # some values are there in some iterations
        self._seen = 0
        self._since = 0.0

    def before_train(self, runner: Runner) -> None:
        if self.folder is None:
            return
        self._writer = SummaryWriter(str(self.folder), purge_step=runner.iter)
        self._began, self._first = time.perf_counter(), runner.iter
        self._since = self._began
        terminal = sys.stderr.isatty()
        self._bar = tqdm(total=runner.max_iters, initial=runner.iter, desc=self.title, unit="it", disable=not terminal, leave=True)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        if self.folder is None:
            return
        for name, value in (outputs or {}).items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach()
            self._counts[name] += 1
        self._seen += 1
        self._bar.update()
        step = runner.iter + 1
        if step % self.every == 0 or step == runner.max_iters:
            self._report(runner, step)

    def _report(self, runner: Runner, step: int) -> None:
        now = time.perf_counter()
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        speed = self._seen * self.images / (now - self._since)
        rate = max(runner.optim_wrapper.get_lr()["lr"])  # type: ignore[union-attr]
        left = (runner.max_iters - step) * (now - self._began) / (step - self._first)
        terms = " ".join(f"{n.removeprefix('loss/')} {v:.4g}" for n, v in means.items() if n.startswith("loss/"))
        line = f"loss {means['loss']:.4g} ({terms}) | lr {rate:.2g} | {speed:.1f} img/s | {_peak_gib():.1f} GiB"
        if self._bar.disable:
            log.info(
                "%s %d/%d %d %% | %s | ETA %s",
                self.title,
                step,
                runner.max_iters,
                100 * step / runner.max_iters,
                line,
                _clock(left),
            )
        else:
            self._bar.set_postfix_str(line)
        for name, value in {**means, "lr": rate, "images_per_s": speed, "peak_gib": _peak_gib()}.items():
            self._writer.add_scalar(name, value, step)
        self._sums, self._counts, self._seen, self._since = {}, Counter(), 0, now

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        if self.folder is None or not metrics:
            return
        self._since = time.perf_counter()  # validation is not training time
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
    """Tells the balancer where the training is, lets it learn from every iteration, and puts what it tells among the outputs."""

    priority = "ABOVE_NORMAL"  # before averaging, progress and checkpoints see the iteration

    def __init__(self, balance: Balancer) -> None:
        self.balance = balance

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.balance.begin(runner.iter, runner.max_iters)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        told = self.balance.end()
        if outputs is not None:
            outputs.update(told)


class Checkpoints(Hook):
    """`iter_<n>.pth` to go on from, the last `keep` of them, and `model.safetensors` to use.

    Each is written under another name, synced and renamed: a kill at any moment leaves the previous ones whole.

    Args:
        every: iterations.
        keep: how many to keep.
        folder: where.
        description: of the model, for the weights' file.
        about: other things that go into it.
    """

    priority = "VERY_LOW"  # after the averaging hook has put its weights into the file

    def __init__(self, *, every: int, keep: int, folder: Path, description: Mapping, about: Mapping) -> None:
        self.every, self.keep, self.folder = every, keep, folder
        self.description, self.about = description, dict(about)

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        if metrics:
            self.about["scores"] = {"iteration": runner.iter, **metrics}

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        if (runner.iter + 1) % self.every == 0 and runner.iter + 1 < runner.max_iters:
            self._save(runner, runner.iter + 1)

    def after_train(self, runner: Runner) -> None:
        self._save(runner, runner.iter)

    def _save(self, runner: Runner, iteration: int) -> None:
        runner.save_checkpoint(str(self.folder), ".partial", meta={"iter": iteration, "epoch": 0}, by_epoch=False)
        if runner.rank:
            return
        partial = self.folder / ".partial"
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(self.folder / f"iter_{iteration}.pth")
        for old in saved(self.folder)[: -self.keep]:
            old.unlink()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        # mmengine's message hub holds classes that a safe load refuses; our loop needs none of it
        checkpoint["message_hub"] = {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}}
        self._export(checkpoint["state_dict"], checkpoint["meta"]["iter"])

    def _export(self, state: Mapping[str, torch.Tensor], iteration: int) -> None:
        weights = {name.removeprefix("model."): tensor for name, tensor in state.items() if name.startswith("model.")}
        checkpoint.save(self.folder / "model.safetensors", weights, self.description, iteration=iteration, **self.about)


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


def saved(folder: Path) -> list[Path]:
    """Checkpoints to go on from, oldest first."""
    found = {int(path.stem[5:]): path for path in folder.glob("iter_*.pth") if path.stem[5:].isdigit()}
    return [found[iteration] for iteration in sorted(found)]


def _peak_gib() -> float:
    """Peak memory of this process: on the GPU where there is one, else resident."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
