"""Where every sample of a shard lies: found in one pass over the tar, kept beside it as `<shard>.index.json`.

    {"version": 1, "bytes": N, "cut": false, "names": {"seg": [...]},
     "samples": [[key, {suffix: [offset, size, crc32]}, [field, ...]], ...]}

The index only repeats what the tar says (the names are also its first member), so it may be deleted at any time. It counts as
stale, and is built anew, when the tar has another size or is newer. Members that no field uses are not in it.
"""

import json
import logging
import os
import re
import secrets
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from shared.data.codec import SUFFIXES, fields_of
from shared.data.listing import MAX_JSON_BYTES

VERSION = 1
NAMES_MEMBER = "__names__"  # webdataset skips members named like this
CHUNK = 2**20  # bytes read at a time
SPLIT = re.compile(
    r"^((?:.*/|)[^.]+)[.]([^/]*)$", re.DOTALL
)  # webdataset's rule: the suffix begins at the first dot of the file name
KEY = re.compile(r"(?!__)(?:[^/\x00-\x1f]+/)*[^./\x00-\x1f]+")  # what SPLIT gives back whole and WebDataset does not skip
BLOCK = 512  # bytes; tar's unit

logger = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where the content of a tar member lies, in bytes, and its CRC-32."""

    offset: int
    size: int
    crc: int


class Entry(NamedTuple):
    """One sample of a shard."""

    key: str
    members: dict[str, Place]  # by suffix, known suffixes only
    fields: list[str]


class TarIndex(NamedTuple):
    """All samples of a shard, in their order."""

    size: int  # bytes of the tar
    cut: bool  # the tar ends too early; its last sample was left out
    names: dict[str, list[str]]  # vocabularies: {"seg": class names, "keypoints": point names}
    samples: list[Entry]


def load(shard: Path) -> TarIndex:
    """The index kept beside the shard or, where that is absent or stale, a new one, kept if the folder is writable."""
    index = _kept(shard)
    if index is None:
        logger.info("indexing %s", shard)
        index = scan(shard)
        try:
            save(shard, index)
        except OSError as error:
            logger.info("the index of %s is not kept (%s): it is built again next time", shard, error)
    if index.cut:
        logger.warning(
            "shard %s is cut off or damaged: its first %d samples are kept, the unfinished last one is dropped; "
            "copy or pack it again to repair it",
            shard,
            len(index.samples),
        )
    return index


def save(shard: Path, index: TarIndex) -> None:
    """Keep an index beside its shard, whole or not at all."""
    content = {
        "version": VERSION,
        "bytes": index.size,
        "cut": index.cut,
        "names": index.names,
        "samples": index.samples,
    }
    with atomic(_index_path(shard)) as file:
        file.write(json.dumps(content, separators=(",", ":")).encode())


def remove(shard: Path) -> None:
    """Delete a shard and its index."""
    _index_path(shard).unlink(missing_ok=True)
    shard.unlink(missing_ok=True)


def scan(shard: Path) -> TarIndex:
    """Read a tar once from end to end and index the samples in it, up to where it was cut off, if it was.

    Raises:
        ValueError: the file is no plain tar, or its members cannot be told apart or lie outside it.
    """
    names: dict[str, list[str]] = {}
    samples: dict[str, Entry] = {}
    size = shard.stat().st_size
    last, cut = None, False
    with open(shard, "rb") as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for info in _members(tar):
                    name = info.name.removeprefix("./")
                    match = SPLIT.match(name)
                    last = match[1] if match else None
                    if name == NAMES_MEMBER:
                        names = parse_names(_read(tar, info, keep=True)[1], shard)
                    elif match and match[2].lower() in SUFFIXES:
                        _add(samples, tar, info, match[1], match[2].lower(), shard)
                    elif info.offset_data + info.size > size:
                        raise EOFError
                cut = os.pread(file.fileno(), BLOCK, tar.offset) != bytes(BLOCK)  # an unfinished tar lacks its end mark
        except (tarfile.TarError, EOFError) as error:
            if last is None and not samples:
                raise ValueError(
                    f"{shard} is not a readable tar file ({error or 'it ends too early'}); shards are plain .tar"
                ) from error
            cut = True
    if cut and last is not None:
        samples.pop(last, None)
    return TarIndex(size, cut, names, [entry for entry in samples.values() if entry.fields])


def check_key(key: str) -> None:
    """Refuse a key that cannot name a file: it becomes one in the tar, and writers of answers make paths of it."""
    if not KEY.fullmatch(key) or ".." in key.split("/"):
        raise ValueError(f"{key!r} cannot be a key: it must be a relative path whose last part has no dot; rename the sample")


def parse_names(content: bytes | Mapping[str, Any], origin: object) -> dict[str, list[str]]:
    """Check vocabularies that came with data: field -> names, in the order of their ids."""
    try:
        names = dict(content) if isinstance(content, Mapping) else json.loads(content)
        vocabularies = {
            str(field): [*words] for field, words in names.items() if isinstance(words, Sequence) and not isinstance(words, str)
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"the names in {origin} are no table of lists ({error}); pack it again") from error
    if len(vocabularies) < len(names) or not all(type(word) is str for words in vocabularies.values() for word in words):
        raise ValueError(f'the names in {origin} must be lists of text, such as {{"seg": ["background", "hair"]}}; pack it again')
    return vocabularies


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears under its name only when it is complete and on disk."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # other processes may write the same file
    try:
        with open(unfinished, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _index_path(shard: Path) -> Path:
    return shard.with_name(f"{shard.name}.index.json")


def _kept(shard: Path) -> TarIndex | None:
    """The index beside the shard, or None where it is absent, stale or damaged."""
    path = _index_path(shard)
    status = shard.stat()
    try:
        if path.stat().st_mtime_ns < status.st_mtime_ns:
            return None
        content = json.loads(path.read_bytes())
        if content["version"] != VERSION or content["bytes"] != status.st_size:
            return None
        samples = [
            Entry(str(key), {suffix: Place(*place) for suffix, place in members.items()}, fields)
            for key, members, fields in content["samples"]
        ]
        places = (place for entry in samples for place in entry.members.values())
        if not all(0 <= offset <= offset + size <= status.st_size and 0 <= crc < 2**32 for offset, size, crc in places):
            return None
        return TarIndex(status.st_size, bool(content["cut"]), parse_names(content["names"], path), samples)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # whatever it is, the tar can tell all of it again
        return None


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Regular files in order, without tarfile's growing list of what it has seen."""
    while (info := tar.next()) is not None:
        tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
        if info.size < 0:
            raise tarfile.ReadError(f"member {info.name!r} has a negative size")
        if info.isreg():
            yield info


