"""What a field looks like as a file inside a shard: one codec per field, both ways.

| field | member | content | error of a round trip |
|---|---|---|---|
| `image` | `.jpg` (also read: `.jpeg .png .webp`) | JPEG quality 95 4:4:4; encoded bytes pass through untouched | as JPEG |
| `seg` | `.seg.png` | 8-bit index PNG | none |
| `depth` | `.depth.npz` (also read: `.depth.npy`) | float32 metres, deflated | none |
| `normal` | `.normal.npz` (also read: `.normal.npy`) | int16 / 4095, deflated; -32768 unknown | below 0.02 degrees |
| `person` | `.person.png` | 8-bit index PNG | none |
| `alpha` `sure` | `.alpha.png` `.sure.png` | 8-bit grey PNG, 255 is 1 | at most 1 / 510 |
| `albedo` | `.albedo.png` (also read: `.albedo.jpg`) | RGB PNG, sRGB | none |
| the rest | `.json` | lists of numbers, null for NaN | none |

The JSON member may also hold `facts`: what is known of a sample beside its fields (listing.py). Who reads fields passes over it.

Depth is kept whole because normals are made from its differences: neighbouring pixels of a person lie about 2 mm apart, so
float16 (1 mm at 3 m) turns a normal by tens of degrees. Against depth rounded to 18 bits the whole float32 costs 28 % more
(1.10 and 0.86 MB at 1024 x 768, decoded in 11 ms; measured on 2 CPU cores), and every `np.load` can read it. Nothing is ever
unpickled, other suffixes are ignored, and sizes are checked before anything is decompressed.
"""

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Collection, Mapping
from functools import partial
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from PIL import Image

from shared.data import listing
from shared.data.encoded import Encoded
from shared.data.fields import FIELDS, MAPS
from shared.data.photo import MAX_PIXELS, photo_header, photo_size, read_photo

NORMAL_SCALE = 4095  # steps per unit: at most 0.012 degrees of rounding, and four bits less to store than with 32767
NORMAL_UNKNOWN = -32768
JPEG_QUALITY = 95
MAX_ARRAY_BYTES = 2**31  # decoded; float32 normals of 13000 x 13000
IMAGE_SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}  # Pillow's format -> member suffix


def encode(sample: Mapping[str, Any]) -> dict[str, bytes]:
    """Turn a sample into tar members: {suffix without the leading dot: content}.

    `image` may also be the bytes of a JPEG, PNG or WebP file, which are stored as they are; `facts` is whatever JSON can hold.

    Raises:
        ValueError: a field has the wrong shape or type, or does not fit the picture.
    """
    members, listed = {}, {}
    maps = {name: sample[name] for name in MAPS if name in sample}
    check_sizes({name: photo_size(value) if isinstance(value, bytes) else np.shape(value)[:2] for name, value in maps.items()})
    for name, value in sample.items():
        if name == "image" and isinstance(value, bytes):
            members[_image_suffix(value)] = value
            continue
        if name == listing.FACTS:
            listed[name] = value
            continue
        array = np.asarray(value)
        check(name, array)
        if name in WRITERS:
            suffix, write = WRITERS[name]
            members[suffix] = write(array)
        else:
            listed[name] = listing.rows(name, array)
    if listed:
        members["json"] = listing.write(listed)
    return members


def decode(suffix: str, content: bytes, *, late: Collection[str] = ()) -> dict[str, Any]:
    """Turn one tar member into the fields it holds; a suffix that no field uses gives none. Photos that are `late` stay `Encoded`.

    Raises:
        ValueError: the content is damaged, too large or not of the field's shape and type.
    """
    fields: dict[str, Any]
    if suffix == "json":
        fields = listing.fields(content, without=WRITERS)
    elif suffix in READERS:
        name, read = READERS[suffix]
        fields = {name: Encoded(content) if name in late else read(content)}
    else:
        return {}
    for name, array in fields.items():
        check(name, array)
    return fields


def fields_of(suffix: str, content: bytes) -> list[str]:
    """Names of the fields a member holds, decoding nothing but JSON; damaged JSON holds none."""
    if suffix == "json":
        try:
            return list(listing.fields(content, without=WRITERS))
        except ValueError:
            return []
    return [READERS[suffix][0]] if suffix in READERS else []


def check(name: str, array: np.ndarray) -> None:
    """Refuse an array that the table of fields (shared/data/fields.py) does not allow under this name."""
    field = FIELDS.get(name)
    if field is None:
        return
    if array.dtype != field.dtype:
        wanted = np.dtype(field.dtype).name
        raise ValueError(f"field {name!r} must be {wanted}, but it is {array.dtype}; convert it with .astype(np.{wanted})")
    dims = 2 if name in MAPS else int(field.kind == "points")  # before the trailing ones: (H, W), (K,) or nothing
    fits = array.ndim == dims + len(field.trailing) and array.shape[dims:] == field.trailing
    if not fits or (name in MAPS and 0 in array.shape):
        raise ValueError(f"field {name!r} has shape {array.shape}; docs/conventions.md says which shape it should have")


