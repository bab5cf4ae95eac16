"""Where every sample of a shard lies: found in one pass over the tar, kept beside it as `<shard>.index.json`.

    {"version": 1, "bytes": N, "cut": false, "names": {"seg": [...]},
     "samples": [[key, {suffix: [offset, size, crc32]}, [field, ...], [height, width]], ...]}

The index only repeats what the tar says (the names are also its first member), so it may be deleted at any time. It counts as
stale, and is built anew, when the tar has another size or is newer. Members that no field uses are not in it.

Of a shard behind an address the index is kept on this machine, under the size and version that the server tells. It is the one that
lies beside the shard where there is one, and else found as for files, in one pass over the tar, since checksums need all of it.
"""

import json
import logging
import os
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from shared.data.atomic import atomic
from shared.data.codec import READERS, SUFFIXES, fields_of
from shared.data.listing import MAX_JSON_BYTES
from shared.data.photo import photo_size
from shared.data.remote import AT_ONCE, Remote, Unreachable

VERSION = 1
KNOWN = frozenset(SUFFIXES)
ENDING = ".index.json"  # after the name of the shard
MAX_INDEX_BYTES = 2**28  # of an index behind an address, a million samples
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
    hw: tuple[int, int] | None = None  # px of the picture by its header, 0 0 without one; None: older indices do not say


class TarIndex(NamedTuple):
    """All samples of a shard, in their order."""

    size: int  # bytes of the tar
    cut: bool  # the tar ends too early; its last sample was left out
    names: dict[str, list[str]]  # vocabularies: {"seg": class names, "keypoints": point names}
    samples: list[Entry]


def load(shard: Path | Remote, *, sized: bool = False) -> TarIndex:
    """The index kept beside the shard or, where that is absent or stale, a new one, kept if the folder is writable.

    Args:
        shard: a file; or an address with its size and version (`Remote.found`).
        sized: an index that does not say how large the pictures are counts as stale.
    """
    index = _kept(shard)
    if index is None or (sized and any(entry.hw is None for entry in index.samples)):
        if isinstance(shard, Remote):
            logger.warning("indexing %s: it is fetched once from end to end; an %s beside it would spare that", shard, ENDING)
        else:
            logger.info("indexing %s", shard)
        index = scan(shard)
        _save_if_possible(shard, index)
    if index.cut:
        logger.warning(
            "shard %s is cut off or damaged: its first %d samples are kept, the unfinished last one is dropped; "
            "copy or pack it again to repair it",
            shard,
            len(index.samples),
        )
    return index


