"""What a model needs of a sample: which fields, and in whose vocabulary."""

from collections.abc import Callable, Collection, Mapping
from functools import cached_property

import numpy as np

from shared.data import surface
from shared.data.fields import FIELDS, MAPS, Sample
from shared.data.shards import DamagedSample, Shards
from shared.data.view import Size
from shared.vocabulary import Vocabulary

UNKNOWN_LABEL = int(FIELDS["seg"].unknown)
PROBED = 64  # samples looked at before a field is declared missing
DERIVED: Mapping[str, tuple[tuple[str, ...], Callable[..., np.ndarray]]] = {  # field -> the fields it follows from, and how
    "normal": (("depth", "intrinsics"), surface.normals),
}


class Wanted:
    """Fields by name, each with its vocabulary or None.

    Data name their own classes and points; `translate` maps them onto the model's by name, so that data sets with different
    labels train one model: a class that the model does not know becomes unknown, as does a point that the data lack. A vocabulary
    may know other data's names (`also`); several of their classes may be one of the model's.

    Args:
        fields: the wanted ones.
        derive: those of them, of DERIVED, that are computed for samples that lack them but hold what they follow from.
        partly: data that lack some of the fields will do; `lacks` says which.
        optional: those of the fields that no data need to have.

    Raises:
        ValueError: a field cannot be computed from others.
    """

    def __init__(
        self,
        fields: Mapping[str, Vocabulary | None],
        *,
        derive: Collection[str] = (),
        partly: bool = False,
        optional: Collection[str] = (),
    ) -> None:
        self.fields, self.partly, self.optional = dict(fields), partly, frozenset(optional)
        self.lacks: set[str] = set()  # no sample of these shards has them
        if wrong := sorted(set(derive) - set(DERIVED)):
            raise ValueError(f"{wrong[0]!r} does not follow from other fields of a sample; {' and '.join(DERIVED)} can be derived")
        self.derive = tuple(name for name in derive if name in self.fields)
        self._maps: dict[str, np.ndarray] = {}
        self._classes: dict[str, int] = {}

    def over(self, shards: Shards, *, beside: Collection[str] = ()) -> "Wanted":
        """The same, bound to the names of these shards, which may lack the fields that others `beside` them hold.

        Raises:
            ValueError: no sample has a wanted field, or none of its names is known to the model.
        """
        bound = Wanted(self.fields, derive=self.derive, partly=self.partly, optional=self.optional)
        found = self.found_in(shards)
        for name, vocabulary in self.fields.items():
            if name not in found and name in self.optional:
                continue
            if name not in found and (self.partly or name in beside):
                bound.lacks.add(name)
                continue
            if name not in found:
                raise ValueError(
                    f"no sample has the field {name!r} that the task needs; the shards hold {', '.join(sorted(found))}"
                )
            names = shards.names.get(name)
            if FIELDS[name].kind == "label" and (words := names or (vocabulary.names if vocabulary else None)):
                bound._classes[name] = len(words)
            if vocabulary is None or names is None:
                continue
            bound._maps[name] = translation(name, names, vocabulary)
        return bound

    def found_in(self, shards: Shards) -> set[str]:
        """The fields that some samples hold, and those that follow from them."""
        found = held(shards)
        return found | {name for name in self.derive if found.issuperset(DERIVED[name][0])}

    @property
    def reads(self) -> set[str]:
        """The fields to decode."""
        return {"image", "box", *self.fields}

    @cached_property
    def swaps(self) -> dict[str, np.ndarray]:
        """Field -> permutation of its ids in a mirror image."""
        return {name: vocabulary.swap for name, vocabulary in self.fields.items() if vocabulary is not None}

    def read(self, shards: Shards, i: int, *, only: Collection[str], late: Collection[str] = ()) -> Sample:
        """Sample i of the shards, in the model's vocabulary; photos that are `late` are not decoded yet, but are `Encoded`.

        Raises:
            DamagedSample: its bytes are not what was written, or it holds a label that nothing names, or a box of nobody.
        """
        sources = {source for name in self.derive if name in only for source in DERIVED[name][0]}
        sample = shards.read(i, only={*only, *sources}, late=late)
        for name in self.derive:
            fields, compute = DERIVED[name]
            if name in only and name not in sample and sample.keys() >= set(fields):
                sample[name] = compute(*(sample[field] for field in fields))
        sample = {name: value for name, value in sample.items() if name in only}
        if "box" in sample and "image" in sample and (wrong := misplaced(sample["box"], sample["image"].shape)):
            raise DamagedSample(
                f"'box' of {shards.where(i)}, {sample['box'].tolist()}, {wrong}; repair it and pack the sample again"
            )
        for name in self._classes.keys() & sample.keys():
            if (stray := beyond(sample[name], self._classes[name])) is not None:
                told = f"{name!r} of {shards.where(i)} holds the label {stray}, but only {self._classes[name]} classes are named"
                raise DamagedSample(f"{told} (255 is unknown); repair the labels and pack them again")
        return self.translate(sample)

    def translate(self, sample: Sample) -> Sample:
        """The sample in the model's vocabulary."""
        return translated(sample, self._maps)

    def fill(self, sample: Sample, size: Size) -> Sample:
        """Unknown values for the wanted fields that the sample lacks."""
        missing = [name for name in (*self.fields, "box") if name not in sample]
        return {name: self._unknown(name, size) for name in missing}

    def _unknown(self, name: str, size: Size) -> np.ndarray:
        field, vocabulary = FIELDS[name], self.fields.get(name)
        if field.kind == "points":
            return np.zeros((len(vocabulary) if vocabulary else 0, 3), np.float32)
        return np.full((*size, *field.trailing) if name in MAPS else field.trailing, field.unknown, field.dtype)


