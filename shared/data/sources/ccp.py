"""Clothing Co-Parsing (Yang, Luo, Lin 2014): street photos whose clothes are labelled by pixel, 59 classes, no left and right.

    DIR/images/*.jpg        labelled photos
    DIR/labels/*.png        8-bit index maps, one per labelled photo, of the same name and size
    DIR/labels.json         ["null", "accessories", ...]: the name of each id
    DIR/unlabelled/*.jpg    more photos (optional)

Split: in sorted order, every fourth labelled photo is validation and the others are for training (of 120: 30 and 90).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from shared.data import tarindex
from shared.data.codec import decode
from shared.data.photo import UnreadablePhoto, find_photos, photo_size
from shared.data.sources.folder import photo
from shared.data.sources.source import Command, Report, Source

SPLITS = ("train", "val")
EVERY = 4  # of this many labelled photos one is for validation


def names(folder: Path) -> dict[str, list[str]]:
    """{"seg": the name of each class id}, from DIR/labels.json."""
    path = Path(folder) / "labels.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; it should list the class names, see shared/data/sources/ccp.py")
    return tarindex.parse_names(b'{"seg": ' + path.read_bytes() + b"}", path)


def photos(folder: Path, *, split: str | None = None, unlabelled: bool = False) -> list[Path]:
    """The photos of a split (None: of both), in sorted order; `unlabelled` adds the photos without labels, except to "val"."""
    if split not in (None, *SPLITS):
        raise ValueError(f"split {split!r} does not exist; choose from {', '.join(SPLITS)}")
    folder = Path(folder)
    labelled = [found.path for found in find_photos([folder / "images"])]
    held_out = set(labelled[EVERY - 1 :: EVERY])
    chosen = [path for path in labelled if split is None or (path in held_out) == (split == "val")]
    if unlabelled and split != "val" and (folder / "unlabelled").is_dir():
        chosen += [found.path for found in find_photos([folder / "unlabelled"])]
    return chosen


def samples(
    folder: Path, *, split: str | None = None, unlabelled: bool = False, skipped: list[tuple[Path, str]] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (key, {"image": ..., "seg": ...}), or images alone, from more photos, if `unlabelled`.

    Args:
        folder: laid out as above.
        split: "train", "val" or both (None). Photos held out for "val" are not in "train", labelled or not.
        skipped: (path, sentence) of every unreadable photo is appended here; without it such a photo raises UnreadablePhoto.
    """
    known = 0 if unlabelled else len(names(folder)["seg"])
    for path in photos(folder, split=split, unlabelled=unlabelled):
        try:
            sample = {"image": photo(path)}
        except UnreadablePhoto as error:
            if skipped is None:
                raise
            skipped.append((path, str(error)))
            continue
        if not unlabelled:
            sample["seg"] = _labels(path, known)
        yield path.stem, sample


def _labels(path: Path, known: int) -> np.ndarray:
    """(H, W) uint8 class ids of a photo."""
    file = path.parent.parent / "labels" / f"{path.stem}.png"
    if not file.is_file():
        raise FileNotFoundError(f"{path} has no labels: {file} does not exist; move the photo to unlabelled/")
    try:
        seg = decode("seg.png", file.read_bytes())["seg"]
    except ValueError as error:
        raise ValueError(f"{file} is no label map: {error}") from error
    wrong = seg[(seg >= known) & (seg != 255)]
    if wrong.size:
        raise ValueError(
            f"{file} holds the label {wrong[0]}, but labels.json names only 0 to {known - 1} (255 is unknown); repair it"
        )
    if seg.shape != photo_size(path):
        raise ValueError(f"{file} is {seg.shape}, but its photo is {photo_size(path)} (height, width); they must be equal")
    return seg


def _options(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="DIR", help="holds images/, labels/ and labels.json")
    command.add_argument("--split", choices=SPLITS, help="every fourth labelled photo is val, the others train (default both)")
    command.add_argument(
        "--unlabelled", action="store_true", help="images alone, and those of unlabelled/ too (the latter count as train)"
    )


def _source(options: argparse.Namespace, report: Report) -> Source:
    which = {"split": options.split, "unlabelled": options.unlabelled}
    words = {} if options.unlabelled else names(options.folder)
    return Source(samples(options.folder, skipped=report.faults, **which), words, len(photos(options.folder, **which)))


COMMANDS = (Command("ccp", "Pack Clothing Co-Parsing.", "~/ccp --out data/ccp-train --split train", _options, _source),)
