"""Pack only pictures that show people: photos or shards -> shards of those in which a detector finds enough of them, large enough.

    python -m shared.infer.pack people ~/photos --out data/people --max-side 2048 --dedupe
    python -m shared.infer.pack people-of 's3://bucket/photos-{000..127}.tar' --out data/people --pixels 200 --least 2

Each picture that is kept has what was found beside it, as facts, which training passes over: docs/data.md. How many were left out,
and why, is told at the end and sentence by sentence in SHARDS/skipped.txt. Exit status as of `python -m shared.data.pack`; to be
left out is no reason for a 1.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.data.cache import Cache
from shared.data.codec import READERS
from shared.data.facts import facts
from shared.data.listing import FACTS
from shared.data.options import positive
from shared.data.pack import main
from shared.data.photo import read_photo
from shared.data.shards import DamagedSample, Shards
from shared.data.sources import folder
from shared.data.sources.source import Command, Report, Source, unique
from shared.infer.detector import TORCHVISION, USUAL, Detector
from shared.infer.people import People

FOUND = "found"  # the entry of the facts
SCORE, PIXELS = 0.9, 300  # Sapiens' filter of its photos for pretraining: surer than 0.9, boxes of more than 300 pixels (ECCV 2024)
IMAGES = [suffix for suffix, (name, _) in READERS.items() if name == "image"]
Sample = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Filter:
    """Who has to be in a picture.

    Args:
        find: name, (H,W,3) uint8 RGB -> who is there.
        called: what finds them, for the facts.
        least: people.
        pixels: the longer side of the box of each, of the picture as it is packed.
    """

    find: Callable[[str, np.ndarray], People]
    called: str
    least: int = 1
    pixels: float = PIXELS

    def __call__(self, samples: Iterable[Sample], report: Report) -> Iterator[Sample]:
        """The samples that pass, with what was found among their facts; the report is told of the others, and why."""
        for key, sample in samples:
            image = sample["image"]
            people = self.find(key, read_photo(image) if isinstance(image, bytes) else image)
            sides = (people.boxes[:, 2:] - people.boxes[:, :2]).max(1)
            large = int((sides >= self.pixels).sum())
            if large < self.least:
                small = f"the largest {sides.max():.0f} px" if len(people) else "that is nobody"
                report.passed_over.append(
                    f"{key} shows {len(people)} people, {small}; {self.least} of {self.pixels:g} px are asked for"
                )
                report.reasons[self._reason(len(people))] += 1
                continue
            found = {
                "detector": self.called,
                "large": large,
                "boxes": np.round(people.boxes.astype(float), 2).tolist(),
                "scores": np.round(people.scores.astype(float), 4).tolist(),
            }
            yield key, {**sample, FACTS: {**sample.get(FACTS, {}), FOUND: found}}

    def _reason(self, found: int) -> str:
        if not found:
            return "shows nobody"
        return "shows too few people" if found < self.least else "shows people that are too small"


def inside(shards: Shards, report: Report) -> Iterator[Sample]:
    """The samples of shards: the picture byte for byte, facts, and all other fields, encoded anew."""
    taken: set[str] = set()
    for i in range(len(shards)):
        try:
            sample, known = shards.read(i), facts(shards, i)
        except DamagedSample as error:
            report.faults.append((Path(shards.key(i)), str(error)))
            report.reasons["is damaged"] += 1
            continue
        if "image" not in sample:
            report.passed_over.append(f"{shards.where(i)} holds no picture")
            report.reasons["holds no picture"] += 1
            continue
        image = next((content for suffix in IMAGES if (content := shards.member(i, suffix)) is not None), sample["image"])
        fields: dict[str, Any] = {**sample, "image": image}
        yield unique(shards.key(i), taken), fields | ({FACTS: known} if known else {})


def _photos(options: argparse.Namespace, report: Report) -> Source:
    who = _filter(options)
    total = folder.count(options.folder, report)
    photos = folder.samples(
        options.folder, max_side=options.max_side, skipped=report.faults, alike=report if options.dedupe else None
    )
    return Source(who(photos, report), {}, total)


def _shards(options: argparse.Namespace, report: Report) -> Source:
    who = _filter(options)
    shards = Shards(options.shards, cache=None if options.cache is None else Cache(options.cache))
    return Source(who(inside(shards, report), report), shards.names, len(shards))


def _filter(options: argparse.Namespace) -> Filter:
    find = Detector.load(options.detector, device=options.device, score=options.people_score)
    return Filter(find, Path(options.detector).name, options.least, options.pixels)


def _about_people(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--detector",
        default=USUAL,
        metavar="WHAT",
        help=f"a file or folder of weights, or one of {', '.join(TORCHVISION)} (default %(default)s)",
    )
    command.add_argument("--people-score", type=float, default=SCORE, metavar="S", help="less sure is nobody (default %(default)s)")
    command.add_argument("--least", type=positive, default=1, metavar="N", help="people there have to be (default %(default)s)")
    command.add_argument(
        "--pixels", type=positive, default=PIXELS, metavar="N", help="the longer side of each one's box (default %(default)s)"
    )
    command.add_argument("--device", default="cpu", help="cpu or cuda (default %(default)s)")


def _photo_options(command: argparse.ArgumentParser) -> None:
    folder.add_options(command)
    _about_people(command)


def _shard_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("shards", nargs="+", metavar="SHARDS", help="a folder, .tar files, addresses or a brace pattern")
    command.add_argument("--cache", type=Path, metavar="DIR", help="keep shards behind addresses there, up to 100 GB")
    _about_people(command)


COMMANDS = (
    Command("people", "Pack the photos of a folder that show people.", "~/photos --out data/people", _photo_options, _photos),
    Command("people-of", "Pack the samples of shards that show people.", "data/photos --out data/people", _shard_options, _shards),
)

if __name__ == "__main__":
    sys.exit(main(commands=COMMANDS, prog="python -m shared.infer.pack", about=__doc__))
