"""Photos: find them, size them, read them as RGB. The only place that opens a picture somebody else made.

Everything a photo can be ends as uint8 RGB (H, W, 3) with its EXIF orientation applied: grey, palette, CMYK, 16 bits (the
high byte is kept, nothing is clipped), animations (their first frame). Transparency is composed over white: what lies under a
cut-out is often garbage, and white is what a viewer shows. Colour profiles are ignored, as OpenCV ignores them.
"""

import glob
import io
import os
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from shared.data import jpeg
from shared.data.unreadable import UNREAD, called, sentence

# Compared in lower case.
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jp2"})
# EPS is left out: Pillow would hand it to ghostscript.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
MAX_PIXELS = 400_000_000  # 1.2 GB as uint8 RGB
ORIENTATION = 0x0112  # the EXIF tag; 1 is upright, 5 to 8 swap height and width
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda stored: cv2.flip(stored, 1),
    3: lambda stored: cv2.rotate(stored, cv2.ROTATE_180),
    4: lambda stored: cv2.flip(stored, 0),
    5: lambda stored: cv2.transpose(stored),
    6: lambda stored: cv2.rotate(stored, cv2.ROTATE_90_CLOCKWISE),
    7: lambda stored: cv2.transpose(cv2.rotate(stored, cv2.ROTATE_180)),
    8: lambda stored: cv2.rotate(stored, cv2.ROTATE_90_COUNTERCLOCKWISE),
}

# Pillow's bomb limit and Python's warning filters belong to the whole process, so one thread at a time borrows them.
_BORROWED = threading.RLock()
if hasattr(os, "register_at_fork"):  # a child must not inherit the lock held by a thread that it does not have
    os.register_at_fork(before=_BORROWED.acquire, after_in_parent=_BORROWED.release, after_in_child=_BORROWED.release)


class UnreadablePhoto(ValueError):
    """A file that should be a photo and is not; the message names the file, what it looks like and what to do."""


class Found(NamedTuple):
    """A photo to read and the name, unique among its companions, under which its answers are written."""

    path: Path
    name: str  # "sub/dir/photo": relative, no suffix unless two photos would share the name
    inside: tuple[int, int, int] | None = None  # offset, size and CRC-32 of its bytes, where `path` is an archive


class Header(NamedTuple):
    """What a photo says about itself before any pixel is decoded."""

    format: str  # Pillow's name: "JPEG", "PNG", ...
    mode: str  # Pillow's name: "RGB", "L", "CMYK", "I;16", ...
    orientation: int  # EXIF, 1 to 8; 1 is upright
    hw: tuple[int, int]  # as shown: EXIF orientation applied


