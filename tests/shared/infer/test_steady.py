"""Maps of a video that hold still where the picture does, go with what moves, and begin anew at a cut."""

import sys
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.data.photo import Found
from shared.formats import Ask
from shared.infer.cli import infer
from shared.infer.film import Film
from shared.infer.people import whole
from shared.infer.predictor import Predictor
from shared.infer.steady import Steady, steadied
from shared.infer.watch import watch
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pointmap.task import Pointmap
from tasks.pose.task import Pose
from tasks.seg.task import Seg

H, W, SIDE, FPS = 96, 128, 30, 25
TASKS = (Depth(), Normal(), Seg())
NAMES = ("depth", "normal", "seg")
X, Y = np.meshgrid(np.arange(W), np.arange(H))
Answers = dict[str, np.ndarray]


def textured(seed: int, low: int, high: int, cells: tuple[int, int], hw: tuple[int, int]) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(low, high, (*cells, 3), dtype=np.uint8)
    return cv2.resize(coarse, hw[::-1], interpolation=cv2.INTER_CUBIC)


GROUND, SQUARE = textured(0, 60, 140, (12, 16), (H, W)), textured(1, 160, 250, (6, 6), (SIDE, SIDE))


def scene(left: float, rng: np.random.Generator, noise: float) -> tuple[np.ndarray, Answers]:
    """A square before a slope: the picture with a camera's noise, and the truth."""
    image, mask = GROUND.copy(), np.zeros((H, W), bool)
    at = round(left)
    image[30 : 30 + SIDE, at : at + SIDE], mask[30 : 30 + SIDE, at : at + SIDE] = SQUARE, True
    normal = np.where(mask[..., None], [0.6, 0, 0.8], np.dstack([np.sin(X / 20) / 2, np.cos(Y / 20) / 2, np.ones((H, W))]))
    truth = {
        "depth": np.where(mask, 0.2, 0.9 - 0.3 * Y / H).astype(np.float32),
        "normal": unit(normal),
        "seg": np.where(mask, 3, 1).astype(np.uint8),
    }
    return np.clip(image + rng.normal(0, noise, image.shape), 0, 255).astype(np.uint8), truth


def unit(normal: np.ndarray) -> np.ndarray:
    return (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float32)


def shaky(truth: Answers, rng: np.random.Generator) -> Answers:
    """What a network makes of it: pixels and patches that tremble, depth whose scale and shift do, labels that flip."""
    patches = cv2.resize(rng.normal(0, 0.02, (12, 16)), (W, H))
    depth = (1 + rng.normal(0, 0.03)) * truth["depth"] + rng.normal(0, 0.02) + patches + rng.normal(0, 0.01, (H, W))
    flips = rng.random((H, W)) < 0.08
    return {
        "depth": depth.astype(np.float32),
        "normal": unit(truth["normal"] + rng.normal(0, 0.1, (H, W, 3))),
        "seg": np.where(flips, rng.integers(0, 28, (H, W)), truth["seg"]).astype(np.uint8),
    }


def apart(name: str, one: np.ndarray, other: np.ndarray) -> float:
    """How much two maps differ: mean of the difference, of the angle in degrees, share of the pixels."""
    if name == "normal":
        return float(np.degrees(np.arccos(np.clip((one * other).sum(-1), -1, 1))).mean())
    return float((one != other).mean() if name == "seg" else np.abs(one - other).mean())


