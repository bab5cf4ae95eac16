"""Two kinds of training side by side, over seeds: run two at a time, a line for each task, and who is better."""

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch

from shared.engine.score import Scores
from shared.task import Task

Result = tuple[tuple[Task, ...], Scores, Scores]  # tasks, scores, trivial scores


def at_two(call: Callable[..., Any], *arguments: Iterable[Any]) -> list[Any]:
    """`map`, in two processes of one thread each."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(call, *arguments))


def told(name: str, tasks: Sequence[Task], scores: Scores) -> None:
    """Print the main scores of one training."""
    print(name, {task.name: round(scores[f"{task.name}/{task.score.name}"], 4) for task in tasks}, flush=True)


def better(task: Task, ours: Sequence[Result], theirs: Sequence[Result], *, names: tuple[str, str]) -> bool:
    """Print one task's line; whether the mean over seeds of the former is better."""
    key = f"{task.name}/{task.score.name}"
    first, second = ([scores[key] for _, scores, _ in results] for results in (ours, theirs))
    mean, other = sum(first) / len(first), sum(second) / len(second)
    seeds = " ".join(f"{a:.4f}/{b:.4f}" for a, b in zip(first, second))
    print(f"{key:<16} {names[0]} {mean:.4f}  {names[1]} {other:.4f}  trivial {ours[0][2][key]:.4f}  per seed {seeds}")
    return mean > other if task.score.higher_is_better else mean < other