def _add(samples: dict[str, Entry], tar: tarfile.TarFile, info: tarfile.TarInfo, key: str, suffix: str, shard: Path) -> None:
    """Enter one member into the sample that it belongs to."""
    if key.startswith("/") or ".." in key.split("/"):
        raise ValueError(f"member {info.name!r} of {shard} points outside the archive; pack it again with relative names")
    entry = samples.setdefault(key, Entry(key, {}, []))
    if suffix in entry.members:
        raise ValueError(f"{shard} holds {info.name!r} twice; pack it again with one key per sample")
    crc, content = _read(tar, info, keep=suffix == "json")
    entry.members[suffix] = Place(info.offset_data, info.size, crc)
    entry.fields.extend(field for field in fields_of(suffix, content) if field not in entry.fields)


def _read(tar: tarfile.TarFile, info: tarfile.TarInfo, *, keep: bool) -> tuple[int, bytes]:
    """CRC-32 of a member and, if it is to be kept and of a sane size, its content."""
    file, left, crc, chunks = tar.fileobj, info.size, 0, []
    assert file is not None
    file.seek(info.offset_data)
    while left:
        chunk = file.read(min(left, CHUNK))
        if not chunk:
            raise EOFError
        crc = zlib.crc32(chunk, crc)
        left -= len(chunk)
        if keep and info.size <= MAX_JSON_BYTES:
            chunks.append(chunk)
    return crc, b"".join(chunks)
