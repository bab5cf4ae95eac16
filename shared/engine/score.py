"""Exact scores: every picture at its own size, one row of measurements each, all rows gathered, then summarised once."""

import logging
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import default_collate
from tqdm import tqdm

from shared.data.indexed import Indexed
from shared.data.turns import Pictures
from shared.dense.canonical import focal_of
from shared.dense.frame import settle, unmirror
from shared.engine.session import Session
from shared.task import Task

log = logging.getLogger(__name__)
TRIVIAL_SAMPLES = 256  # truths that the trivial answers are taken from
Scores = dict[str, float]
Rows = list[dict[str, tuple[Tensor, Tensor | None]]]  # per picture: task -> measurements of its answer and of the trivial one
Details = dict[str, Mapping[str, Mapping[str, float]]]


def score(model: nn.Module, data: Indexed, session: Session, *, tasks: Sequence[Task], **options: Any) -> tuple[Scores, Scores]:
    """Scores of the model and of the trivial answers, `<task>/<score>`; the same for any batch size and number of processes.

    The arguments are those of `measured`; without `trivial` there are no trivial scores.
    """
    rows = measured(model, data, session, tasks=tasks, **options)
    if not rows:  # every sample is damaged, and was to be left out
        return {}, {}
    return summaries(tasks, rows), summaries(tasks, rows, trivial=True) if options.get("trivial") else {}


@torch.inference_mode()
def measured(
    model: nn.Module,
    data: Indexed,
    session: Session,
    *,
    tasks: Sequence[Task],
    batch: int = 8,
    dtype: torch.dtype | None = None,
    flip: bool = False,
    trivial: Mapping[str, Tensor] | None = None,
    bar: bool = False,
) -> Rows:
    """One row of measurements per picture and task, in the order of the pictures, of all processes.

    Args:
        model: uint8 RGB (B,3,H,W) -> raw answers by task.
        data: pictures with truth.
        session: device, and which share of the pictures is this process's.
        tasks: what to score.
        batch: pictures per forward pass.
        dtype: of autocast; None is float32.
        flip: average every raw answer with that for the mirror image.
        trivial: raw answers (C,h,w) that ignore the picture, by task.
        bar: show progress.
    """
    model.eval()
    rows: dict[int, dict[str, tuple[Tensor, Tensor | None]]] = {}
    with tqdm(total=len(data), desc="evaluate", unit="img", disable=not (bar and session.first)) as progress:
        for items in data.batches(batch, rank=session.rank, processes=session.processes):
            image = torch.stack([item.image for item in items]).to(session.device)
            with torch.autocast(session.device.type, dtype, enabled=dtype is not None):
                raw = model(image)
                mirrored = model(image.flip(-1)) if flip else {}
            if flip:
                raw = {task.name: (raw[task.name].float() + unmirror(task, mirrored[task.name].float())) / 2 for task in tasks}
            for i, item in enumerate(items):
                rows[item.index] = {task.name: _measure(task, raw[task.name][i], item, trivial) for task in tasks}
            progress.update(len(items) * session.processes)
    everyone = _gather(rows, session)
    return [everyone[i] for i in sorted(everyone)]


def _measure(task: Task, raw: Tensor, item: Any, trivial: Mapping[str, Tensor] | None) -> tuple[Tensor, Tensor | None]:
    def measured(raw: Tensor) -> Tensor:
        return task.measure(settle(task, raw, item.view, item.source_hw, focal_px=focal_of(item.truth)), item.truth)

    return measured(raw), measured(trivial[task.name]) if trivial else None


def _gather(rows: dict, session: Session) -> dict:
    """The rows of all processes."""
    if session.processes == 1:
        return rows
    parts: list[dict] = [{} for _ in range(session.processes)]
    dist.all_gather_object(parts, rows)
    return {index: row for part in parts for index, row in part.items()}


def summaries(tasks: Sequence[Task], rows: Rows, *, trivial: bool = False) -> Scores:
    """The scores of all tasks, or those of the trivial answers."""
    return {
        f"{task.name}/{name}": value
        for task in tasks
        for name, value in task.summarise(torch.stack([row[task.name][trivial] for row in rows])).items()  # type: ignore[arg-type]
    }


def details(tasks: Sequence[Task], rows: Rows) -> Details:
    """The further table of each task that has one: task -> line -> column -> value."""
    tables = {task.name: task.details(torch.stack([row[task.name][0] for row in rows])) for task in tasks}
    return {name: table for name, table in tables.items() if table}


def trivial_answers(tasks: Sequence[Task], stream: Pictures) -> dict[str, Tensor]:
    """Each task's answer that ignores the picture, from the first truths of a training stream without jitter."""
    truths = default_collate([stream[position] for position in range(min(TRIVIAL_SAMPLES, stream.samples))])
    return {task.name: task.trivial(truths) for task in tasks}


def table(tasks: Sequence[Task], scores: Scores, trivial: Scores) -> str:
    """Scores against the trivial answers, a line each; the main score of each task is marked and compared."""
    lines = [f"{'score':<22}{'model':>10}{'trivial':>10}{'times better':>14}"]
    for task in tasks:
        for name, value in scores.items():
            if not name.startswith(f"{task.name}/"):
                continue
            main = name == f"{task.name}/{task.score.name}"
            line = f"{name + ' *' * main:<22}{value:>10.4f}{trivial.get(name, float('nan')):>10.4f}"
            lines.append(line + (f"{times_better(task, scores, trivial):>14.2f}" if main and trivial else ""))
    return "\n".join([*lines, "* main score"])


def detailed(found: Details) -> str:
    """The further tables as text; a dash where the truth has nothing to compare with."""
    lines = []
    for name, table in found.items():
        columns = list(next(iter(table.values())))
        lines += ["", f"{name:<18}" + "".join(f"{column:>12}" for column in columns)]
        for line, values in table.items():
            lines.append(f"{line:<18}" + "".join(f"{'-' if isnan(v := values[column]) else f'{v:.4f}':>12}" for column in columns))
    return "\n".join(lines)


def times_better(task: Task, scores: Scores, trivial: Scores) -> float:
    """How many times better than the trivial answer the main score is."""
    key = f"{task.name}/{task.score.name}"
    high, low = (scores, trivial) if task.score.higher_is_better else (trivial, scores)
    return high[key] / low[key] if low[key] else float("inf")
