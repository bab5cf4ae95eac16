"""Pictures that look alike: a hash of where they get brighter, and a search for hashes that differ in few bits.

The hash is dHash (Krawetz 2013, "Kind of like that") in both directions: it survives other sizes, qualities and exposures, but not
a crop, a turn or a mirror. Pictures of one colour all look alike.
"""

from collections import defaultdict

import cv2
import numpy as np

SIDE = 8  # cells across and down that are compared with their neighbours: 2 * 8 * 8 bits
BANDS, WIDTH = 8, 16  # pieces of a hash and their bits
NEAR = BANDS - 1  # bits in which two pictures that look alike may differ: then one piece at least is equal
STEP = 2  # grey levels that count as brighter: the noise of a plain wall does not


def dhash(image: np.ndarray) -> int:
    """The hash, 128 bits, of a picture (H,W,3) uint8."""
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (SIDE + 1, SIDE + 1), interpolation=cv2.INTER_AREA).astype(int)
    across = grey[:-1, 1:] - grey[:-1, :-1] > STEP
    down = grey[1:, :-1] - grey[:-1, :-1] > STEP
    return int.from_bytes(np.packbits(np.r_[across.ravel(), down.ravel()]).tobytes(), "big")


class Seen:
    """The pictures so far, about a kilobyte each."""

    def __init__(self) -> None:
        self._pieces: list[defaultdict[int, list[tuple[int, str]]]] = [defaultdict(list) for _ in range(BANDS)]

    def find(self, picture: int) -> str | None:
        """The name of the picture that looks most like the one with this hash, if any looks like it."""
        found = [
            ((picture ^ other).bit_count(), name)
            for band, pieces in enumerate(self._pieces)
            for other, name in pieces.get(_piece(picture, band), ())
        ]
        bits, name = min(found, default=(BANDS, ""))
        return name if bits <= NEAR else None

    def add(self, picture: int, name: str) -> None:
        """Remember a picture by its hash."""
        for band, pieces in enumerate(self._pieces):
            pieces[_piece(picture, band)].append((picture, name))


def _piece(picture: int, band: int) -> int:
    return picture >> (band * WIDTH) & (1 << WIDTH) - 1
