"""A disk without room, told as a sentence: what could not be written and where, how much is left there, and how to go on."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)  # the disk, or somebody's share of it

GOES_ON = "the same command goes on with what is missing"


def unsaved(what: object, folder: Path, error: object, *, then: str) -> str:
    """The sentence.

    Args:
        what: could not be written.
        folder: where.
        error: what the system says.
        then: what follows when there is room, for example "the same command goes on".
    """
    return f"{what} could not be saved in {folder} ({error}); make room there, and {then}"


def told(error: Exception, *, out: Path, then: str) -> str:
    """What a command says of an error: of a full disk the sentence, of all others their own words.

    Args:
        error: a full disk names its file where it was met inside of `naming`.
        out: the folder that the command writes into, for those that name none.
        then: see `unsaved`.
    """
    if not isinstance(error, OSError) or error.errno not in FULL:
        return str(error)
    path = Path(error.filename) if error.filename else None
    folder, left = path.parent if path else out, ""
    with suppress(OSError):
        left = f", {shutil.disk_usage(folder).free / 1e6:.1f} MB are left"
    return unsaved(path.name if path else "something", folder, f"{error.strerror}{left}", then=then)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """A full disk that is met inside says which file there is no room for; the system names only those that it cannot open."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            error.filename = str(path)
        raise