def held(shards: Shards) -> set[str]:
    """The fields of some samples, from the first to the last."""
    return set().union(*(shards.fields(i) for i in np.linspace(0, len(shards) - 1, min(PROBED, len(shards)), dtype=int)))


def translated(sample: Sample, tables: Mapping[str, np.ndarray]) -> Sample:
    """The sample with the fields of these tables (`translation`) in other words. Changes `sample`."""
    for name, table in tables.items():
        if name not in sample:
            continue
        if FIELDS[name].kind == "label":
            sample[name] = table[sample[name]]
        else:  # row k of the model is row table[k] of the data; -1 is the appended row, the unknown point
            points = np.concatenate([sample[name], np.zeros((1, 3), np.float32)])
            sample[name] = points[table]
    return sample


def misplaced(box: np.ndarray, image_hw: tuple[int, ...]) -> str | None:
    """What is wrong with x0 y0 x1 y1 px in a picture of (H,W), in words, or None; one that is not finite is unknown, not wrong."""
    x0, y0, x1, y1 = box
    if x1 < x0 or y1 < y0:
        return "ends before it begins"
    outside = x1 <= -0.5 or y1 <= -0.5 or x0 >= image_hw[1] - 0.5 or y0 >= image_hw[0] - 0.5
    return "lies outside the picture" if outside else None


def beyond(labels: np.ndarray, classes: int) -> int | None:
    """The first label at or above `classes` that is not 255, or None."""
    strays = labels[(labels >= classes) & (labels != UNKNOWN_LABEL)]
    return int(strays[0]) if strays.size else None


def translation(name: str, names: list[str], vocabulary: Vocabulary) -> np.ndarray:
    """Labels: (256,) data id -> model id. Points: (K,) model row -> data row, -1 where the data have none.

    Raises:
        ValueError: the data and the model share no name.
    """
    if FIELDS[name].kind == "label":
        ids = vocabulary.lookup(names)
        known = ids >= 0
        table = np.full(256, FIELDS[name].unknown, np.uint8)
        table[: len(ids)] = np.where(known, ids, int(FIELDS[name].unknown))
    else:
        table = vocabulary.rows(names)
        known = table >= 0
    if not known.any():
        raise ValueError(
            f"the data and the model share no name in {name!r}: "
            f"the data say {names[0]!r}, ..., the model {vocabulary.names[0]!r}, ...; pack the data with their names"
        )
    return table
