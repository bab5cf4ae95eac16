"""A photo as it lies in its file, decoded when it is known how closely it is looked at."""

import numpy as np

from shared.data.photo import photo_header, read_shrunk


class Encoded:
    """Says shape and type of the picture (H,W,3) without decoding it.

    Args:
        content: of the file.

    Raises:
        UnreadablePhoto: it is no picture.
    """

    dtype, ndim = np.dtype(np.uint8), 3

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.shape = (*photo_header(content).hw, 3)

    def decoded(self, most: int, *, rows: int | None = None) -> tuple[np.ndarray, int]:
        """The picture, or its first rows, shrunk by 1, 2, 4 or 8, at most by `most`, and by how much: see `read_shrunk`.

        Raises:
            UnreadablePhoto: it is damaged or too large.
        """
        return read_shrunk(self.content, most, rows=rows)
