"""Answers -> files: the format follows from the suffix, and a half-written file never has the final name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from shared.formats import Png, exr_is_there


def write(folder: Path, name: str, files: dict[str, Any]) -> list[Path]:
    """Write `<folder>/<name>.<suffix>` for each suffix.

    Args:
        folder: made where it is missing.
        name: stem, may hold subfolders.
        files: suffix -> content: `*.png` and `*.jpg` uint8 arrays, grey or RGB; `*.npy` arrays; `*.json` plain data;
            `*.ply` points (...,3), of which those that are not finite are left out; `*.exr` float arrays; `*.png` also uint16, and
            a `Png` where there is a palette or something to say.

    Raises:
        ValueError: no such format.
        OSError: the disk refused.
    """
    paths = []
    for suffix, content in files.items():
        path = folder / f"{name}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = path.suffix
        if kind not in _WRITERS:
            raise ValueError(f"{path.name}: there is no writer for {kind} files; choose one of {', '.join(_WRITERS)}")
        partial = path.with_name(f".{path.name}.partial")
        try:
            _WRITERS[kind](partial, content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        paths.append(path)
    return paths


def _picture(kind: str) -> Callable[[Path, np.ndarray], None]:
    options = {".png": [cv2.IMWRITE_PNG_COMPRESSION, 4], ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 92]}[kind]

    def encode(path: Path, content: np.ndarray | Png) -> None:
        if isinstance(content, Png):
            _png(path, content)
            return
        try:
            ok, data = cv2.imencode(kind, content[..., ::-1] if content.ndim == 3 else content, options)
        except cv2.error:
            ok, data = False, np.empty(0)
        if not ok:
            raise ValueError(f"{kind[1:]} files cannot hold a picture of {content.shape} {content.dtype}; make the photo smaller")
        path.write_bytes(data.tobytes())

    return encode


def _png(path: Path, content: Png) -> None:
    picture, says = Image.fromarray(content.pixels), PngInfo()
    if content.palette is not None:
        picture = Image.frombytes("P", picture.size, picture.tobytes())  # convert("P") would look for the nearest colours
        picture.putpalette([channel for colour in content.palette for channel in colour])
    for word, text in content.text.items():
        says.add_text(word, text)
    picture.save(path, "PNG", pnginfo=says, compress_level=4)


def _exr(path: Path, content: np.ndarray) -> None:
    if not exr_is_there():
        raise ValueError("this build of OpenCV cannot write .exr files; ask for npy, or install one that has OpenEXR")
    wide = content.astype(np.float32)
    path.write_bytes(cv2.imencode(".exr", wide[..., ::-1] if wide.ndim == 3 else wide)[1].tobytes())


def _array(path: Path, content: np.ndarray) -> None:
    with path.open("wb") as file:  # np.save would append .npy to a path of another suffix
        np.save(file, content, allow_pickle=False)


def _json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def _cloud(path: Path, points: np.ndarray) -> None:
    """Binary PLY: a header in words, then x y z of each point as little-endian float32."""
    points = points[np.isfinite(points).all(-1)].astype("<f4")
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}", *(f"property float {c}" for c in "xyz")]
    path.write_bytes("\n".join([*header, "end_header\n"]).encode() + points.tobytes())


_WRITERS: dict[str, Callable[[Path, Any], None]] = {
    ".png": _picture(".png"),
    ".jpg": _picture(".jpg"),
    ".npy": _array,
    ".json": _json,
    ".ply": _cloud,
    ".exr": _exr,
}
