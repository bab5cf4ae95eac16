"""A state as a folder: each process writes its shares of what `parallel=fsdp2` cuts, and any number of processes reads them.

`iter_<n>/` has the shares as safetensors, by torch.distributed.checkpoint (DCP); `rest.pth`, which is what is not cut, as mmengine
goes on from it; and `files.json`, the size of each. DCP's usual form has a pickle for an index, and reading one runs what it says;
its form for safetensors has none: docs/decisions/0020.
"""

import json
import math
import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.tensor import DTensor

from shared.engine.config import Tree
from shared.engine.parallel import unwrapped
from shared.engine.session import Session
from shared.weights import sync

REST, FILES = "rest.pth", "files.json"
ROOM = 2**31  # bytes of a process's shares in one file; it holds them twice in host memory while it writes that file


def asked(config: Tree, way: str) -> bool:
    """Whether the config's `states` are folders of shares.

    Args:
        config: of the run.
        way: of `parallel.way`.

    Raises:
        ValueError: there are no such states, or nothing is cut.
    """
    states = config["states"]
    if states not in ("whole", "shares"):
        raise ValueError(f"there are no states={states!r}; choose whole or shares")
    if states == "shares" and way != "fsdp2":
        raise ValueError(f"states=shares is for parallel=fsdp2, and with {way} each process has everything; use states=whole")
    return states == "shares"


def parted(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A state -> the same without what is cut, whose shapes it lists, and that.

    What is cut is called `weights/<name>` and `moments/<number of the parameter>/<name>`.
    """
    weights, moments = state["state_dict"], state["optimizer"]["state"]
    cut: dict[str, Tensor] = {f"weights/{name}": tensor for name, tensor in weights.items() if isinstance(tensor, DTensor)}
    cut |= {
        f"moments/{number}/{name}": value
        for number, of in moments.items()
        for name, value in of.items()
        if isinstance(value, DTensor)
    }
    rest = {number: {name: value for name, value in of.items() if not isinstance(value, DTensor)} for number, of in moments.items()}
    return {
        **state,
        "state_dict": {name: tensor for name, tensor in weights.items() if not isinstance(tensor, DTensor)},
        "optimizer": {**state["optimizer"], "state": rest},
        "shares": {name: list(tensor.shape) for name, tensor in cut.items()},
    }, cut


def write(folder: Path, cut: Mapping[str, Tensor], here: Session) -> None:
    """The shares of all processes, each of which has to call it.

    Raises:
        OSError: in all processes, where one could not write.
    """
    writer = dcp.HuggingFaceStorageWriter(str(folder), files(cut, here.processes), save_distributed=True)
    try:
        dcp.save(dict(cut), storage_writer=writer)
    except CheckpointException as error:
        faults = [fault for fault, _ in error.failures.values()]
        if not isinstance(faults[0], OSError):
            raise
        raise OSError(str(faults[0])) from error


def files(cut: Mapping[str, Tensor], processes: int) -> dict[str, int]:
    """Names -> number of the file that their shares go into, from 1, none of them much larger than `ROOM`."""
    numbers, number, filled = {}, 1, 0
    for name, tensor in cut.items():
        if filled >= ROOM:
            number, filled = number + 1, 0
        numbers[name] = number
        filled += tensor.numel() * tensor.element_size() // processes
    return numbers


def finish(folder: Path, rest: Mapping[str, Any]) -> None:
    """Beside the shares, what is not cut and the list of all; then the folder is whole and on the disk."""
    with (folder / REST).open("wb") as file:
        torch.save(dict(rest), file)
        _flush(file)
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    with (folder / FILES).open("w") as file:
        json.dump(sizes, file, indent=1)
        _flush(file)
    sync(folder)


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def damage(folder: Path) -> str | None:
    """What is wrong with such a folder; None if nothing is."""
    try:
        listed = json.loads((folder / FILES).read_text())
        for name, size in listed.items():
            there = (folder / name).stat().st_size
            if there != size:
                return f"{name} has {there} bytes of {size}"
    except (OSError, ValueError) as error:
        return str(error)
    return None


def remove(path: Path) -> None:
    """A file or a folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def entry(state: Path) -> Path:
    """The file that mmengine loads to go on from a state."""
    return state / REST if state.is_dir() else state


class Shares(Hook):
    """Reads the shares of a folder once mmengine has read the rest: a process its own where it holds shares, else all of them.

    Args:
        folder: `iter_<n>`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        read(self.folder, unwrapped(runner.model), runner.optim_wrapper.optimizer, checkpoint)  # type: ignore[union-attr, arg-type]


def read(folder: Path, step: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Put into a state what `parted` took out of it: weights go straight into the parameters, which the state then names.

    Args:
        folder: `iter_<n>`.
        step: whose parameters are shares, or whole.
        optimizer: of these parameters.
        state: as `rest.pth` has it.

    Raises:
        ValueError: the folder lacks some, which would otherwise be whatever the memory held.
    """
    reader = dcp.HuggingFaceStorageReader(str(folder))
    own = dict(step.named_parameters(remove_duplicate=False))
    ordered = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    wanted: dict[str, Any] = {}
    held = reader.read_metadata().state_dict_metadata
    for name, shape in state.pop("shares").items():
        there = sum(math.prod(chunk.sizes) for chunk in getattr(held.get(name), "chunks", ()))
        if there != math.prod(shape):
            raise ValueError(
                f"{folder} has {there} of the {math.prod(shape)} numbers of {name}; remove it, and the same command goes on from "
                "the state before it"
            )
        kind, _, what = name.partition("/")
        if kind == "weights":
            state["state_dict"][what] = wanted[name] = own[what].detach()
        else:
            number, what = what.split("/")
            state["optimizer"]["state"][int(number)][what] = wanted[name] = torch.empty_like(ordered[int(number)].detach())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)  # each process reads what it needs, unasked
        dcp.load(wanted, storage_reader=reader, no_dist=True)
