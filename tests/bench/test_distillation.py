"""Do taught labels help? The demo's joint model on 50 labelled people, and on those beside 450 that a teacher labelled: the same
number of steps, three seeds. The teacher is the built-in model, which has never seen any of them.

    .venv/bin/python -m pytest tests/bench/test_distillation.py -m slow -s
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest
from pairs import at_two, better, told

from shared import builtin
from shared.data.paths import tar_paths
from shared.data.shards import write_shards
from shared.data.synthetic import NAMES, samples
from shared.engine.config import load
from shared.engine.evaluate import run
from shared.engine.launch import train
from shared.engine.score import Scores
from shared.engine.session import session
from shared.infer.label import label
from shared.infer.taught import Least
from shared.infer.teacher import Options, teachers
from shared.task import Task
from tasks.joint.story import PEOPLE, PEOPLE_HW

SEEDS = (0, 1, 2)
LABELLED = 0.1
SHARES = {"labelled": 1, "taught": 3}  # of the pictures of a distilled student
POINT_SCORE = 0.12  # from where the built-in model draws points
ROOT = Path(__file__).parents[2]


def make(folder: Path, people: dict[str, int]) -> None:
    """People in three parts: few with labels, the others with those of the teacher alone, and some to score on."""
    for seed, (part, count) in enumerate(people.items()):
        made = samples(count, seed=seed, hw=PEOPLE_HW, workers=2)
        if part == "train":
            write_shards(islice(made, round(LABELLED * count)), folder / "labelled", names=NAMES)
            bare = ((key, {name: sample[name] for name in ("image", "box")}) for key, sample in made)
            write_shards(bare, folder / "photos", per_shard=100)
        else:
            write_shards(made, folder / part, names=NAMES)
    options = Options(Least(point=POINT_SCORE), sure=True)
    found = teachers([builtin.path()], mode="people")
    assert not label(tar_paths(folder / "photos"), folder / "taught", found, options)


def student(folder: Path, seed: int, distilled: bool, overrides: Sequence[str] = ()) -> tuple[tuple[Task, ...], Scores, Scores]:
    """Tasks, scores and trivial scores of one training."""
    name = f"{'distilled' if distilled else 'labelled'}{seed}"
    sets = {part: share for part, share in SHARES.items() if distilled or part == "labelled"}
    settings = [f"val.shards={folder / 'val'}", f"train.shards={folder / 'labelled'}", f"seed={seed}", "tasks.0.trust=True"]
    settings += [f"work_dir={folder / name}", "preview=0", "val_every=0", *overrides]
    config = load(ROOT / "configs/joint/synthetic_nano.py", settings)
    mixed = {**config, "train": {"shards": [{"shards": str(folder / part), "weight": share} for part, share in sets.items()]}}
    weights = train(mixed)
    with session("auto") as here:
        model, scores, trivial = run(config, weights, here)
    told(name, model.tasks, scores)
    return model.tasks, scores, trivial


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_a_student_of_few_labels_learns_from_a_teacher(tmp_path: Path) -> None:
    make(tmp_path, PEOPLE)
    jobs = [(seed, distilled) for seed in SEEDS for distilled in (True, False)]
    results = at_two(student, [tmp_path] * len(jobs), *zip(*jobs))
    wins = sum(better(task, results[::2], results[1::2], names=("distilled", "alone")) for task in results[0][0])
    assert wins >= 3, f"the distilled student is better on {wins} of {len(results[0][0])} tasks only"
