"""Videos are read upright, in order and never far ahead; what is none is a sentence; a film has its name when it is whole."""

import json
import resource
import struct
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.infer.film import Film, Lines
from shared.infer.video import Clip, UnreadableVideo, is_video

HW = (48, 64)


def shade(n: int, hw: tuple[int, int] = HW) -> np.ndarray:
    """Picture n: grey that says n, its upper left corner bright red."""
    picture = np.full((*hw, 3), 20 + 10 * n, np.uint8)
    picture[: hw[0] // 2, : hw[1] // 2] = (255, 0, 0)
    return picture


def filmed(path: Path, *, count: int = 12, fps: float = 25, hw: tuple[int, int] = HW, codec: str = "mp4v") -> Path:
    """A video of shades by OpenCV itself."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, hw[::-1])
    for n in range(count):
        writer.write(np.ascontiguousarray(shade(n, hw)[..., ::-1]))
    writer.release()
    return path


def corner(image: np.ndarray) -> tuple[int, int]:
    """Where the red quarter lies: (1 lower, 1 right)."""
    red = image[..., 0].astype(int) - image[..., 2] > 100
    rows, columns = red.nonzero()
    return int(rows.mean() > image.shape[0] / 2), int(columns.mean() > image.shape[1] / 2)


def written(sink: Film | Lines, things: Iterable) -> None:
    with sink:
        for thing in things:
            sink.add(thing)


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return filmed(tmp_path_factory.mktemp("video") / "clip.mp4")


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mp4v"), ("a.mov", "mp4v"), ("a.avi", "MJPG"), ("a.mkv", "mp4v"), ("a.m4v", "mp4v")]
)
def test_every_frame_comes_once_in_order_with_its_time(tmp_path, name, codec):
    with Clip(filmed(tmp_path / name, fps=29.97, codec=codec)) as clip:
        frames = list(clip)
    assert is_video(clip.path)
    assert (clip.hw, clip.frames, clip.complaint) == (HW, 12, None)
    assert clip.fps == pytest.approx(29.97, abs=1e-3)
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.seconds for frame in frames] == pytest.approx(
        [n / 29.97 for n in range(12)], abs=1e-3
    )  # .mkv counts milliseconds
    for n, frame in enumerate(frames):
        assert (frame.image.shape, frame.image.dtype) == ((*HW, 3), np.uint8)
        assert abs(frame.image[-10:, -10:].mean() - (20 + 10 * n)) < 4
        assert corner(frame.image) == (0, 0), "red is red: RGB"


@pytest.mark.parametrize(
    ("matrix", "hw", "where"),
    [((0, 1, -1, 0), (64, 48), (0, 1)), ((-1, 0, 0, -1), (48, 64), (1, 1)), ((0, -1, 1, 0), (64, 48), (1, 0))],
    ids=["quarter right", "half", "quarter left"],
)
def test_what_a_telephone_filmed_askew_is_upright(video, tmp_path, matrix, hw, where):
    data = bytearray(video.read_bytes())
    at = data.index(b"tkhd") + 44  # of the matrix, after version, times, ids, duration, layer and volume
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path = tmp_path / "turned.mp4"
    path.write_bytes(data)
    with Clip(path) as clip:
        assert clip.hw == hw
        assert {(frame.image.shape[:2], corner(frame.image)) for frame in clip} == {(hw, where)}


def test_the_worker_reads_no_further_than_told_and_ends_with_the_clip(video):
    with Clip(video, ahead=2) as clip:
        for waited in range(100):
            time.sleep(0.02)
            if waited > 10 and clip._waiting.full():
                break
        assert clip._capture.get(cv2.CAP_PROP_POS_FRAMES) <= 3, "two wait, one is in hand"
        assert next(iter(clip)).index == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "decode clip.mp4"]
    with pytest.raises(ValueError, match="has been read already"):
        next(iter(clip))


@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "mp4v"), ("avi", "MJPG")])
def test_a_video_that_breaks_off_gives_what_it_has_and_says_so(tmp_path, suffix, codec):
    whole = filmed(tmp_path / f"whole.{suffix}", codec=codec).read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole[: len(whole) * 3 // 4])
    with Clip(path) as clip:
        count = len(list(clip))
    assert 0 < count < 12
    assert clip.complaint is not None
    assert f"cut.{suffix} ends after {count} of the 12 frames" in clip.complaint


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty; copy or download it again"),
        (b"hello " * 99, "is text, not a video"),
        (b"ffconcat version 1.0\nfile clip.mp4\n", "is text, not a video"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (bytes(range(256)) * 9, "is not a video in a format that FFmpeg knows"),
        (None, "MP4 has its index at the end, copy it again"),
    ],
    ids=["empty", "text", "playlist", "pointer", "noise", "cut"],
)
def test_what_is_no_video_is_a_sentence(video, tmp_path, content, sentence, capfd):
    (tmp_path / "clip.mp4").write_bytes(video.read_bytes())  # what the playlist names
    path = tmp_path / "bad.mp4"
    path.write_bytes(video.read_bytes()[:-400] if content is None else content)
    with pytest.raises(UnreadableVideo, match=sentence):
        Clip(path)
    assert capfd.readouterr() == ("", ""), "OpenCV and FFmpeg keep quiet"


def test_a_video_that_is_not_there_or_too_large_is_a_sentence(video, tmp_path):
    with pytest.raises(UnreadableVideo, match="cannot be opened"):
        Clip(tmp_path / "none.mp4")
    with pytest.raises(UnreadableVideo, match=r"frames of 48 x 64 pixels, more than the 3,000 allowed"):
        Clip(video, max_pixels=3000)


@pytest.mark.parametrize(("hw", "written"), [((48, 64), (48, 64)), ((49, 65), (50, 66)), ((1, 1), (2, 2))])
def test_a_film_has_every_picture_and_no_pixel_less(tmp_path, hw, written):
    path = tmp_path / "film.pose.mp4"
    with Film(path, fps=23.976) as film:
        for n in range(5):
            film.add(np.full((*hw, 3), (200, 40 * n, 30), np.uint8))
            assert not path.exists()
    with Clip(path) as clip:
        frames = list(clip)
    assert (len(frames), clip.hw, clip.fps) == (5, written, pytest.approx(23.976))
    assert all(np.abs(frame.image.mean((0, 1)) - (200, 40 * n, 30)).max() < 9 for n, frame in enumerate(frames))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_film_that_is_left_in_the_middle_leaves_nothing_and_an_older_one_alone(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"older")

    def pictures():
        yield shade(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(Film(path, fps=25), pictures())
    with Film(path, fps=25):
        pass  # no picture, no film
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("film.mp4", b"older")]


def test_a_film_that_the_disk_did_not_take_is_an_error_and_no_file(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0).integers(0, 256, (9, *HW, 3), dtype=np.uint8)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        with pytest.raises(OSError, match=r"of the 9 pictures of film\.mp4 were written"):
            written(Film(tmp_path / "film.mp4", fps=25), noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_a_film_larger_than_its_format_and_one_that_has_no_folder_are_sentences(tmp_path):
    with pytest.raises(ValueError, match="ends at 8191 a side"):
        written(Film(tmp_path / "wide.mp4", fps=25), [np.zeros((2, 9000, 3), np.uint8)])
    with pytest.raises(ValueError, match="may you write there"):
        written(Film(tmp_path / "none" / "film.mp4", fps=25), [shade(0)])


def test_lines_are_whole_or_not_there(tmp_path):
    path = tmp_path / "clip.pose.jsonl"
    with pytest.raises(ValueError, match="not JSON compliant"):
        written(Lines(path), [{"frame": 0}, {"frame": float("nan")}])
    assert not list(tmp_path.iterdir())
    with Lines(path) as lines:
        lines.add({"frame": 0})
        assert not path.exists()
        lines.add({"frame": 1})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"frame": 0}, {"frame": 1}]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
