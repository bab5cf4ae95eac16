"""Answers into WebDataset shards: a photo's files are members of a tar, side by side under its key, instead of files in a folder.

    answers/0000-000000.tar   of process 0: holiday/beach.seg.png, holiday/beach.depth.npy, holiday/beach.pose.json, ...
    answers/0001-000000.tar   of process 1

A shard gets its name when it is whole and on disk, and only then its photos count as done: a run that was killed answers those of
the shards that it had open again, and ends with the same bytes as one that was not.
"""

import io
import json
import os
import re
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from shared.data.photo import Found
from shared.data.tarindex import NAMES_MEMBER
from shared.infer.manifest import Manifest
from shared.weights import sync

PER_SHARD = 1000  # photos
LARGEST = 2**30  # bytes; a shard ends before the photo that would make it larger, so a kill costs no more than this
NUMBERED = re.compile(r"(\d{4,})-(\d{6,})\.tar")  # process, number
# Control characters, bytes that are no UTF-8, what would be mistaken for an escape or a name that WebDataset skips, and the dots of
# the file's name: the first of them would begin the suffix.
UNFIT = re.compile(r"[%\x00-\x1f\x7f\udc80-\udcff]|\A_(?=_)|[.](?=[^/]*\Z)")


class Packing:
    """The shards of one process, written one after another, a photo at a time.

    Args:
        folder: of the answers; it is there.
        manifest: what earlier runs did, and where photos are noted.
        rank: of this process; names its shards.
        processes: how many there are.
        names: field -> names of its ids, travelling with the data: {"seg": class names}.
        per_shard: photos in a shard at most.
        again: photos are to be answered that have been.

    Attributes:
        waiting: what `add` was given with the photos of the shard that is open.

    Raises:
        FileExistsError: the folder holds shards that an earlier call of the same command did not make, or `again` would make a
            second answer beside the first.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        *,
        rank: int = 0,
        processes: int = 1,
        names: Mapping[str, Sequence[str]],
        per_shard: int = PER_SHARD,
        again: bool = False,
    ) -> None:
        if per_shard < 1:
            raise ValueError(f"--per-shard {per_shard} holds nobody; write how many photos a shard has at most, 1 or more")
        there = {path.name for path in folder.glob("*.tar")}
        known = manifest.files()  # read after the folder: what another process finishes meanwhile is noted before it is there
        if strange := sorted(there - known):
            told = f"{strange[0]}, which this command did not make with these settings"
            raise FileExistsError(f"{folder} holds {told}; choose another --out, or delete its shards")
        whose = {name: (int(found[1]), int(found[2])) for name in there if (found := NUMBERED.fullmatch(name))}
        if old := sorted(name for name in there if whose[name][0] % processes == rank) if again else []:
            told = f"{old[0]}, and --again would put second answers beside those in it"
            raise FileExistsError(f"{folder} holds {told}; choose another --out, or delete its shards")
        self.folder, self.manifest, self.rank, self.names, self.per_shard = folder, manifest, rank, names, per_shard
        self._next = max((number for of, number in whose.values() if of == rank), default=-1) + 1
        self._open: _Shard | None = None
        self.waiting: list[Any] = []

    @property
    def path(self) -> Path:
        """Of the shard that is open, or will be."""
        return self.folder / f"{self.rank:04d}-{self._next:06d}.tar"

    def stale(self, found: Found) -> ValueError | None:
        """What is wrong with a photo whose answers are in a shard of an earlier run, and which is another one since."""
        if not self.manifest.had(found):
            return None
        return ValueError(
            "it has changed since its answers were put into a shard, where none can be replaced; choose another --out"
        )

    def full(self, members: Mapping[str, memoryview]) -> bool:
        """Whether the shard that is open has to be closed before a photo with these members."""
        if self._open is None:
            return False
        return len(self.waiting) >= self.per_shard or self._open.size + sum(len(content) for content in members.values()) > LARGEST

    def add(self, name: str, members: Mapping[str, memoryview], note: Any) -> None:
        """One more photo into the shard that is open.

        Args:
            name: of the photo.
            members: suffix -> content.
            note: kept in `waiting`.

        Raises:
            OSError: the disk refused; the shard is as it was before.
        """
        if self._open is None:
            self._open = _Shard(self.path, self.names)
        self._open.add(key_of(name), members)
        self.waiting.append(note)

    def close(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Finish the shard that is open: on disk, then in the manifest, then under its name; who is killed in between finds a
        manifest that names a shard which is not there, and that counts as not done.

        Args:
            lines: of the manifest, one for each photo that waits.

        Raises:
            OSError: the disk refused; there is no such shard.
        """
        shard, self._open, self.waiting = self._open, None, []
        if shard is None:
            return
        try:
            shard.finish()
            self.manifest.add_all(lines)
            shard.rename()
            self._next += 1
        finally:
            shard.remove()


class _Shard:
    """A tar that grows under another name."""

    def __init__(self, path: Path, names: Mapping[str, Sequence[str]]) -> None:
        self.path, self.partial = path, path.with_name(f".{path.name}.partial")
        self._file: BinaryIO = self.partial.open("wb")
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)  # others refuse long keys
        words = json.dumps({field: [*words] for field, words in names.items()})
        try:
            self._write({NAMES_MEMBER: memoryview(words.encode())})
        except OSError:
            self.remove()
            raise

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._tar.offset

    def add(self, key: str, members: Mapping[str, memoryview]) -> None:
        """All members of a key, or none."""
        self._write({f"{key}.{suffix}": content for suffix, content in members.items()})

    def _write(self, members: Mapping[str, memoryview]) -> None:
        start = self._tar.offset
        try:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                self._tar.addfile(info, io.BytesIO(content))
            self._file.flush()
        except OSError:
            with suppress(OSError):
                self._file.close()  # what it holds back has no room
            os.truncate(self.partial, start)
            self._file = self._tar.fileobj = self.partial.open("r+b")
            self._tar.offset = self._file.seek(start)
            raise
        finally:
            self._tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue]

    def finish(self) -> None:
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())

    def rename(self) -> None:
        self.partial.replace(self.path)
        sync(self.path.parent)

    def remove(self) -> None:
        """Leave nothing behind that has no name."""
        with suppress(OSError):
            self._file.close()
        self.partial.unlink(missing_ok=True)


def key_of(name: str) -> str:
    """The key of a photo: its name, with what a key cannot have as %XX; `urllib.parse.unquote` leads back."""
    return UNFIT.sub(lambda found: "".join(f"%{byte:02X}" for byte in os.fsencode(found[0])), name)
