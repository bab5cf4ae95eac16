"""Whole shards from addresses, kept on a disk of this machine: reading here and there over a network is slow."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from shared.data.remote import PIECE, Remote
from shared.room import naming

ABANDONED = 3600.0  # seconds without a byte after which an unfinished file is nobody's
PATIENCE = 3  # times that a shard is fetched anew because others needed its room
LOCKS = "locks"  # folder of files that are locked; they hold nothing


@dataclass(frozen=True)
class Cache:
    """A folder that all processes of a machine may share.

    A shard is fetched when it is first read, by one process while others wait for it, and appears when it is whole. Those that were
    not read for longest make room for new ones, also while others read them.

    Args:
        folder: made if need be; nothing else should lie in it.
        gigabytes: the most that it holds, in 10^9 bytes. Less than the shards that are shuffled together are refused, since each
            would be fetched again and again.
    """

    folder: str | Path
    gigabytes: float = 100.0

    def __post_init__(self) -> None:
        if not self.gigabytes > 0:
            raise ValueError(f"a cache of {self.gigabytes} gigabytes holds nothing; give it room for dozens of shards")
        if "://" in str(self.folder):
            raise ValueError(f"the cache {str(self.folder)!r} is an address; shards are kept in a folder of this machine")

    def read(self, remote: Remote, offset: int, size: int) -> bytes:
        """Bytes of a shard with known size; fetched whole if it is not here, or only these where there is no room for it."""
        path = Path(self.folder).expanduser() / f"{remote.token}.tar"
        for _ in range(PATIENCE):
            with suppress(FileNotFoundError), open(path, "rb") as file:  # not held open: that would keep its room taken
                os.utime(path)
                return os.pread(file.fileno(), size, offset)
            if not self._fetch(remote, path):
                break
        return remote.fetch(offset, size)

    def require(self, together: int) -> None:
        """Refuse a cache that is too small for the shards that are shuffled together, which have so many bytes.

        Raises:
            ValueError: with the room that it needs.
        """
        if together > self.gigabytes * 1e9:
            raise ValueError(
                f"the cache {self.folder} holds {self.gigabytes:g} GB, but the shards that are shuffled together have up to "
                f"{together / 1e9:.3g} GB; set gigabytes to twice that, or leave the cache out"
            )

    def _fetch(self, remote: Remote, path: Path) -> bool:
        """Fetch a shard unless another process has done so meanwhile; False where there is no room."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent, path.stem):
            if path.exists():
                return True
            unfinished = path.with_name(f".{path.name}")
            try:
                with naming(path), open(unfinished, "wb") as file:
                    with _locked(path.parent, "room"):
                        if not self._make_room(remote.size, keep=unfinished):
                            return False
                        file.truncate(remote.size)  # so that others count it from now on
                    for start in range(0, remote.size, PIECE):
                        content = remote.fetch(start, min(PIECE, remote.size - start))
                        if len(content) < min(PIECE, remote.size - start):
                            raise OSError(
                                f"{remote} ends after {start + len(content):,} of {remote.size:,} bytes; was it replaced?"
                            )
                        file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(unfinished, path)
            finally:
                unfinished.unlink(missing_ok=True)
        return True

    def _make_room(self, size: int, *, keep: Path) -> bool:
        """Delete what was not read for longest until so many bytes fit; nothing if they cannot."""
        files = []
        for entry in os.scandir(keep.parent):
            with suppress(FileNotFoundError):
                if entry.is_file() and entry.name != keep.name:
                    files.append((entry.stat().st_mtime, entry.stat().st_size, Path(entry.path)))
        now, free = time.time(), self.gigabytes * 1e9 - sum(many for _, many, _ in files)
        spare = [(read, many, path) for read, many, path in files if not path.name.startswith(".") or now - read > ABANDONED]
        if size > free + sum(many for _, many, _ in spare):
            return False
        for _, many, path in sorted(spare):
            if size <= free:
                break
            path.unlink(missing_ok=True)
            free += many
        return True


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    """Alone among the processes and threads that ask for this name; let go of when the process ends, however it ends."""
    (folder / LOCKS).mkdir(exist_ok=True)
    with open(folder / LOCKS / name, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