def read_photo(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a photo to uint8 RGB (H, W, 3), upright.

    Args:
        source: the file, or its content.
        max_pixels: refuse larger photos before decoding them.

    Raises:
        UnreadablePhoto: the file is missing, damaged, too large or no picture.
    """
    return read_shrunk(source, 1, max_pixels=max_pixels)[0]


def read_shrunk(
    source: Path | bytes, most: int, *, rows: int | None = None, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, int]:
    """Decode a photo that is to be made smaller: a JPEG is shrunk while it is decoded, which saves most of the work.

    Args:
        source: the file, or its content.
        most: pixels of the photo, along each axis, that may become one.
        rows: of the photo, from the top, a multiple of 8, if the others are not wanted; all come where that saves nothing.
        max_pixels: as for `read_photo`.

    Returns:
        uint8 RGB (h, w, 3), upright, and by how much it is shrunk, 1, 2, 4 or 8: pixel k is the mean of the photo's pixels k * by
        to k * by + by - 1, of which those at the right and lower edge may lie beyond it.
    """
    with _opened(source) as image:
        _refuse_large(source, image.size, max_pixels)
        try:
            pixels, by = None, 1
            if image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L"):
                upright = _orientation(image) == 1
                by = jpeg.shrinking(image.size, most, upright=upright)
                content = source if isinstance(source, bytes) else Path(source).read_bytes()
                some = jpeg.top(content, rows) if rows and upright else content
                pixels = jpeg.pixels(some, by)
                if pixels is not None and rows and some is not content:
                    pixels = pixels[: rows // by]
            if pixels is None:  # no JPEG, or a damaged one, of which Pillow says what is wrong
                image.load()  # which turns a TIFF by itself, and forgets its orientation
                pixels, by = np.array(_as_rgb(image)), 1
            return UPRIGHT.get(_orientation(image), np.asarray)(pixels), by
        except Exception as error:  # Pillow raises nearly everything on damaged files, SyntaxError and struct.error included
            raise UnreadablePhoto(sentence(source, error)) from error


def photo_size(source: Path | bytes) -> tuple[int, int]:
    """(H, W) of the photo as `read_photo` would return it, from its header alone."""
    return photo_header(source).hw


def photo_header(source: Path | bytes) -> Header:
    """Format, mode, orientation and size of a photo, read without decoding it."""
    with _opened(source) as image:
        orientation = _orientation(image)  # Pillow gives the size of a TIFF file as shown, but of all others as stored
        width, height = (image.tag_v2[256], image.tag_v2[257]) if isinstance(image, TiffImageFile) else image.size
        return Header(image.format or "", image.mode, orientation, (width, height) if orientation >= 5 else (height, width))


def find_photos(
    inputs: Sequence[Path | str],
    *,
    suffixes: Collection[str] = PHOTO_SUFFIXES,
    besides: Path | None = None,
    unread: list[Path] | None = None,
) -> list[Found]:
    """List the photos named by files, folders (searched to the bottom, sorted), globs and `.txt` lists, each once.

    A list holds one path per line, relative to the list itself; blank lines and lines that begin with # are skipped. Files
    named one by one are taken whatever their suffix; folders and globs give files with one of `suffixes` and none hidden. The
    folder `besides` inside one is not searched, and photos in folders of kinds that nothing here reads are added to `unread`.

    Raises:
        FileNotFoundError: an input does not exist or a glob matches nothing.
        ValueError: a folder or list holds no photo, or there is no input at all.
    """
    if isinstance(inputs, (str, Path)):
        raise TypeError(f"find_photos takes a list of inputs, not one {type(inputs).__name__}; pass [{str(inputs)!r}]")
    if not inputs:
        raise ValueError("no photos to read: no input was given; name files, folders, globs or a .txt list")
    found: dict[str, list[str]] = {}  # absolute path -> names to try, shortest first
    for entry in inputs:
        for path, relative in _expand(str(entry), suffixes, besides, [] if unread is None else unread):
            found.setdefault(os.path.abspath(path), [relative.with_suffix("").as_posix(), relative.as_posix()])
    return [Found(Path(path), name) for path, name in zip(found, _unique_names(found))]


def _expand(entry: str, suffixes: Collection[str], besides: Path | None, unread: list[Path]) -> Iterator[tuple[Path, Path]]:
    """(path, path relative to what the user named) of every photo an input stands for."""
    path = Path(entry).expanduser()
    if path.is_dir():
        files = list(_walk(path, besides))
        photos = [file for file in files if _is_photo(file.name, suffixes)]
        unread += (others := [file for file in files if _is_photo(file.name, UNREAD)])
        if not photos:
            what = f"convert {others[0].name} and so on" if others else f"its files should end in {', '.join(sorted(suffixes))}"
            raise ValueError(f"folder {path} holds no photo that can be read; {what}")
        yield from ((photo, photo.relative_to(path)) for photo in photos)
    elif path.suffix.lower() == ".txt" and path.is_file():
        yield from ((photo, Path(photo.name)) for photo in _listed(path))
    elif path.exists():
        yield path, Path(path.name)
    elif glob.has_magic(entry):
        yield from _matched(path, suffixes)
    else:
        raise FileNotFoundError(f"there is no file or folder {path}; check the spelling (the working folder is {Path.cwd()})")


def _walk(folder: Path, besides: Path | None) -> Iterator[Path]:
    """Files under a folder in sorted order; links are followed, but no folder is entered twice, nor `besides` inside it."""
    seen = {os.path.realpath(besides)} - {os.path.realpath(folder)} if besides else set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if real not in seen else []
        for name in sorted(files) if real not in seen else ():
            yield Path(root, name)
        seen.add(real)


def _listed(path: Path) -> Iterator[Path]:
    """The files named by a .txt list."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"list {path} is not UTF-8 text; write one path per line") from error
    if not any(line and not line.startswith("#") for line in lines):
        raise ValueError(f"list {path} names no photo; write one path per line, relative to the list")
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#"):
            photo = path.parent / Path(line).expanduser()
            if not photo.is_file():
                raise FileNotFoundError(f"{path}:{number} names {photo}, which does not exist; paths are relative to the list")
            yield photo


def _matched(pattern: Path, suffixes: Collection[str]) -> Iterator[tuple[Path, Path]]:
    """Photos that a glob matches (** crosses folders), with their paths relative to the part before the first wildcard."""
    fixed = Path()
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    matches = sorted(glob.glob(str(pattern), recursive=True))
    photos = [match for match in map(Path, matches) if match.is_file() and _is_photo(match.name, suffixes)]
    if not photos:
        seen = f"matches {len(matches)} paths, none a photo" if matches else "matches nothing"
        raise FileNotFoundError(f"{pattern} {seen}; check the pattern, or name the folder itself")
    yield from ((photo, photo.relative_to(fixed)) for photo in photos)


def _is_photo(name: str, suffixes: Collection[str]) -> bool:
    """Judged by the file name: a known suffix and not hidden (macOS leaves ._photo.jpg beside photo.jpg)."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes


def _unique_names(found: dict[str, list[str]]) -> list[str]:
    """One name for each absolute path: its stem or, while others want the same, with its suffix, then with more parents."""
    choices = []
    for path, names in found.items():
        parts = Path(path).parts[1:]
        longer = ["/".join(parts[-n:]) for n in range(1, len(parts) + 1)]
        choices.append(names + [name for name in longer if len(name) > len(names[-1])])
    level = [0] * len(choices)
    while True:
        names = [options[n] for options, n in zip(choices, level)]
        wanted = Counter(names)
        if len(wanted) == len(names):
            return names
        # The longest choices are whole paths and differ, so in every clash somebody can still move on.
        level = [min(n + (wanted[name] > 1), len(options) - 1) for name, n, options in zip(names, level, choices)]


@cache
def _formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]  # what this build of Pillow knows


@contextmanager
def _opened(source: Path | bytes) -> Iterator[Image.Image]:
    """A Pillow image with its header parsed and no pixel decoded; whatever Pillow raises becomes an UnreadablePhoto."""
    with _BORROWED, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # read_photo checks the size itself
        try:
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_formats())
        except Exception as error:  # see read_photo
            raise UnreadablePhoto(sentence(source, error)) from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1 to 8; damaged EXIF counts as upright, and so does EXIF behind the pixels (a PNG may put it there)."""
    with _BORROWED, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = Image.Image.getexif(image).get(ORIENTATION, 1)  # the PNG plugin's own would decode the pixels
        except Exception:  # the photo is good, only its notes are not
            return 1
    return value if value in range(1, 9) else 1


def _as_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode as RGB: 16 bits by their high byte, transparency over white."""
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        if levels.size and (levels.min() < 0 or levels.max() > 0xFFFF):
            raise ValueError("its grey levels need more than 16 bits; save it with 8 or 16")
        return Image.fromarray((levels >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("it holds floating-point numbers; save it with 8 or 16 bits")
    if image.has_transparency_data:
        cutout = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", cutout.size, "white"), cutout).convert("RGB")
    return image.convert("RGB")


def _refuse_large(source: Path | bytes, size_wh: tuple[int, int], max_pixels: int) -> None:
    width, height = size_wh
    if width * height > max_pixels:
        raise UnreadablePhoto(
            f"{called(source)} says it has {height} x {width} pixels, more than the {max_pixels:,} allowed; "
            "scale it down, or pass a larger max_pixels if you trust it"
        )
