"""Trainings whose results are kept, so that a bench which was stopped goes on where it was, on the same code."""

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from shared.engine.config import Tree
from shared.engine.evaluate import run
from shared.engine.launch import train
from shared.engine.score import Scores
from shared.engine.session import session
from shared.task import Task
from shared.weights import partial

ROOT = Path(__file__).parents[2]
ROOMS = ("configs", "pretrain", "shared", "tasks")  # whose code decides what a training finds


def digest() -> str:
    """Changes where the code does: results of another are not those of this one."""
    files = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


RUNS = ROOT / "runs" / f"bench_{digest()}"


@dataclass(frozen=True)
class Result:
    """One training."""

    scores: Scores  # `<task>/<score>`
    trivial: Scores  # those of the answers that do not look
    seconds: float  # of an iteration, reading pictures included
    parameters: int


def trained(config: Tree, folder: Path) -> Result:
    """Train, score on the config's validation set and keep the result beside the folder; or read it where it is kept already.

    Args:
        config: of the training; where its results are kept, nothing of it is looked at.
        folder: its `work_dir`. The weights stay there.
    """
    path = folder.with_suffix(".json")
    if path.is_file():
        return Result(**json.loads(path.read_text()))
    shutil.rmtree(folder, ignore_errors=True)  # one that was stopped begins anew: seconds of its end alone are not those of all
    began = time.perf_counter()
    weights = train({**config, "work_dir": str(folder), "val": None})
    seconds = (time.perf_counter() - began) / config["iters"]
    with session("auto") as here:
        model, scores, trivial = run(config, weights, here)
    result = Result(scores, trivial, seconds, sum(parameter.numel() for parameter in model.parameters()))
    with partial(path) as unfinished:
        unfinished.write_text(json.dumps(asdict(result), indent=1))
    for state in folder.glob("iter_*.pth"):  # much larger than all that is asked for later
        state.unlink()
    return result


def key(task: Task) -> str:
    """The name of its main score."""
    return f"{task.name}/{task.score.name}"
