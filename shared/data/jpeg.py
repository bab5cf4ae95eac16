"""JPEGs by OpenCV: the very pixels that Pillow gives, in half the time, and shrunk while they are decoded where that will do."""

import cv2
import numpy as np

MARGIN = 32  # rows below those that are wanted: colours are stored in twos, and interpolated
RESTARTS, SCAN, END = 0xDD, 0xDA, b"\xff\xd9"  # markers
FRAMES, PLAIN = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}, {0xC0, 0xC1}
SHRUNK = {1: 0, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 8: cv2.IMREAD_REDUCED_GRAYSCALE_8}


def shrinking(size: tuple[int, int], most: int, *, upright: bool) -> int:
    """By how much a JPEG can be shrunk in the decoder: 1, 2, 4 or 8, at most `most`.

    Args:
        size: both sides, as stored.
        most: pixels, along each axis, that may become one.
        upright: it is shown as it is stored. What is turned must be a multiple of it: pixels are counted from the stored corner.
    """
    return max(by for by in SHRUNK if by <= max(most, 1) and (upright or not any(side % by for side in size)))


def pixels(content: bytes, by: int = 1) -> np.ndarray | None:
    """RGB (ceil(H/by), ceil(W/by), 3) uint8 as stored, EXIF not applied; None where the file is damaged or cut off."""
    how = SHRUNK[by] | cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), how)
    except cv2.error:
        return None


def top(content: bytes, rows: int) -> bytes:
    """A JPEG of the first `rows` rows, and some more, which a decoder is done with sooner; the same where that cannot be had.

    The header is told another height, and the end mark is taken off, lest the decoder look for it in what it leaves out. It takes
    a picture whose rows come in one piece, one after the other, which is what cameras write.
    """
    at, height, parts = 2, -1, 0
    while content[at : at + 1] == b"\xff" and at + 10 < len(content):
        kind, size = content[at + 1], int.from_bytes(content[at + 2 : at + 4])
        if kind in FRAMES:
            if kind not in PLAIN:
                return content
            height, parts = at + 5, content[at + 9]
        if kind == RESTARTS or (kind == SCAN and content[at + 4] != parts):
            return content
        at += 2 + size
        if kind == SCAN:
            break
    end = content.find(END, at)
    if height < 0 or end < 0 or rows + MARGIN >= int.from_bytes(content[height : height + 2]):
        return content
    return content[:height] + (rows + MARGIN).to_bytes(2) + content[height + 2 : end]
