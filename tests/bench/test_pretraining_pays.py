"""Does masked pretraining help? The demo's joint model from its MAE backbone and from random weights: same budget, three seeds.

Half an hour on two cores: .venv/bin/python -m pytest tests/bench/test_pretraining_pays.py -m slow -s
"""

from pathlib import Path

import pytest
from pairs import at_two, better, told

from shared.data.shards import write_shards
from shared.data.synthetic import NAMES, samples
from shared.engine.config import load
from shared.engine.evaluate import run
from shared.engine.launch import train
from shared.engine.score import Scores
from shared.engine.session import session
from shared.task import Task
from tasks.joint.story import PEOPLE, PEOPLE_HW

SEEDS = (0, 1, 2)
ROOT = Path(__file__).parents[2]


def pretrain(folder: Path, seed: int) -> Path:
    """The backbone of one seed."""
    settings = [f"train.shards={folder / 'train'}", f"seed={seed}", f"work_dir={folder / f'mae{seed}'}", "preview=0"]
    return train(load(ROOT / "configs/pretrain/synthetic_nano.py", settings))


def finetune(folder: Path, seed: int, init: Path | None) -> tuple[tuple[Task, ...], Scores, Scores]:
    """Tasks, scores and trivial scores of one training."""
    name = f"{'mae' if init else 'random'}{seed}"
    shards = [f"train.shards={folder / 'train'}", f"val.shards={folder / 'val'}"]
    settings = [*shards, f"seed={seed}", f"init={init}", f"work_dir={folder / f'joint_{name}'}", "preview=0", "val_every=0"]
    config = load(ROOT / "configs/joint/synthetic_nano.py", settings)
    weights = train(config)
    with session("auto") as here:
        model, scores, trivial = run(config, weights, here)
    told(name, model.tasks, scores)
    return model.tasks, scores, trivial


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_the_pretrained_backbone_is_better_on_most_tasks(tmp_path: Path) -> None:
    for seed, (part, count) in enumerate(PEOPLE.items()):
        write_shards(samples(count, seed=seed, hw=PEOPLE_HW, workers=2), tmp_path / part, names=NAMES)
    backbones = at_two(pretrain, [tmp_path] * len(SEEDS), SEEDS)
    jobs = [(seed, init) for seed, backbone in zip(SEEDS, backbones) for init in (backbone, None)]
    results = at_two(finetune, [tmp_path] * len(jobs), *zip(*jobs))
    wins = sum(better(task, results[::2], results[1::2], names=("mae", "random")) for task in results[0][0])
    assert wins >= 3, f"the pretrained backbone is better on {wins} of {len(results[0][0])} tasks only"