def load_all(shards: Sequence[Path | Remote], *, sized: bool = False) -> Iterator[TarIndex]:
    """The indices of shards in their order; those behind addresses are asked for a few at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for some in (shards[start : start + AT_ONCE] for start in range(0, len(shards), AT_ONCE)):
            each = partial(load, sized=sized)
            yield from pool.map(each, some) if any(isinstance(shard, Remote) for shard in some) else map(each, some)


def save(shard: Path | Remote, index: TarIndex) -> None:
    """Keep an index beside its shard, or on this machine where that lies elsewhere; whole or not at all."""
    content = {
        "version": VERSION,
        "bytes": index.size,
        "cut": index.cut,
        "names": index.names,
        "samples": index.samples,
    }
    path = _index_path(shard)
    if isinstance(shard, Remote):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as file:
        file.write(json.dumps(content, separators=(",", ":")).encode())


def _save_if_possible(shard: Path | Remote, index: TarIndex) -> None:
    try:
        save(shard, index)
    except OSError as error:
        logger.info("the index of %s is not kept (%s): it is built again next time", shard, error)


def remove(shard: Path) -> None:
    """Delete a shard and its index."""
    _index_path(shard).unlink(missing_ok=True)
    shard.unlink(missing_ok=True)


def scan(shard: Path | Remote) -> TarIndex:
    """Read a tar once from end to end and index the samples in it, up to where it was cut off, if it was.

    Raises:
        ValueError: the file is no plain tar, or its members cannot be told apart or lie outside it.
    """
    names: dict[str, list[str]] = {}
    samples: dict[str, Entry] = {}
    size = shard.size if isinstance(shard, Remote) else shard.stat().st_size
    last, cut = None, False
    with shard.open() if isinstance(shard, Remote) else shard.open("rb") as file:
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
                file.seek(tar.offset)
                cut = file.read(BLOCK) != bytes(BLOCK)  # an unfinished tar lacks its end mark
        except (tarfile.TarError, EOFError) as error:
            if last is None and not samples:
                raise ValueError(
                    f"{shard} is not a readable tar file ({error or 'it ends too early'}); shards are plain .tar"
                ) from error
            cut = True
    if cut and last is not None:
        samples.pop(last, None)
    known = [entry if entry.hw else entry._replace(hw=(0, 0)) for entry in samples.values() if entry.fields]
    return TarIndex(size, cut, names, known)


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


def _index_path(shard: Path | Remote) -> Path:
    if isinstance(shard, Remote):
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        return home / "vitruvian" / "indices" / f"{shard.token}{ENDING}"
    return shard.with_name(shard.name + ENDING)


def _kept(shard: Path | Remote) -> TarIndex | None:
    """The index beside the shard, or None where it is absent, stale or damaged."""
    path = _index_path(shard)
    try:
        if isinstance(shard, Remote):
            size = shard.size
        else:
            size = (status := shard.stat()).st_size
            if path.stat().st_mtime_ns < status.st_mtime_ns:
                return None
        return _parsed(path.read_bytes(), size, path)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # whatever it is, the tar can tell all of it again
        return _beside(shard) if isinstance(shard, Remote) else None


def _beside(shard: Remote) -> TarIndex | None:
    """The index beside a shard behind an address, which from now on is kept on this machine, or None."""
    try:
        there = shard.beside(ENDING).found()
        index = _parsed(there.read(0, min(there.size, MAX_INDEX_BYTES)), shard.size, there)
    except Unreachable:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if index is not None:
        _save_if_possible(shard, index)
    return index


def _parsed(text: bytes, size: int, origin: object) -> TarIndex | None:
    """What an index says of a tar of so many bytes, or None where it does not fit it; other nonsense raises what it likes."""
    content = json.loads(text)
    if content["version"] != VERSION or content["bytes"] != size:
        return None
    samples = [
        Entry(str(key), {suffix: Place(*place) for suffix, place in members.items()}, fields, *((int(h), int(w)) for h, w in sizes))
        for key, members, fields, *sizes in content["samples"]
    ]
    for key, members, *_ in samples:
        if _leaves(key) or not members.keys() <= KNOWN:
            return None
        if not all(0 <= at <= at + many <= size and 0 <= crc < 2**32 for at, many, crc in members.values()):
            return None
    return TarIndex(size, bool(content["cut"]), parse_names(content["names"], origin), samples)


def _leaves(key: str) -> bool:
    """Whether it is a path that leads out of the archive."""
    return key.startswith("/") or ".." in key.split("/")


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Regular files in order, without tarfile's growing list of what it has seen."""
    while (info := tar.next()) is not None:
        tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
        if info.size < 0:
            raise tarfile.ReadError(f"member {info.name!r} has a negative size")
        if info.isreg():
            yield info


def _add(
    samples: dict[str, Entry], tar: tarfile.TarFile, info: tarfile.TarInfo, key: str, suffix: str, shard: Path | Remote
) -> None:
    """Enter one member into the sample that it belongs to."""
    if _leaves(key):
        raise ValueError(f"member {info.name!r} of {shard} points outside the archive; pack it again with relative names")
    entry = samples.setdefault(key, Entry(key, {}, []))
    if suffix in entry.members:
        raise ValueError(f"{shard} holds {info.name!r} twice; pack it again with one key per sample")
    picture = READERS.get(suffix, ("",))[0] == "image"
    crc, content = _read(tar, info, keep=suffix == "json" or picture)
    entry.members[suffix] = Place(info.offset_data, info.size, crc)
    if picture and "image" not in entry.fields:
        samples[key] = entry = entry._replace(hw=_size(content))
    entry.fields.extend(field for field in fields_of(suffix, content) if field not in entry.fields)


def _size(content: bytes) -> tuple[int, int]:
    """(H,W) px of a picture, 0 0 where its header cannot be read."""
    try:
        return photo_size(content)
    except (ValueError, OSError):
        return 0, 0


def _read(tar: tarfile.TarFile, info: tarfile.TarInfo, *, keep: bool) -> tuple[int, bytes]:
    """CRC-32 of a member and, if it is to be kept, its content; of one that is too large for that the beginning."""
    file, left, crc, chunks = tar.fileobj, info.size, 0, []
    assert file is not None
    file.seek(info.offset_data)
    while left:
        chunk = file.read(min(left, CHUNK))
        if not chunk:
            raise EOFError
        crc = zlib.crc32(chunk, crc)
        left -= len(chunk)
        if keep and (info.size <= MAX_JSON_BYTES or not chunks):
            chunks.append(chunk)
    return crc, b"".join(chunks)
