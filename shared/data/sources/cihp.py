"""Crowd Instance-level Human Parsing (Gong et al. 2018): several people in each picture, 20 classes by pixel, and whose it is.

    DIR/Training/Images/0000006.jpg          also Validation/
    DIR/Training/Category_ids/0000006.png    8-bit ids 0 to 19
    DIR/Training/Human_ids/0000006.png       8-bit numbers of people, 0 nobody (optional)
    DIR/Training/train_id.txt                one stem a line; Validation/val_id.txt

Both halves may also lie together, as training code of others has them: DIR/Images, DIR/Category_ids, DIR/lists/train_id.txt.

One sample per picture (docs/decisions/0011-a-sample-is-one-person.md says why); `person` tells its people apart. `Categories` and
`Human` hold the same in colours, and `Instance_ids` numbers parts; none is read. Neither are mirrored copies of the labels, which
training code of others makes beside them (`Category_rev_ids`): we mirror as we train.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from shared.data.sources import lip
from shared.data.sources.maps import fitting, grey, labels, upright_photo
from shared.data.sources.source import Command, Report, Source, Unusable, usable

SPLITS = {"train": "Training", "val": "Validation"}
NAMES = (*lip.CLOTHES, "Torso-skin", *lip.BODY)  # LIP's, but for the tenth


def samples(folder: Path, split: str, report: Report) -> tuple[Iterator[tuple[str, dict[str, Any]]], int]:
    """The (key, {"image", "seg", "person", "facts"}) of a split in the order of its list, and how many it lists.

    `facts` has `cihp`: everybody's number and box (x0 y0 x1 y1 px, outer edges), where the data set says who is who.

    Args:
        folder: laid out as above.
        split: "train" or "val".
        report: hears of pictures that are absent, damaged, or do not fit their labels.

    Raises:
        FileNotFoundError: the folder is laid out differently.
        ValueError: a label map holds an id above 19.
    """
    here = folder if (folder / "Images").is_dir() else lip.first(folder, SPLITS[split])
    images, classes = lip.first(here, "Images"), lip.first(here, "Category_ids")
    listed = lip.ids(lip.first(here, f"{split}_id.txt", f"lists/{split}_id.txt"))
    found = usable(listed, partial(_sample, images, classes), report, file=lambda stem: images / f"{stem}.jpg")
    return found, len(listed)


def _sample(images: Path, classes: Path, stem: str) -> tuple[str, dict[str, Any]]:
    path, file, human = images / f"{stem}.jpg", classes / f"{stem}.png", classes.parent / "Human_ids" / f"{stem}.png"
    image, hw = upright_photo(path)
    if not file.is_file():
        raise Unusable(path, "it has no labels", f": {file} does not exist")
    sample = {"image": image, "seg": fitting("label map", labels(file, NAMES), hw, path)}
    if human.parent.is_dir():
        if not human.is_file():
            raise Unusable(path, "nobody says who is who in it", f": {human} does not exist")
        sample["person"] = fitting("map of people", grey(human), hw, path)
        sample["facts"] = {"cihp": [{"person": int(n), "box": _box(sample["person"] == n)} for n in _people(sample["person"])]}
    return stem.replace(".", "_"), sample


def _people(person: np.ndarray) -> np.ndarray:
    """The numbers of the people in a map (H,W)."""
    numbers = np.unique(person)
    return numbers[(numbers > 0) & (numbers < 255)]


def _box(there: np.ndarray) -> list[float]:
    """The outer edges x0 y0 x1 y1 px of a mask (H,W)."""
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    return [columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5]


def _options(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="DIR", help="holds Training/ and Validation/")
    command.add_argument("--split", choices=list(SPLITS), default="train", help="which half (default train)")


def _source(options: argparse.Namespace, report: Report) -> Source:
    found, total = samples(options.folder, options.split, report)
    return Source(found, {"seg": list(NAMES)}, total)


COMMANDS = (
    Command(
        "cihp",
        "Pack Crowd Instance-level Human Parsing: 20 classes, several people.",
        "~/cihp --out data/cihp/train",
        _options,
        _source,
    ),
)
