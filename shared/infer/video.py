"""Videos as their frames, which a worker decodes ahead. The only place that opens a video somebody else made, by OpenCV's FFmpeg.

Frames are upright RGB uint8 (H,W,3), the turn that a telephone notes in the
file applied; ten bits become eight, pixels that are not square are taken as square, and sound is not read.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from math import isfinite
from pathlib import Path
from queue import Full, Queue
from typing import Any, NamedTuple, Self

import cv2
import numpy as np

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})  # compared in lower case
MAX_PIXELS = 2**26  # of a frame: 8192 x 8192, 200 MB as uint8 RGB; a photo may be larger, but of a video several are held
AHEAD = 4  # frames that wait: enough to hide decoding behind the network, 100 MB at 4K
FASTEST = 480.0  # frames a second; files that say more mean ticks of their clock
GUESS_FPS = 30.0  # for files that do not say
KEPT = 0.95  # share of the frames, and of the seconds, of an unharmed file: headers count roughly
SILENT = 0  # LOG_LEVEL_SILENT, which OpenCV's releases keep in different places
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what goes wrong is said here, in words


class UnreadableVideo(ValueError):
    """A file that should be a video and is not; the message names the file, what it looks like and what to do."""


class Frame(NamedTuple):
    """One picture of a video."""

    index: int  # from 0 on
    seconds: float  # since the first frame, as the file says: not always index / fps
    image: np.ndarray  # (H,W,3) uint8 RGB


def is_video(path: Path) -> bool:
    """Judged by the suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


class Clip:
    """The frames of a video, once, in order. A context: leaving it ends the worker, wherever it is.

    Args:
        path: the file.
        ahead: how many decoded frames may wait; the worker sleeps when so many do.
        max_pixels: refuse larger frames.

    Attributes:
        hw: (H,W) of its frames.
        fps: frames a second, 30 where the file does not say.
        frames: how many the header tells of, None where it does not.
        complaint: after the last frame, what was wrong with the rest; None where nothing was.

    Raises:
        UnreadableVideo: the file is missing, empty, damaged, too large or no video.
    """

    def __init__(self, path: Path, *, ahead: int = AHEAD, max_pixels: int = MAX_PIXELS) -> None:
        self.path = path
        self.complaint: str | None = None
        self._capture = _opened(path)
        told = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = told if isfinite(told) and 0 < told <= FASTEST else GUESS_FPS
        frames = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)  # FFmpeg guesses it from duration and rate where it is not written
        self.frames = round(frames) if 0 < frames < 1e9 else None
        self._promised_s = frames / told if self.frames is not None and told > 0 else 0.0
        self.hw = round(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), round(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        if self.hw[0] * self.hw[1] > max_pixels:
            self._capture.release()
            called = f"{path} has frames of {self.hw[0]} x {self.hw[1]} pixels"
            raise UnreadableVideo(f"{called}, more than the {max_pixels:,} allowed; scale it down")
        self._waiting: Queue[Frame | Exception | None] = Queue(ahead)
        self._over = threading.Event()
        self._worker = threading.Thread(target=self._decode, name=f"decode {path.name}", daemon=True)
        self._worker.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._worker.join()
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        """The frames; what the worker stumbled over is raised here, after the frames before it."""
        if self._over.is_set():
            raise ValueError(f"{self.path} has been read already; open it again")
        last = None
        while (frame := self._waiting.get()) is not None:
            if isinstance(frame, Exception):
                raise frame
            last = frame
            yield frame
        self._over.set()
        done, reached_s = (0, 0.0) if last is None else (last.index + 1, last.seconds)
        if last is None:
            raise UnreadableVideo(f"{self.path} holds no frame that FFmpeg could decode; copy it again or convert it to H.264")
        short = self.frames is not None and done < KEPT * self.frames
        if self.complaint is None and short and reached_s + 1 / self.fps < KEPT * self._promised_s:
            self.complaint = (
                f"{self.path} ends after {done} of the {self.frames} frames that its header tells of; what was there is answered, "
                "copy it again for the rest"
            )

    def _decode(self) -> None:
        """The worker: one frame after another into the queue, then None."""
        try:
            for frame in self._frames():
                if not self._offer(frame):
                    return
            self._offer(None)
        except Exception as error:  # whatever it is, it belongs to the one who waits
            self._offer(error)

    def _frames(self) -> Iterator[Frame]:
        seconds = -1 / self.fps
        for index in count():
            there, picture = self._capture.read()
            if not there:
                return
            if picture.shape[:2] != self.hw:
                (H, W), (h, w) = self.hw, picture.shape[:2]
                self.complaint = (
                    f"{self.path} changes its size from {H} x {W} to {h} x {w} pixels at frame {index}; "
                    "what came before is answered, cut it there for the rest"
                )
                return
            told = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            seconds = told if isfinite(told) and told > seconds else seconds + 1 / self.fps
            yield Frame(index, seconds, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))

    def _offer(self, what: Frame | Exception | None) -> bool:
        """Wait for room in the queue; False when nobody listens any more."""
        while not self._over.is_set():
            try:
                self._waiting.put(what, timeout=0.1)
                return True
            except Full:
                continue
        return False


def _opened(path: Path) -> cv2.VideoCapture:
    try:
        with path.open("rb") as file:
            head, size = file.read(512), os.fstat(file.fileno()).st_size
    except OSError as error:
        reason = f"cannot be opened ({error.strerror}); check that it is a file and that you may read it"
        raise UnreadableVideo(f"{path} {reason}") from error
    if size and not _is_text(head):  # FFmpeg would follow what a text lists
        with hushed():
            capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)
        if capture.isOpened() and capture.get(cv2.CAP_PROP_FRAME_WIDTH) > 0:
            capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
            return capture
    raise UnreadableVideo(f"{path} {_looks(head, size)}")


def _is_text(head: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n" for byte in head)


def _looks(head: bytes, size: int) -> str:
    """What a file is instead of a video, and what to do about it."""
    if size == 0:
        return "is empty; copy or download it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a git-lfs pointer, not a video; run `git lfs pull` to fetch the video"
    if _is_text(head):
        return "is text, not a video; check what was saved under this name"
    if head[4:8] == b"ftyp":
        return "is cut off, or its pictures are in no format that FFmpeg knows; MP4 has its index at the end, copy it again"
    return "is not a video in a format that FFmpeg knows, or has sound only; copy it again or convert it to H.264 in .mp4"


@contextmanager
def hushed() -> Iterator[None]:
    """Without OpenCV's own words about files that cannot be opened."""
    logging: Any = getattr(cv2.utils, "logging", cv2)  # OpenCV 4.11 and 4.12 have both functions at the top
    level = logging.setLogLevel(SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)
