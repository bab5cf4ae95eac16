"""Look into Person (Gong et al. 2017): one person in each picture, 20 classes by pixel, left and right told apart.

    DIR/TrainVal_images/train_images/77_471474.jpg                      also val_images/
    DIR/TrainVal_parsing_annotations/train_segmentations/77_471474.png  8-bit ids 0 to 19; also val_segmentations/
    DIR/TrainVal_images/train_id.txt                                    one stem a line; also val_id.txt

The annotations may lie one folder deeper, as the archive has them. All may also lie in DIR itself. Mirrored copies of the labels,
which training code of others makes beside them (`*_reversed`), are not read: we mirror as we train.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from shared.data.sources.maps import fitting, labels, upright_photo
from shared.data.sources.source import Command, Report, Source, Unusable, usable

SPLITS = ("train", "val")
CLOTHES = ("Background", "Hat", "Hair", "Glove", "Sunglasses", "UpperClothes", "Dress", "Coat", "Socks", "Pants")
BODY = ("Scarf", "Skirt", "Face", "Left-arm", "Right-arm", "Left-leg", "Right-leg", "Left-shoe", "Right-shoe")
NAMES = (*CLOTHES, "Jumpsuits", *BODY)  # the position is the id


def ids(path: Path) -> list[str]:
    """The stems that a list names, one a line.

    Raises:
        ValueError: it names none.
    """
    found = [line.strip().removesuffix(".jpg") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not found:
        raise ValueError(f"{path} names no picture; it should hold one file name a line, without suffix")
    return found


def first(folder: Path, *choices: str) -> Path:
    """The first of some paths in a folder that exists.

    Raises:
        FileNotFoundError: none does.
    """
    found = next((folder / choice for choice in choices if (folder / choice).exists()), None)
    if found is None:
        raise FileNotFoundError(f"{folder} holds none of {', '.join(choices)}; docs/data.md says how the data set is laid out")
    return found


def samples(folder: Path, split: str, report: Report) -> tuple[Iterator[tuple[str, dict[str, Any]]], int]:
    """The (key, {"image", "seg"}) of a split in the order of its list, and how many it lists.

    Args:
        folder: laid out as above.
        split: "train" or "val".
        report: hears of pictures that are absent, damaged, or do not fit their labels.

    Raises:
        FileNotFoundError: the folder is laid out differently.
        ValueError: a label map holds an id above 19.
    """
    within = "TrainVal_parsing_annotations"
    masks = f"{split}_segmentations"
    images = first(folder, f"TrainVal_images/{split}_images", f"{split}_images")
    maps = first(folder, f"{within}/{masks}", f"{within}/{within}/{masks}", masks)
    listed = ids(first(folder, f"TrainVal_images/{split}_id.txt", f"{split}_id.txt"))
    found = usable(listed, partial(_sample, images, maps), report, file=lambda stem: images / f"{stem}.jpg")
    return found, len(listed)


def _sample(images: Path, maps: Path, stem: str) -> tuple[str, dict[str, Any]]:
    path, file = images / f"{stem}.jpg", maps / f"{stem}.png"
    image, hw = upright_photo(path)
    if not file.is_file():
        raise Unusable(path, "it has no labels", f": {file} does not exist")
    return stem.replace(".", "_"), {"image": image, "seg": fitting("label map", labels(file, NAMES), hw, path)}


def _options(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="DIR", help="holds TrainVal_images/ and TrainVal_parsing_annotations/")
    command.add_argument("--split", choices=SPLITS, default="train", help="which list of pictures (default train)")


def _source(options: argparse.Namespace, report: Report) -> Source:
    found, total = samples(options.folder, options.split, report)
    return Source(found, {"seg": list(NAMES)}, total)


COMMANDS = (
    Command("lip", "Pack Look into Person: 20 classes, one person in a picture.", "~/lip --out data/lip/train", _options, _source),
)
