"""Normals of other people's files: in which axes they are, and whether that can be so.

Ours are x right, y up, z toward the viewer. `x,-y,-z` says that our y and z are the file's second and third channel negated, as
with the axes of OpenCV; `z,y,x` is a file that holds them in the opposite order. H W are the pixels of a picture.
"""

import argparse
from itertools import permutations, product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared.data.options import metres
from shared.data.sources.maps import array
from shared.data.sources.source import Misread, Unusable
from shared.data.surface import normals as implied_normals

LENGTHS = (0.5, 1.5)  # beyond these a vector means "unknown": zeros, -1000
OFF = 0.1  # of the median length, before a file holds something else than unit vectors
JUDGED = 64  # pixels from which normals and depth are compared
ASKEW = 15.0  # degrees at the median from which other axes are tried; measurement and rounding stay below


class Axes(NamedTuple):
    """Which channel each of our axes is, and its sign."""

    channels: tuple[int, ...] = (0, 1, 2)
    signs: tuple[int, ...] = (1, 1, 1)

    def __str__(self) -> str:
        return ",".join(("-" if sign < 0 else "") + "xyz"[channel] for channel, sign in zip(*self))

    def of(self, stored: np.ndarray) -> np.ndarray:
        """(..., 3) as the file has them -> in our axes."""
        return stored[..., list(self.channels)] * np.array(self.signs, stored.dtype)

    def back(self, ours: np.ndarray) -> np.ndarray:
        """(..., 3) in our axes -> as the file has them."""
        stored = np.empty_like(ours)
        stored[..., list(self.channels)] = ours * np.array(self.signs, ours.dtype)
        return stored


EVERY = tuple(Axes(channels, signs) for channels in permutations(range(3)) for signs in product((1, -1), repeat=3))
TEXTS = {str(axes): axes for axes in EVERY}


def parse(text: str) -> Axes:
    """Axes from a command line.

    Raises:
        argparse.ArgumentTypeError: it is not three of x, y, z with signs.
    """
    if (axes := TEXTS.get(text.replace(" ", "").replace("+", ""))) is None:
        raise argparse.ArgumentTypeError(f"{text!r} must be x, y and z in some order, each perhaps negated, such as x,-y,-z")
    return axes


def add_options(command: argparse.ArgumentParser) -> None:
    """--unit of depth and --axes of normals."""
    command.add_argument("--unit", type=metres, metavar="M", help="metres per unit of depth (default 1; whole numbers need it)")
    about = "which channels of the normals point right, up and to the viewer (default x,y,z; OpenCV's axes are x,-y,-z)"
    command.add_argument("--axes", type=parse, default=Axes(), metavar="X,Y,Z", help=about)


def normals(path: Path, axes: Axes) -> np.ndarray:
    """Unit vectors in our axes: (H,W,3) float32, NaN unknown.

    Args:
        path: `.npy`, `.exr` or `.hdf5` of numbers in -1 to 1; a PNG holds (n + 1) / 2, 0 0 0 unknown.
        axes: those of the file.

    Raises:
        Unusable: it is damaged or of another shape.
        Misread: the vectors are not of unit length.
    """
    stored = array(path)
    if stored.ndim != 3 or stored.shape[2] < 3 or stored.dtype.kind not in "fu":
        raise Unusable(path, "it is no map of normals", f": {stored.dtype} of shape {stored.shape}")
    stored = stored[..., :3]
    if stored.dtype.kind == "u":
        stored = np.where(stored.any(-1, keepdims=True), stored / (np.iinfo(stored.dtype).max / 2) - 1, 0)
    with np.errstate(invalid="ignore", over="ignore"):
        length = np.linalg.norm(stored.astype(np.float64), axis=-1, keepdims=True)  # (H,W,1)
        known = (length > LENGTHS[0]) & (length < LENGTHS[1])
    if not known.any():
        raise Unusable(path, "no pixel has a normal")
    if abs((typical := float(np.median(length[known]))) - 1) > OFF:
        raise Misread(path, "its normals are no unit vectors", f": the median length is {typical:.2f}; write -1 to 1, or n / |n|")
    return axes.of(np.where(known, stored / np.where(known, length, 1), np.nan)).astype(np.float32)


def judge(normal: np.ndarray, axes: Axes, path: Path, *, depth: np.ndarray | None, intrinsics: np.ndarray | None) -> None:
    """Refuse normals whose axes cannot be right. With depth and a camera every wrong sign and order shows; else only a wrong z.

    Args:
        normal: (H,W,3), in what should be our axes; only where somebody is.
        axes: those that the file was read with.
        path: the file, for the sentence.
        depth: (H,W) metres.
        intrinsics: fx fy cx cy px.

    Raises:
        Misread: they look away from the viewer, or other axes fit depth at least twice as well; the sentence says which.
    """
    known = np.isfinite(normal).all(-1)
    if depth is None or intrinsics is None:
        if known.any() and (toward := float(np.median(normal[known][:, 2]))) < 0:
            told = f" (z is {toward:.2f} at the median): other axes are meant; try --axes x,-y,-z"
            raise Misread(path, "its normals look away from the viewer", told)
        return
    implied = implied_normals(depth, intrinsics)
    known &= np.isfinite(implied).all(-1)
    if known.sum() < JUDGED:
        return
    stored, wanted = axes.back(normal[known]), implied[known]
    if (off := _off_deg(axes, stored, wanted)) <= ASKEW:
        return
    best = min(EVERY, key=lambda other: _off_deg(other, stored, wanted))
    if (better := _off_deg(best, stored, wanted)) < off / 2:
        told = f" by {off:.0f} degrees at the median with --axes={axes}, by {better:.0f} with --axes={best}"
        raise Misread(path, "its normals differ from its depth", told)


def _off_deg(axes: Axes, stored: np.ndarray, wanted: np.ndarray) -> float:
    cosine = (axes.of(stored) * wanted).sum(-1)
    return float(np.degrees(np.arccos(np.median(cosine.clip(-1, 1)))))
