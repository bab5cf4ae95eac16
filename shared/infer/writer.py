"""Answers -> files: the format follows from the suffix, and a half-written file never has the final name."""

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from shared.formats import Png, exr_is_there
from shared.room import FULL, GOES_ON, unsaved

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BEGUN = len(SIGNATURE) + 25  # bytes of signature and header of a PNG
INDEXED = 3  # the kind of PNG whose levels are indices


def _compression(strategy: int, lines: str) -> list[int]:
    """OpenCV's options for a PNG; those without a choice of the filter of lines choose themselves."""
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, strategy]
    return options + ([cv2.IMWRITE_PNG_FILTER, getattr(cv2, lines)] if hasattr(cv2, "IMWRITE_PNG_FILTER") else [])


# Measured at 4096 x 3072 on answers of the built-in model: docs/log.md, 2026-11-30. Higher levels take longer and gain little.
PNG = {
    1: _compression(cv2.IMWRITE_PNG_STRATEGY_RLE, "IMWRITE_PNG_FILTER_UP"),  # bytes: mostly those of the line above
    2: _compression(cv2.IMWRITE_PNG_STRATEGY_DEFAULT, "IMWRITE_PNG_FILTER_SUB"),  # 16 bits: steps that repeat
}


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
        writer = _writer(path.name)
        partial = path.with_name(f".{path.name}.partial")
        try:
            with partial.open("wb") as file:
                writer(file, content)
            partial.replace(path)
        except OSError as error:
            if error.errno is None or error.errno in FULL:  # numpy tells of a full disk in counts of items
                raise OSError(unsaved(path.name, path.parent, error, then=GOES_ON)) from error
            raise
        finally:
            partial.unlink(missing_ok=True)
        paths.append(path)
    return paths


def members(name: str, files: dict[str, Any]) -> dict[str, memoryview]:
    """What `write` would write, as bytes in memory: suffix -> content of a file. For arguments and errors see there."""
    found = {}
    for suffix, content in files.items():
        file = io.BytesIO()
        _writer(f"{name}.{suffix}")(file, content)
        found[suffix] = file.getbuffer()
    return found


def _writer(called: str) -> Callable[[BinaryIO, Any], None]:
    kind = Path(called).suffix
    if kind not in _WRITERS:
        raise ValueError(f"{called}: there is no writer for {kind} files; choose one of {', '.join(_WRITERS)}")
    return _WRITERS[kind]


def _jpeg(file: BinaryIO, content: np.ndarray) -> None:
    file.write(_encoded(".jpg", content, [cv2.IMWRITE_JPEG_QUALITY, 92]))


def _png(file: BinaryIO, content: np.ndarray | Png) -> None:
    """OpenCV compresses, three times as fast as Pillow; what it cannot say, palette and text, is put in afterwards."""
    pixels = content.pixels if isinstance(content, Png) else content
    data = _encoded(".png", pixels, PNG.get(pixels.itemsize, PNG[2]))
    file.write(_told(data, content) if isinstance(content, Png) else data)


def _encoded(kind: str, content: np.ndarray, options: list[int]) -> bytes:
    try:
        ok, data = cv2.imencode(kind, content[..., ::-1] if content.ndim == 3 else content, options)
    except cv2.error:
        ok, data = False, np.empty(0)
    if not ok:
        raise ValueError(f"{kind[1:]} files cannot hold a picture of {content.shape} {content.dtype}; make the photo smaller")
    return data.tobytes()


def _told(data: bytes, content: Png) -> bytes:
    """A grey PNG with palette and text: the same levels, which index the palette then. W3C's PNG specification, 5.3 and 11."""
    header, chunks = data[len(SIGNATURE) + 8 : BEGUN - 4], []
    if content.palette is not None:
        header = header[:9] + bytes([INDEXED]) + header[10:]
        chunks = [(b"PLTE", bytes(channel for colour in content.palette for channel in colour))]
    chunks = [(b"IHDR", header), *chunks, *((b"tEXt", f"{word}\0{text}".encode("latin-1")) for word, text in content.text.items())]
    return SIGNATURE + b"".join(_chunk(kind, inside) for kind, inside in chunks) + data[BEGUN:]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _exr(file: BinaryIO, content: np.ndarray) -> None:
    if not exr_is_there():
        raise ValueError("this build of OpenCV cannot write .exr files; ask for npy, or install one that has OpenEXR")
    wide = content.astype(np.float32)
    file.write(cv2.imencode(".exr", wide[..., ::-1] if wide.ndim == 3 else wide)[1].tobytes())


def _array(file: BinaryIO, content: np.ndarray) -> None:
    np.save(file, content, allow_pickle=False)


def _json(file: BinaryIO, content: Any) -> None:
    file.write(json.dumps(content).encode())


def _cloud(file: BinaryIO, points: np.ndarray) -> None:
    """Binary PLY: a header in words, then x y z of each point as little-endian float32."""
    points = points[np.isfinite(points).all(-1)].astype("<f4")
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}", *(f"property float {c}" for c in "xyz")]
    file.write("\n".join([*header, "end_header\n"]).encode() + points.tobytes())


_WRITERS: dict[str, Callable[[BinaryIO, Any], None]] = {
    ".png": _png,
    ".jpg": _jpeg,
    ".npy": _array,
    ".json": _json,
    ".ply": _cloud,
    ".exr": _exr,
}
