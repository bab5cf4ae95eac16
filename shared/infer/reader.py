"""What is to be answered: photos, videos, and the photos in WebDataset shards. Found, and read ahead by threads.

Of a shard (.tar) the images are answered, each under its key; a key that comes twice has its shard in front: `<shard>/<key>`. One
that holds none, or cannot be read, is an input like a photo that cannot be read.
"""

import logging
import time
import zlib
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from shared.data import tarindex
from shared.data.codec import READERS
from shared.data.photo import PHOTO_SUFFIXES, Found, UnreadablePhoto, find_photos, photo_size, read_photo
from shared.infer.belt import Belt
from shared.infer.manifest import written
from shared.infer.video import VIDEO_SUFFIXES, is_video

log = logging.getLogger(__name__)
SHARD = ".tar"
HELD = 50_000_000  # pixels of photos that wait, 150 MB; one photo may have more
FEW = 64  # photos read ahead at most, however small, and sizes looked up ahead
FORGIVEN = (ValueError, OSError, MemoryError, cv2.error)  # what costs one photo its answer, and the others nothing


class Read(NamedTuple):
    """What became of reading an input."""

    found: Found
    image: np.ndarray | None = None  # (H,W,3) uint8 RGB; None: it is a video, or something is wrong
    wrong: Exception | None = None
    seconds: float = 0.0  # that it took


def find(inputs: Sequence[Path | str], *, out: Path | None = None) -> list[Found]:
    """Photos and videos named by files, folders, globs and lists (see `find_photos`), and the photos in shards among them.

    Pictures of answers are no photos: a folder `out` inside another one is not searched, and what a manifest in it says was
    written is left out.

    Raises:
        FileNotFoundError: an input does not exist or a glob matches nothing.
        ValueError: there is nothing to answer, also where shards hold no image or cannot be read; or two inputs would share a name.
    """
    listed: list[tuple[Found, str]] = []  # and a longer name
    wrong: list[Exception] = []  # with shards of which nothing can be answered
    unread: list[Path] = []
    photos = find_photos(inputs, suffixes=PHOTO_SUFFIXES | VIDEO_SUFFIXES | {SHARD}, besides=out, unread=unread)
    if unread:
        log.warning("%d photos are of kinds that are not read here and left out, %s the first; convert them to JPEG",
                    len(unread), unread[0])  # fmt: skip
    ours = written(out) if out else set()
    if ours and not any(found.path not in ours for found in photos):
        raise ValueError(f"all {len(photos)} inputs are answers that an earlier run wrote into {out}; name the photos themselves")
    for found in photos:
        if found.path in ours:
            continue
        try:
            inside = _images(found) if _is_shard(found) else [found]
        except FORGIVEN as error:
            inside = [found]  # `read` will say so again, at its place among the others
            wrong.append(error)
        listed += [(one, one.name if one is found else f"{found.name}/{one.name}") for one in inside]
    if len(wrong) == len(listed):
        raise wrong[0]
    wanted = Counter(found.name for found, _ in listed)
    named = [found if wanted[found.name] == 1 else found._replace(name=longer) for found, longer in listed]
    name, times = Counter(found.name for found in named).most_common(1)[0]
    if times > 1:
        raise ValueError(
            f"{times} inputs would be answered under the name {name!r}; give them in separate runs, each with its --out"
        )
    return named


def _is_shard(found: Found) -> bool:
    """Whether it is a whole shard, not a photo in one."""
    return found.inside is None and found.path.suffix.lower() == SHARD


def _images(shard: Found) -> list[Found]:
    """The images of a shard, by key.

    Raises:
        ValueError: it holds none, or is no tar.
        OSError: it cannot be read.
    """
    images = []
    for entry in tarindex.load(shard.path).samples:
        suffixes = [suffix for suffix in READERS if suffix in entry.members and READERS[suffix][0] == "image"]
        images += [Found(shard.path, entry.key, entry.members[suffix]) for suffix in suffixes[:1]]
    if not images:
        raise ValueError(
            f"{shard.path} is a shard that holds no image; those of its members that end in .jpg, .png or .webp are answered"
        )
    return images


def called(found: Found) -> str:
    """What a table of boxes calls it: the file's name, of a photo in a shard its key."""
    return found.path.name if found.inside is None else found.name


def where(found: Found) -> str:
    """How sentences name it."""
    return str(found.path) if found.inside is None else f"{found.path}, {found.name}"


def told(found: Found, error: Exception | None) -> str:
    """What is wrong with it, its name in front, once."""
    text, name = str(error), where(found)
    return text if text.startswith(name) else f"{name}: {text}"


def read(found: Found) -> Read:
    """Decode a photo; a video is left to who watches it."""
    if is_video(found.path):
        return Read(found)
    began, image, wrong = time.perf_counter(), None, None
    try:
        image = read_photo(_source(found))
    except FORGIVEN as error:
        wrong = error
    return Read(found, image, wrong, time.perf_counter() - began)


def read_ahead(photos: Iterable[Found], pool: Executor) -> Generator[Read, None, None]:
    """All in order, decoded by a pool while others are looked at: `HELD` pixels ahead, by what the headers say."""
    with Belt(pool, most=FEW) as sizes, Belt(pool, most=HELD) as pictures:
        sized = sizes.over(photos, weigh=lambda found: 1, work=_pixels)
        for _, reading in pictures.over(sized, weigh=lambda one: max(one[1].result(), HELD // FEW), work=_read_sized):
            yield reading.result()


def _read_sized(sized: tuple[Found, object]) -> Read:
    return read(sized[0])


def _pixels(found: Found) -> int:
    """Pixels that reading will hold; of what cannot be read none."""
    if is_video(found.path):
        return 0
    try:
        height, width = photo_size(_source(found))
    except FORGIVEN:
        return 0
    return height * width


def _source(found: Found) -> Path | bytes:
    """The file; of a photo in a shard its bytes, compared with their checksum; a shard instead of a photo has none and says why."""
    if _is_shard(found):
        _images(found)
    if found.inside is None:
        return found.path
    offset, size, crc = found.inside
    with found.path.open("rb") as file:
        file.seek(offset)
        content = file.read(size)
    if len(content) != size or zlib.crc32(content) != crc:
        raise UnreadablePhoto("its bytes are not those that the index of the shard tells of; copy or pack the shard again")
    return content
