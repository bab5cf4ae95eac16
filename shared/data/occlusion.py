"""Something in front: part of a training picture is covered. Labels stay as they are: what is hidden is asked for all the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

CORNERS = 12  # of a blob's outline


def _black(image: np.ndarray, hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return np.zeros((*hw, 3), np.uint8)


def _colour(image: np.ndarray, hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return np.broadcast_to(rng.integers(0, 256, 3, np.uint8), (*hw, 3))


def _noise(image: np.ndarray, hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (*hw, 3), np.uint8)


def _patch(image: np.ndarray, hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Another piece of the picture itself, mirrored half of the time."""
    top, left = _place(image.shape[:2], hw, rng)
    piece = image[top : top + hw[0], left : left + hw[1]]
    return piece[:, ::-1] if rng.random() < 0.5 else piece


def _box(hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return np.ones(hw, bool)


def _blob(hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A closed outline whose corners lie between half and all of the way from the middle to an ellipse in the rectangle."""
    angles = np.arange(CORNERS) * 2 * np.pi / CORNERS
    reach = rng.uniform(0.5, 1, (CORNERS, 1)) * (np.array(hw[::-1]) - 1) / 2
    outline = (np.array(hw[::-1]) - 1) / 2 + reach * np.stack([np.cos(angles), np.sin(angles)], 1)
    mask = np.zeros(hw, np.uint8)
    cv2.fillPoly(mask, [outline.round().astype(np.int32)], 1)
    return mask > 0


FILLS: dict[str, Callable[..., np.ndarray]] = {"black": _black, "colour": _colour, "noise": _noise, "patch": _patch}
SHAPES: dict[str, Callable[..., np.ndarray]] = {"box": _box, "blob": _blob}


@dataclass(frozen=True)
class Occlusion:
    """Covers parts of a uint8 RGB image; as it stands it is the coarse dropout of Sapiens' configs for pose.

    Args:
        probability: of pictures in which something is covered.
        count: how many parts of such a picture.
        extent: least and largest height and width of a part, shares of those of the picture; each is drawn by itself.
        fills: what may be seen there instead, one of them each time: `black`, `colour`, `noise`, `patch` (of the same picture).
        shapes: what a part may look like, one of them each time: `box`, `blob`.

    Raises:
        ValueError: no such fill or shape, or shares that are none.
    """

    probability: float = 1.0
    count: int = 1
    extent: tuple[float, float] = (0.2, 0.4)
    fills: Sequence[str] = ("black",)
    shapes: Sequence[str] = ("box",)

    def __post_init__(self) -> None:
        for what, chosen, known in (("fills", self.fills, FILLS), ("shapes", self.shapes, SHAPES)):
            if isinstance(chosen, str) or not chosen or not set(chosen) <= set(known):
                raise ValueError(f"{what}={chosen!r} is not a list of some of {', '.join(known)}; name at least one")
        if not 0 < self.extent[0] <= self.extent[1] <= 1:
            raise ValueError(f"extent={self.extent} is no range of shares; give the least and the largest, such as (0.2, 0.4)")

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(H,W,3) uint8 -> (H,W,3) uint8; the one that came is not written into."""
        does, seed = rng.random() < self.probability, int(rng.integers(2**31))
        if not does:
            return image
        own, covered = np.random.default_rng(seed), image.copy()  # one draw of the caller's, however many are made here
        for _ in range(self.count):
            height, width = (max(1, round(n * part)) for n, part in zip(image.shape[:2], own.uniform(*self.extent, 2)))
            hw = height, width
            top, left = _place(image.shape[:2], hw, own)
            mask = SHAPES[self.shapes[int(own.integers(len(self.shapes)))]](hw, own)
            fill = FILLS[self.fills[int(own.integers(len(self.fills)))]](image, hw, own)
            covered[top : top + hw[0], left : left + hw[1]][mask] = fill[mask]
        return covered


def _place(image_hw: tuple[int, ...], hw: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Top and left of a rectangle that lies in the picture."""
    return int(rng.integers(image_hw[0] - hw[0] + 1)), int(rng.integers(image_hw[1] - hw[1] + 1))
