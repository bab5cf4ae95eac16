"""Does masked pretraining help? The demo's joint model from its MAE backbone and from random weights: same budget, three seeds.

About half an hour on two cores: .venv/bin/python -m pytest tests/bench/test_pretraining_pays.py -m slow -s
"""

from pathlib import Path

import pytest

from shared.data.shards import write_shards
from shared.data.synthetic import NAMES, samples
from shared.engine.config import load
from shared.engine.evaluate import run
from shared.engine.launch import train
from shared.engine.score import Scores
from shared.engine.session import session
from shared.task import Task
from tasks.joint.story import PEOPLE

SEEDS = (0, 1, 2)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    for seed, (part, count) in enumerate(PEOPLE.items()):
        write_shards(samples(count, seed=seed, hw=(256, 192), workers=2), folder / part, names=NAMES)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_the_pretrained_backbone_is_better_on_most_tasks(people: Path, tmp_path: Path) -> None:
    shards = [f"train.shards={people / 'train'}", "preview=0", "val_every=0"]
    found: dict[str, list[tuple[Scores, Scores]]] = {"mae": [], "random": []}
    tasks: tuple[Task, ...] = ()
    for seed in SEEDS:
        config = load(ROOT / "configs/pretrain/synthetic_nano.py", [*shards, f"seed={seed}", f"work_dir={tmp_path / f'mae{seed}'}"])
        starts = {"mae": str(train(config)), "random": None}
        for name, init in starts.items():
            overrides = [*shards, f"val.shards={people / 'val'}", f"seed={seed}", f"init={init}"]
            config = load(ROOT / "configs/joint/synthetic_nano.py", [*overrides, f"work_dir={tmp_path / name}{seed}"])
            weights = train(config)
            with session("auto") as here:
                model, scores, trivial = run(config, weights, here)
            tasks = model.tasks
            found[name].append((scores, trivial))
            print(seed, name, {t.name: round(scores[f"{t.name}/{t.score.name}"], 4) for t in tasks}, flush=True)
    wins = sum(_report(task, found) for task in tasks)
    assert wins >= 3, f"the pretrained backbone is better on {wins} of {len(tasks)} tasks only"


def _report(task: Task, found: dict[str, list[tuple[Scores, Scores]]]) -> bool:
    """Print one task's line; whether the pretrained mean is better."""
    key = f"{task.name}/{task.score.name}"
    values = {name: [scores[key] for scores, _ in runs] for name, runs in found.items()}
    means = {name: sum(v) / len(v) for name, v in values.items()}
    trivial = found["mae"][0][1][key]
    seeds = " ".join(f"{m:.4f}/{r:.4f}" for m, r in zip(values["mae"], values["random"]))
    print(f"{key:<16} mae {means['mae']:.4f}  random {means['random']:.4f}  trivial {trivial:.4f}  per seed mae/random {seeds}")
    return means["mae"] > means["random"] if task.score.higher_is_better else means["mae"] < means["random"]
