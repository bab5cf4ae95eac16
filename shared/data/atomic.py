"""Files that are whole or not there."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from shared.room import naming


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears under its name only when it is complete and on disk."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # other processes may write the same file
    try:
        with naming(path), open(unfinished, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
