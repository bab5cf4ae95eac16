"""From videos to videos and lines: the same people under the same numbers, the same answers as for photos, whole files or none."""

import json
import logging
import weakref
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from shared.data.photo import PHOTO_SUFFIXES, Found, find_photos
from shared.formats import Ask
from shared.infer.film import Film
from shared.infer.people import Given, People, whole
from shared.infer.predictor import Predictor
from shared.infer.run import run
from shared.infer.tracking import Tracker, draw_numbers
from shared.infer.video import VIDEO_SUFFIXES, Clip
from shared.infer.watch import Follower, watch
from tasks.pose.task import Pose
from tasks.seg.task import Seg

HW = (64, 96)
COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220)}


def scene(n: int) -> np.ndarray:
    """Frame n of 24: red goes right, blue goes left and passes behind red, hidden for a moment."""
    picture = np.full((*HW, 3), 128, np.uint8)
    for colour, left in (("blue", 80 - 4 * n + 4), ("red", 3 * n + 4)):
        picture[10:50, max(left, 0) : max(left + 16, 0)] = COLOURS[colour]
    return picture


def by_colour(name: str, image: np.ndarray) -> People:
    """A finder of red and of blue people, who need to show two hundred pixels. Its list begins with who is further left."""
    boxes = []
    for colour in COLOURS.values():
        rows, columns = (np.abs(image.astype(int) - colour).max(-1) < 60).nonzero()
        if len(rows) > 200:
            boxes.append([columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5])
    boxes.sort()
    return People(np.array(boxes).reshape(-1, 4), np.full(len(boxes), 0.9))


def filmed(path: Path, pictures: Iterable[np.ndarray]) -> Path:
    with Film(path, fps=20) as film:
        for picture in pictures:
            film.add(picture)
    return path


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def frames(path: Path) -> np.ndarray:
    with Clip(path) as clip:
        return np.stack([frame.image for frame in clip])


@pytest.fixture(scope="module")
def crossing(tmp_path_factory) -> Path:
    return filmed(tmp_path_factory.mktemp("clips") / "crossing.mp4", map(scene, range(24)))


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> Path:
    return filmed(tmp_path_factory.mktemp("clips") / "short.mp4", map(scene, range(3)))


@pytest.fixture(scope="module")
def joint(trained) -> Predictor:
    return Predictor.load(trained, device="cpu", batch=4)


@pytest.fixture(scope="module")
def pose(trained) -> Predictor:
    return Predictor.load(trained, device="cpu", only=["pose"], batch=4)


def test_red_and_blue_keep_their_numbers_though_one_passes_behind_the_other(pose, crossing, tmp_path):
    assert watch(pose, Found(crossing, "crossing"), tmp_path, finder=by_colour, ask=Ask())[1] is None
    assert {file.name for file in tmp_path.iterdir()} == {"crossing.pose.mp4", "crossing.pose.jsonl"}
    told = lines(tmp_path / "crossing.pose.jsonl")
    assert [line["frame"] for line in told] == list(range(24))
    assert [line["seconds"] for line in told] == pytest.approx([n / 20 for n in range(24)])
    assert told[0]["fps"] == 20
    assert (told[0]["height"], told[0]["width"], len(told[0]["keypoint_names"])) == (*HW, 17)
    assert all(line.keys() == {"frame", "seconds", "people"} for line in told[1:])
    alone = [line["frame"] for line in told if len(line["people"]) == 1]
    assert alone == [11, 12], "blue is hidden for a moment"
    red, blue = (person["track"] for person in told[0]["people"])
    assert {red, blue} == {1, 2}
    for n, line in enumerate(told):
        for person in line["people"]:
            left = person["bbox"][0]
            is_red = abs(left - (3 * n + 4)) < 3 if n not in alone else True
            assert person["track"] == (red if is_red else blue), f"frame {n}"
            assert np.shape(person["keypoints"]) == (17, 3)
            assert person["bbox_score"] == pytest.approx(0.9)
    film = frames(tmp_path / "crossing.pose.mp4")
    assert film.shape == (24, *HW, 3)
    plain = frames(crossing)
    assert np.abs(film.astype(int) - plain).max() > 100, "something is drawn"
    assert np.abs(film.astype(int) - plain)[:, :, 90:].mean() < np.abs(film.astype(int) - plain).mean()


