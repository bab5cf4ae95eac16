"""Trainings whose results are kept, so that a bench of many of them which was stopped goes on where it was."""

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

RUNS = Path(__file__).parents[2] / "runs"


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
    shutil.rmtree(
        folder, ignore_errors=True
    )  # one that was stopped begins anew: the seconds of its end would be told for all of it
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
