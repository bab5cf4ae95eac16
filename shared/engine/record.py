"""What the folder of a run keeps of its settings, and whether a run may go on there."""

import json
import logging
from pathlib import Path

from torch import nn

from shared.engine.config import Tree, differences
from shared.engine.session import Session
from shared.engine.states import newest, saved
from shared.weights import partial

log = logging.getLogger(__name__)
FREE = {"work_dir", "log_every", "workers", "keep", "save_every", "device", "compare", "timeout", "skips", "spike"}  # may differ
FREE |= {"parallel", "states", "probe", "cache", "compile", "peak_tflops"}  # the weights are the same


def latest(folder: Path, config: Tree, here: Session) -> Path | None:
    """The checkpoint to go on from; refuses to mix two different runs."""
    past = folder / "config.json"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"work_dir={folder} is a file, and a run needs a folder; choose another name")
    if not saved(folder):
        return None
    if past.is_file():
        changed = differences(_fixed(json.loads(past.read_text())), _fixed(_record(config, here)))
        if changed:
            told = "; ".join(changed[:4]) + "; ..." * (len(changed) > 4)
            raise ValueError(f"{folder} holds a run with other settings ({told}); choose another work_dir=, or delete that folder")
    return newest(folder)


def _record(config: Tree, here: Session) -> Tree:
    """What the folder of a run keeps of its settings: as JSON gives them back."""
    return json.loads(json.dumps({**config, "processes": here.processes}))


def _fixed(record: Tree) -> Tree:
    """What may not change when a run goes on; pictures may be dealt to another number of processes."""
    fixed = {key: value for key, value in record.items() if key not in {*FREE, "batch", "processes"}}
    batch, processes, groups = record["batch"], record.get("processes", 1), record.get("train", {}).get("groups")
    if groups:
        fixed["train"] = {"groups": [{**group, "batch": group.get("batch", batch) * processes} for group in groups]}
    return fixed | {"batch * processes": batch * processes}


def begin(folder: Path, config: Tree, here: Session, model: nn.Module) -> None:
    """The folder of the run, with its settings; and the log says what is trained where, long before the first step is over."""
    numbers = [sum(p.numel() for p in model.parameters() if p.requires_grad or not trained) / 1e6 for trained in (False, True)]
    log.info(
        "%s: %.1f M parameters, %.1f M of them trained, %s; %d steps of %d x %d pictures on %s, told every %d steps",
        folder, *numbers, config["precision"], config["iters"], here.processes, config["batch"] * config["accumulate"],
        here.device, config["log_every"],
    )  # fmt: skip
    with partial(folder / "config.json") as unfinished:
        unfinished.write_text(json.dumps(_record(config, here), indent=1))
