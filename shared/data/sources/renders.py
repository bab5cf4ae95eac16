"""Renders of scanned people for evaluation, such as labs make of THuman2 and Hi4D: pictures, masks, and exact depth or normals.

    DIR/0001/rgb/000.png       any number of folders deep; a folder that holds rgb/, image/ or images/ is a subject
    DIR/0001/mask/000.png      above 0: somebody
    DIR/0001/depth/000.npy     metres along the optical axis; or .exr, .hdf5; or .png with --unit
    DIR/0001/normal/000.npy    in -1 to 1; or .exr, .hdf5; or .png of (n + 1) / 2
    DIR/0001/camera/000.txt    fx 0 cx, 0 fy cy, 0 0 1 in pixels (optional)

Folders and files are those of parts.py. But this is what others are compared with, so a view is packed whole or not at all: with
its mask, and with whatever else the subject has a folder for. The data sets themselves hold scans, not renders.
"""

import argparse
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from shared.data.photo import Found, find_photos
from shared.data.sources import parts
from shared.data.sources.axes import add_options
from shared.data.sources.source import Command, Report, Source, Unusable, key_of, usable

NEEDS = {"mask": "alpha", "depth": "depth", "normal": "normal", "camera": "intrinsics"}  # a subject's folder -> the field it gives


class View(NamedTuple):
    """One picture of one subject."""

    subject: str  # its folder, relative to what was named
    where: Mapping[str, Path]
    photo: Found


def views(folder: Path) -> list[View]:
    """All pictures of all subjects, sorted.

    Raises:
        FileNotFoundError: there is no subject, or one without masks, or with neither depth nor normals.
    """
    subjects = []
    for root, below, _ in os.walk(folder, followlinks=True):
        below.sort()
        if set(parts.FOLDERS["image"]) & set(below):
            subjects.append(Path(root))
            below.clear()
    if not subjects:
        raise FileNotFoundError(
            f"{folder} holds no folder with rgb/, image/ or images/ in it; docs/data.md says how renders should lie"
        )
    found = []
    for subject in subjects:
        where = parts.folders(subject)
        if "mask" not in where or not {"depth", "normal"} & where.keys():
            raise FileNotFoundError(f"{subject} holds no mask/, or neither depth/ nor normal/; nothing could be compared with it")
        name = subject.relative_to(folder).as_posix()
        found += [View(name, where, photo) for photo in find_photos([where["image"]])]
    return found


def samples(folder: Path, reading: parts.Reading, report: Report) -> tuple[Iterator[tuple[str, dict[str, Any]]], int]:
    """The (key, sample) of every complete view, and how many views there are; `facts` has `render`: subject and view.

    Args:
        folder: laid out as above.
        reading: how its files are meant.
        report: hears of views that are damaged or lack something.
    """
    found = views(folder)
    return usable(found, partial(_sample, reading), report, file=lambda view: view.photo.path), len(found)


def _sample(reading: parts.Reading, view: View) -> tuple[str, dict[str, Any]]:
    sample = parts.sample(view.photo, view.where, reading)
    for kind, field in NEEDS.items():
        if kind in view.where and field not in sample:
            raise Unusable(view.photo.path, f"it has no {kind}", f": there is no {view.where[kind] / view.photo.name}.*")
    if not sample["alpha"].any():
        raise Unusable(view.photo.path, "nobody is in its mask")
    sample["facts"] = {"render": {"subject": view.subject, "view": view.photo.name}}
    return key_of(view.photo.name if view.subject == "." else f"{view.subject}/{view.photo.name}"), sample


def _options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "folder", type=Path, metavar="DIR", help="holds a folder for each subject, with rgb/, mask/, depth/, normal/"
    )
    add_options(command)


def _source(options: argparse.Namespace, report: Report) -> Source:
    found, total = samples(options.folder, parts.Reading(unit=options.unit, axes=options.axes), report)
    return Source(found, {}, total)


COMMANDS = (
    Command(
        "renders",
        "Pack renders of scanned people, for evaluation of depth and normals.",
        "~/thuman2_renders --axes=x,-y,-z --out data/thuman2",
        _options,
        _source,
    ),
)
