"""What a model needs of a sample: which fields, and in whose vocabulary."""

from collections.abc import Collection, Mapping
from functools import cached_property

import numpy as np

from shared.data.fields import FIELDS, MAPS, Sample
from shared.data.shards import DamagedSample, Shards
from shared.data.view import Size
from shared.vocabulary import Vocabulary

UNKNOWN_LABEL = int(FIELDS["seg"].unknown)
PROBED = 64  # samples looked at before a field is declared missing


class Wanted:
    """Fields by name, each with its vocabulary or None.

    Data name their own classes and points; `translate` maps them onto the model's by name, so that data sets with different
    labels train one model: a class that the model does not know becomes unknown, as does a point that the data lack. A vocabulary
    may know other data's names (`also`); several of their classes may be one of the model's.

    Args:
        fields: name -> vocabulary or None.
        partly: data that lack some of the fields will do; `lacks` says which.
    """

    def __init__(self, fields: Mapping[str, Vocabulary | None], *, partly: bool = False) -> None:
        self.fields, self.partly = dict(fields), partly
        self.lacks: set[str] = set()  # no sample of these shards has them
        self._maps: dict[str, np.ndarray] = {}
        self._classes: dict[str, int] = {}

    def over(self, shards: Shards) -> "Wanted":
        """The same, bound to the names of these shards.

        Raises:
            ValueError: no sample has a wanted field, or none of its names is known to the model.
        """
        bound = Wanted(self.fields, partly=self.partly)
        held = set().union(*(shards.fields(i) for i in np.linspace(0, len(shards) - 1, min(PROBED, len(shards)), dtype=int)))
        for name, vocabulary in self.fields.items():
            if name not in held and self.partly:
                bound.lacks.add(name)
            elif name not in held:
                raise ValueError(f"no sample has the field {name!r} that the task needs; the shards hold {', '.join(sorted(held))}")
            names = shards.names.get(name)
            if FIELDS[name].kind == "label" and (words := names or (vocabulary.names if vocabulary else None)):
                bound._classes[name] = len(words)
            if vocabulary is None or names is None:
                continue
            bound._maps[name] = _translation(name, names, vocabulary)
        return bound

    @property
    def reads(self) -> set[str]:
        """The fields to decode."""
        return {"image", "box", *self.fields}

    @cached_property
    def swaps(self) -> dict[str, np.ndarray]:
        """Field -> permutation of its ids in a mirror image."""
        return {name: vocabulary.swap for name, vocabulary in self.fields.items() if vocabulary is not None}

    def read(self, shards: Shards, i: int, *, only: Collection[str]) -> Sample:
        """Sample i of the shards, in the model's vocabulary.

        Raises:
            DamagedSample: its bytes are not what was written, or it holds a label that nothing names.
        """
        sample = shards.read(i, only=only)
        for name in self._classes.keys() & sample.keys():
            if (stray := beyond(sample[name], self._classes[name])) is not None:
                told = f"{name!r} of {shards.where(i)} holds the label {stray}, but only {self._classes[name]} classes are named"
                raise DamagedSample(f"{told} (255 is unknown); repair the labels and pack them again")
        return self.translate(sample)

    def translate(self, sample: Sample) -> Sample:
        """The sample in the model's vocabulary."""
        for name, table in self._maps.items():
            if name not in sample:
                continue
            if FIELDS[name].kind == "label":
                sample[name] = table[sample[name]]
            else:  # row k of the model is row table[k] of the data; -1 is the appended row, the unknown point
                points = np.concatenate([sample[name], np.zeros((1, 3), np.float32)])
                sample[name] = points[table]
        return sample

    def fill(self, sample: Sample, size: Size) -> Sample:
        """Unknown values for the wanted fields that the sample lacks."""
        missing = [name for name in (*self.fields, "box") if name not in sample]
        return {name: self._unknown(name, size) for name in missing}

    def _unknown(self, name: str, size: Size) -> np.ndarray:
        field, vocabulary = FIELDS[name], self.fields.get(name)
        if field.kind == "points":
            return np.zeros((len(vocabulary) if vocabulary else 0, 3), np.float32)
        return np.full((*size, *field.trailing) if name in MAPS else field.trailing, field.unknown, field.dtype)


def beyond(labels: np.ndarray, classes: int) -> int | None:
    """The first label at or above `classes` that is not 255, or None."""
    strays = labels[(labels >= classes) & (labels != UNKNOWN_LABEL)]
    return int(strays[0]) if strays.size else None


def _translation(name: str, names: list[str], vocabulary: Vocabulary) -> np.ndarray:
    """Labels: (256,) data id -> model id. Points: (K,) model row -> data row, -1 where the data have none."""
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
