"""Shards: tar files of samples, written once, read in any order.

A shard is a plain WebDataset tar (codec.py says what its members hold) with an index beside it (tarindex.py). Shards written by
others are read as well, and WebDataset reads these.
"""

import json
import os
import tarfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from shared.data import tarindex
from shared.data.cache import Cache
from shared.data.codec import READERS, SUFFIXES, WRITERS, check_sizes, decode, encode
from shared.data.fields import FIELDS, MAPS, Sample
from shared.data.paths import Spec, tar_paths
from shared.data.remote import Remote

MAX_OPEN = 128  # file descriptors held by one process
NAMED = {name for name, field in FIELDS.items() if field.kind in {"label", "points"}}
PLACE = np.dtype([("suffix", np.uint8), ("offset", np.int64), ("size", np.int64), ("crc", np.uint32)])  # suffix: row of SUFFIXES


class DamagedSample(ValueError):
    """A sample whose bytes are not what was written; the message names shard, key and member."""


class NamesDiffer(ValueError):
    """Two shards name the ids of a field, and not alike: they can be read apart (mixture.py), but not as one."""


def write_shards(
    samples: Iterable[tuple[str, Mapping[str, Any]]],
    out: Path,
    *,
    names: Mapping[str, Sequence[str]] | None = None,
    per_shard: int = 1000,
    prefix: str = "",
) -> list[Path]:
    """Write samples to `out/<prefix>000000.tar`, `...000001.tar`, ... and an index beside each.

    A shard appears under its name only when it is complete and on disk. The same samples give the same bytes.

    Args:
        samples: (key, sample) pairs; an image may be an array or the bytes of a JPEG, PNG or WebP file.
        out: folder, made if need be.
        names: field -> the names of its ids or rows ({"seg": class names, "keypoints": point names}).
        per_shard: samples in a shard.
        prefix: in front of the shards' numbers.

    Returns:
        The shards written; none if there were no samples.
    """
    if per_shard < 1:
        raise ValueError(f"per_shard must be at least 1, not {per_shard}")
    vocabularies = tarindex.parse_names(names or {}, "the argument names")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rest, paths = iter(samples), []
    while first := next(rest, None):
        path = out / f"{prefix}{len(paths):06d}.tar"
        if path.exists():
            raise FileExistsError(f"{path} exists; remove it, or choose another folder or prefix")
        _write_shard(path, chain([first], islice(rest, per_shard - 1)), vocabularies)
        paths.append(path)
    return paths


def _write_shard(path: Path, samples: Iterator[tuple[str, Mapping[str, Any]]], names: dict[str, list[str]]) -> None:
    from webdataset.writer import TarWriter  # here because readers must work where webdataset is not installed

    seen = set()
    # PAX, because the default format refuses keys of more than 100 characters.
    with tarindex.atomic(path) as file, TarWriter(file, encoder=False, mtime=0, format="PAX_FORMAT") as writer:
        content = json.dumps(names).encode()
        info = tarfile.TarInfo(tarindex.NAMES_MEMBER)
        info.size = len(content)
        writer.tarstream.addfile(info, BytesIO(content))
        for key, sample in samples:
            tarindex.check_key(key)
            if key in seen:
                raise ValueError(f"the key {key!r} comes twice in one shard; give every sample its own")
            seen.add(key)
            try:
                members = encode(sample)
                _check_names(sample, names)
            except ValueError as error:
                raise ValueError(f"sample {key!r} cannot be packed: {error}") from error
            if not members:
                raise ValueError(f"sample {key!r} is empty; give it at least one of {', '.join(FIELDS)}")
            writer.write({"__key__": key, **members})
    tarindex.save(path, tarindex.scan(path))


def _check_names(sample: Mapping[str, Any], names: dict[str, list[str]]) -> None:
    """Refuse ids and rows that the vocabularies do not name."""
    for field, words in names.items():
        if field not in sample or field not in FIELDS:
            continue
        array, kind = sample[field], FIELDS[field].kind
        if kind == "points" and len(array) != len(words):
            raise ValueError(f"it has {len(array)} {field}, but {len(words)} are named; make the two agree")
        if kind == "label" and (wrong := array[(array >= len(words)) & (array != FIELDS[field].unknown)]).size:
            raise ValueError(f"{field!r} holds the id {wrong[0]}, but only {len(words)} are named; 255 is unknown")


