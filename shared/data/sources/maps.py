"""Label files of public data sets -> our fields: units, axes, and what is unknown are put right here, and nowhere else.

H W are the pixels of a picture. A file that is damaged or does not fit is `Unusable`, which passes over its sample; one that says
what cannot be so (a class that nobody names, depth without a unit) is a ValueError, which ends the packing.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from shared.data.codec import decode, read_array
from shared.data.fields import FIELDS
from shared.data.photo import UnreadablePhoto, photo_header, read_photo
from shared.data.sources.folder import photo
from shared.data.sources.source import Unusable
from shared.formats import read_exr

ARRAYS = (".npy", ".exr", ".png", ".hdf5")  # in this order, where there are several of one stem
UNKNOWN_LABEL = int(FIELDS["seg"].unknown)
LARGEST_HALF = 65504.0  # what renderers write into half-float files where a ray meets nothing


def beside(folder: Path, stem: str, *, suffixes: Sequence[str] = ARRAYS) -> Path | None:
    """The file of this stem with the first of these suffixes, or None."""
    return next((path for suffix in suffixes if (path := folder / f"{stem}{suffix}").is_file()), None)


def upright_photo(path: Path) -> tuple[Any, tuple[int, int]]:
    """What a shard holds of a photo that has labels, and its (H, W).

    Raises:
        UnreadablePhoto: it is absent or damaged.
        Unusable: EXIF turns or mirrors it, and nobody says whether its labels were drawn before or after.
    """
    content, header = photo(path), photo_header(path)
    if header.orientation != 1:
        raise Unusable(path, "EXIF turns or mirrors it, and its labels may not be", f" ({header.orientation}); save both upright")
    return content, header.hw


def fitting(field: str, array: np.ndarray, hw: tuple[int, int], path: Path) -> np.ndarray:
    """The array, if it has as many pixels as its photo."""
    if array.shape[:2] != hw:
        told = f": {array.shape[:2]} and {hw} (height, width); they must be equal"
        raise Unusable(path, f"its {field} is of another size than the photo", told)
    return array


def grey(path: Path) -> np.ndarray:
    """A picture of one channel, or of equal ones: (H,W) uint8, its levels or indices as they are."""
    try:
        mode = photo_header(path).mode
        if mode == "RGB":
            pixels = read_photo(path)
            if (pixels == pixels[..., :1]).all():
                return np.ascontiguousarray(pixels[..., 0])
        return decode("seg.png", path.read_bytes())["seg"]
    except (UnreadablePhoto, ValueError, OSError) as error:
        raise Unusable(path, "it is no 8-bit grey or indexed PNG", f" ({error})") from error


def foreground(path: Path) -> np.ndarray:
    """Where a mask, PNG or `.npy`, is above 0: (H,W) bool."""
    mask = array(path) if path.suffix == ".npy" else grey(path)
    if mask.ndim != 2:
        raise Unusable(path, "it is no mask", f": its shape is {mask.shape}")
    return mask > 0


def labels(path: Path, names: Sequence[str]) -> np.ndarray:
    """Class ids: (H,W) uint8, 255 unknown, of a PNG or `.npy` file.

    Raises:
        Unusable: it is damaged.
        ValueError: it holds an id without a name; the sentence has file and id.
    """
    ids = grey(path) if path.suffix != ".npy" else array(path)
    if ids.ndim != 2 or ids.dtype.kind not in "ui":
        raise Unusable(path, "it is no map of whole numbers", f": {ids.dtype} of shape {ids.shape}")
    wrong = ids[((ids >= len(names)) | (ids < 0)) & (ids != UNKNOWN_LABEL)]
    if wrong.size:
        told = f"{path} holds the label {wrong[0]}, but only 0 to {len(names) - 1} have names (255 is unknown)"
        raise ValueError(f"{told}; repair it, or choose the right classes")
    return ids.astype(np.uint8)


def array(path: Path) -> np.ndarray:
    """The numbers of a `.npy`, `.exr`, `.hdf5` (its `dataset`, as Hypersim calls it) or PNG file.

    Raises:
        Unusable: it is damaged.
        ValueError: nothing that is installed reads this kind of file; the sentence says what would.
    """
    if path.suffix == ".hdf5":
        with open_hdf5(path) as file:
            return rows(file, "dataset", path)[()]
    if path.suffix == ".exr":
        return _readable(path, read_exr)
    if path.suffix == ".png":
        return _readable(path, _levels)
    return _readable(path, lambda file: read_array("", file.read_bytes()))


def open_hdf5(path: Path) -> Any:
    """An h5py.File, to be closed by who asked for it. A MATLAB file of version 7.3 is one, too.

    Raises:
        Unusable: it is damaged.
        ValueError: h5py is not installed.
    """
    try:
        h5py = import_module("h5py")
    except ImportError:
        raise ValueError(f"{path} is an HDF5 file, and h5py is not installed; pip install h5py") from None
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise Unusable(path, "it is no readable HDF5 file", f" ({error}); download it again") from error


def rows(file: Any, name: str, path: Path) -> Any:
    """An array of an open HDF5 file, not read yet."""
    if name not in file:
        raise Unusable(path, f"it holds no {name!r}", f", but {', '.join(sorted(file)) or 'nothing'}")
    return file[name]


def depth(path: Path, unit: float | None, *, nothing: float = np.inf) -> np.ndarray:
    """Depth along the optical axis: (H,W) float32 metres, NaN unknown.

    Args:
        path: see `array`.
        unit: metres per unit of the file; None: floating-point numbers are metres, whole numbers are refused.
        nothing: from this number of the file on nothing was met. In .exr files it is the largest half float at the latest.

    Raises:
        Unusable: it is damaged, of another shape, or knows no depth.
        ValueError: whole numbers without a unit.
    """
    values = array(path)
    values = values[..., 0] if values.ndim == 3 else values  # renderers repeat it in each channel
    if values.ndim != 2 or values.dtype.kind not in "fui":
        raise Unusable(path, "it is no map of depth", f": {values.dtype} of shape {values.shape}")
    if unit is None and values.dtype.kind != "f":
        raise ValueError(f"{path} holds whole numbers; say how many metres one is, --unit 0.001 for millimetres")
    beyond = min(nothing, LARGEST_HALF) if path.suffix == ".exr" else nothing
    known = np.isfinite(values) & (values > 0) & (values < beyond)
    if not known.any():
        raise Unusable(path, "no pixel has depth")
    return np.where(known, values * (1.0 if unit is None else unit), np.nan).astype(np.float32)


def camera(path: Path) -> np.ndarray:
    """fx fy cx cy px of a text file with the 3 x 3 matrix of a camera: (4,) float32."""
    try:
        matrix = np.array([[float(word) for word in line.split()] for line in path.read_text().splitlines() if line.strip()])
    except (OSError, ValueError) as error:
        raise Unusable(path, "it is no matrix of a camera", f" ({error})") from error
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise Unusable(path, "it is no matrix of a camera", "; it should be fx 0 cx, 0 fy cy, 0 0 1 in three lines")
    return np.array([matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]], np.float32)


def _readable(path: Path, read: Any) -> np.ndarray:
    try:
        return read(path)
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from error
    except (ValueError, OSError) as error:
        raise Unusable(path, f"it is no readable {path.suffix} file", f" ({error})") from error


def _levels(path: Path) -> np.ndarray:
    """A PNG of 8 or 16 bits: (H,W) or (H,W,3) uint8 or uint16, red, green, blue."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)  # Pillow would cut three channels of 16 bits to 8
    if pixels is None:
        raise ValueError("it is damaged")
    if pixels.ndim == 3 and pixels.shape[2] != 3:
        raise ValueError(f"it has {pixels.shape[2]} channels; one or three are read")
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., ::-1])
