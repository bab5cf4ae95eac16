"""A folder as Sapiens' code reads it: photos, and beside them labels of equal stems in folders of their own.

    DIR/images/0001.jpg    or image/, rgb/: any photos, also in subfolders
    DIR/masks/0001.png     or mask/: 8-bit, or .npy; people (anything above 0), or classes if a table names them
    DIR/depth/0001.npy     or depths/: metres, NaN or 0 unknown; or .exr, .hdf5; or .png of 16 bits with --unit
    DIR/normal/0001.npy    or normals/: (H,W,3) in -1 to 1; or .exr, .hdf5; or .png of (n + 1) / 2
    DIR/camera/0001.txt    or cameras/, cam/: fx 0 cx, 0 fy cy, 0 0 1 in pixels, the first pixel's centre at 0 0

Any of the folders but the first may be absent, and so may single files. Where there is a mask, depth and normals are known on
people only. A mask of people becomes `alpha`, so that they can be put before other places; one of classes becomes `seg`.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from shared.data.photo import Found, find_photos
from shared.data.sources.axes import Axes, add_options, judge, normals
from shared.data.sources.maps import ARRAYS, beside, camera, depth, fitting, foreground, labels, upright_photo
from shared.data.sources.source import Command, Report, Source, Unusable, key_of, usable
from shared.vocabulary import Vocabulary

FOLDERS = {
    "image": ("images", "image", "rgb"),
    "mask": ("masks", "mask"),
    "depth": ("depth", "depths"),
    "normal": ("normal", "normals"),
    "camera": ("camera", "cameras", "cam"),
}
SUFFIXES = {"mask": (".png", ".npy"), "camera": (".txt",)}  # of the others: those of `array`
HOLDS = {"mask": {"alpha", "seg"}, "depth": {"depth"}, "normal": {"normal"}}  # the fields that a folder of labels becomes


class Reading(NamedTuple):
    """How the files of a folder are meant.

    Attributes:
        classes: the names of the masks' ids; None: anything above 0 is somebody.
        unit: metres per unit of depth; None: metres.
        axes: of the normals.
    """

    classes: Sequence[str] | None = None
    unit: float | None = None
    axes: Axes = Axes()


def folders(folder: Path) -> dict[str, Path]:
    """Which of FOLDERS there are: {"image": ..., "depth": ...}.

    Raises:
        FileNotFoundError: there is no folder of photos, or none of labels.
    """
    found = {kind: folder / name for kind, names in FOLDERS.items() for name in reversed(names) if (folder / name).is_dir()}
    if "image" not in found:
        raise FileNotFoundError(f"{folder} holds no folder {', '.join(FOLDERS['image'])}; docs/data.md says how it should be")
    if found.keys() <= {"image", "camera"}:
        raise FileNotFoundError(f"{folder} holds no masks/, depth/ or normal/; `pack folder` packs photos without labels")
    return found


def sample(found: Found, where: Mapping[str, Path], reading: Reading) -> dict[str, Any]:
    """The image and whatever labels there are of one photo.

    Raises:
        UnreadablePhoto, Unusable: something is damaged or does not fit.
        ValueError: a label without a name, depth without a unit.
    """
    image, hw = upright_photo(found.path)
    sought = {kind: beside(folder, found.name, suffixes=SUFFIXES.get(kind, ARRAYS)) for kind, folder in where.items()}
    there = {kind: path for kind, path in sought.items() if path is not None}
    fields, people = {"image": image}, np.ones(hw, bool)
    if path := there.get("mask"):
        if reading.classes is None:
            people = fitting("mask", foreground(path), hw, found.path)
            fields["alpha"] = people.astype(np.float32)
        else:
            fields["seg"] = fitting("mask", labels(path, reading.classes), hw, found.path)
            people = fields["seg"] != 0
    if path := there.get("camera"):
        fields["intrinsics"] = camera(path)
    if path := there.get("depth"):
        fields["depth"] = np.where(people, fitting("depth", depth(path, reading.unit), hw, found.path), np.float32(np.nan))
    if path := there.get("normal"):
        seen = fitting("normals", normals(path, reading.axes), hw, found.path)
        fields["normal"] = np.where(people[..., None], seen, np.float32(np.nan))
        judge(fields["normal"], reading.axes, path, depth=fields.get("depth"), intrinsics=fields.get("intrinsics"))
    return fields


def samples(folder: Path, reading: Reading, report: Report) -> tuple[Iterator[tuple[str, dict[str, Any]]], int]:
    """The (key, sample) of every photo with at least one label, and how many photos there are.

    Args:
        folder: laid out as above.
        reading: how its files are meant.
        report: hears of photos that are damaged or have no label at all, and in passing of those that lack some of them.
    """
    where = folders(folder)
    found = find_photos([where["image"]])
    return usable(found, partial(_sample, where, reading, report), report, file=lambda one: one.path), len(found)


def _sample(where: Mapping[str, Path], reading: Reading, report: Report, one: Found) -> tuple[str, dict[str, Any]]:
    fields = sample(one, where, reading)
    absent = [kind for kind in ("mask", "depth", "normal") if kind in where and HOLDS[kind].isdisjoint(fields)]
    if HOLDS.keys() & where.keys() == set(absent):
        sought = ", ".join(where[kind].name for kind in absent)
        raise Unusable(one.path, "it has no labels", f": nothing called {one.name} is in {sought}")
    report.passed_over += [f"{one.path}: packed without {kind}, there is no {where[kind] / one.name}.*" for kind in absent]
    return key_of(one.name), fields


def _classes(text: str) -> list[str]:
    """The names of a table of classes.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        return list(Vocabulary.load(Path(text)).names)
    except (ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _options(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="DIR", help="holds images/ and some of masks/, depth/, normal/, camera/")
    about = "the masks hold classes, and this table names them, tasks/seg/labels/sapiens28.toml say (default: people, above 0)"
    command.add_argument("--classes", type=_classes, metavar="TOML", help=about)
    add_options(command)


def _source(options: argparse.Namespace, report: Report) -> Source:
    found, total = samples(options.folder, Reading(options.classes, options.unit, options.axes), report)
    return Source(found, {} if options.classes is None else {"seg": options.classes}, total)


COMMANDS = (
    Command(
        "parts",
        "Pack folders of photos, masks, depth and normals of equal names, as Sapiens' code reads them.",
        "~/toy --classes tasks/seg/labels/sapiens28.toml --out data/toy",
        _options,
        _source,
    ),
)
