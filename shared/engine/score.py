"""Exact scores: every picture at its own size, one row of measurements each, all rows gathered, then summarised once."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import default_collate
from tqdm import tqdm

from shared.data.indexed import Indexed
from shared.data.stream import Stream
from shared.dense.frame import settle
from shared.engine.session import Session
from shared.task import Task

log = logging.getLogger(__name__)
TRIVIAL_SAMPLES = 256  # truths that the trivial answers are taken from
Scores = dict[str, float]


@torch.inference_mode()
def score(
    model: nn.Module,
    data: Indexed,
    session: Session,
    *,
    tasks: Sequence[Task],
    batch: int = 8,
    dtype: torch.dtype | None = None,
    trivial: Mapping[str, Tensor] | None = None,
    bar: bool = False,
) -> tuple[Scores, Scores]:
    """Scores of the model and of the trivial answers, `<task>/<score>`; the same for any batch size and number of processes.

    Args:
        model: uint8 RGB (B,3,H,W) -> raw answers by task.
        data: pictures with truth.
        session: device, and which share of the pictures is this process's.
        tasks: what to score.
        batch: pictures per forward pass.
        dtype: of autocast; None is float32.
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
            for i, item in enumerate(items):
                rows[item.index] = {task.name: _measure(task, raw[task.name][i], item, trivial) for task in tasks}
            progress.update(len(items) * session.processes)
    everyone = _gather(rows, session)
    ordered = [everyone[i] for i in sorted(everyone)]
    return _summaries(tasks, ordered, 0), _summaries(tasks, ordered, 1) if trivial else {}


def _measure(task: Task, raw: Tensor, item: Any, trivial: Mapping[str, Tensor] | None) -> tuple[Tensor, Tensor | None]:
    def measured(raw: Tensor) -> Tensor:
        return task.measure(settle(task, raw, item.view, item.source_hw), item.truth)

    return measured(raw), measured(trivial[task.name]) if trivial else None


def _gather(rows: dict, session: Session) -> dict:
    """The rows of all processes."""
    if session.processes == 1:
        return rows
    parts: list[dict] = [{} for _ in range(session.processes)]
    dist.all_gather_object(parts, rows)
    return {index: row for part in parts for index, row in part.items()}


def _summaries(tasks: Sequence[Task], rows: list[dict], which: int) -> Scores:
    return {
        f"{task.name}/{name}": value
        for task in tasks
        for name, value in task.summarise(torch.stack([row[task.name][which] for row in rows])).items()
    }


def trivial_answers(tasks: Sequence[Task], stream: Stream) -> dict[str, Tensor]:
    """Each task's answer that ignores the picture, from the first truths of a training stream without jitter."""
    truths = default_collate([stream[position] for position in range(min(TRIVIAL_SAMPLES, len(stream.shards)))])
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


def times_better(task: Task, scores: Scores, trivial: Scores) -> float:
    """How many times better than the trivial answer the main score is."""
    key = f"{task.name}/{task.score.name}"
    high, low = (scores, trivial) if task.score.higher_is_better else (trivial, scores)
    return high[key] / low[key] if low[key] else float("inf")
