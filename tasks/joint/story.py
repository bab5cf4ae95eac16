"""The demo, chapter by chapter: people are made, a backbone is pretrained on them, four tasks are fine-tuned on it together,
scored on people it never saw, and asked about a real photo and a large picture, beside the built-in model."""

import argparse
import logging
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from shared import builtin
from shared.data.photo import Found, read_photo
from shared.data.shards import write_shards
from shared.data.synthetic import NAMES, person, samples
from shared.engine.config import load
from shared.engine.evaluate import run as evaluate
from shared.engine.launch import train
from shared.engine.score import Scores, table
from shared.engine.session import session
from shared.infer.cli import run as infer
from shared.infer.predictor import Predictor
from shared.infer.writer import write
from shared.render import panel
from shared.task import Task

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
PORTRAIT = ROOT / "docs" / "pictures" / "astronaut.png"  # NASA, public domain
PEOPLE = {"train": 500, "val": 80}  # samples made for each part
PEOPLE_HW = (160, 120)
LARGE_HW = (4096, 3072)
SHEET_HEIGHT = 360  # of one row of the contact sheet, pixels


def tell() -> None:
    """Run all chapters; a second call goes on where the first was stopped."""
    parser = argparse.ArgumentParser(
        description="Make synthetic people, pretrain, fine-tune four tasks, score them, and answer a real photo: the whole path.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python tasks/joint/demo.py --out runs/demo --data data/synthetic",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder for models and pictures (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data/synthetic"), help="folder for the people (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for both trainings, for example iters=100 warmup=10")
    arguments = parser.parse_intermixed_args()  # settings may stand before and after options
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    began = time.perf_counter()
    try:
        make_people(arguments.data)
        weights = learn(arguments.out, arguments.data, arguments.overrides)
        tasks, scores, trivial = measure(arguments.out, arguments.data, weights)
        sheet = answer(arguments.out, weights)
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")
    minutes = (time.perf_counter() - began) / 60
    sys.stdout.write(f"\nOn {PEOPLE['val']} people that were held out:\n{table(tasks, scores, trivial)}\n")
    sys.stdout.write(f"\n{minutes:.1f} minutes. Weights: {weights}\nPictures: {sheet}\n")


def make_people(folder: Path) -> None:
    """Chapter 1: shards of synthetic people, unless they are there."""
    for seed, (part, count) in enumerate(PEOPLE.items()):
        if list((folder / part).glob("*.tar")):
            log.info("1/5 people: %s is there already", folder / part)
            continue
        log.info("1/5 people: %d for %s", count, part)
        made = samples(count, seed=seed, hw=PEOPLE_HW, workers=2)
        write_shards(tqdm(made, total=count, desc=part, unit="person"), folder / part, names=NAMES)


def learn(out: Path, people: Path, overrides: list[str]) -> Path:
    """Chapters 2 and 3: a backbone without labels, then four tasks on it."""
    log.info("2/5 pretraining by masked autoencoding")
    shards = f"train.shards={people / 'train'}"
    config = load(ROOT / "configs/pretrain/synthetic_nano.py", [f"work_dir={out / 'mae'}", shards, *overrides])
    backbone = train(config)
    log.info("3/5 fine-tuning pose, parts, depth and normals together")
    settings = [f"work_dir={out / 'joint'}", f"init={backbone}", shards, f"val.shards={people / 'val'}", *overrides]
    return train(load(ROOT / "configs/joint/synthetic_nano.py", settings))


def measure(out: Path, people: Path, weights: Path) -> tuple[tuple[Task, ...], Scores, Scores]:
    """Chapter 4: exact scores beside those of answers that do not look."""
    log.info("4/5 scoring on held-out people")
    places = [f"train.shards={people / 'train'}", f"val.shards={people / 'val'}"]
    config = load(ROOT / "configs/joint/synthetic_nano.py", places)
    with session(config["device"]) as here:
        model, scores, trivial = evaluate(config, weights, here)
    return model.tasks, scores, trivial


def answer(out: Path, weights: Path) -> Path:
    """Chapter 5: a real photo and a picture of 4096 x 3072, and a contact sheet of the answers, here and of the built-in model."""
    log.info("5/5 answering a real photo and a picture of %d x %d", *LARGE_HW)
    large = out / "large.jpg"
    if not large.is_file():
        write(out, "large", {"jpg": person(7, hw=LARGE_HW)["image"]})
    photos, models = [Found(PORTRAIT, "astronaut"), Found(large, "large")], {"this demo": weights}
    if builtin.MODEL.is_file():
        models["built in"] = builtin.MODEL
    rows, titles = [], []
    for title, model in models.items():
        folder = out / ("answers" if model == weights else "answers_builtin")
        predictor = Predictor.load(model)
        failed = infer(predictor, photos, folder)
        if failed:
            raise ValueError(f"the demo's own pictures failed: {failed}")
        names = [task.name for task in predictor.tasks]
        pictures = [[f.path, *(folder / f"{f.name}.{name}.jpg" for name in names)] for f in photos]
        rows += [[_small(read_photo(path)) for path in row] for row in pictures]
        titles += [[title, *names]] + [[]] * (len(photos) - 1)
    write(out, "sheet", {"jpg": panel(rows, titles, height=SHEET_HEIGHT)})
    return out / "sheet.jpg"


def _small(image: np.ndarray) -> np.ndarray:
    """A picture of the sheet's height, shrunk by averages."""
    scale = SHEET_HEIGHT / image.shape[0]
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
