"""Four models of one task against one model of all four under each rule of balancing: the trainings, and the table of them.

All see the same pictures in the same batches for the same number of steps, from one backbone, and every loss has its factor of the
demo's config. A rule balances what these leave.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from kept import Result, key

from shared.build import named
from shared.dense.balance import RULES
from shared.engine.config import Tree, load
from shared.task import Task

CONFIGS = Path(__file__).parents[2] / "configs/joint"
SINGLE = "single"
Results = Mapping[tuple[str, int], Result]  # (rule, seed), (task, seed) of a model of its own


def rules(iters: int) -> dict[str, Any]:
    """Every rule as a config's `balance`: as it comes, but where numbers have to fit the tasks or the length of the training."""
    fitting = {name: load(CONFIGS / f"{name}_synthetic_nano.py", [])["balance"] for name in ("staged", "uncertainty")}
    return (
        {name: name for name in RULES}
        | fitting
        | {"dwa": {"type": "shared.dense.balance.DynamicAverage", "window": max(1, iters // 20)}}
    )


def settings(people: Path, backbone: Path | None, *, seed: int, iters: int, overrides: Sequence[str] = ()) -> Tree:
    """The demo's joint training in so many steps."""
    places = [f"train.shards={people / 'train'}", f"val.shards={people / 'val'}", f"init={backbone}"]
    quiet = ["preview=0", "val_every=0", f"save_every={iters}"]
    return load(CONFIGS / "synthetic_nano.py", [*places, *quiet, f"seed={seed}", f"iters={iters}", *overrides])


def alone(config: Tree, task: str) -> Tree:
    """The same training of one task."""
    mine = [one for one in config["tasks"] if named(one["type"]).name == task]
    return {**config, "tasks": mine, "weights": {name: w for name, w in config["weights"].items() if name == task}}


def change(task: Task, ours: float, theirs: float) -> float:
    """By what share of theirs our main score is better; negative: worse."""
    return (ours - theirs) / theirs * (1 if task.score.higher_is_better else -1)


def changes(results: Results, tasks: Sequence[Task], rule: str, seeds: Sequence[int]) -> dict[str, float]:
    """Task -> by how much the joint model's mean score over these seeds is better than that of the models of the task alone."""
    found = {}
    for task in tasks:
        ours, theirs = (mean(results[name, seed].scores[key(task)] for seed in seeds) for name in (rule, task.name))
        found[task.name] = change(task, ours, theirs)
    return found


def seeds_of(results: Results, name: str) -> list[int]:
    """For which seeds there is one."""
    return [seed for rule, seed in results if rule == name]


def ranked(results: Results, tasks: Sequence[Task]) -> list[str]:
    """The rules, the one with the best mean change first."""
    rules = dict.fromkeys(name for name, _ in results if name not in {task.name for task in tasks})
    return sorted(rules, key=lambda name: -mean(changes(results, tasks, name, seeds_of(results, name)).values()))


def table(results: Results, tasks: Sequence[Task]) -> str:
    """A line for answers that do not look, for four models, and for each rule, the best mean first.

    Main scores with their change against a model of its own, the change's mean over tasks, the worst of them, seconds of an
    iteration, parameters, passes of a backbone, and the mean change of each seed.
    """
    names = [task.name for task in tasks]
    lone = [[results[name, seed] for seed in seeds_of(results, name)] for name in names]
    head = "".join(f"{key(task):>19}" for task in tasks)
    columns = f"{'mean %':>8}{'worst %':>8}{'s/iter':>8}{'M params':>10}{'passes':>8}  mean % of each seed"
    trivial, scores = (
        "".join(f"{mean(getattr(one, of)[key(task)] for one in lot):>10.4f}{'':9}" for task, lot in zip(tasks, lone))
        for of in ("trivial", "scores")
    )
    seconds, parameters = (sum(mean(getattr(one, of) for one in lot) for lot in lone) for of in ("seconds", "parameters"))
    lines = [f"{'balance':<12}{'seeds':>5}{head}{columns}", f"{'not looking':<17}{trivial}"]
    lines.append(f"{SINGLE:<12}{min(map(len, lone)):>5}{scores}{'':16}{seconds:>8.3f}{parameters / 1e6:>10.3f}{len(tasks):>8}")
    return "\n".join(lines + [_line(results, tasks, name) for name in ranked(results, tasks)])


def _line(results: Results, tasks: Sequence[Task], rule: str) -> str:
    """A rule's line of the table."""
    seeds = seeds_of(results, rule)
    changed = changes(results, tasks, rule, seeds)
    mine = [results[rule, seed] for seed in seeds]
    scores = "".join(f"{mean(one.scores[key(t)] for one in mine):>10.4f} {100 * changed[t.name]:+6.1f} %" for t in tasks)
    overall = f"{100 * mean(changed.values()):+8.1f}{100 * min(changed.values()):+8.1f}"
    cost = f"{mean(one.seconds for one in mine):>8.3f}{mine[0].parameters / 1e6:>10.3f}{1:>8}"
    each = " ".join(f"{100 * mean(changes(results, tasks, rule, [seed]).values()):+.1f}" for seed in seeds)
    return f"{rule:<12}{len(mine):>5}{scores}{overall}{cost}  {each}"
