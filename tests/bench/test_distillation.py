"""Do taught labels help? The demo's joint model on 50 labelled people, and on those beside 450 that a teacher labelled: the same
number of steps, three seeds. The teacher is the built-in model, which has never seen any of them.

Half an hour on one core; called again on the same code, it goes on:

    OMP_NUM_THREADS=1 .venv/bin/python -m pytest tests/bench/test_distillation.py -m slow -s
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from kept import RUNS, Result, trained
from pairs import at_two, better, told

from shared import builtin
from shared.build import build
from shared.data.paths import tar_paths
from shared.data.shards import Shards, write_shards
from shared.engine.config import load
from shared.infer.label import label
from shared.infer.taught import Least
from shared.infer.teacher import Options, teachers
from tasks.joint.story import make_people

SEEDS = (0, 1, 2)
LABELLED = 50  # of 500
SHARES = {"labelled": 1, "taught": 3}  # of the pictures of a distilled student
ITERS = 450  # 800 in the demo
POINT_SCORE = 0.12  # from where the built-in model draws points
FOLDER = RUNS / "distillation"
CONFIG = Path(__file__).parents[2] / "configs/joint/synthetic_nano.py"


def some(people: Shards, numbers: Iterable[int], only: Sequence[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Those samples with their pictures as they are stored."""
    for i in numbers:
        yield people.key(i), people.read(i, only) | {"image": people.member(i, "jpg")}


def make(folder: Path) -> None:
    """The demo's people in three parts: few with labels, the others with those of the teacher alone, and some to score on."""
    make_people(folder)
    people = Shards(folder / "train")
    if not (folder / "labelled").exists():
        write_shards(some(people, range(LABELLED)), folder / "labelled", names=people.names)
    if not (folder / "photos").exists():
        rest = some(people, range(LABELLED, len(people)), ["box"])
        write_shards(rest, folder / "photos", per_shard=100)
    options = Options(Least(point=POINT_SCORE), people_only=True, sure=True)  # it has learnt depth and normals of people alone
    assert not label(tar_paths(folder / "photos"), folder / "taught", teachers([builtin.path()], mode="people"), options)


def student(people: Path, out: Path, seed: int, distilled: bool, overrides: Sequence[str] = ()) -> Result:
    """One training from random weights."""
    sets = {part: share for part, share in SHARES.items() if distilled or part == "labelled"}
    settings = [f"val.shards={people / 'val'}", f"iters={ITERS}", f"seed={seed}", "tasks.0.trust=True", "preview=0", "val_every=0"]
    config = load(CONFIG, [*settings, *overrides])
    mixed = {**config, "train": {"shards": [{"shards": str(people / part), "weight": share} for part, share in sets.items()]}}
    name = f"{'distilled' if distilled else 'labelled'}_{seed}"
    result = trained(mixed, out / name)
    told(name, [build(task) for task in config["tasks"]], result.scores)
    return result


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_a_student_of_few_labels_learns_from_a_teacher() -> None:
    people = FOLDER / "people"
    make(people)
    jobs = [(seed, distilled) for seed in SEEDS for distilled in (True, False)]
    results = at_two(student, [people] * len(jobs), [FOLDER] * len(jobs), *zip(*jobs))
    tasks = tuple(build(task) for task in load(CONFIG, [])["tasks"])
    pairs = [[(tasks, result.scores, result.trivial) for result in results[k::2]] for k in (0, 1)]
    wins = sum(better(task, *pairs, names=("distilled", "alone")) for task in tasks)
    assert wins >= 3, f"the distilled student is better on {wins} of {len(tasks)} tasks only"
