"""An option that changes nothing says so in a sentence and is no fault; one that does something, or was not given, is silent."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.data.photo import Found
from shared.formats import Ask
from shared.infer.film import Film
from shared.infer.idle import idle
from shared.infer.predictor import Predictor

PHOTO, FILM = Found(Path("photo.jpg"), "photo"), Found(Path("clip.mp4"), "clip")
PLY = Ask(frozenset({"ply"}), 40.0)
ALL = ("seg", "depth", "normal", "pose")
CASES = [  # options, tasks, formats, inputs; the ends of the sentences
    ({"zoom": 3.0}, ALL, Ask(), [PHOTO], ["--zoom 3 changes nothing here: it is for --mode tiles"]),
    ({"zoom": 3.0, "mode": "tiles"}, ALL, Ask(), [PHOTO], []),
    (
        {"mode": "people"},
        ALL,
        Ask(),
        [PHOTO],
        ["--mode people changes nothing here: it looks closely at those whom --people says; "],
    ),
    ({"mode": "people", "people": "boxes.json"}, ALL, Ask(), [PHOTO], []),
    ({"mode": "auto", "people": "boxes.json"}, ["pose"], Ask(), [PHOTO], ["--mode auto changes nothing here: it is for parts, "]),
    (
        {"mode": "tiles", "people": "boxes.json"},
        ["seg"],
        Ask(),
        [PHOTO],
        ["--people boxes.json changes nothing here: it is for pose"],
    ),
    ({"mode": "tiles", "people": "boxes.json"}, ["seg", "pose"], Ask(), [PHOTO], []),
    ({"mode": "whole", "people": "whole", "preset": "default"}, ["seg"], Ask(), [PHOTO], []),
    ({"focal": 40.0}, ALL, Ask(focal_px=40.0), [PHOTO], ["--focal 40 changes nothing here: it is for metric depth"]),
    ({"focal": 40.0}, ["seg"], PLY, [PHOTO], ["--focal 40 changes nothing here"]),
    ({"focal": 40.0, "span": "1,2"}, ["depth"], PLY, [PHOTO], []),
    ({"span": "1,2"}, ALL, Ask(), [PHOTO], ["--span 1,2 changes nothing here: it is for --formats ply of relative depth"]),
    ({"smooth": False}, ALL, Ask(), [PHOTO], ["--no-smooth changes nothing here: it is for videos, and there is none"]),
    ({"smooth": False}, ["seg"], Ask(), [FILM], ["--no-smooth changes nothing here: it is for the points of pose"]),
    ({"smooth": True}, ALL, Ask(), [PHOTO, FILM], []),
    ({"smooth_maps": True}, ALL, Ask(), [PHOTO], ["--smooth-maps changes nothing here: it is for videos"]),
    ({"smooth_maps": True}, ALL, Ask(), [FILM], []),
    ({"gallery": True}, ALL, Ask(), [FILM], ["--gallery changes nothing here: it is for photos"]),
    ({"workers": 2}, ALL, Ask(), [FILM], ["--workers 2 changes nothing here: it is for photos"]),
    ({"shards_out": True, "per_shard": 9}, ALL, Ask(), [FILM], ["--shards-out changes", "--per-shard 9 changes"]),
    ({"shards_out": True, "per_shard": 9, "gallery": True, "workers": 2}, ALL, Ask(), [PHOTO, FILM], []),
    ({"flip": True, "preset": "official"}, ["pose"], Ask(), [PHOTO], ["--flip changes nothing here: the official preset averages"]),
    ({"flip": True, "preset": "official"}, ALL, Ask(), [PHOTO], []),
    ({"flip": True}, ["pose"], Ask(), [PHOTO], []),
]


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "one.png"
    Image.fromarray(np.zeros((30, 20, 3), np.uint8)).save(path)
    return path


@pytest.mark.parametrize(("options", "tasks", "ask", "inputs", "sentences"), CASES)
def test_what_changes_nothing_says_why_and_what_does_is_silent(options, tasks, ask, inputs, sentences, trained):
    how = {name: options[name] for name in ("mode", "preset", "flip", "zoom") if name in options}
    told = idle(options, Predictor.load(trained, device="cpu", only=tasks, **how), ask, inputs)
    assert len(told) == len(sentences)
    assert all(found.startswith(sentence) for found, sentence in zip(sorted(told), sorted(sentences)))


def test_who_gives_an_option_is_told_even_if_it_is_the_default_and_the_exit_code_stays(trained, photo, tmp_path, called, caplog):
    caplog.set_level(logging.WARNING)
    given = photo, "--checkpoint", trained, "--device", "cpu", "--tasks", "depth", "--no-render"
    assert called(*given, "--out", tmp_path / "plain") == 0
    assert not caplog.messages, "nobody is told of what he did not write"
    assert called(*given, "--out", tmp_path / "idle", "--zoom", "4", "--span", "2,3", "--no-smooth", "--smooth-maps") == 0
    assert [sentence.partition(" changes nothing here: ")[0] for sentence in caplog.messages] == [
        "--zoom 4",
        "--span 2,3",
        "--no-smooth",
        "--smooth-maps",
    ]
    files = [(tmp_path / folder / "one.depth.npy").read_bytes() for folder in ("plain", "idle")]
    assert files[0] == files[1], "it is true that they change nothing"


def test_without_a_photo_there_is_no_page_of_photos(trained, tmp_path, called, caplog):
    caplog.set_level(logging.WARNING)
    with Film(tmp_path / "clip.mp4", fps=20) as film:
        film.add(np.zeros((32, 24, 3), np.uint8))
    given = (
        tmp_path / "clip.mp4",
        "--checkpoint",
        trained,
        "--device",
        "cpu",
        "--tasks",
        "depth",
        "--out",
        tmp_path / "out",
        "--gallery",
    )
    assert called(*given) == 0
    assert caplog.messages == [
        "--gallery changes nothing here: it is for photos, and there are only videos among the inputs",
    ]
    assert not (tmp_path / "out" / "gallery.html").exists()
