"""A folder of photos -> samples that hold an image and nothing else."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2

from shared.data.duplicates import Seen, dhash
from shared.data.options import positive
from shared.data.photo import UnreadablePhoto, find_photos, photo_header, read_photo
from shared.data.sources.source import Command, Report, Source, key_of, unique


def samples(
    folder: Path,
    *,
    max_side: int | None = None,
    skipped: list[tuple[Path, str]] | None = None,
    alike: Report | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (key, {"image": ...}) for every readable photo under a folder, in sorted order.

    Args:
        folder: searched to the bottom.
        max_side: pixels; larger photos are scaled down until their longer side is this long.
        skipped: (path, sentence) of every unreadable photo is appended here; without it such a photo raises UnreadablePhoto.
        alike: told of every photo that looks like an earlier one and is left out; None: all are kept.
    """
    taken: set[str] = set()
    seen = Seen()
    for path, name, _ in find_photos([folder]):
        try:
            image = photo(path, max_side=max_side)
        except UnreadablePhoto as error:
            if skipped is None:
                raise
            skipped.append((path, str(error)))
            continue
        if alike is not None:
            picture = dhash(read_photo(image) if isinstance(image, bytes) else image)
            if earlier := seen.find(picture):
                alike.passed_over.append(f"{path} looks like {earlier}")
                alike.reasons["looks like an earlier photo"] += 1
                continue
            seen.add(picture, str(path))
        yield unique(key_of(name), taken), {"image": image}


def photo(path: Path, *, max_side: int | None = None) -> Any:
    """What a shard should hold for a photo: its own JPEG bytes where they will do, else uint8 RGB (H, W, 3).

    They will do if the photo is upright, grey or RGB and not too large. Every photo is decoded once: a header proves nothing.
    """
    image = read_photo(path)
    header = photo_header(path)
    scale = 1 if max_side is None else max_side / max(header.hw)
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in header.hw)
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    if header.format in {"JPEG", "MPO"} and header.mode in {"RGB", "L"} and header.orientation == 1:
        return path.read_bytes()
    return image


def add_options(command: argparse.ArgumentParser) -> None:
    """What `pack folder` takes on its command line."""
    command.add_argument("folder", type=Path, metavar="DIR", help="searched to the bottom for photos")
    command.add_argument("--max-side", type=positive, metavar="N", help="scale larger photos down to N pixels on the longer side")
    command.add_argument("--dedupe", action="store_true", help="leave out photos that look like an earlier one")


def _source(options: argparse.Namespace, report: Report) -> Source:
    total = count(options.folder, report)
    alike = report if options.dedupe else None
    return Source(samples(options.folder, max_side=options.max_side, skipped=report.faults, alike=alike), {}, total)


def count(folder: Path, report: Report) -> int:
    """How many photos there are to read; those of kinds that are not read here are reported as left out."""
    unread: list[Path] = []
    total = len(find_photos([folder], unread=unread))
    report.passed_over += [f"{path} is of a kind that is not read here; convert it to JPEG" for path in unread]
    report.reasons |= {"is of a kind that is not read here, HEIC or raw": len(unread)} if unread else {}
    return total


COMMANDS = (
    Command(
        "folder", "Pack the photos of a folder, images only.", "~/photos --out data/photos --max-side 2048", add_options, _source
    ),
)
