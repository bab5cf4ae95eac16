"""What happens beside the training step: the progress line, checkpoints that survive a kill, the final weights, pictures."""

import logging
import os
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.checkpoint import save_checkpoint
from mmengine.utils import apply_to
from torch.nn.parallel import DistributedDataParallel
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from shared import checkpoint, weights
from shared.dense.balance import Balancer
from shared.engine.session import Session
from shared.engine.survive import Guard, agree
from shared.engine.watch import Stopwatch, peak_gib

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
        self._began, self._first = time.perf_counter(), runner.iter
        self._since = self._began
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
        if step % self.every == 0 or step == runner.max_iters:
            self._report(runner, step)

    def _report(self, runner: Runner, step: int) -> None:
        now = time.perf_counter()
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        phases = {name: seconds / self._seen for name, seconds in self.watch.lap().items()}
        speed = self._seen * self.images / (now - self._since)
        rate = max(runner.optim_wrapper.get_lr()["lr"])  # type: ignore[union-attr]
        left = (runner.max_iters - step) * (now - self._began) / (step - self._first)
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


class Checkpoints(Hook):
    """`iter_<n>.pth` to go on from, the last `keep` of them, and `model.safetensors` to use.

    Each is written under another name, synced and renamed: a kill at any moment leaves the previous ones whole, and so does a
    full disk, which ends the run in all processes.

    Args:
        every: iterations.
        keep: how many to keep.
        folder: where.
        description: of the model, for the weights' file.
        about: other things that go into it.
        here: this process among the others.
        export: state and description of the model -> those that go into the weights' file.
    """

    priority = "VERY_LOW"  # after the averaging hook has put its weights into the file

    def __init__(
        self,
        *,
        every: int,
        keep: int,
        folder: Path,
        description: Mapping,
        about: Mapping,
        here: Session,
        export: Callable[[Mapping, Mapping], tuple[Mapping, Mapping]] = lambda state, description: (state, description),
    ) -> None:
        self.every, self.keep, self.folder, self.here, self.export = every, keep, folder, here, export
        self.description, self.about = description, dict(about)
        self._saved = -1  # the iteration of the last one

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        if metrics:
            self.about["scores"] = {"iteration": runner.iter, **metrics}

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        if (runner.iter + 1) % self.every == 0 and runner.iter + 1 < runner.max_iters:
            self._save(runner, runner.iter + 1)

    def after_train(self, runner: Runner) -> None:
        if runner.iter == runner.max_iters or runner.iter != self._saved:
            self._save(runner, runner.iter)

    def _save(self, runner: Runner, iteration: int) -> None:
        fault = None
        try:
            self._write(runner, iteration)
        except OSError as error:
            fault = error
        if agree(self.here, fault is not None)[0]:
            left = saved(self.folder)
            told = (
                f"the state of iteration {iteration} could not be saved in {self.folder} ({fault or 'the first process says why'})"
            )
            raise OSError(
                f"{told}; make room there, and the same command goes on from {left[-1].name if left else 'the beginning'}"
            )
        self._saved = iteration

    def _write(self, runner: Runner, iteration: int) -> None:
        state = _state(runner, iteration)  # in all processes: each may hold a share of it
        if runner.rank:
            return
        state = apply_to(state, lambda value: isinstance(value, torch.Tensor), lambda tensor: tensor.cpu())
        partial = self.folder / ".partial"
        try:
            runner.call_hook("before_save_checkpoint", checkpoint=state)
            save_checkpoint(state, str(partial))
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(self.folder / f"iter_{iteration}.pth")
            weights.sync(self.folder)
        finally:
            partial.unlink(missing_ok=True)  # what a full disk cut off only takes room
        for old in saved(self.folder)[: -self.keep]:
            old.unlink()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._export(checkpoint["state_dict"], checkpoint["meta"]["iter"])

    def _export(self, state: Mapping[str, torch.Tensor], iteration: int) -> None:
        tensors = {name.removeprefix("model."): tensor for name, tensor in state.items() if name.startswith("model.")}
        tensors, description = self.export(tensors, self.description)
        checkpoint.save(self.folder / "model.safetensors", tensors, description, iteration=iteration, **self.about)


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


def _state(runner: Runner, iteration: int) -> dict[str, Any]:
    """What a run goes on from, as mmengine resumes it; its message hub stays empty, for our loop needs none."""
    model = runner.model.module if isinstance(runner.model, DistributedDataParallel) else runner.model
    return {
        "meta": {"iter": iteration, "epoch": 0, "seed": runner.seed},
        "state_dict": model.state_dict(),
        "optimizer": runner.optim_wrapper.state_dict(),  # type: ignore[union-attr]
        "param_schedulers": [scheduler.state_dict() for scheduler in runner.param_schedulers],  # type: ignore[union-attr]
        "message_hub": {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}},
    }


def saved(folder: Path) -> list[Path]:
    """Checkpoints to go on from, oldest first."""
    found = {int(path.stem[5:]): path for path in folder.glob("iter_*.pth") if path.stem[5:].isdigit()}
    return [found[iteration] for iteration in sorted(found)]


def newest(folder: Path) -> Path | None:
    """The last checkpoint that is whole; those that a failing disk cut off are named and passed over."""
    for path in reversed(saved(folder)):
        try:
            zipfile.ZipFile(path).close()  # its table stands at the very end
        except (OSError, zipfile.BadZipFile) as error:
            log.warning("%s is damaged (%s); the one before it is taken", path, error)
        else:
            return path
    return None


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
