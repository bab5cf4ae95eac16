"""Check shards before anything is trained on them: every sample is read.

    python -m shared.data.check data/people
    python -m shared.data.check "data/humans-{000..511}.tar" --quiet --pictures humans.png > humans.txt
    python -m shared.data.check "s3://bucket/humans-{000..511}.tar" --cache /scratch/shards

Tells sizes, fields and how many samples have them, what the fields hold, classes and points, and names samples that are damaged and
pictures that look alike (shared/data/duplicates.py). Exit status: 0 when all is whole, 1 when a shard is cut off or a sample is
damaged, 2 when the shards cannot be read at all.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from shared.data import tarindex
from shared.data.cache import Cache
from shared.data.coverage import Coverage, table
from shared.data.duplicates import Seen, dhash
from shared.data.facts import facts
from shared.data.fields import FIELDS, Sample
from shared.data.shards import DamagedSample, Shards
from shared.data.sheet import sheet
from shared.data.wanted import beyond

LISTED = 20  # sentences of a kind that are shown
SAMPLED = 4096  # values of a map that its spread is told from, of each sample


@dataclass
class Spread:
    """Values of a field over all samples; NaN where none is known."""

    low: float = np.inf
    high: float = -np.inf
    medians: list[float] = field(default_factory=list)  # one of each sample

    def add(self, values: np.ndarray) -> None:
        """Take in the known ones of one sample."""
        known = values[np.isfinite(values)]
        if known.size:
            self.low, self.high = min(self.low, float(known.min())), max(self.high, float(known.max()))
            self.medians.append(float(np.median(known.ravel()[:: 1 + known.size // SAMPLED])))

    def __str__(self) -> str:
        if not self.medians:
            return "nothing known"
        return f"{self.low:.4g} to {self.high:.4g}, median {np.median(self.medians):.4g}"


@dataclass
class Found:
    """What is in some shards."""

    coverage: Coverage
    holding: Counter[str] = field(default_factory=Counter)  # field -> samples
    spreads: dict[str, Spread] = field(default_factory=dict)
    sizes: list[tuple[int, int]] = field(default_factory=list)  # (H, W) px of the pictures
    damaged: list[str] = field(default_factory=list)
    alike: list[str] = field(default_factory=list)


def check(shards: Shards, *, quiet: bool = True) -> Found:
    """Read every sample once; what is damaged is named and passed over."""
    found, seen = Found(Coverage(len(shards))), Seen()
    for i in tqdm(range(len(shards)), unit=" samples", disable=quiet):
        try:
            sample, known = shards.read(i), facts(shards, i)
        except DamagedSample as error:
            found.damaged.append(str(error))
            continue
        words = shards.names.get("seg")
        if "seg" in sample and words and (stray := beyond(sample["seg"], len(words))) is not None:
            found.damaged.append(f"{shards.where(i)} holds the label {stray}, but only {len(words)} classes are named")
        _note(found, sample)
        found.coverage.add(sample, known)
        if "image" in sample:
            picture = dhash(sample["image"])
            if earlier := seen.find(picture):
                found.alike.append(f"{shards.where(i)} looks like {earlier}")
            else:
                seen.add(picture, shards.where(i))
    return found


def _note(found: Found, sample: Sample) -> None:
    """Count the fields of a sample, and what they hold."""
    found.holding.update(name for name in sample if name in FIELDS)
    if "image" in sample:
        found.sizes.append((sample["image"].shape[0], sample["image"].shape[1]))
    for name in ("depth", "alpha", "intrinsics", "box"):
        if name in sample:
            values = sample[name][:1] if name == "intrinsics" else _side(sample[name]) if name == "box" else sample[name]
            found.spreads.setdefault(name, Spread()).add(values)


def _side(box: np.ndarray) -> np.ndarray:
    """(1,) the longer side of a box, px."""
    return np.max(box[2:] - box[:2], keepdims=True)


def report(shards: Shards, found: Found) -> str:
    """What was found, as text."""
    many, size = len(shards), sum(shards.sizes)
    cut = [path for path in shards.paths if tarindex.load(path).cut]
    each = f"{min(shards.counts)} to {max(shards.counts)} samples each"
    lines = [
        f"{len(shards.paths)} shards, {size / 1e6:.1f} MB, {each}; {size / many / 1e3:.1f} kB a sample",
        "",
        f"{'fields':40} {'samples':>8} {'share':>8}",
        *(f"{name:40} {count:8} {100 * count / many:7.2f}%" for name, count in found.holding.most_common()),
    ]
    if found.sizes:
        area = sorted(found.sizes, key=lambda hw: hw[0] * hw[1])
        smallest, middle, largest = (f"{h} x {w}" for h, w in (area[0], area[len(area) // 2], area[-1]))
        lines += ["", f"pictures (H x W px): {smallest} to {largest}, median {middle}"]
    names = {"intrinsics": "focal length (px)", "box": "longer side of the box (px)", "depth": "depth (m)"}
    lines += [f"{names.get(name, name)}: {spread}" for name, spread in found.spreads.items()]
    lines += ["", table(found.coverage, shards.names).rstrip(), ""]
    lines += _listed(f"{len(cut)} shards are cut off", [str(path) for path in cut])
    lines += _listed(f"{len(found.damaged)} samples are damaged", found.damaged)
    lines += _listed(f"{len(found.alike)} pictures look like an earlier one", found.alike)
    return "\n".join(lines) + "\n"


def _listed(heading: str, sentences: Sequence[str]) -> list[str]:
    more = [f"  ... and {len(sentences) - LISTED} more"] if len(sentences) > LISTED else []
    return [heading, *(f"  {sentence}" for sentence in sentences[:LISTED]), *more]


def whole(shards: Shards, found: Found) -> bool:
    """Whether nothing is cut off or damaged."""
    return not found.damaged and not any(tarindex.load(path).cut for path in shards.paths)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is described at the top of this file."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m shared.data.check", description=__doc__, formatter_class=raw)
    parser.add_argument("shards", nargs="+", metavar="SHARDS", help="a folder, .tar files, addresses or a brace pattern")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep shards behind addresses there, up to 100 GB")
    parser.add_argument("--pictures", type=Path, metavar="OUT", help="draw samples from all over the shards: a .png or .jpg file")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    try:
        shards = Shards(options.shards, cache=None if options.cache is None else Cache(options.cache))
        found = check(shards, quiet=options.quiet)
        sys.stdout.write(report(shards, found))
        if options.pictures:
            _draw(shards, options.pictures)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 2
    return 0 if whole(shards, found) else 1


def _draw(shards: Shards, out: Path) -> None:
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"{out} is no picture; give a name that ends in .png or .jpg")
    out.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(out), sheet(shards)[..., ::-1]):
        raise OSError(f"{out} cannot be written; is there room, and may you write there?")


if __name__ == "__main__":
    sys.exit(main())