def test_a_frame_is_answered_as_the_same_picture_in_a_photo(joint, short, tmp_path):
    ask = Ask(frozenset({"npy", "png", "json"}))
    assert watch(joint, Found(short, "sub/short"), tmp_path, finder=by_colour, ask=ask, smooth=False)[1] is None
    suffixes = ("seg.png", "depth.npy", "normal.npy", "normal.png", "pose.json")
    names = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.*")}
    films = {f"sub/short.{task}.mp4" for task in ("seg", "depth", "normal", "pose")}
    assert names == films | {"sub/short.pose.jsonl"} | {f"sub/short/00000{n}.{suffix}" for n in range(3) for suffix in suffixes}
    for n, picture in enumerate(frames(short)):
        people = by_colour("", picture)
        answers = joint(picture, boxes=people.boxes)
        folder = tmp_path / "sub" / "short"
        assert np.allclose(np.load(folder / f"00000{n}.depth.npy"), answers["depth"], atol=1e-5)
        with Image.open(folder / f"00000{n}.seg.png") as seg:
            assert np.mean(np.array(seg) == answers["seg"]) > 0.99
        told = lines(tmp_path / "sub" / "short.pose.jsonl")[n]
        assert np.allclose([person["keypoints"] for person in told["people"]], answers["pose"], atol=2e-3)
        photo = json.loads((folder / f"00000{n}.pose.json").read_text())["people"]
        assert [{key: person[key] for key in person if key != "track"} for person in told["people"]] == photo
    assert frames(tmp_path / "sub" / "short.depth.mp4").shape == (3, *HW, 3)


@pytest.mark.parametrize("late", [False, True])  # as on a GPU: frames are finished while it works at the next ones
def test_frames_go_through_the_network_together_and_it_changes_nothing(pose, crossing, tmp_path, late, monkeypatch):
    monkeypatch.setattr(pose, "late", late)
    seen: list[int] = []
    handle = pose.model.backbone.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    watch(pose, Found(crossing, "many"), tmp_path, finder=whole, ask=Ask(), render=False, smooth=False)
    handle.remove()
    assert seen == [4] * 6, "24 frames, four at once"
    told = lines(tmp_path / "many.pose.jsonl")
    assert np.allclose(told[5]["people"][0]["keypoints"], pose(frames(crossing)[5])["pose"], atol=2e-3)
    assert [[person["track"] for person in line["people"]] for line in told] == [[0]] * 24
    assert [file.name for file in tmp_path.iterdir()] == ["many.pose.jsonl"]


def test_no_more_frames_are_held_than_fill_a_batch(pose, crossing, tmp_path):
    frames: list[weakref.ref] = []
    alive: list[int] = []

    def one(name: str, image: np.ndarray) -> People:
        frames.append(weakref.ref(image))
        alive.append(sum(frame() is not None for frame in frames))
        return People(np.array([[4, 10, 20, 50]]), np.ones(1))

    watch(pose, Found(crossing, "crossing"), tmp_path, finder=one, ask=Ask())
    assert len(alive) == 24
    assert max(alive) <= pose.room.views + 2, "and one in each hand"


def test_boxes_may_be_given_for_each_frame_or_for_all(pose, short, tmp_path):
    one, two = [[4, 10, 20, 50]], [[4, 10, 20, 50], [60, 10, 80, 50]]
    finder = Given({"short.mp4": one, "short.mp4/000001": two, "short.mp4/000002": []})
    watch(pose, Found(short, "short"), tmp_path, finder=finder, ask=Ask(), render=False)
    assert [[person["track"] for person in line["people"]] for line in lines(tmp_path / "short.pose.jsonl")] == [[1], [1, 2], []]


def test_smoothing_calms_points_and_drawn_boxes_and_leaves_the_rest():
    rng = np.random.default_rng(0)
    still = np.concatenate([rng.uniform(20, 80, (2, 17, 2)), np.full((2, 17, 1), 0.9)], -1)
    still[:, 0, 2] = 0.05
    boxes = np.array([[0.0, 0, 100, 100], [300, 0, 400, 100]])
    still[1, :, 0] += 300
    found: dict[bool, list] = {True: [], False: []}
    noise = rng.normal(0, 0.4, (60, 2, 17, 2))
    for smooth, out in found.items():
        follow = Follower(Tracker(None), smooth=smooth)
        for n in range(60):
            points = still.copy()
            points[..., :2] += noise[n]
            people = People(boxes + noise[n, :, :2].reshape(2, 4), np.ones(2))
            order = [n % 2, 1 - n % 2]  # a detector lists them in any order
            seen = follow(points[order], people[np.array(order)], seconds=n / 25)
            assert seen.numbers.tolist() == [order[0] + 1, order[1] + 1]
            assert seen.boxes is not None
            back = np.argsort(order)
            out.append(np.concatenate([seen.points[back, :, :2].reshape(2, -1), seen.boxes[back]], 1))
    calm, rough = (np.abs(np.diff(np.array(found[smooth])[20:], axis=0)).mean((0, 1)) for smooth in (True, False))
    unsure = [0, 1]
    assert np.allclose(calm[unsure], rough[unsure]), "a point that is not sure stays as it was found"
    assert np.all(np.delete(calm, unsure) < 0.5 * np.delete(rough, unsure))


def test_a_point_that_is_no_number_is_told_as_unknown():
    points = np.ones((17, 3), np.float32)
    points[3] = np.nan
    found = Follower(Tracker(None), smooth=True)(points, None, seconds=0.0).points
    assert found[0, 3].tolist() == [0, 0, 0]
    assert np.isfinite(found).all()


