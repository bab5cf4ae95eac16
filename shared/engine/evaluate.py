"""The command of `tasks/*/evaluate.py`: a config's validation set, a checkpoint, a table of scores."""

import argparse
import json
import logging
import sys
from collections.abc import Mapping
from math import isnan
from pathlib import Path
from typing import Any

from shared import checkpoint
from shared.dense.model import DenseModel
from shared.engine import data
from shared.engine.config import Tree, load
from shared.engine.score import Rows, Scores, detailed, details, measured, summaries, table, trivial_answers
from shared.engine.session import Session, precision_of, session
from shared.task import Task


def evaluate(only: type[Task] | None = None) -> None:
    """Read the command line, score, print; errors are a sentence and exit code 2."""
    what = only.name if only else "joint"
    command = f"tasks/{what}/evaluate.py configs/{what}/synthetic_nano.py"
    parser = argparse.ArgumentParser(
        description=f"Score {only.name if only else 'every task of a model'} at the pictures' own size, beside the trivial answer.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"""examples:
  python {command} --checkpoint runs/{what}/synthetic_nano/model.safetensors
  torchrun --nproc_per_node 8 {command} --checkpoint model.safetensors batch=16 val.limit=100""",
    )
    parser.add_argument("config", help="names the validation shards (val) and, for the trivial answer, the training shards (train)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="replace a setting, for example val.limit=100")
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="model.safetensors of a run")
    parser.add_argument("--flip", action="store_true", help="average with the answers for the mirror images; takes twice as long")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores there too")
    arguments = parser.parse_intermixed_args()  # settings may stand before and after options
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        config = load(arguments.config, arguments.overrides)
        if arguments.json and not arguments.json.absolute().parent.is_dir():
            raise ValueError(f"--json {arguments.json} lies in no folder; make {arguments.json.parent} first")
        with session(config["device"]) as here:
            model, rows = rows_of(config, arguments.checkpoint, here, only=only, flip=arguments.flip)
            if here.first:
                scores, trivial = summaries(model.tasks, rows), summaries(model.tasks, rows, trivial=True)
                further = details(model.tasks, rows)
                sys.stdout.write(table(model.tasks, scores, trivial) + detailed(further) + "\n")
                if arguments.json:
                    arguments.json.write_text(
                        json.dumps(_listed({"scores": scores, "trivial": trivial, "details": further}), indent=1)
                    )
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")


def _listed(node: Any) -> Any:
    """What JSON can hold: null where there is no score."""
    if isinstance(node, Mapping):
        return {name: _listed(value) for name, value in node.items()}
    return None if isnan(node) else node


def run(config: Tree, path: Path | str, here: Session, *, only: type[Task] | None = None) -> tuple[DenseModel, Scores, Scores]:
    """The model of a checkpoint, its scores on the config's validation set, and the trivial ones; see `rows_of`."""
    model, rows = rows_of(config, path, here, only=only)
    return model, summaries(model.tasks, rows), summaries(model.tasks, rows, trivial=True)


def rows_of(
    config: Tree, path: Path | str, here: Session, *, only: type[Task] | None = None, flip: bool = False
) -> tuple[DenseModel, Rows]:
    """The model of a checkpoint, and what is measured of it and of the trivial answers on the config's validation set.

    Raises:
        ValueError: the checkpoint answers nothing, or not what this script scores; the config has no validation set.
    """
    model, about = checkpoint.answering(path, device=here.device)
    names = [task.name for task in model.tasks]
    if only is not None and only.name not in names:
        raise ValueError(f"{path} answers {', '.join(names)}, not {only.name}; give a checkpoint of that task")
    tasks = [task for task in model.tasks if only is None or task.name == only.name]
    model.tasks = tuple(tasks)
    hw = about["model"]["backbone"].get("image_hw", (1024, 768))
    valid = data.validation(config, tasks, (hw[0], hw[1]))
    if valid is None:
        raise ValueError("the config names no validation set; set val.shards=...")
    trivial = trivial_answers(tasks, data.plain_training(config, tasks, (hw[0], hw[1])))
    dtype = precision_of(config["precision"], here.device)
    how = {"batch": config["batch"], "dtype": dtype, "flip": flip}
    return model, measured(model, valid, here, tasks=tasks, **how, trivial=trivial, bar=True)