def check_sizes(hw: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a sample whose maps differ in (H, W)."""
    if len(set(hw.values())) > 1:
        raise ValueError(f"the maps of one sample differ in (H, W): {dict(hw)}; resize them to the picture first")


def _image_suffix(content: bytes) -> str:
    try:
        return IMAGE_SUFFIXES[photo_header(content).format]
    except KeyError as error:
        raise ValueError(f"an image given as bytes must be JPEG, PNG or WebP, not {error}; pass an array instead") from None


def _write_image(image: np.ndarray) -> bytes:
    """JPEG without chroma subsampling: a downscaled photo has colour in every pixel, and lips are small."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return out.getvalue()


def _write_png(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def _write_share(name: str, share: np.ndarray) -> bytes:
    if not ((share >= 0) & (share <= 1)).all():
        raise ValueError(f"field {name!r} must lie between 0 and 1 and be known everywhere; leave it out where it is not")
    return _write_png(np.rint(share * 255).astype(np.uint8))


def _read_share(content: bytes) -> np.ndarray:
    return _read_labels(content).astype(np.float32) / 255


def _read_labels(content: bytes) -> np.ndarray:
    height, width = photo_size(content)  # also says in a sentence what a broken file is
    bits, colour = content[24:26] if content.startswith(b"\x89PNG") else (0, 0)  # of the header chunk, which always comes first
    if (bits, colour) not in {(1, 0), (8, 0), (1, 3), (2, 3), (4, 3), (8, 3)}:  # grey of 2 or 4 bits would be scaled by Pillow
        raise ValueError(f"a label map must be an 8-bit index PNG, not one of {bits} bits and PNG colour type {colour}")
    if height * width > MAX_PIXELS:
        raise ValueError(f"the label map says it has {height} x {width} pixels, more than the {MAX_PIXELS:,} allowed")
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            return np.array(image).astype(np.uint8)
    except Exception as error:  # Pillow raises nearly everything on damaged files
        raise ValueError(f"the label map is damaged ({error})") from error


def _write_npz(name: str, array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **{name: array})
    return out.getvalue()


def read_array(name: str, content: bytes) -> np.ndarray:
    """The array of a `.npy` file, or the one called `name` in a `.npz` file."""
    try:
        if content.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(f"{name}.npy") as file:
                return _read_npy(file)
        return _read_npy(io.BytesIO(content))
    except (KeyError, EOFError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f"it is no readable .npy or .npz file with an array {name!r} ({error})") from error


def _read_npy(file: IO[bytes]) -> np.ndarray:
    """np.load without pickles, and without believing a header that promises terabytes."""
    version = npy.read_magic(file)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = header(file)
    size = math.prod(shape) * dtype.itemsize
    if dtype.kind not in "fiub" or size > MAX_ARRAY_BYTES:
        raise ValueError(f"its header promises {dtype} of shape {shape}; at most {MAX_ARRAY_BYTES:,} bytes of numbers are read")
    content = file.read(size)
    if len(content) != size:
        raise ValueError(f"the array ends after {len(content)} of {size} bytes")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _read_depth(content: bytes) -> np.ndarray:
    depth = read_array("depth", content)
    return depth.astype(np.float32) if depth.dtype.kind == "f" else depth


def _write_normal(normal: np.ndarray) -> bytes:
    length = np.linalg.norm(normal, axis=2, keepdims=True)  # (H,W,1), NaN where unknown
    known = np.isfinite(length)
    wrong = np.abs(np.where(known, length, 1) - 1).max()
    if wrong > 0.01:
        raise ValueError(f"field 'normal' must hold unit vectors, but a length is off by {wrong:.3g}; divide by the length")
    steps = np.rint(np.where(known, normal / np.where(known, length, 1), 0) * NORMAL_SCALE)
    return _write_npz("normal", np.where(known, steps, NORMAL_UNKNOWN).astype(np.int16))


def _read_normal(content: bytes) -> np.ndarray:
    stored = read_array("normal", content)
    if stored.dtype.kind == "f":
        return stored.astype(np.float32)
    if stored.dtype != np.int16:
        return stored  # `check` refuses it
    known = (stored != NORMAL_UNKNOWN).all(axis=-1, keepdims=True) & stored.any(axis=-1, keepdims=True)  # 0 0 0 points nowhere
    normal = np.where(known, stored, np.nan).astype(np.float32)
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)


WRITERS = {
    "image": ("jpg", _write_image),
    "seg": ("seg.png", _write_png),
    "depth": ("depth.npz", partial(_write_npz, "depth")),
    "normal": ("normal.npz", _write_normal),
    "person": ("person.png", _write_png),
    "alpha": ("alpha.png", partial(_write_share, "alpha")),
    "albedo": ("albedo.png", _write_png),
    "sure": ("sure.png", partial(_write_share, "sure")),
}
READERS = {  # where two members of a sample hold the same field, the first in this table is read
    "jpg": ("image", read_photo),
    "jpeg": ("image", read_photo),
    "png": ("image", read_photo),
    "webp": ("image", read_photo),
    "seg.png": ("seg", _read_labels),
    "depth.npz": ("depth", _read_depth),
    "depth.npy": ("depth", _read_depth),
    "normal.npz": ("normal", _read_normal),
    "normal.npy": ("normal", _read_normal),
    "person.png": ("person", _read_labels),
    "alpha.png": ("alpha", _read_share),
    "albedo.png": ("albedo", read_photo),
    "albedo.jpg": ("albedo", read_photo),
    "sure.png": ("sure", _read_share),
}
SUFFIXES = (*READERS, "json")
