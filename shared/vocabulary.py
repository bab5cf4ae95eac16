"""The words of a task: names of classes or keypoints, their colours, what is left and right, what is joined to what.

A vocabulary is a TOML file that people may edit by hand; everything in it is written with names, never with numbers:

    entries = [                                   # the order here is the order of the ids
        { name = "nose", colour = [51, 153, 255], sigma = 0.026 },      # sigma or weight: all entries or none
        { name = "left_eye", colour = [51, 153, 255], sigma = 0.025, also = ["eye_left"] },    # other data's names for it
        { name = "mid_eye", colour = [51, 153, 255], sigma = 0.025, mean = ["left_eye", "right_eye"] },   # or of one other point
        ...
    ]
    pairs = [["left_eye", "right_eye"]]           # left first
    chains = [["left_eye", "nose", "right_eye"]]  # each name is joined to the next
    [groups]
    eyes = ["left_eye", "right_eye"]

K is the number of entries.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

TABLES = {"entries", "pairs", "chains", "groups"}
ENTRY = {"name", "colour", "weight", "sigma", "also", "mean"}
UNKNOWN = -1  # the id of a name that is not in the vocabulary


@dataclass(frozen=True)
class Vocabulary:
    """Names and what is known of each; position in `names` is the id.

    Attributes:
        names: K different names.
        colours: K RGB colours, 0 to 255.
        pairs: (left id, right id); whatever is in no pair is its own mirror image.
        weights: K loss weights, or None.
        sigmas: K spreads of human annotations as COCO's OKS defines them (a fraction of the person's size), or None.
        links: (id, id), the bones of a drawing.
        groups: name -> ids, in the order of the file.
        also: for each of the K, what other data call it or parts of it; no word stands twice.
        means: for each of the K, the ids whose mean it is in answers of models that do not know it; mostly none.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    pairs: tuple[tuple[int, int], ...]
    weights: tuple[float, ...] | None
    sigmas: tuple[float, ...] | None
    links: tuple[tuple[int, int], ...]
    groups: dict[str, tuple[int, ...]]
    also: tuple[tuple[str, ...], ...]
    means: tuple[tuple[int, ...], ...]

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read a vocabulary from TOML; a mistake in the file is a ValueError that says where and what was probably meant."""
        return cls.parse(read(path), Path(path))

    @classmethod
    def parse(cls, table: Mapping[str, Any], path: Path = Path("vocabulary")) -> "Vocabulary":
        """From the table that a file holds; `path` is named in complaints."""
        table = dict(table)
        _refuse_unknown_keys(table, TABLES, path, "the file")
        entries = table.get("entries", [])
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{path} has no list of entries; write entries = [{{ name = ..., colour = [r, g, b] }}, ...]")
        names = _names(entries, path)
        ids = _Ids(names, path)
        return cls(
            names=names,
            colours=tuple(_colour(entry, path) for entry in entries),
            pairs=_pairs(table.get("pairs", []), ids),
            weights=_column(entries, "weight", path),
            sigmas=_column(entries, "sigma", path),
            links=_links(table.get("chains", []), ids),
            groups=_groups(table.get("groups", {}), ids),
            also=_also(entries, names, path),
            means=tuple(ids(entry.get("mean", []), f"`mean` of {entry['name']!r}") for entry in entries),
        )

    @classmethod
    def named(cls, what: str | Mapping[str, Any], folder: Path) -> "Vocabulary":
        """One of `folder` by its stem, a user's own by its path (`*.toml`), or a table itself, as checkpoints hold it."""
        if not isinstance(what, str):
            return cls.parse(what)
        if what.endswith(".toml"):
            return cls.load(Path(what))
        path = folder / f"{what}.toml"
        if not path.is_file():
            known = sorted(p.stem for p in folder.glob("*.toml"))
            raise ValueError(f"there is no table {what!r}; choose one of {', '.join(known)}, or give the path of a .toml file")
        return cls.load(path)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def swap(self) -> np.ndarray:
        """(K,) int64: the id that each id becomes when the picture is mirrored; applied twice it is the identity."""
        order = np.arange(len(self.names), dtype=np.int64)
        for left, right in self.pairs:
            order[[left, right]] = right, left
        return order

    def lookup(self, names: Sequence[str]) -> np.ndarray:
        """Translate other data's names, by name or `also`: (len(names),) int64 ids in this vocabulary, -1 where it has neither."""
        ids = {word: index for index, (name, others) in enumerate(zip(self.names, self.also)) for word in (name, *others)}
        return np.array([ids.get(name, UNKNOWN) for name in names], dtype=np.int64)

    def rows(self, names: Sequence[str]) -> np.ndarray:
        """(K,) int64: which of other data's points each of ours is, by name or else `also`; -1 where they have no such point."""
        places = {name: place for place, name in enumerate(names)}
        called = ((name, *others) for name, others in zip(self.names, self.also))
        return np.array([next((places[word] for word in words if word in places), UNKNOWN) for words in called], dtype=np.int64)

    def rewrite(self, points: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """One convention's points in ours: (...,n,3) of the names given -> (...,K,3).

        A point that the other lacks is the mean that the file says (`means`), with the lowest of their third numbers, if all of
        them are known; else it is unknown: 0 0 0. The third number is a visibility or a score, and 0 says unknown.
        """
        rows = self.rows(names)
        out = np.where((rows >= 0)[:, None], points[..., rows, :], 0)
        for k, others in enumerate(self.means):
            if rows[k] < 0 and others:
                parents = out[..., list(others), :]
                score = parents[..., 2].min(-1, keepdims=True)
                out[..., k, :] = np.where(score > 0, np.concatenate([parents[..., :2].mean(-2), score], -1), 0)
        return out


def read(path: Path) -> dict[str, Any]:
    """The table in a TOML file, not yet checked; a missing or malformed file is a ValueError."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"there is no vocabulary {path}; give the path of a .toml file") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}; correct that place") from error


class _Ids:
    """Names of one file -> ids, with sentences for the names that the file does not define."""

    def __init__(self, names: tuple[str, ...], path: Path) -> None:
        self.path = path
        self._ids = {name: index for index, name in enumerate(names)}

    def __call__(self, names: Any, place: str, *, length: int | None = None) -> tuple[int, ...]:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{self.path}: {place} is {names!r}; write a list of names")
        if length is not None and len(names) != length:
            raise ValueError(f"{self.path}: {place} has {len(names)} names, {names}; write exactly {length}")
        for name in names:
            if name not in self._ids:
                raise ValueError(f"{self.path}: {place} says {name!r}, which is no entry{_nearest(name, self._ids)}")
        return tuple(self._ids[name] for name in names)


def _nearest(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=1, cutoff=0)
    return f"; did you mean {close[0]!r}?" if close else ""


def _refuse_unknown_keys(table: dict[str, Any], known: set[str], path: Path, place: str) -> None:
    for key in table:
        if key not in known:
            raise ValueError(f"{path}: {place} has the key {key!r}, which means nothing here{_nearest(key, sorted(known))}")


def _names(entries: list[dict[str, Any]], path: Path) -> tuple[str, ...]:
    seen: set[str] = set()
    for number, entry in enumerate(entries):
        name = entry.get("name")
        if not isinstance(name, str) or not name:
            raise ValueError(f"{path}: entry {number} has the name {name!r}; give it a word that is not empty")
        if name in seen:
            raise ValueError(f"{path}: the name {name!r} stands twice (again as entry {number}); every name must be different")
        _refuse_unknown_keys(entry, ENTRY, path, f"entry {name!r}")
        seen.add(name)
    return tuple(entry["name"] for entry in entries)


def _colour(entry: dict[str, Any], path: Path) -> tuple[int, int, int]:
    colour = entry.get("colour")
    if not isinstance(colour, list) or len(colour) != 3 or not all(type(c) is int and 0 <= c <= 255 for c in colour):
        raise ValueError(f"{path}: the colour of {entry['name']!r} is {colour!r}; write [red, green, blue], each from 0 to 255")
    return colour[0], colour[1], colour[2]


def _column(entries: list[dict[str, Any]], key: str, path: Path) -> tuple[float, ...] | None:
    """The numbers under one key: either every entry has one or none has."""
    missing = [entry["name"] for entry in entries if key not in entry]
    if len(missing) == len(entries):
        return None
    if missing:
        raise ValueError(f"{path}: {missing[0]!r} has no {key}, others have; write a {key} for all {len(entries)} or for none")
    for entry in entries:
        if type(entry[key]) not in (int, float) or not 0 <= entry[key] < float("inf"):
            raise ValueError(f"{path}: the {key} of {entry['name']!r} is {entry[key]!r}; write a number that is not negative")
    return tuple(float(entry[key]) for entry in entries)


def _also(entries: list[dict[str, Any]], names: tuple[str, ...], path: Path) -> tuple[tuple[str, ...], ...]:
    """What else each entry is called; a word that stood for two entries would be worth nothing."""
    taken, found = set(names), []
    for entry in entries:
        words = entry.get("also", [])
        if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
            raise ValueError(f"{path}: `also` of {entry['name']!r} is {words!r}; write a list of names")
        for word in words:
            if word in taken:
                raise ValueError(f"{path}: {entry['name']!r} says that it is also {word!r}, but that word is taken; write it once")
            taken.add(word)
        found.append(tuple(words))
    return tuple(found)


def _rows(table: Any, place: str, ids: _Ids) -> list[Any]:
    if not isinstance(table, list):
        raise ValueError(f"{ids.path}: {place} is {table!r}; write a list of lists of names")
    return table


def _pairs(rows: Any, ids: _Ids) -> tuple[tuple[int, int], ...]:
    seen: set[int] = set()
    pairs = []
    for row in _rows(rows, "pairs", ids):
        left, right = ids(row, "a pair", length=2)
        if left == right or {left, right} & seen:
            raise ValueError(f"{ids.path}: the pair {row} uses a name that is already in a pair; each name has one mirror image")
        seen |= {left, right}
        pairs.append((left, right))
    return tuple(pairs)


def _links(chains: Any, ids: _Ids) -> tuple[tuple[int, int], ...]:
    links = []
    for chain in _rows(chains, "chains", ids):
        points = ids(chain, "a chain")
        if len(points) < 2:
            raise ValueError(f"{ids.path}: the chain {chain} joins nothing; write at least two names")
        links.extend(pairwise(points))
    return tuple(dict.fromkeys(links))


def _groups(table: Any, ids: _Ids) -> dict[str, tuple[int, ...]]:
    if not isinstance(table, dict):
        raise ValueError(f"{ids.path}: groups is {table!r}; write [groups] and then lines such as eyes = [names]")
    return {group: ids(names, f"the group {group!r}") for group, names in table.items()}
