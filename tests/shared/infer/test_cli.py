"""From photos to files on the command line: 0 all done, 1 some photos failed, 2 nothing could start; never a traceback."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared import builtin
from shared.data.photo import find_photos
from shared.formats import read_levels, read_vectors
from shared.infer.cli import run
from shared.infer.predictor import Predictor
from tasks.depth.task import Depth
from tasks.pointmap.task import Pointmap

ROOT = Path(__file__).parents[3]
SUFFIXES = {"seg.png", "depth.npy", "normal.npy", "pose.json", "seg.jpg", "depth.jpg", "normal.jpg", "pose.jpg"}
RNG = np.random.default_rng(0)


def told(script: str, *arguments: object) -> tuple[int, str]:
    """Exit code and standard error of a real process."""
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=200, check=False
    )
    return done.returncode, done.stderr


def answers(folder: Path) -> list[Path]:
    """The files that a run wrote, but for its list of them."""
    return [path for path in folder.iterdir() if path.name != "manifest.jsonl"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Every kind of photo, with its size as shown in its name."""
    folder = tmp_path_factory.mktemp("photos")
    noise = RNG.integers(0, 256, (30, 20, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    image.save(folder / "plain-30x20.jpg")
    image.convert("L").save(folder / "grey-30x20.png")
    image.convert("RGBA").save(folder / "alpha-30x20.png")
    image.convert("CMYK").save(folder / "cmyk-30x20.jpg")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(folder / "deep-30x20.png")
    Image.fromarray(noise[:1, :1]).save(folder / "dot-1x1.png")
    Image.fromarray(RNG.integers(0, 256, (129, 97, 3), dtype=np.uint8)).save(folder / "odd-129x97.webp")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "turned-20x30.jpg", exif=exif)
    (folder / "deeper").mkdir()
    image.save(folder / "deeper" / "same-30x20.jpg")
    return folder


@pytest.fixture(scope="module")
def predictor(trained) -> Predictor:
    return Predictor.load(trained, device="cpu")


def test_every_kind_of_photo_is_answered_at_its_own_size(predictor, photos, tmp_path):
    found = find_photos([photos])
    assert run(predictor, found, tmp_path / "out") == {}
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert names == {f"{photo.name}.{suffix}" for photo in found for suffix in SUFFIXES}
    for photo in found:
        H, W = map(int, photo.name.rsplit("-", 1)[1].split("x"))
        at = {suffix: tmp_path / "out" / f"{photo.name}.{suffix}" for suffix in SUFFIXES}
        assert np.load(at["depth.npy"]).shape == (H, W)
        assert np.load(at["normal.npy"]).shape == (H, W, 3)
        for suffix in ("seg.png", "seg.jpg", "depth.jpg", "normal.jpg", "pose.jpg"):
            with Image.open(at[suffix]) as picture:
                assert picture.size == (W, H)
        pose = json.loads(at["pose.json"].read_text())
        assert pose["keypoint_names"][0] == "nose"
        assert np.shape(pose["people"][0]["keypoints"]) == (17, 3)


def test_broken_photos_are_named_and_the_rest_goes_on(trained, photos, tmp_path):
    folder, out = tmp_path / "mixed", tmp_path / "out"
    folder.mkdir()
    good = (photos / "plain-30x20.jpg").read_bytes()
    (folder / "a.jpg").write_bytes(good)
    (folder / "b.jpg").write_bytes(good[: len(good) // 2])
    (folder / "c.png").write_bytes(b"")
    (folder / "d.jpg").write_text("<html>not found</html>")
    (folder / "e.jpg").write_bytes(good)
    code, said = told("tasks/joint/infer.py", folder, "--checkpoint", trained, "--out", out, "--device", "cpu", "--no-render")
    assert code == 1
    assert "Traceback" not in said
    assert "2 of 5 photos answered" in said
    assert "3 skipped: b, c, d" in said
    assert "c.png is empty; copy or download it again" in said
    assert {path.name.split(".")[0] for path in answers(out)} == {"a", "e"}
    assert not [path for path in out.iterdir() if path.suffix == ".jpg"], "--no-render draws nothing"


def test_a_mistake_is_one_sentence_and_two(trained, tmp_path):
    code, said = told("tasks/depth/infer.py", tmp_path / "nowhere.jpg", "--checkpoint", trained, "--out", tmp_path / "out")
    assert code == 2
    assert said.startswith("error: there is no file or folder")
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_all_done_is_zero_and_twice_the_same_bytes(trained, photos, tmp_path, called):
    files = []
    for out in (tmp_path / "one", tmp_path / "two"):
        arguments = photos / "plain-30x20.jpg", photos / "dot-1x1.png", "--checkpoint", trained, "--out", out
        assert called(*arguments, "--device", "cpu") == 0
        files.append({path.name: path.read_bytes() for path in answers(out)})
    assert files[0] == files[1]
    assert len(files[0]) == 2 * len(SUFFIXES)


def test_a_script_of_one_task_answers_that_task(trained, photos, tmp_path, called):
    arguments = photos / "dot-1x1.png", "--checkpoint", trained, "--out", tmp_path, "--device", "cpu"
    assert called(*arguments, only=Depth) == 0
    assert {path.name for path in answers(tmp_path)} == {"dot-1x1.depth.npy", "dot-1x1.depth.jpg"}


def test_tasks_may_be_chosen(trained, photos, tmp_path, called):
    arguments = photos / "dot-1x1.png", "--checkpoint", trained, "--out", tmp_path, "--tasks", "normal,seg", "--no-render"
    assert called(*arguments, "--size", "80x64", "--device", "cpu") == 0
    assert {path.name for path in answers(tmp_path)} == {"dot-1x1.seg.png", "dot-1x1.normal.npy"}


def test_every_format_of_every_task_is_written_and_says_the_same(trained, photos, tmp_path, called):
    photo, name = photos / "plain-30x20.jpg", "plain-30x20"
    plain, asked = tmp_path / "plain", tmp_path / "asked"
    arguments = photo, "--checkpoint", trained, "--device", "cpu", "--no-render"
    assert called(*arguments, "--out", plain) == 0
    formats = "npy,png,png16,ply,palette,alpha,soft"
    assert called(*arguments, "--out", asked, "--formats", formats, "--focal", "25", "--span", "1,3") == 0
    at = {path.name.removeprefix(f"{name}."): path for path in answers(asked)}
    assert at.keys() == {
        *("seg.png", "seg.palette.png", "seg.alpha.png", "seg.soft.npy", "pose.json"),
        *("depth.npy", "depth.16.png", "depth.ply", "normal.npy", "normal.png", "normal.16.png"),
    }
    for usual in ("seg.png", "depth.npy", "normal.npy", "pose.json"):
        assert at[usual].read_bytes() == (plain / f"{name}.{usual}").read_bytes(), "other files change no answer"
    with Image.open(at["seg.png"]) as ids, Image.open(at["seg.palette.png"]) as coloured, Image.open(at["seg.alpha.png"]) as alpha:
        ids, coloured, alpha = np.array(ids), np.array(coloured), np.array(alpha)
    soft = np.load(at["seg.soft.npy"]).astype(np.float32)
    assert soft.shape == (30, 20, 28)
    assert np.allclose(soft.sum(-1), 1, atol=0.01)
    assert np.allclose(soft.max(-1), np.take_along_axis(soft, ids[..., None].astype(int), -1)[..., 0], atol=1e-3)
    assert np.array_equal(coloured, ids)
    assert np.abs(alpha / 255 - (1 - soft[..., 0])).max() < 0.01
    depth = np.load(at["depth.npy"])
    assert np.abs(read_levels(at["depth.16.png"]) - depth).max() <= np.ptp(depth) / 65534
    cloud = np.frombuffer(at["depth.ply"].read_bytes().split(b"end_header\n")[1], "<f4").reshape(30, 20, 3)
    assert np.allclose(cloud[..., 2], 1 + 2 * depth, atol=1e-5)
    columns = (np.arange(20) - 9.5) / 25
    assert np.allclose(cloud[..., 0], columns * cloud[..., 2], atol=1e-5)
    normal = np.load(at["normal.npy"])
    for file, degrees in (("normal.png", 0.5), ("normal.16.png", 0.01)):
        apart = np.linalg.norm(read_vectors(at[file]) - normal, axis=-1)
        assert np.degrees(apart.max()) < degrees


def test_soft_and_hard_answers_are_drawn_alike(trained, photos, tmp_path, called):
    found = []
    for out, options in (("hard", []), ("soft", ["--formats", "soft"])):
        arguments = photos / "plain-30x20.jpg", "--checkpoint", trained, "--device", "cpu", "--out", tmp_path / out
        assert called(*arguments, *options) == 0
        found.append([(tmp_path / out / f"plain-30x20.{task}.jpg").read_bytes() for task in ("seg", "depth", "normal", "pose")])
    assert found[0] == found[1]


def test_without_probabilities_the_foreground_is_where_the_class_is_not_background(trained, photos, tmp_path, called):
    arguments = photos / "plain-30x20.jpg", "--checkpoint", trained, "--device", "cpu", "--out", tmp_path, "--no-render"
    assert called(*arguments, "--formats", "png,alpha", "--tasks", "seg") == 0
    assert len(answers(tmp_path)) == 2
    with Image.open(tmp_path / "plain-30x20.seg.png") as ids, Image.open(tmp_path / "plain-30x20.seg.alpha.png") as alpha:
        assert np.array_equal(np.array(alpha), np.where(np.array(ids) > 0, 255, 0))


def test_presets_and_mirror_images_answer_otherwise(trained, photos, tmp_path, called):
    found = {}
    ways = {"plain": [], "flip": ["--flip"], "official": ["--preset", "official"], "bf16": ["--precision", "bf16"]}
    for out, options in ways.items():
        arguments = photos / "odd-129x97.webp", "--checkpoint", trained, "--out", tmp_path / out, "--device", "cpu", "--no-render"
        assert called(*arguments, *options) == 0
        found[out] = np.load(tmp_path / out / "odd-129x97.depth.npy")
        assert len(answers(tmp_path / out)) == 4
    assert len({depth.tobytes() for depth in found.values()}) == len(ways)
    assert np.allclose(found["bf16"], found["plain"], atol=0.05)


def test_boxes_give_people(trained, photos, tmp_path, called):
    (tmp_path / "boxes.json").write_text('{"plain-30x20.jpg": [[0, 0, 9, 29], [10, 0, 19, 29]], "dot-1x1.png": []}')
    arguments = photos / "plain-30x20.jpg", photos / "dot-1x1.png", "--checkpoint", trained, "--out", tmp_path / "out"
    assert called(*arguments, "--people", tmp_path / "boxes.json", "--device", "cpu") == 0
    people = {
        name: json.loads((tmp_path / "out" / f"{name}.pose.json").read_text())["people"] for name in ("plain-30x20", "dot-1x1")
    }
    assert {name: len(found) for name, found in people.items()} == {"plain-30x20": 2, "dot-1x1": 0}


def test_people_are_looked_for_by_a_detector(trained, detector, photos, tmp_path, called):
    for out, options in (("found", ["--batch", "3"]), ("none", ["--people-score", "1"])):
        arguments = (
            photos / "odd-129x97.webp",
            "--checkpoint",
            trained,
            "--device",
            "cpu",
            "--tasks",
            "pose",
            "--out",
            tmp_path / out,
        )
        look = "--people", "detect", "--detector", detector, "--formats", "json,openpose"
        assert called(*arguments, *look, *options) == 0
    found, none = (json.loads((tmp_path / out / "odd-129x97.pose.json").read_text()) for out in ("found", "none"))
    people = found["people"]
    assert 1 <= len(people) <= 100
    assert (found["height"], found["width"]) == (129, 97)
    assert all(0.5 <= person["bbox_score"] <= 1 and min(person["bbox"]) >= 0 for person in people)
    assert none["people"] == []
    other = json.loads((tmp_path / "found" / "odd-129x97.pose.openpose.json").read_text())["people"]
    assert [len(person["pose_keypoints_2d"]) for person in other] == [75] * len(people)


def test_a_photo_alone_is_answered_by_the_built_in_model_into_a_folder_here(trained, photos, tmp_path, monkeypatch, called):
    monkeypatch.setattr(builtin, "MODEL", trained)
    monkeypatch.chdir(tmp_path)
    assert called(photos / "dot-1x1.png") == 0
    assert {path.name for path in answers(tmp_path / "answers")} == {f"dot-1x1.{suffix}" for suffix in SUFFIXES}


def test_a_task_that_the_built_in_model_lacks_and_a_model_that_is_not_there_are_sentences(
    trained, photos, tmp_path, monkeypatch, capsys, called
):
    monkeypatch.setattr(builtin, "MODEL", trained)
    assert called(photos / "dot-1x1.png", "--out", tmp_path / "out", only=Pointmap) == 2
    assert "the built-in model answers seg, depth, normal, pose, not pointmap" in capsys.readouterr().err
    monkeypatch.setattr(builtin, "MODEL", tmp_path / "none.safetensors")
    assert called(photos / "dot-1x1.png", "--out", tmp_path / "out") == 2
    assert "this copy has no built-in model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_answers_among_the_photos_are_no_photos(trained, photos, tmp_path, called, caplog, capsys):
    """Also of an earlier run with other settings, in the same folder or in one inside it."""
    shutil.copy(photos / "plain-30x20.jpg", tmp_path)
    (tmp_path / "from-a-phone.heic").touch()
    given = (tmp_path, "--checkpoint", trained, "--tasks")
    assert called(*given, "seg, depth", "--out", tmp_path / "answers") == 0
    assert called(*given, "seg", "--out", tmp_path / "answers") == 0
    assert "1 photos are of kinds that are not read here" in caplog.text
    assert {path.name.split(".")[0] for path in answers(tmp_path / "answers")} == {"plain-30x20"}
    shutil.rmtree(tmp_path / "answers")
    assert called(*given, "seg", "--out", tmp_path) == 0
    assert called(*given, "depth", "--out", tmp_path) == 0
    assert sorted(path.name for path in tmp_path.glob("*.*.*")) == [
        f"plain-30x20.{what}" for what in ("depth.jpg", "depth.npy", "seg.jpg", "seg.png")
    ]
    (tmp_path / "plain-30x20.jpg").unlink()
    assert called(*given, "seg", "--out", tmp_path) == 2
    assert "are answers that an earlier run wrote" in capsys.readouterr().err


def test_ctrl_c_is_a_sentence_and_the_same_command_goes_on(photos, tmp_path):
    for number in range(60):
        shutil.copy(photos / "odd-129x97.webp", tmp_path / f"{number}.webp")
    command = [sys.executable, str(ROOT / "tasks/depth/infer.py"), str(tmp_path), "--out", str(tmp_path / "out"), "--workers", "0"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    )
    until = time.monotonic() + 100
    while not list(tmp_path.glob("out/*.depth.npy")) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=100)[1]
    assert process.returncode == 130, said
    assert said.endswith("stopped; the same command goes on with what is left\n")
    assert "Traceback" not in said
