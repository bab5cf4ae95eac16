"""Weights of classes for the weighted cross-entropy, from how often shards show them.

    python -m shared.data.balance data/people
    python -m shared.data.balance data/people --table my.toml --formula log --quiet > entries.toml

Two formulas: median frequency (Eigen and Fergus 2015), for labels of which many pictures lack some, and log (ENet, Paszke et al.
2016), which is gentler with what is rare. What is printed says how it was computed and is TOML for the table of the classes, as in
tasks/seg/labels/: the weight of each, between 1 / --limit and --limit. Exit status: 0 when all is counted, 2 when it cannot be.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from shared.data.shards import Shards
from shared.data.wanted import Wanted
from shared.vocabulary import Vocabulary

UNKNOWN = 255
OFFSET = 1.02  # ENet: no weight above 50
LIMIT = 10.0  # the published weights of Sapiens' 28 classes lie between 0.1 and 10


class Counts(NamedTuple):
    """Of K classes, over all labelled samples."""

    pixels: np.ndarray  # (K,) of each class
    around: np.ndarray  # (K,) known pixels of the pictures that show it
    pictures: np.ndarray  # (K,) that show it


def count(shards: Shards, classes: int, *, wanted: Wanted | None = None, quiet: bool = True) -> Counts:
    """Read all parts.

    Args:
        shards: labelled, at least some of them.
        classes: K.
        wanted: translates the labels into another table; None: they count as they are.
        quiet: no bar.

    Raises:
        DamagedSample: a label is neither one of the classes nor 255.
    """
    found = Counts(*(np.zeros(classes, np.int64) for _ in range(3)))
    reader = wanted or Wanted({"seg": None}).over(shards)
    for i in tqdm(range(len(shards)), unit=" samples", disable=quiet):
        sample = reader.read(shards, i, only={"seg"})
        if "seg" in sample:
            pixels = np.bincount(sample["seg"].ravel(), minlength=UNKNOWN + 1)[:UNKNOWN]
            found.pixels[:] += pixels[:classes]
            found.around[:] += np.where(pixels[:classes] > 0, pixels.sum(), 0)
            found.pictures[:] += pixels[:classes] > 0
    return found


def median_frequency(found: Counts) -> np.ndarray:
    """(K,) weights, NaN for what is never seen."""
    frequency = np.divide(found.pixels, found.around, out=np.full(len(found.pixels), np.nan), where=found.pixels > 0)
    return np.nanmedian(frequency) / frequency if found.pixels.any() else frequency


def log_share(found: Counts) -> np.ndarray:
    """(K,) weights, NaN for what is never seen."""
    share = found.pixels / max(int(found.pixels.sum()), 1)
    return np.where(found.pixels > 0, 1 / np.log(OFFSET + share), np.nan)


FORMULAS = {"median": median_frequency, "log": log_share}
WORDS = {
    "median": "Median frequency (Eigen and Fergus 2015): the frequency of a class is its pixels over the known pixels of\n"
    "# the pictures that show it, its weight the median of all frequencies over its own.",
    "log": "Log (ENet, Paszke et al. 2016): 1 / ln(1.02 + p), p the share of the class in all known pixels.",
}


def lines(names: Sequence[str], weights: np.ndarray, found: Counts, *, limit: float, table: Vocabulary | None = None) -> str:
    """TOML: `entries` with names and weights, and colours where there is a table; a class that is never seen weighs 1.

    Args:
        names: K.
        weights: (K,).
        found: what they are from, for the remarks.
        limit: weights lie between 1 / limit and limit.
        table: whose colours to repeat, so that the entries stand in for its own.
    """
    total, text = max(int(found.pixels.sum()), 1), ["entries = ["]
    for i, name in enumerate(names):
        colour = f" colour = {list(table.colours[i])}," if table else ""
        also = f", also = {json.dumps(list(table.also[i]), ensure_ascii=False)}" if table and table.also[i] else ""
        weight = 1.0 if math.isnan(weights[i]) else min(max(float(weights[i]), 1 / limit), limit)
        seen = f"{100 * found.pixels[i] / total:.3f} % of the pixels, in {found.pictures[i]} pictures"
        note = seen if found.pictures[i] else "never seen: the weight is not from data"
        text.append(f"    {{ name = {json.dumps(name, ensure_ascii=False)},{colour} weight = {weight:.4g}{also} }},  # {note}")
    return "\n".join([*text, "]"]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is described at the top of this file."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m shared.data.balance", description=__doc__, formatter_class=raw)
    parser.add_argument("shards", nargs="+", metavar="SHARDS", help="folders, .tar files or brace patterns")
    parser.add_argument(
        "--table", type=Path, metavar="FILE.toml", help="count in the classes of this table (default: the data's own)"
    )
    parser.add_argument("--formula", choices=FORMULAS, default="median", help="described above (default: %(default)s)")
    parser.add_argument(
        "--limit", type=float, default=LIMIT, metavar="X", help="weights lie between 1/X and X (default: %(default)g)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    try:
        if not options.limit >= 1:
            raise ValueError(f"--limit {options.limit:g} is below 1; write how far weights may lie from 1, for example 10")
        shards = Shards(options.shards)
        table = Vocabulary.load(options.table) if options.table else None
        wanted = Wanted({"seg": table}).over(shards)
        names = table.names if table else shards.names.get("seg")
        if names is None:
            raise ValueError("the shards do not name their classes; pass --table with their names")
        found = count(shards, len(names), wanted=wanted, quiet=options.quiet)
        weights = FORMULAS[options.formula](found)
        sys.stdout.write(f"# {WORDS[options.formula]} Between {1 / options.limit:.3g} and {options.limit:g}.\n")
        sys.stdout.write(lines(names, weights, found, limit=options.limit, table=table))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
