"""Does pose learn? Real photos are fitted to COCO's own satisfaction, and people it never saw are found, in four conventions.

Twenty minutes on a core: .venv/bin/python -m pytest tests/bench/test_pose_learns.py -m slow -s
"""

import json
from pathlib import Path

import pytest

from shared.data import pack
from shared.data.photo import find_photos
from shared.data.shards import write_shards
from shared.data.synthetic import NAMES, samples
from shared.engine.config import load
from shared.engine.evaluate import run
from shared.engine.launch import train
from shared.engine.session import session
from shared.infer.people import Given
from shared.infer.predictor import Predictor
from shared.infer.run import run as answer
from tasks.joint.story import PEOPLE, PEOPLE_HW
from tasks.pose import official

CONFIG = Path(__file__).parents[2] / "configs/pose/synthetic_nano.py"
# four photos are learnt by heart: always the same view, in more pixels than the config has
BY_HEART = ["jitter=None", "backbone.image_hw=256,192", "backbone.patch=16", "decoder.up=64,48", "tasks.0.sigma=0.0234"]


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> list[str]:
    """The demo's people, as settings."""
    folder = tmp_path_factory.mktemp("people")
    for seed, (part, count) in enumerate(PEOPLE.items()):
        write_shards(samples(count, seed=seed, hw=PEOPLE_HW, workers=2), folder / part, names=NAMES)
    return [f"{part}.shards={folder / part}" for part in PEOPLE]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_four_photos_learnt_by_heart_satisfy_coco(shared_folder: Path, tmp_path: Path) -> None:
    """Shards, boxes, targets, decoding, the way back to the photo, files and the evaluator agree on where a point is."""
    photos, annotations = shared_folder / "images/coco", shared_folder / "images/coco/test_coco_wholebody.json"
    if not annotations.is_file():
        pytest.skip("the COCO photos do not lie beside the repository")
    shards, data = tmp_path / "shards", ["--data", "coco-wholebody"]
    assert pack.main(["coco-wholebody", str(annotations), str(photos), "--out", str(shards), "--quiet"]) == 0
    places = [f"train.shards={shards}", f"val.shards={shards}", f"work_dir={tmp_path / 'run'}", "preview=0", "val_every=0"]
    settings = ["tasks.0.skeleton=wholebody133", "batch=12", "iters=600", "warmup=30", *BY_HEART, *places]
    weights = train(load(CONFIG, settings))
    assert official.main(["boxes", str(annotations), *data, "--out", str(tmp_path / "boxes.json")]) == 0
    finder = Given.read(tmp_path / "boxes.json")
    assert not answer(Predictor.load(weights), find_photos([str(photos)]), tmp_path / "answers", finder=finder, render=False)
    score = ["score", str(annotations), str(tmp_path / "answers"), *data, "--json", str(tmp_path / "scores.json")]
    assert official.main(score) == 0
    assert json.loads((tmp_path / "scores.json").read_text())["ap"] > 0.95


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("skeleton", ["coco17", "wholebody133", "face243", "sapiens308"])
def test_people_it_never_saw_are_found_three_times_as_often_as_by_their_mean(skeleton, people, tmp_path) -> None:
    settings = [f"tasks.0.skeleton={skeleton}", *people, f"work_dir={tmp_path / skeleton}", "preview=0", "val_every=0"]
    config = load(CONFIG, settings)
    weights = train(config)
    with session("auto") as here:
        _, scores, trivial = run(config, weights, here)
    print(skeleton, {name: (round(scores[name], 4), round(trivial[name], 4)) for name in ("pose/pck05", "pose/pck10")}, flush=True)
    assert scores["pose/pck05"] >= 3 * trivial["pose/pck05"]
