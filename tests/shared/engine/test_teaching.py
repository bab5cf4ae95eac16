"""Runs with teachers: pictures without labels will do, a stopped run ends as if it never was, files hold the student alone."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shared import checkpoint
from shared.data.shards import Shards, write_shards
from shared.engine.launch import train

TASKS = ("seg", "depth", "normal", "pose")


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def photos(small_shards, tmp_path_factory) -> Path:
    """People of whom nothing is known but their boxes."""
    shards = Shards(small_shards)
    folder = tmp_path_factory.mktemp("photos")
    bare = ((str(i), {name: shards.read(i)[name] for name in ("image", "box")}) for i in range(4))
    write_shards(bare, folder)
    return folder


def with_teacher(path: Path, **options) -> str:
    return f"teacher={ {'checkpoint': str(path), **options} }"


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory, trained, photos):
    """The settings of a run of three iterations on photos alone that was never stopped."""
    overrides = (with_teacher(trained, features=0.5), f"train.shards={photos}", "ema=0.7", "accumulate=2", "seed=1")
    config = tiny("joint", tmp_path_factory.mktemp("taught") / "run", "save_every=1", "keep=9", "log_every=1", *overrides)
    train(config)
    return config


def test_pictures_without_labels_teach_every_task(run, tiny, tmp_path, photos):
    events = EventAccumulator(run["work_dir"])
    events.Reload()
    curves = {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"] if tag.startswith("loss/")}
    for task in TASKS:
        assert all(value > 0 for value in [*curves[f"loss/{task}/taught"], *curves[f"loss/{task}/features"]])
    assert all(value == 0 for tag, values in curves.items() if not tag.endswith(("/taught", "/features")) for value in values)
    with pytest.raises(ValueError, match=r"no sample has the field '.*' that the task needs"):
        train(tiny("joint", tmp_path / "alone", f"train.shards={photos}"))


def test_a_stopped_run_ends_as_if_it_never_was_and_keeps_no_teacher(run, tmp_path, trained):
    whole = torch.load(f"{run['work_dir']}/iter_3.pth", weights_only=True)
    shutil.copytree(run["work_dir"], tmp_path / "stopped")
    (tmp_path / "stopped" / "iter_3.pth").unlink()
    resumed = train({**run, "work_dir": str(tmp_path / "stopped")})
    last = torch.load(tmp_path / "stopped" / "iter_3.pth", weights_only=True)
    student = load_file(trained).keys()
    for part in ("state_dict", "ema_state_dict"):
        assert same(last[part], whole[part])
        kept = {name.removeprefix("module.") for name in whole[part]} - {"steps"}
        assert kept == {f"model.{name}" for name in student} | {"teaching.maps.0.weight", "teaching.maps.0.bias"}
    assert same(load_file(resumed), load_file(Path(run["work_dir"]) / "model.safetensors"))
    assert load_file(resumed).keys() == student
    assert checkpoint.load(resumed).model.losses


def test_what_has_no_teacher_needs_labels(tiny, tmp_path, photos, small_shards):
    parts = train(tiny("seg", tmp_path / "parts", "iters=1"))
    with pytest.raises(ValueError, match="no sample has the field 'depth' that the task needs"):
        train(tiny("joint", tmp_path / "joint", with_teacher(parts), f"train.shards={photos}"))
    mixed = tiny("joint", tmp_path / "joint", with_teacher(parts), "iters=1", "log_every=1")
    train({**mixed, "train": {"shards": [{"shards": str(photos)}, {"shards": str(small_shards)}]}})
    events = EventAccumulator(str(tmp_path / "joint"))
    events.Reload()
    assert [tag for tag in events.Tags()["scalars"] if tag.endswith("/taught")] == ["loss/seg/taught"]


def test_a_run_stays_with_its_teacher(run):
    weaker = {**run["teacher"], "features": 0.1}
    with pytest.raises(ValueError, match=r"other settings \(teacher\.features: 0\.5 -> 0\.1\)"):
        train({**run, "iters": 3, "teacher": weaker, "work_dir": run["work_dir"]})


@pytest.mark.parametrize(
    ("teacher", "told"),
    [
        ("{'weight': 2.0}", "names no model; give {'checkpoint': "),
        ("model.safetensors", "teacher='model.safetensors' names no model"),
        ("{'checkpoint': 'nowhere.safetensors'}", "nowhere.safetensors"),
        ("{'checkpoint': 'TRAINED', 'wieght': 2.0}", "takes no 'wieght'; did you mean weight"),
        ("{'checkpoint': 'MAE'}", "holds a MaskedAutoencoder, which answers nothing"),
        ("{'checkpoint': ['TRAINED', 'TRAINED']}", "every task has a teacher already; leave it out"),
    ],
)
def test_a_teacher_that_cannot_be_is_a_sentence_and_no_folder(tiny, tmp_path, trained, pretrained, teacher, told):
    teacher = teacher.replace("TRAINED", str(trained)).replace("MAE", str(pretrained))
    with pytest.raises(ValueError, match=told):
        train(tiny("joint", tmp_path / "joint", f"teacher={teacher}"))
    assert not list(tmp_path.iterdir())
