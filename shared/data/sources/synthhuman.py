"""SynthHuman (Saleh et al. 2025, "DAViD", Microsoft): 298,008 rendered people with depth, normals, coverage and camera.

    DIR/.../rgb_0000000.png       any number of folders deep
    DIR/.../alpha_0000000.png     8-bit, 255 is a pixel that the person covers
    DIR/.../depth_0000000.exr     centimetres along the optical axis, one channel; 65504 is nothing
    DIR/.../normal_0000000.exr    x, y, z as red, green, blue
    DIR/.../cam_0000000.txt       fx 0 cx, 0 fy cy, 0 0 1 in pixels

So says the README that comes with it. It does not say where the axes of the normals point, so each picture's are compared with its
depth, and if others fit better, packing stops and says which (`--axes`). Nor does it say from where cx and cy count: from the
picture's outer edge, we suppose, as renderers do. Files of the same stems as `.npy` are read in the place of `.exr`.
Depth and normals are known where the person covers half of a pixel or more.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from shared.data.sources.axes import Axes, judge, normals, parse
from shared.data.sources.maps import LARGEST_HALF, beside, camera, depth, fitting, grey, upright_photo
from shared.data.sources.source import Command, Report, Source, Unusable, usable

CENTIMETRE = 0.01
SOMEBODY = 0.5  # alpha from which depth and normals are the person's
EDGE = np.array([0, 0, 0.5, 0.5], np.float32)  # of the first pixel, seen from its centre


def pictures(folder: Path) -> list[Path]:
    """All rgb_*.png below a folder, sorted.

    Raises:
        FileNotFoundError: there is none.
    """
    found = sorted(Path(folder).rglob("rgb_*.png"))
    if not found:
        layout = "rgb_0000000.png, alpha_0000000.png, depth_0000000.exr, normal_0000000.exr and cam_0000000.txt"
        raise FileNotFoundError(f"{folder} holds no rgb_*.png; SynthHuman's pictures lie beside one another as {layout}")
    return found


def samples(folder: Path, axes: Axes, report: Report) -> tuple[Iterator[tuple[str, dict[str, Any]]], int]:
    """The (key, {"image", "alpha", "depth", "normal", "intrinsics"}) of every picture, and how many there are.

    Args:
        folder: laid out as above.
        axes: of the normals.
        report: hears of pictures that are damaged or lack a file.
    """
    found = pictures(folder)
    return usable(found, partial(_sample, Path(folder), axes), report, file=lambda path: path), len(found)


def _sample(folder: Path, axes: Axes, path: Path) -> tuple[str, dict[str, Any]]:
    image, hw = upright_photo(path)
    alpha = fitting("alpha", grey(_file(path, "alpha", (".png",))), hw, path).astype(np.float32) / 255
    somebody = alpha >= SOMEBODY
    intrinsics = camera(_file(path, "cam", (".txt",))) - EDGE
    metres = fitting("depth", depth(_file(path, "depth", (".npy", ".exr")), CENTIMETRE, nothing=LARGEST_HALF), hw, path)
    metres = np.where(somebody, metres, np.float32(np.nan))
    file = _file(path, "normal", (".npy", ".exr"))
    normal = np.where(somebody[..., None], fitting("normals", normals(file, axes), hw, path), np.float32(np.nan))
    judge(normal, axes, file, depth=metres, intrinsics=intrinsics)
    key = path.relative_to(folder).with_name(path.stem.removeprefix("rgb_").replace(".", "_")).as_posix()
    return key, {"image": image, "alpha": alpha, "depth": metres, "normal": normal, "intrinsics": intrinsics}


def _file(path: Path, kind: str, suffixes: tuple[str, ...]) -> Path:
    stem = path.stem.replace("rgb", kind, 1)
    found = beside(path.parent, stem, suffixes=suffixes)
    if found is None:
        raise Unusable(path, f"it has no {kind}", f": there is no {stem}{suffixes[-1]} beside it")
    return found


def _options(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="DIR", help="what the archives were unpacked to")
    about = "which channels of the normals point right, up and to the viewer (default x,y,z; a wrong choice is told)"
    command.add_argument("--axes", type=parse, default=Axes(), metavar="X,Y,Z", help=about)


def _source(options: argparse.Namespace, report: Report) -> Source:
    found, total = samples(options.folder, options.axes, report)
    return Source(found, {}, total)


COMMANDS = (
    Command(
        "synthhuman",
        "Pack SynthHuman: depth, normals and coverage of people.",
        "~/synthhuman --out data/synthhuman",
        _options,
        _source,
    ),
)
