"""What grows frame by frame, a video or lines of JSON, and gets its name only when it is whole. Both are contexts."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np

from shared.infer.video import hushed

LARGEST_SIDE = 8191  # pixels; MPEG-4 part 2 counts them in 13 bits


class Film:
    """A video to be written: `.mp4` with MPEG-4 part 2, which every build of OpenCV with FFmpeg can.

    Left in peace it checks the file and gives it its name; left by an exception, or without a picture, it leaves nothing.

    Args:
        path: ends in .mp4; its folder is there.
        fps: frames a second.

    Raises:
        ValueError: OpenCV cannot write such pictures, or there.
        OSError: not all pictures came to rest on the disk.
    """

    def __init__(self, path: Path, *, fps: float) -> None:
        self.path, self.fps, self.count = path, fps, 0
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix}")  # FFmpeg goes by the suffix
        self._writer: cv2.VideoWriter | None = None

    def __enter__(self) -> Self:
        return self

    def add(self, image: np.ndarray) -> None:
        """One more picture: (H,W,3) uint8 RGB, all of one size. Odd sides, which MPEG cannot have, get one more pixel."""
        H, W = image.shape[:2]
        if H % 2 or W % 2:
            image = cv2.copyMakeBorder(image, 0, H % 2, 0, W % 2, cv2.BORDER_REPLICATE)
        if self._writer is None:
            self._writer = self._begun(image.shape[0], image.shape[1])
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self.count += 1

    def _begun(self, H: int, W: int) -> cv2.VideoWriter:
        if max(H, W) > LARGEST_SIDE:
            raise ValueError(f"a video of {H} x {W} pixels cannot be MPEG-4, which ends at {LARGEST_SIDE} a side; scale it down")
        with hushed():
            writer = cv2.VideoWriter(str(self._partial), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), self.fps, (W, H))
        if not writer.isOpened():
            raise ValueError(f"OpenCV cannot write {self._partial}; is there room in {self.path.parent}, and may you write there?")
        return writer

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self._writer is not None:
                self._writer.release()
                if kind is None:
                    self._check()
                    self._partial.replace(self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    def _check(self) -> None:
        """OpenCV says nothing when the disk is full, but then the index at the end is missing or short."""
        with hushed():
            written = cv2.VideoCapture(str(self._partial), cv2.CAP_FFMPEG)
            found = round(written.get(cv2.CAP_PROP_FRAME_COUNT)) if written.isOpened() else 0
            written.release()
        if found != self.count:
            where = f"is there room in {self.path.parent}?"
            raise OSError(f"{found} of the {self.count} pictures of {self.path.name} were written; {where}")


class Lines:
    """A file of JSON lines, one for each frame.

    Args:
        path: its folder is there.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._partial = path, path.with_name(f".{path.name}.partial")
        self._file = self._partial.open("w", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def add(self, line: Any) -> None:
        """Plain data; a number that is not finite has no place in JSON."""
        self._file.write(json.dumps(line, allow_nan=False) + "\n")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._file.close()
            if kind is None:
                self._partial.replace(self.path)
        finally:
            self._partial.unlink(missing_ok=True)