class Shards:
    """All samples of some shards, by number.

    Safe to fork and to pickle: numpy arrays and paths; files are opened when first read, in each process. The index costs
    20 bytes and the key for each sample and 21 bytes for each member: 120 MB for a million samples of four members.

    Args:
        spec: a folder (its `*.tar`), a tar file or address, a brace pattern ("x-{000..511}.tar") or a list of those.
        cache: where shards behind addresses are kept; None: every read asks the server.
        sized: `hw` will be asked for.

    Attributes:
        paths: the shards, in order.
        names: vocabularies that travel with the data: {"seg": class names, "keypoints": point names}.
        counts: samples per shard.
        sizes: bytes per shard.
        hw: (N,2) int32 H W px of the pictures by their headers, 0 0 where there is none; only if `sized`.

    Raises:
        FileNotFoundError: a shard does not exist.
        OSError: a server cannot be asked.
        NamesDiffer: shards whose names disagree.
        ValueError: no shard or sample at all, a file that is no tar, or some shards name their ids and others do not.
    """

    def __init__(self, spec: Spec, *, cache: Cache | None = None, sized: bool = False) -> None:
        self.paths = tar_paths(spec, cache=cache)
        self.names: dict[str, list[str]] = {}
        self.counts: list[int] = []
        self.sizes: list[int] = []
        self._field_sets: list[frozenset[str]] = []
        self._named: dict[str, tuple[list[str] | None, Path | Remote]] = {}  # who named a field first, for the sentence
        self._open: dict[int, _Descriptor | Remote] = {}
        tables, pictures = [], []
        for path, index in zip(self.paths, tarindex.load_all(self.paths, sized=sized), strict=True):
            self._agree(index, path)
            self.counts.append(len(index.samples))
            self.sizes.append(index.size)
            if sized:
                pictures.append(np.array([entry.hw for entry in index.samples], np.int32).reshape(-1, 2))
            tables.append(self._table(index.samples))
        if not sum(self.counts):
            raise ValueError(f"the shards hold no sample with a known member ({', '.join(SUFFIXES)}); first shard: {self.paths[0]}")
        columns = (np.concatenate(column) for column in zip(*tables))
        self._keys, self._key_ends, self._member_ends, self._field_set, self._places = columns
        np.cumsum(self._key_ends, out=self._key_ends)
        np.cumsum(self._member_ends, out=self._member_ends)
        self._ends = np.cumsum(self.counts)
        self.hw = np.concatenate(pictures) if sized else None

    def __len__(self) -> int:
        return len(self._field_set)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # descriptors belong to their process

    def key(self, i: int) -> str:
        """The name of sample i, unique within its shard."""
        return self._keys[slice(*self._span(self._key_ends, i))].tobytes().decode("utf-8", "surrogateescape")

    def where(self, i: int) -> str:
        """Sample i as sentences name it."""
        return f"sample {self.key(i)!r} of shard {self.paths[self._shard(i)]}"

    def fields(self, i: int) -> set[str]:
        """Names of the fields that sample i holds."""
        self._span(self._key_ends, i)
        return set(self._field_sets[self._field_set[i]])

    def read(self, i: int, only: Collection[str] | None = None, *, late: Collection[str] = ()) -> Sample:
        """Read and check sample i.

        Args:
            i: 0 to len - 1.
            only: the fields wanted; others are not even read. One that the sample lacks is absent from the answer.
            late: photos that are not decoded yet, but are `Encoded`.

        Raises:
            DamagedSample: a checksum or a decoder disagrees.
        """
        start, end = self._span(self._member_ends, i)
        sample: Sample = {}
        called = self.where(i)
        for place in np.sort(self._places[start:end], order="suffix"):
            suffix = SUFFIXES[place["suffix"]]
            holds = {READERS[suffix][0]} if suffix in READERS else self.fields(i) - set(WRITERS)
            if (only is not None and holds.isdisjoint(only)) or not holds.isdisjoint(sample):
                continue
            try:
                fields = decode(suffix, self._content(i, place), late=late)
            except (ValueError, OSError) as error:
                raise DamagedSample(f"member .{suffix} of {called} is damaged: {error}") from error
            sample.update((name, array) for name, array in fields.items() if only is None or name in only)
        try:
            check_sizes({name: sample[name].shape[:2] for name in MAPS if name in sample})
        except ValueError as error:
            raise DamagedSample(f"{called} is damaged: {error}") from error
        return sample

    def member(self, i: int, suffix: str) -> bytes | None:
        """The bytes of one member of sample i as they were written, or None where it has no such member."""
        found = [place for place in self._places[slice(*self._span(self._member_ends, i))] if SUFFIXES[place["suffix"]] == suffix]
        return self._content(i, found[0]) if found else None

    def _content(self, i: int, place: np.void) -> bytes:
        """The bytes of one member, compared with their checksum."""
        shard, size = self._shard(i), int(place["size"])
        file = self._open.get(shard)
        if file is None:
            if len(self._open) >= MAX_OPEN:
                self._open.pop(next(iter(self._open)), None)  # closed when its last reader lets go of it
            path = self.paths[shard]
            file = self._open[shard] = path if isinstance(path, Remote) else _Descriptor(path)
        content = file.read(int(place["offset"]), size)
        if len(content) != size:
            raise ValueError(f"it ends after {len(content)} of {size} bytes; copy or pack the shard again")
        if zlib.crc32(content) != place["crc"]:
            raise ValueError(
                "its checksum differs from the index; copy or pack the shard again, or delete the index if the tar is right"
            )
        return content

    def _shard(self, i: int) -> int:
        return int(np.searchsorted(self._ends, i, side="right"))

    def _span(self, ends: np.ndarray, i: int) -> tuple[int, int]:
        """Where entry i lies in a flat table, given where each entry ends."""
        if not 0 <= i < len(self):
            raise IndexError(f"sample {i} is not one of 0 to {len(self) - 1}")
        return int(ends[i - 1]) if i else 0, int(ends[i])

    def _table(self, samples: list[tarindex.Entry]) -> tuple[np.ndarray, ...]:
        """One shard's keys, key lengths, member counts, field sets and places as flat arrays."""
        keys = [entry.key.encode("utf-8", "surrogateescape") for entry in samples]
        sets = []
        for entry in samples:
            held = frozenset(entry.fields)
            if held not in self._field_sets:
                self._field_sets.append(held)
            sets.append(self._field_sets.index(held))
        places = [(SUFFIXES.index(suffix), *place) for entry in samples for suffix, place in entry.members.items()]
        return (
            np.frombuffer(b"".join(keys), np.uint8),
            np.array([len(key) for key in keys], np.int64),
            np.array([len(entry.members) for entry in samples], np.int64),
            np.array(sets, np.int32),
            np.array(places, PLACE),
        )

    def _agree(self, index: tarindex.TarIndex, path: Path | Remote) -> None:
        """Merge a shard's vocabularies; an id that means one thing here and another there must never mix."""
        held = {field for entry in index.samples for field in entry.fields}
        for field in sorted(held & NAMED | index.names.keys()):
            words = index.names.get(field)
            others, other = self._named.setdefault(field, (words, path))
            if others != words:
                told = f"{path} names its {field} {_brief(words)}, but {other} {_brief(others)}"
                kind = ValueError if others is None or words is None else NamesDiffer
                raise kind(f"{told}; read them apart, or pack them again with one vocabulary")
            if words is not None:
                self.names[field] = words


class _Descriptor:
    """A file open for reading at any offset, closed when nobody holds it any more."""

    def __init__(self, path: Path) -> None:
        self.number = -1
        self.number = os.open(path, os.O_RDONLY)

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self.number, size, offset)

    def __del__(self, close=os.close) -> None:
        if self.number >= 0:
            close(self.number)


def _brief(words: list[str] | None) -> str:
    return "not at all" if words is None else f"{len(words)} names ({', '.join(words[:3])}, ...)"
