"""Count what shards show: which classes and points, how often, in what kind of pictures.

    python -m shared.data.coverage data/people
    python -m shared.data.coverage "data/people/{000000..000003}-000000.tar" --quiet > coverage.txt

Any shards will do; those of `python -m shared.data.synthesize` also tell shots, backdrops, poses and how many people there are.
Exit status: 0 when all is counted, 2 when the shards cannot be read.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from shared.data.facts import facts
from shared.data.fields import Sample
from shared.data.shards import Shards

COUNTED = ("shot", "backdrop")  # facts of a picture that are words
UNKNOWN = 255


@dataclass
class Coverage:
    """What the samples of some shards show. C classes, K points."""

    samples: int
    labelled: int = 0  # samples with parts
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))  # (256,) of each id; 255 is unknown
    containing: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))  # (256,) samples with at least one
    pointed: int = 0  # samples with keypoints
    visible: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # (K,) samples where the point is visible
    words: dict[str, Counter[str]] = field(default_factory=dict)  # heading -> word -> pictures, or people for `pose`

    def add(self, sample: Sample, known: dict[str, Any]) -> None:
        """Count what one sample shows, and what its facts say."""
        if "seg" in sample:
            counts = np.bincount(sample["seg"].ravel(), minlength=256)
            self.labelled += 1
            self.pixels += counts
            self.containing += counts > 0
        if "keypoints" in sample:
            seen = sample["keypoints"][:, 2] > 0
            self.pointed += 1
            self.visible = self.visible + seen if len(self.visible) else seen.astype(np.int64)
        _note(self.words, known)


def coverage(shards: Shards, *, quiet: bool = True) -> Coverage:
    """Read parts, points and facts of all samples."""
    found = Coverage(len(shards))
    for i in tqdm(range(len(shards)), unit=" samples", disable=quiet):
        found.add(shards.read(i, only={"seg", "keypoints"}), facts(shards, i))
    return found


def table(found: Coverage, names: dict[str, list[str]]) -> str:
    """The counts as text, shares in percent.

    Args:
        found: from `coverage`.
        names: those of the shards; numbers stand in for what has none.
    """
    lines = [f"{'samples':40} {found.samples:8}"]
    for heading, counts in found.words.items():
        total = sum(counts.values())
        lines += ["", f"{heading:40} {'count':>8} {'share':>8}"]
        lines += [f"{word:40} {count:8} {_percent(count, total)}" for word, count in sorted(counts.items(), key=_most)]
    known = int(found.pixels[:UNKNOWN].sum())
    if found.labelled:
        lines += ["", f"{f'classes ({found.labelled} samples)':40} {'samples':>8} {'pixels':>8}"]
        for number in range(len(names.get("seg", [])) or int(np.flatnonzero(found.pixels[:UNKNOWN]).max(initial=-1)) + 1):
            shares = _percent(found.containing[number], found.labelled), _percent(found.pixels[number], known)
            lines.append(f"{_name(names, 'seg', number):40} {' '.join(shares)}")
        lines.append(f"{'(unknown)':40} {_percent(found.containing[UNKNOWN], found.labelled)}")
    if found.pointed:
        lines += ["", f"{f'points ({found.pointed} samples)':40} {'visible':>8}"]
        lines += [f"{_name(names, 'keypoints', k):40} {_percent(n, found.pointed)}" for k, n in enumerate(found.visible)]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is described at the top of this file."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m shared.data.coverage", description=__doc__, formatter_class=raw)
    parser.add_argument("shards", nargs="+", metavar="SHARDS", help="a folder, .tar files or a brace pattern")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    try:
        shards = Shards(options.shards)
        sys.stdout.write(table(coverage(shards, quiet=options.quiet), shards.names))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 2
    return 0


def _note(words: dict[str, Counter[str]], known: dict[str, Any]) -> None:
    """Count the words that the facts of a sample hold."""
    people = known.get("people")
    found = [(heading, str(known[heading])) for heading in COUNTED if heading in known]
    if isinstance(people, list):
        found.append(("people", str(len(people))))
        found += [("pose", str(one["pose"])) for one in people if isinstance(one, dict) and "pose" in one]
    for heading, word in found:
        words.setdefault(heading, Counter())[word] += 1


def _name(names: dict[str, list[str]], what: str, number: int) -> str:
    return names[what][number] if what in names else str(number)


def _percent(count: int, total: int) -> str:
    return f"{100 * count / max(total, 1):7.2f}%"


def _most(entry: tuple[str, int]) -> tuple[int, str]:
    """The order of a table: the most frequent first, equals by name."""
    return -entry[1], entry[0]


if __name__ == "__main__":
    sys.exit(main())
