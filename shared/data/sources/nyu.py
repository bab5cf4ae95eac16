"""NYU Depth v2 (Silberman et al. 2012): 1449 rooms before a Kinect, holes filled by its authors, in one MATLAB file.

    nyu_depth_v2_labeled.mat    images (480, 640, 3, 1449) uint8, depths (480, 640, 1449) metres along the optical axis

The file is HDF5 (MATLAB 7.3), which counts its axes from the other end: there images are (1449, 3, 640, 480). Reading it needs
h5py. Pictures of both its parts, training and test, are in it; `--list` chooses. Other pictures of the same data set come as
folders of 16-bit PNGs: those are packed by `parts`, `--unit 0.001`.
"""

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from shared.data.sources.maps import open_hdf5, rows
from shared.data.sources.source import Command, Report, Source, Unusable, usable

# The colour camera, from camera_params.m of the data set's toolbox; MATLAB's first pixel is 1, ours 0.
CAMERA = np.array([518.85790117, 519.46961112, 325.58244941 - 1, 253.73616633 - 1], np.float32)
CAMERA_HW = (480, 640)


def chosen(path: Path | None, count: int) -> list[int]:
    """The pictures to pack, counted from 0.

    Args:
        path: a text file with the numbers of the pictures, from 1 as MATLAB counts; None: all.
        count: how many there are.

    Raises:
        ValueError: it holds something else, or a number beyond.
    """
    if path is None:
        return list(range(count))
    numbers = []
    for word in path.read_text(encoding="utf-8").replace(",", " ").split():
        if not word.isdecimal() or not 1 <= int(word) <= count:
            raise ValueError(f"{path} holds {word!r}; it should hold numbers of pictures, 1 to {count}")
        numbers.append(int(word) - 1)
    if not numbers:
        raise ValueError(f"{path} holds no number; it should hold numbers of pictures, 1 to {count}")
    return numbers


def samples(path: Path, wanted: Path | None, report: Report) -> tuple[Iterator[tuple[str, dict[str, Any]]], int]:
    """The (key, {"image", "depth", "intrinsics"}) of the chosen pictures, and how many those are.

    Args:
        path: the MATLAB file.
        wanted: list of numbers, see `chosen`.
        report: hears of pictures without depth.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}; name nyu_depth_v2_labeled.mat (a folder of pictures is packed by `parts`)"
        )
    with open_hdf5(path) as file:
        images, depths = (rows(file, name, path) for name in ("images", "depths"))
        if images.ndim != 4 or depths.ndim != 3 or images.shape != (len(depths), 3, *depths.shape[1:]):
            raise ValueError(f"{path}: images are {images.shape} and depths {depths.shape}, not (N, 3, W, H) and (N, W, H)")
        numbers = chosen(wanted, len(depths))
    return _read(path, numbers, report), len(numbers)


def _read(path: Path, numbers: Sequence[int], report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
    with open_hdf5(path) as file:
        yield from usable(numbers, partial(_sample, path, file["images"], file["depths"]), report, file=lambda _: path)


def _sample(path: Path, images: Any, depths: Any, number: int) -> tuple[str, dict[str, Any]]:
    try:
        image, depth = images[number].transpose(2, 1, 0), depths[number].T  # (3,W,H) -> (H,W,3), (W,H) -> (H,W)
    except OSError as error:
        raise Unusable(path, "a picture of it is damaged", f" (number {number + 1}: {error}); download it again") from error
    known = np.isfinite(depth) & (depth > 0)
    if not known.any():
        raise Unusable(path, "no pixel has depth", f" in picture {number + 1}")
    sample = {"image": np.ascontiguousarray(image, np.uint8), "depth": np.where(known, depth, np.nan).astype(np.float32)}
    if depth.shape == CAMERA_HW:
        sample["intrinsics"] = CAMERA
    return f"{number + 1:04d}", sample


def _options(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, metavar="MAT", help="nyu_depth_v2_labeled.mat")
    command.add_argument("--list", type=Path, metavar="TXT", help="numbers of the pictures to pack, from 1 (default all)")


def _source(options: argparse.Namespace, report: Report) -> Source:
    found, total = samples(options.file, options.list, report)
    return Source(found, {}, total)


COMMANDS = (Command("nyu", "Pack NYU Depth v2: depth of rooms.", "~/nyu_depth_v2_labeled.mat --out data/nyu", _options, _source),)