def fitted(depth: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Relative depth is known up to scale and shift."""
    return np.polyval(np.polyfit(depth.ravel(), truth.ravel(), 1), depth)


def filmed(speed: float, noise: float, *, seed: int = 0, count: int = 24) -> dict[tuple[str, str, str], float]:
    """A film whose square goes so many pixels a frame -> mean (what, map, steadied or raw): `change` from frame to frame, `error`,
    and `rim`, the error within four pixels of the square's border.
    """
    rng, steady, last = np.random.default_rng(seed), Steady(TASKS), {}
    rows = defaultdict(list)
    for i in range(count):
        image, truth = scene(8 + speed * i, rng, noise)
        raw = shaky(truth, rng)
        told = {"raw": raw, "steady": steady(image, raw, seconds=i / FPS)}
        square, reach = (truth["seg"] == 3).astype(np.uint8), np.ones((9, 9))
        rim = cv2.dilate(square, reach) > cv2.erode(square, reach)
        for who, answers in told.items():
            for name in NAMES:
                answer = answers[name]
                if i > 5:
                    rows["change", name, who].append(apart(name, answer, last[who][name]))
                    answer = fitted(answer, truth[name]) if name == "depth" else answer
                    rows["error", name, who].append(apart(name, answer, truth[name]))
                    rows["rim", name, who].append(apart(name, answer[rim], truth[name][rim]))
        last = told
    return {key: float(np.mean(values)) for key, values in rows.items()}


@pytest.mark.parametrize("noise", [0, 8])
def test_where_nothing_moves_maps_flicker_a_fifth_as_much_and_are_truer(noise):
    found = filmed(0, noise)
    for name in NAMES:
        assert found["change", name, "steady"] < 0.2 * found["change", name, "raw"]
        assert found["error", name, "steady"] < 0.5 * found["error", name, "raw"]


@pytest.mark.parametrize("speed", [0.5, 1.5, 3])
def test_what_moves_is_not_smeared_not_even_at_its_border(speed):
    found = filmed(speed, 8)
    for name in NAMES:
        assert found["change", name, "steady"] < 0.5 * found["change", name, "raw"]
        assert found["error", name, "steady"] < 0.6 * found["error", name, "raw"]
        assert found["rim", name, "steady"] < 0.9 * found["rim", name, "raw"]


def test_answers_without_a_fault_hardly_get_one_from_what_moves():
    rng, steady, wrong = np.random.default_rng(0), Steady(TASKS), defaultdict(list)
    for i in range(20):
        image, truth = scene(8 + 3 * i, rng, 4)
        for name, answer in steady(image, truth, seconds=i / FPS).items():
            wrong[name].append(apart(name, answer, truth[name]))
    assert np.mean(wrong["depth"]) < 0.006, "of a step of 0.6"
    assert np.mean(wrong["normal"]) < 0.6
    assert np.mean(wrong["seg"]) < 0.006


def test_a_cut_leaves_nothing_of_what_was_before():
    rng, steady = np.random.default_rng(0), Steady(TASKS)
    for i in range(6):
        image, truth = scene(20, rng, 4)
        steady(image, shaky(truth, rng), seconds=i / FPS)
    image, truth = scene(70, rng, 4)
    raw = shaky(truth, rng)
    after = steady(255 - image[::-1, ::-1], raw, seconds=6 / FPS)
    assert all(np.array_equal(after[name], raw[name]) for name in NAMES)


def test_noise_does_not_shrink_relative_depth_in_the_long_run_and_a_new_scale_is_taken_over():
    rng, steady, depth = np.random.default_rng(0), Steady(TASKS[:1]), (X / W).astype(np.float32)
    for i in range(100):
        noisy = depth + rng.normal(0, 0.2, depth.shape).astype(np.float32)
        held = steady(GROUND, {"depth": noisy}, seconds=i / FPS)["depth"]
    assert np.polyfit(depth.ravel(), held.ravel(), 1)[0] == pytest.approx(1, abs=0.1)
    for i in range(100, 190):
        held = steady(GROUND, {"depth": 0.5 * depth + 0.1}, seconds=i / FPS)["depth"]
    np.testing.assert_allclose(np.polyfit(depth.ravel(), held.ravel(), 1), [0.5, 0.1], atol=0.03)


def test_normals_stay_of_unit_length_probabilities_sum_to_one_and_what_is_unknown_is_what_it_is_now():
    rng, soft = np.random.default_rng(0), Seg(soft=True)
    steady = Steady([Normal(), soft, Depth(metric=True)])
    for i in range(4):  # the camera pans
        image = np.roll(GROUND, 2 * i, axis=1)
        raw = rng.random((H, W, 28), dtype=np.float32)
        metres = rng.uniform(1, 3, (H, W)).astype(np.float32)
        metres[: 10 + 10 * i] = np.nan
        told = {"normal": unit(rng.normal(size=(H, W, 3))), "seg": raw / raw.sum(-1, keepdims=True), "depth": metres}
        held = steady(image, told, seconds=i / FPS)
    np.testing.assert_allclose(np.linalg.norm(held["normal"], axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(held["seg"].sum(-1), 1, atol=1e-5)
    assert held["seg"].std() < 0.75 * told["seg"].std()
    assert np.array_equal(np.isnan(held["depth"]), np.isnan(told["depth"]))
    assert np.isfinite(held["normal"]).all()
    assert {name: value.dtype for name, value in held.items()} == {name: value.dtype for name, value in told.items()}


def test_points_and_pointmaps_pass_through():
    assert steadied([Pose(), Pointmap()]) == []
    told = {"pose": np.ones((17, 3), np.float32)}
    steady = Steady([Pose(), Pointmap()])
    assert all(steady(GROUND, told, seconds=i) == told for i in range(2))


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path, rng = tmp_path_factory.mktemp("clips") / "clip.mp4", np.random.default_rng(0)
    with Film(path, fps=FPS) as film:
        for _ in range(6):
            film.add(scene(40, rng, 20)[0])
    return path


def test_a_video_flickers_less_when_asked_to(trained, clip, tmp_path):
    predictor, flicker = Predictor.load(trained, device="cpu", only=["depth", "normal"]), []
    for smooth_maps in (False, True):
        out = tmp_path / str(smooth_maps)
        ask = Ask(frozenset(["npy"]))
        watch(predictor, Found(clip, "clip"), out, finder=whole, ask=ask, render=False, smooth_maps=smooth_maps)
        maps = [[np.load(out / "clip" / f"{i:06d}.{name}.npy") for i in range(6)] for name in ("depth", "normal")]
        flicker.append([np.abs(np.diff(np.stack(frames), axis=0)).mean() for frames in maps])
    assert np.all(np.array(flicker[1]) < 0.6 * np.array(flicker[0]))


def test_the_command_steadies_and_refuses_where_it_would_change_nothing(trained, clip, tmp_path, monkeypatch, capsys):
    written = []
    for more in ([], ["--smooth-maps"]):
        out = tmp_path / str(len(written))
        command = [
            "infer.py",
            clip,
            "--checkpoint",
            trained,
            "--out",
            out,
            "--device",
            "cpu",
            "--tasks",
            "depth",
            "--formats",
            "npy",
        ]
        monkeypatch.setattr(sys, "argv", [*map(str, command), "--no-render", *more])
        with pytest.raises(SystemExit) as exit_:
            infer()
        assert exit_.value.code == 0
        written.append(np.load(out / "clip" / "000005.depth.npy"))
    assert not np.array_equal(*written)
    monkeypatch.setattr(sys, "argv", ["infer.py", str(clip), "--checkpoint", str(trained), "--smooth-maps", "--tasks", "pose"])
    with pytest.raises(SystemExit) as exit_:
        infer()
    assert exit_.value.code == 2
    assert "--smooth-maps is for parts, depth and normals" in capsys.readouterr().err
