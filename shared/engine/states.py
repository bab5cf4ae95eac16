"""States that a run goes on from, and the weights it leaves: a kill at any moment leaves the previous ones whole."""

import logging
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.checkpoint import save_checkpoint
from mmengine.utils import apply_to

from shared import checkpoint, weights
from shared.engine import shares
from shared.engine.parallel import gathered, unwrapped
from shared.engine.session import Session
from shared.engine.survive import agree, together
from shared.room import unsaved

log = logging.getLogger(__name__)
PARTIAL = ".partial"  # the name of what is half written, and of what is half removed


class Checkpoints(Hook):
    """`iter_<n>.pth`, or the folder `iter_<n>`, to go on from, the last `keep` of them, and `model.safetensors` to use.

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
        shared: states are folders in which each process writes its share; the weights, which are whole, then come at the end alone.
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
        shared: bool = False,
    ) -> None:
        self.every, self.keep, self.folder, self.here, self.export = every, keep, folder, here, export
        self.description, self.about, self.shared = description, dict(about), shared
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
        state = _state(runner, iteration)  # in all processes: each may hold a share of it
        try:
            if self.shared:
                self._write_shares(runner, state, iteration)
            else:
                together(self.here, lambda: self._write(runner, state, iteration))
        except OSError as fault:
            left = saved(self.folder)
            then = f"the same command goes on from {left[-1].name if left else 'the beginning'}"
            raise OSError(unsaved(f"the state of iteration {iteration}", self.folder, fault, then=then)) from fault
        self._saved = iteration

    def _write(self, runner: Runner, state: dict[str, Any], iteration: int) -> None:
        partial = self.folder / PARTIAL
        try:
            shares.remove(partial)
            runner.call_hook("before_save_checkpoint", checkpoint=state)  # averaged weights come in, from the device
            save_checkpoint(_on_cpu(state), str(partial))
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            self._name(partial, self.folder / f"iter_{iteration}.pth")
        finally:
            shares.remove(partial)  # what a full disk cut off only takes room

    def _write_shares(self, runner: Runner, state: dict[str, Any], iteration: int) -> None:
        partial, place = self.folder / PARTIAL, self.folder / f"iter_{iteration}"
        if iteration == runner.max_iters:
            whole = {name: gathered(tensor) for name, tensor in state["state_dict"].items() if name.startswith("model.")}
            together(self.here, lambda: self._export(whole, iteration))
        if agree(self.here, self.here.first and place.is_dir() and shares.damage(place) is None)[0]:
            return  # a finished run whose weights were missing
        rest, cut = shares.parted(state)

        def finish() -> None:
            runner.call_hook("before_save_checkpoint", checkpoint=rest)
            shares.finish(partial, _on_cpu(rest))
            self._name(partial, place)

        try:
            together(self.here, lambda: shares.remove(partial))
            shares.write(partial, cut, self.here)
            together(self.here, finish)
        finally:
            if self.here.first:
                shares.remove(partial)

    def _name(self, partial: Path, place: Path) -> None:
        """What is written gets its name, and what is too much goes."""
        if place.is_dir():
            shares.remove(place)  # a damaged one: what is whole is not written again
        partial.replace(place)
        weights.sync(self.folder)
        for old in saved(self.folder)[: -self.keep]:
            old.replace(partial)  # a kill while a folder is removed leaves no half of it by its name
            shares.remove(partial)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if not self.shared:
            self._export(checkpoint["state_dict"], checkpoint["meta"]["iter"])

    def _export(self, state: Mapping[str, torch.Tensor], iteration: int) -> None:
        tensors = {name.removeprefix("model."): tensor for name, tensor in state.items() if name.startswith("model.")}
        tensors, description = self.export(tensors, self.description)
        checkpoint.save(self.folder / "model.safetensors", tensors, description, iteration=iteration, **self.about)


def _state(runner: Runner, iteration: int) -> dict[str, Any]:
    """What a run goes on from, as mmengine resumes it; its message hub stays empty, for our loop needs none."""
    return {
        "meta": {"iter": iteration, "epoch": 0, "seed": runner.seed},
        "state_dict": unwrapped(runner.model).state_dict(),
        "optimizer": runner.optim_wrapper.state_dict(),  # type: ignore[union-attr]
        "param_schedulers": [scheduler.state_dict() for scheduler in runner.param_schedulers],  # type: ignore[union-attr]
        "message_hub": {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}},
    }


def _on_cpu(state: dict[str, Any]) -> Any:
    """What can be read where there is no GPU."""
    return apply_to(state, lambda value: isinstance(value, torch.Tensor), lambda tensor: tensor.cpu())


def saved(folder: Path) -> list[Path]:
    """States to go on from, files and folders, oldest first."""
    found = [path for path in folder.glob("iter_*") if path.stem[5:].isdigit() and (path.suffix == ".pth" or path.is_dir())]
    return sorted(found, key=lambda path: (int(path.stem[5:]), path.name))


def newest(folder: Path) -> Path | None:
    """The last state that is whole; those that a failing disk cut off are named and passed over."""
    for path in reversed(saved(folder)):
        damage = shares.damage(path) if path.is_dir() else _damage(path)
        if damage is None:
            return path
        log.warning("%s is damaged (%s); the one before it is taken", path, damage)
    return None


def _damage(path: Path) -> str | None:
    """What is wrong with a file; None if nothing is."""
    try:
        zipfile.ZipFile(path).close()  # its table stands at the very end
    except (OSError, zipfile.BadZipFile) as error:
        return str(error)
    return None
