"""Hypersim (Roberts et al. 2021, Apple): 74,619 rendered rooms without people, for mixing depth and normals of scenes in.

    DIR/ai_001_001/images/scene_cam_00_geometry_hdf5/frame.0000.depth_meters.hdf5       metres to the optical centre
    DIR/ai_001_001/images/scene_cam_00_geometry_hdf5/frame.0000.normal_bump_cam.hdf5    optional; else normal_cam
    DIR/ai_001_001/images/scene_cam_00_final_preview/frame.0000.tonemap.jpg             the picture

`depth_meters` are distances; what we store is their part along the optical axis. The camera is the one of the data set's README,
60 degrees from the left edge to the right and square pixels; a few scenes shift it, and that is not followed. Its normals have our
axes (x right, y up, z toward the viewer). Reading HDF5 needs h5py; files of the same stems as `.npy` are read in its place.
"""

import argparse
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from shared.data.sources.axes import Axes, judge, normals
from shared.data.sources.maps import beside, depth, fitting, upright_photo
from shared.data.sources.source import Command, Report, Source, Unusable, usable

FIELD_OF_VIEW = math.radians(60)
NORMALS = ("normal_bump_cam", "normal_cam")
SUFFIXES = (".npy", ".hdf5")
GEOMETRY, PREVIEW = "_geometry_hdf5", "_final_preview"


def pinhole(hw: tuple[int, int]) -> np.ndarray:
    """fx fy cx cy px of the data set's camera for a picture (H, W): (4,) float32."""
    focal = hw[1] / 2 / math.tan(FIELD_OF_VIEW / 2)
    return np.array([focal, focal, (hw[1] - 1) / 2, (hw[0] - 1) / 2], np.float32)


def along_axis(distance: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Distances to the optical centre -> depth along the optical axis, (H,W) both."""
    fx, fy, cx, cy = (float(value) for value in intrinsics)
    v, u = np.mgrid[: distance.shape[0], : distance.shape[1]]
    return (distance / np.sqrt(1 + ((u - cx) / fx) ** 2 + ((v - cy) / fy) ** 2)).astype(np.float32)


def frames(folder: Path) -> list[Path]:
    """The files of distances below a folder, sorted.

    Raises:
        FileNotFoundError: there is none.
    """
    found = sorted(path for suffix in SUFFIXES for path in Path(folder).rglob(f"*{GEOMETRY}/frame.*.depth_meters{suffix}"))
    if not found:
        layout = "ai_VVV_NNN/images/scene_cam_XX_geometry_hdf5/frame.IIII.depth_meters.hdf5"
        raise FileNotFoundError(f"{folder} holds no {layout}; download geometry and previews of some scenes, see docs/data.md")
    return found


def samples(folder: Path, report: Report) -> tuple[Iterator[tuple[str, dict[str, Any]]], int]:
    """The (key, {"image", "depth", "normal", "intrinsics"}) of every frame, and how many there are.

    Args:
        folder: laid out as above.
        report: hears of frames that are damaged, or lack their picture.
    """
    found = frames(folder)
    return usable(found, partial(_sample, Path(folder)), report, file=lambda path: path), len(found)


def _sample(folder: Path, path: Path) -> tuple[str, dict[str, Any]]:
    frame = path.name.removesuffix(path.suffix).removesuffix(".depth_meters")  # "frame.0000"
    shots, name = path.parent.parent, path.parent.name.removesuffix(GEOMETRY)  # "scene_cam_00"
    picture = shots / f"{name}{PREVIEW}" / f"{frame}.tonemap.jpg"
    if not picture.is_file():
        raise Unusable(path, "its picture is absent", f": there is no {picture}")
    image, hw = upright_photo(picture)
    intrinsics = pinhole(hw)
    sample = {"image": image, "intrinsics": intrinsics}
    sample["depth"] = along_axis(fitting("depth", depth(path, None), hw, path), intrinsics)
    for kind in NORMALS:
        if file := beside(path.parent, f"{frame}.{kind}", suffixes=SUFFIXES):
            sample["normal"] = fitting("normals", normals(file, Axes()), hw, file)
            judge(sample["normal"], Axes(), file, depth=sample["depth"], intrinsics=intrinsics)
            break
    key = (shots.parent.relative_to(folder) / name / frame.replace(".", "_")).as_posix()
    return key, sample


def _options(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="DIR", help="holds ai_VVV_NNN/, or is one of them")


def _source(options: argparse.Namespace, report: Report) -> Source:
    found, total = samples(options.folder, report)
    return Source(found, {}, total)


COMMANDS = (
    Command("hypersim", "Pack Hypersim: depth and normals of rooms.", "~/hypersim/scenes --out data/hypersim", _options, _source),
)