def test_numbers_are_drawn_beside_their_boxes_and_within_the_picture():
    picture = np.full((100, 200, 3), 90, np.uint8)
    boxes = np.array([[20.0, 10, 60, 90], [150, -30, 230, 140]])
    drawn = draw_numbers(picture, boxes, np.array([7, 123]))
    changed = (drawn != picture).any(-1)
    assert changed[10:40, 20:40].any()
    assert changed[:40, 140:].any()
    assert not changed[50:].any()
    assert not np.array_equal(drawn, draw_numbers(picture, boxes, np.array([8, 123])))


def test_videos_are_found_in_folders_and_by_globs_only_where_they_are_wanted(tmp_path):
    for name in ("a.png", "b.MOV", "c.webm", ".hidden.mp4", "d.txt.gz"):
        (tmp_path / name).touch()
    for where in (tmp_path, tmp_path / "*"):
        both = find_photos([where], suffixes=PHOTO_SUFFIXES | VIDEO_SUFFIXES)
        assert [found.path.name for found in both] == ["a.png", "b.MOV", "c.webm"]
        assert [found.path.name for found in find_photos([where])] == ["a.png"]


def test_a_folder_of_photos_videos_and_what_is_neither(trained, short, tmp_path, called, caplog, capfd):
    caplog.set_level(logging.INFO)
    folder, out = tmp_path / "mixed", tmp_path / "out"
    folder.mkdir()
    (folder / "clip.MP4").write_bytes(short.read_bytes())
    (folder / "text.mp4").write_text("not a video\n" * 50)
    Image.fromarray(scene(0)).save(folder / "photo.png")
    arguments = folder, "--checkpoint", trained, "--out", out, "--device", "cpu"
    assert called(*arguments, only=Pose) == 1
    answers = {"photo.pose.json", "photo.pose.jpg", "clip.pose.mp4", "clip.pose.jsonl"}
    assert {file.name for file in out.iterdir()} == answers | {"manifest.jsonl"}
    said = capfd.readouterr().err
    assert "text.mp4 is text, not a video; check what was saved under this name" in said
    assert "2 of 3 photos and videos answered" in caplog.text
    assert "Traceback" not in said


def test_whether_a_video_is_smoothed_is_an_option(trained, short, tmp_path, called):
    trembling = {f"short.mp4/00000{n}": [[19.5 + left, 1.5, 59.5 + left, 61.5]] for n, left in enumerate((0.9, -0.9, 0.9))}
    (tmp_path / "boxes.json").write_text(json.dumps(trembling))
    films, told = [], []
    for number, option in enumerate(([], ["--smooth"], ["--no-smooth"])):
        out = tmp_path / str(number)
        arguments = short, "--checkpoint", trained, "--people", tmp_path / "boxes.json", "--out", out, "--device", "cpu"
        assert called(*arguments, *option, only=Pose) == 0
        films.append(frames(out / "short.pose.mp4").astype(int))
        told.append([line["people"][0]["bbox"] for line in lines(out / "short.pose.jsonl")])
    assert np.array_equal(films[0], films[1])
    assert np.abs(films[0] - films[2]).max() > 50, "the line around the box stands elsewhere"
    assert told[0] == told[1] == told[2], "boxes are told as they were given"


def test_a_video_of_maps_without_pictures_and_files_is_a_sentence(trained, short, tmp_path, called, capfd):
    arguments = short, "--checkpoint", trained, "--out", tmp_path, "--device", "cpu", "--no-render"
    assert called(*arguments, only=Seg) == 1
    assert "nothing of seg would be written for the video" in capfd.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.jsonl"]
    assert called(*arguments, "--formats", "png", only=Seg) == 0
    assert {file.name for file in tmp_path.rglob("*.png")} == {f"00000{n}.seg.png" for n in range(3)}


def test_what_stops_in_the_middle_leaves_no_file(pose, crossing, tmp_path):
    calls = []

    def stops(name: str, image: np.ndarray) -> People:
        calls.append([file.name for file in tmp_path.iterdir() if not file.name.startswith(".")])
        if len(calls) == 12:
            raise KeyboardInterrupt
        return by_colour(name, image)

    with pytest.raises(KeyboardInterrupt):
        watch(pose, Found(crossing, "crossing"), tmp_path, finder=stops, ask=Ask())
    assert calls == [[]] * 12, "nothing has its final name before the end"
    assert not list(tmp_path.iterdir())


def test_a_video_that_breaks_off_is_answered_as_far_as_it_goes_and_counts_as_failed(pose, short, tmp_path, capsys):
    path = tmp_path / "cut.mkv"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 25, HW[::-1])
    for n in range(20):
        writer.write(scene(n))
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    failed = run(pose, [Found(path, "cut"), Found(short, "short")], tmp_path / "out", render=False)
    assert failed.keys() == {"cut"}
    count = len(lines(tmp_path / "out" / "cut.pose.jsonl"))
    assert 0 < count < 20
    assert f"ends after {count} of the 20 frames" in failed["cut"]
    assert "incomplete: " in capsys.readouterr().err
    assert len(lines(tmp_path / "out" / "short.pose.jsonl")) == 3
