"""Photos without people, by number: what training and rendering put behind people."""

import functools
from pathlib import Path

import numpy as np

from shared.data.photo import find_photos, read_photo
from shared.data.shards import Shards


class Places:
    """The photos of a folder, or the images of its shards.

    Args:
        source: a folder of photos (searched in depth), a folder of shards, or whatever else `Shards` takes.

    Raises:
        ValueError, FileNotFoundError: there is no photo.
    """

    def __init__(self, source: str | Path) -> None:
        folder = Path(source)
        photos = folder.is_dir() and not any(folder.glob("*.tar"))
        self._files = [one.path for one in find_photos([folder])] if photos else []
        self._shards = None if photos else Shards(source)

    def __len__(self) -> int:
        return len(self._files) if self._shards is None else len(self._shards)

    def __getitem__(self, number: int) -> np.ndarray:
        """(H,W,3) uint8 RGB."""
        if self._shards is None:
            return read_photo(self._files[number])
        return self._shards.read(number, only={"image"})["image"]


@functools.lru_cache(maxsize=4)
def places(source: str) -> Places:
    """The places of a folder, looked up once per process."""
    return Places(source)
