"""Masks in blocks: what is hidden lies together, and cannot be guessed from the next patch (Bao et al. 2022, section 2.3)."""

from math import exp, log, sqrt

import numpy as np

AREA = (0.02, 0.2)  # of the grid that one block covers
ASPECT = (0.3, 1 / 0.3)  # height over width, Bao et al. 2022


def blocks(grid: tuple[int, int], hidden: int, rng: np.random.Generator) -> np.ndarray:
    """(h,w) bool, exactly `hidden` of them True: rectangles over one another, the last cut off, row by row, where there are enough.

    A rectangle may begin outside of the grid, at any place where a patch of it lies inside: no patch is hidden more often than
    another.

    Args:
        grid: (h,w) patches.
        hidden: 0 .. h*w.
        rng: of every draw.
    """
    h, w = grid
    mask = np.zeros(grid, bool)
    missing = hidden
    while missing > 0:
        height, width = _extent(grid, rng)
        top, left = int(rng.integers(1 - height, h)), int(rng.integers(1 - width, w))
        piece = mask[max(top, 0) : top + height, max(left, 0) : left + width]
        new = np.flatnonzero(~piece)[:missing]
        piece[np.unravel_index(new, piece.shape)] = True
        missing -= len(new)
    return mask


def _extent(grid: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Height and width of a rectangle, patches, at least one each."""
    area = rng.uniform(*AREA) * grid[0] * grid[1]
    aspect = exp(rng.uniform(log(ASPECT[0]), log(ASPECT[1])))
    return max(round(sqrt(area * aspect)), 1), max(round(sqrt(area / aspect)), 1)
