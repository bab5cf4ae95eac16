"""Who is looked at in a picture: everybody at once, the people in given boxes, or those that a detector finds.

A finder is asked for each picture: `finder(name, image)`, with the photo's file name (`photo.jpg`) and its pixels, (H,W,3) uint8
RGB. It answers with `People`, or with None: the whole picture is one person. The detector is in shared/infer/detector.py.

P is the number of people.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)

FARTHEST = 1e6  # pixels; beyond the side of any photo that we read, and exact in float32
FORM = "{photo name: [[x0, y0, x1, y1], ...]}"


@dataclass(frozen=True, eq=False)
class People:
    """The people of one picture.

    Args:
        boxes: (P,4) float32 x0 y0 x1 y1 px, outer edges; one may reach beyond the picture. Other numbers are converted.
        scores: (P,) float32, how sure the finder is of each, 0 to 1; 1 where somebody gave the box.

    Raises:
        ValueError: the shapes do not fit, a number is not finite, or a box has its right before its left.
    """

    boxes: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        boxes, scores = np.asarray(self.boxes, np.float64), np.asarray(self.scores, np.float64)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != (len(boxes),):
            raise ValueError(f"people are boxes (P,4) and scores (P,), these are {boxes.shape} and {scores.shape}")
        for box in boxes[~(np.abs(boxes) <= FARTHEST).all(1)][:1]:
            raise ValueError(f"the box {_said(box)} is not finite, or no box of a photo; give x0 y0 x1 y1 in pixels")
        for box in boxes[(boxes[:, 2:] < boxes[:, :2]).any(1)][:1]:
            raise ValueError(f"the box {_said(box)} ends before it begins; give x0 y0 x1 y1, the left and upper edges first")
        if not np.isfinite(scores).all():
            raise ValueError(f"a score of these {len(scores)} people is not finite; give numbers from 0 to 1")
        object.__setattr__(self, "boxes", boxes.astype(np.float32))
        object.__setattr__(self, "scores", scores.astype(np.float32))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, which: np.ndarray) -> "People":
        """Some of them, by a mask (P,) or by ids."""
        return People(self.boxes[which], self.scores[which])

    def touch(self, hw: tuple[int, int]) -> np.ndarray:
        """(P,) bool: some of the box lies in a picture of (H,W) pixels."""
        (x0, y0, x1, y1), (H, W) = self.boxes.T, hw
        return (x1 > -0.5) & (y1 > -0.5) & (x0 < W - 0.5) & (y0 < H - 0.5)


Finder = Callable[[str, np.ndarray], People | None]


def whole(name: str, image: np.ndarray) -> None:
    """The finder that looks for nobody: the picture is one person."""


class Given:
    """The finder that was told: boxes by photo name; a photo without an entry is one person as a whole.

    Args:
        table: photo name -> rows of x0 y0 x1 y1 px, or x0 y0 x1 y1 score.
    """

    def __init__(self, table: Mapping[str, Sequence[Sequence[float]]]) -> None:
        self.table = table

    @classmethod
    def read(cls, path: Path) -> "Given":
        """From JSON, the form of all of it checked before anything is answered.

        Raises:
            ValueError: there is no such file, or it does not hold boxes.
        """
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ValueError(f"there is no file of boxes {path}; --people is whole, detect, or the path of a JSON file") from error
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}; write {FORM}") from error
        for name, rows in table.items() if isinstance(table, dict) else [("the file", None)]:
            if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
                raise ValueError(f"{path}: {name} does not hold boxes; write {FORM} in pixels, a score as fifth number if you like")
        return cls(table)

    def __call__(self, name: str, image: np.ndarray) -> People | None:
        """Those of the photo; who lies outside of it altogether is left out with a warning.

        Raises:
            ValueError: a box is none.
        """
        if name not in self.table:
            return None
        rows = [tuple(map(float, row)) for row in self.table[name]]
        people = People(np.array([row[:4] for row in rows]).reshape(-1, 4), np.array([(*row, 1.0)[4] for row in rows]))
        hw = (image.shape[0], image.shape[1])
        there = people.touch(hw)
        for box in people.boxes[~there]:
            log.warning("%s: the box %s lies outside of its %d x %d pixels and is left out", name, _said(box), *hw)
        return people[there]


def _is_row(row: object) -> bool:
    """Four numbers, or five."""
    if not isinstance(row, list) or len(row) not in (4, 5):
        return False
    return all(isinstance(v, float) or (isinstance(v, int) and abs(v) < 2**53) for v in row)


def _said(box: np.ndarray) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "]"
