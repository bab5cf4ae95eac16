"""What a task is: one question asked of every picture. Read this first; the five tasks are its five answers.

    pixels --ViT--> features --Decoder--> raw --decode--> answer --files, render--> what the user sees
                                           |                 |
                                          loss            measure, one row per picture --summarise--> scores

Letters: B batch, C channels, H W pixels of the picture, h w pixels of the raw answer, M numbers in a row of measurements.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from torch import Tensor

from shared.formats import Ask
from shared.vocabulary import Vocabulary

Batch = Mapping[str, Tensor]
Legend = Sequence[tuple[str, tuple[int, int, int]]]  # names and RGB, 0 to 255


class Framing(Enum):
    """What one view of the network shows."""

    WHOLE = "whole"  # the picture, aspect kept
    BOXES = "boxes"  # one person


class Score(NamedTuple):
    """The score by which two models are compared."""

    name: str
    higher_is_better: bool


class Task(ABC):
    """One question asked of every pixel: what to predict, how to score it, how to show it.

    Tasks are frozen dataclasses: their fields are the options that a config may set, and are written into every checkpoint.
    """

    name: ClassVar[str]  # key of the decoder in every checkpoint
    field: ClassVar[str]  # the field of a sample that supervises it
    also: tuple[str, ...] = ()  # further fields that its loss and its measurements need
    heeds: tuple[str, ...] = ()  # fields that its loss takes into account in samples that have them
    answers: ClassVar[Literal["map", "points"]]  # one answer per pixel, or a list of points
    lengths: ClassVar[tuple[int, ...]] = ()  # channels of a decoded map that count widths of the view; answers count pixels
    relative: bool = False  # the raw answer is known up to scale and shift within a view
    canonical: bool = False  # a decoded map is metres for a focal length of one width of the view; answers are for the picture's
    odd: ClassVar[tuple[int, ...]] = ()  # channels of the raw answer that change their sign in a mirror image
    framing: ClassVar[Framing]
    score: ClassVar[Score]
    vocabulary: Vocabulary | None = None  # names of classes or points, where there are any
    formats: ClassVar[Mapping[str, str]] = {}  # what may be asked for by name, and the suffix of its file
    usual: ClassVar[tuple[str, ...]] = ()  # the formats of files that say more when `Ask.about` does; () where `files` is all
    by_focal: ClassVar[tuple[str, ...]] = ()  # the formats that need a focal length
    alike: ClassVar[tuple[str, ...]] = ()  # the options by which a teacher's raw answers mean something else

    @property
    @abstractmethod
    def channels(self) -> int:
        """C of the raw answer."""

    @property
    @abstractmethod
    def head(self) -> Mapping[str, Any]:
        """Arguments of `Decoder` beyond dim and channels: the official widths, and how the last layer starts."""

    @abstractmethod
    def loss(self, raw: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Terms by name, scalars; `raw` (B,C,h,w) covers the frame of `batch[field]`. Means over known: no label costs 0."""

    @abstractmethod
    def imitate(self, raw: Tensor, taught: Tensor) -> Tensor:
        """How far a raw answer is from a teacher's to the same picture: a scalar, the mean over all pixels, 0 where they are equal.

        Args:
            raw: (B,C,h,w) float32.
            taught: (B,C,h',w') float32, of the same channels, at any resolution.
        """

    @abstractmethod
    def decode(self, raw: Tensor) -> Tensor:
        """Blendable raw -> the answer: the only non-linear step. Maps: (B,C,h,w) -> (B,...,h,w) per pixel; points: -> (B,K,3)."""

    @abstractmethod
    def measure(self, answer: Tensor, truth: Mapping[str, Tensor]) -> Tensor:
        """One picture's answer against its truth, both at the picture's own size: (M,) float64."""

    @abstractmethod
    def summarise(self, rows: Tensor) -> dict[str, float]:
        """All rows (n,M) -> named scores; independent of batch size and number of processes. Percent are shares of 1."""

    def details(self, rows: Tensor) -> Mapping[str, Mapping[str, float]]:
        """A table of further scores of the same rows, line -> column -> value, for who asks for them; by default none."""
        return {}

    def ideal(self, truth: Mapping[str, Tensor]) -> Tensor:
        """The truth of one picture in the form of an answer, unknown where it is: what stands beside an answer in a preview."""
        return truth[self.field]

    @abstractmethod
    def trivial(self, batch: Batch) -> Tensor:
        """The best answer that does not look at the picture, from a batch of truths: raw (C,h,w)."""

    @abstractmethod
    def files(self, answer: np.ndarray) -> dict[str, Any]:
        """What is written for one picture: suffix -> array or JSON-able object, e.g. {"depth.npy": ...}."""

    def content(self, answer: np.ndarray, form: str, ask: Ask) -> Any:
        """What the file of one of `formats` holds; by default what `files` puts there."""
        return self.files(answer)[self.formats[form]]

    def asked(self, answer: np.ndarray, ask: Ask) -> dict[str, Any]:
        """What is written for one picture in the formats asked for, or as always where the task has none of them."""
        chosen = [form for form in self.formats if form in ask.formats] or list(self.usual)
        return {self.formats[form]: self.content(answer, form, ask) for form in chosen} or self.files(answer)

    def decoding_for(self, formats: Collection[str]) -> "Task":
        """The same task as it has to decode for these formats; for most there is one way.

        Raises:
            ValueError: what it answers cannot be written so.
        """
        return self

    @abstractmethod
    def render(self, image: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """A picture of the answer over (H,W,3) uint8 RGB: (H,W,3) uint8 RGB."""

    def legend(self, answer: np.ndarray) -> Legend:
        """What the colours in the picture of this answer are called, the largest area first; by default they have no names."""
        return []
