"""What a source of the packer is: how it is called, what it finds, and what is left out and why.

A module of this folder lists its commands in COMMANDS; `shared/data/pack.py` has a table of the modules. So a new source is one
file here and one word there.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from shared.data.photo import UnreadablePhoto

Found = TypeVar("Found")
PHOTO = "its photo cannot be used"


class Unusable(ValueError):
    """A file that cannot be packed. The message names it; `reason` is what it has in common with others, for counting them."""

    def __init__(self, path: Path, reason: str, detail: str = "") -> None:
        super().__init__(f"{path}: {reason}{detail}")
        self.reason = reason


class Misread(Unusable):
    """A file that is probably read wrongly, as all of its kind would be: nothing is packed if the first one is so."""


@dataclass
class Report:
    """What was not packed.

    Attributes:
        faults: (file, sentence) of what should have been readable.
        passed_over: sentences about what no fault of the data set is: crowds, people without points, pictures without some label.
        reasons: how many samples were not packed for each reason.
    """

    faults: list[tuple[Path, str]] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def lose(self, path: Path, error: ValueError) -> None:
        """Note a sample that was not packed."""
        self.faults.append((path, str(error)))
        self.reasons[error.reason if isinstance(error, Unusable) else PHOTO] += 1


class Source(NamedTuple):
    """What there is to pack."""

    samples: Iterable[tuple[str, Mapping[str, Any]]]
    names: dict[str, list[str]]  # field -> the names of its ids or rows
    total: int  # samples to expect, for the bar


class Command(NamedTuple):
    """How a source is called."""

    name: str
    text: str  # one sentence for --help
    example: str  # what follows the command's name
    options: Callable[[argparse.ArgumentParser], None]  # adds those that are its own
    source: Callable[[argparse.Namespace, Report], Source]


def usable(
    found: Iterable[Found], read: Callable[[Found], tuple[str, dict[str, Any]]], report: Report, *, file: Callable[[Found], Path]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what `read` makes of everything found, and tell the report of what it cannot use.

    Args:
        found: whatever stands for a sample.
        read: -> (key, sample); UnreadablePhoto and Unusable pass over the sample, any other error ends the packing.
        report: hears of the former.
        file: the file of what was found, for the list of skipped ones.

    Raises:
        Misread: the first sample already is.
    """
    packed = False
    for one in found:
        try:
            key, sample = read(one)
        except (UnreadablePhoto, Unusable) as error:
            if isinstance(error, Misread) and not packed:
                raise
            report.lose(file(one), error)
            continue
        packed = True
        yield key, sample


def unique(key: str, taken: set[str]) -> str:
    """The key, or with a number behind it if it is taken; it is taken then."""
    own, copies = key, 1
    while own in taken:
        copies += 1
        own = f"{key}_{copies}"
    taken.add(own)
    return own


def key_of(name: str) -> str:
    """A key from the name of a photo, "sub/photo": its last part has no dot."""
    folder, slash, stem = name.rpartition("/")
    return folder + slash + stem.replace(".", "_")
