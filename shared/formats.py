"""Files of answers in the formats that users ask for by name, and the way back from those that are not plain numbers.

A task says which formats it has (`Task.formats`) and what goes into each; shared/infer/writer.py writes them.
"""

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

UNKNOWN = 0  # the level, and all three channels of a vector, that mean unknown
LARGEST_CLOUD = 1_000_000  # points of a .ply: what viewers turn smoothly


class About(NamedTuple):
    """What is known of one picture beside its answers.

    Attributes:
        hw: (H,W) in pixels.
        boxes: (P,4) x0 y0 x1 y1 px of the people who were looked at one by one; None: the whole picture was one.
        scores: (P,) how sure it is that somebody is in each box; 1 where boxes were given without.
    """

    hw: tuple[int, int]
    boxes: np.ndarray | None = None
    scores: np.ndarray | None = None


class Ask(NamedTuple):
    """What a user asks for.

    Attributes:
        formats: names; a task that has none of them writes what it writes anyway.
        focal_px: focal length in pixels of the photo, for metric depth and for clouds.
        span_m: metres at which a cloud of relative depth puts the nearest (0) and the farthest (1). A guess, not a measurement.
        about: the picture that was answered, for files that say so; None: nothing is known of it.
    """

    formats: frozenset[str] = frozenset()
    focal_px: float | None = None
    span_m: tuple[float, float] = (2.0, 3.0)
    about: About | None = None


class Png(NamedTuple):
    """A PNG with more than pixels.

    Attributes:
        pixels: (H,W) uint8 or uint16.
        palette: RGB of each index, for uint8.
        text: what the file says of itself, word by word.
    """

    pixels: np.ndarray
    palette: Iterable[tuple[int, int, int]] | None = None
    text: Mapping[str, str] = {}


def levels(values: np.ndarray, *, unit: str | None = None) -> Png:
    """Numbers (H,W) float as 16-bit levels from the smallest to the largest; `value = offset + scale * level`, level 0 unknown.

    The file says scale and offset itself, and the unit if there is one. A round trip is off by at most half a scale: 1 / 131068 of
    the range.
    """
    known = np.isfinite(values)
    low, high = (float(values[known].min()), float(values[known].max())) if known.any() else (0.0, 0.0)
    scale = (high - low) / (2**16 - 2) or 1.0
    pixels = np.where(known, 1 + np.rint((np.where(known, values, low).astype(np.float64) - low) / scale), UNKNOWN)
    says = {"scale": repr(scale), "offset": repr(low - scale), "formula": "value = offset + scale * level; level 0 is unknown"}
    says |= {"unit": unit} if unit else {}
    return Png(pixels.astype(np.uint16), text=says)


def read_levels(path: Path) -> np.ndarray:
    """What `levels` was given, NaN where unknown: (H,W) float32.

    Raises:
        ValueError: the file does not say its scale.
    """
    with Image.open(path, formats=["PNG"]) as image:
        says, pixels = dict(image.info), np.array(image)
    if not {"scale", "offset"} <= says.keys():
        raise ValueError(f"{path} does not say its scale; only files that `--formats png16` wrote do")
    values = float(says["offset"]) + float(says["scale"]) * pixels.astype(np.float64)
    return np.where(pixels == UNKNOWN, np.nan, values).astype(np.float32)


def vectors(normal: np.ndarray, *, bits: int) -> np.ndarray:
    """Unit vectors (H,W,3) as red, green and blue: (n + 1) / 2 of the largest level; 0 0 0, which no unit vector is, unknown."""
    dtype = {8: np.uint8, 16: np.uint16}[bits]
    known = np.isfinite(normal).all(-1, keepdims=True)
    steps = np.rint((np.where(known, normal, -1).astype(np.float64) + 1) / 2 * (2**bits - 1)).clip(0, 2**bits - 1)
    return steps.astype(dtype)


def read_vectors(path: Path) -> np.ndarray:
    """What `vectors` was given, of unit length, NaN where unknown: (H,W,3) float32."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3 or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{path} is no picture of normals; those of `--formats png` and `png16` have three channels")
    known = (pixels != UNKNOWN).any(-1, keepdims=True)
    normal = pixels[..., ::-1] / (np.iinfo(pixels.dtype).max / 2) - 1
    return np.where(known, normal / np.linalg.norm(normal, axis=-1, keepdims=True), np.nan).astype(np.float32)


def thinned(points: np.ndarray) -> np.ndarray:
    """Every so many-th row and column of points (H,W,3), so that a million remain at most."""
    step = max(1, int(np.ceil((points[..., 0].size / LARGEST_CLOUD) ** 0.5)))
    return points[::step, ::step]


def exr_is_there() -> bool:
    """Whether OpenCV can read and write .exr: not all builds can, and those that can do so only when told."""
    os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")
    try:
        return cv2.imencode(".exr", np.zeros((1, 1), np.float32))[0]
    except cv2.error:
        return False


def read_exr(path: Path) -> np.ndarray:
    """The numbers of an .exr file, by OpenCV or by the package OpenEXR: (H,W) or (H,W,3) float32, red, green, blue.

    Raises:
        ModuleNotFoundError: neither can; the sentence says what to do.
        ValueError: it is damaged, or has channels of other names.
    """
    if exr_is_there():
        found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if found is None:
            raise ValueError(f"{path} is no readable .exr file; copy or download it again")
        return found.astype(np.float32) if found.ndim == 2 else np.ascontiguousarray(found[..., 2::-1], np.float32)
    try:
        openexr = import_module("OpenEXR")
    except ImportError:
        told = "neither this build of OpenCV nor the package OpenEXR, which is not installed, can read it"
        raise ModuleNotFoundError(f"{path}: {told}; pip install OpenEXR, or convert the files to .npy") from None
    try:
        with openexr.File(str(path)) as file:
            channels = {name: channel.pixels for name, channel in file.channels().items()}
    except Exception as error:  # the package raises nearly everything on damaged files
        raise ValueError(f"{path} is no readable .exr file ({error}); copy or download it again") from error
    for name in ("RGB", "RGBA"):
        if name in channels:
            return np.ascontiguousarray(channels[name][..., :3], np.float32)
    if len(channels) != 1:
        raise ValueError(f"{path} has the channels {', '.join(sorted(channels))}; one, or R, G and B are read")
    return np.asarray(next(iter(channels.values())), np.float32)
