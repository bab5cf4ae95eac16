"""Runs on groups of data: persons close up and whole pictures in one run, each for its tasks and at its own size."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from shared.build import build
from shared.data.turns import Turns
from shared.engine import data
from shared.engine.launch import train
from shared.engine.score import trivial_answers


@pytest.fixture
def grouped(tiny, small_shards):
    """grouped(folder, dict(...), "key=value") -> the settings of a run of two groups, the second one changed so."""

    def make(folder: Path, change: dict, *overrides: str, **first) -> dict:
        config = tiny("joint", folder, "iters=2", "accumulate=2", *overrides)
        crops = {"shards": str(small_shards), "tasks": ["pose"], "framing": "boxes", "batch": 3, "image_hw": (48, 32), **first}
        return {
            **config,
            "train": {"groups": [crops, {"shards": str(small_shards), "tasks": ["seg", "depth", "normal"], **change}]},
        }

    return make


def stream(config: dict) -> Turns:
    made = data.training(config, build(config["tasks"]), (64, 48))
    assert isinstance(made, Turns)
    return made


def test_each_group_has_the_labels_of_its_tasks_at_its_own_size(grouped, tmp_path):
    crops, whole = (stream(grouped(tmp_path, {}))[group, 0] for group in (0, 1))
    assert (crops["image"].shape[1:], whole["image"].shape[1:]) == ((48, 32), (64, 48))
    assert crops["keypoints"][:, 2].any()
    assert not whole["keypoints"][:, 2].any()
    assert (crops["seg"] == 255).all()
    assert (whole["seg"] != 255).any()
    assert crops["keypoints"].shape == whole["keypoints"].shape == (17, 3)


CHANGES = {
    "shards": {"shards": None},
    "weight": {"weight": 3.0},
    "batch": {"batch": 5},
    "image_hw": {"image_hw": (32, 48)},
    "framing": {"framing": "boxes"},
    "tasks": {"tasks": ["seg", "depth", "normal", "pose"]},
    "half_body": {
        "tasks": ["seg", "depth", "normal", "pose"],
        "half_body": {"type": "shared.data.half.HalfBody", "probability": 1.0, "least": 1},
    },
    "jitter": {"jitter": None},
    "backdrops": {"backdrops": {"type": "shared.data.backdrops.Backdrops", "photos": "PHOTOS", "share": 1.0}},
    "photometric": {"photometric": None},
    "occlusion": {"occlusion": {"type": "shared.data.occlusion.Occlusion", "probability": 1.0}},
}


@pytest.mark.parametrize("setting", [*data.OWN, *data.CHANGES])
def test_every_setting_of_a_group_changes_what_it_has(grouped, tmp_path, large_shards, setting):
    change = dict(CHANGES[setting])
    plain = {"tasks": change["tasks"]} if setting == "half_body" else {}
    if setting == "shards":
        change["shards"] = str(large_shards)
    if setting == "backdrops":
        photos = tmp_path / "photos"
        photos.mkdir()
        shutil.copy(Path(__file__).parents[3] / "docs/pictures/astronaut.png", photos)
        change["backdrops"] = {**change["backdrops"], "photos": str(photos)}
    seen = []
    for settings in (plain, change):
        turns = stream(grouped(tmp_path / "run", settings))
        places = list(turns.places(start=0, stop=12))
        seen.append((places, [turns[1, position] for position in range(4)]))
    (places, samples), (other_places, others) = seen
    same = all(a[name].shape == b[name].shape and torch.equal(a[name].nan_to_num(), b[name].nan_to_num())
               for a, b in zip(samples, others) for name in a)  # fmt: skip
    assert not same or places != other_places


def test_two_groups_of_the_same_shards_do_not_show_the_same(grouped, tmp_path):
    turns = stream(grouped(tmp_path, {}, image_hw=(64, 48), framing="whole"))
    assert not all(torch.equal(turns[0, p]["image"], turns[1, p]["image"]) for p in range(4))


def test_a_stopped_run_ends_as_if_it_never_was_and_stays_with_its_groups(grouped, tmp_path):
    config = grouped(tmp_path / "whole", {}, "save_every=1", "balance=pcgrad", batch=4)
    whole = load_file(train(config))
    assert all(tensor.isfinite().all() for tensor in whole.values())
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    (tmp_path / "stopped" / "iter_2.pth").unlink()
    stopped = {**config, "work_dir": str(tmp_path / "stopped")}
    with pytest.raises(ValueError, match=r"holds a run with other settings \(train\.groups: "):
        train(grouped(tmp_path / "stopped", {"batch": 1}, "save_every=1", "balance=pcgrad", batch=4))
    note = tmp_path / "stopped" / "config.json"
    crops, maps = config["train"]["groups"]
    two = {"processes": 2, "batch": 1, "train": {"groups": [{**crops, "batch": 2}, maps]}}  # as if two processes had begun it
    note.write_text(json.dumps(json.loads(note.read_text()) | two))
    resumed = load_file(train(stopped))
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_trivial_answers_are_taken_from_all_groups_at_one_size(grouped, tmp_path):
    config = grouped(tmp_path, {"jitter": None, "image_hw": (32, 32)})
    tasks = build(config["tasks"])
    plain = data.plain_training(config, tasks, (64, 48))
    assert {plain[position]["image"].shape for position in range(4)} == {(3, 64, 48)}
    answers = trivial_answers(tasks, plain)
    assert answers["pose"].amax() > 0.5
    assert answers["seg"].isfinite().all()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"wieght": 2}, "is no group of data; it has shards, and may have weight, batch, image_hw"),
        ({"tasks": ["face"]}, "a group of data is for face, but the tasks are seg, depth, normal, pose"),
        ({"tasks": ["seg"]}, "no group of data trains depth, normal; name it in the tasks of one"),
        ({"batch": 0}, "batch=0; it is at least 1"),
    ],
)
def test_what_is_no_group_is_a_sentence(grouped, tmp_path, change, told):
    with pytest.raises(ValueError, match=told):
        stream(grouped(tmp_path, change))


def test_a_run_has_shards_or_groups(grouped, tiny, tmp_path):
    config = grouped(tmp_path, {})
    for train_ in ({**config["train"], "shards": "x"}, {}):
        with pytest.raises(ValueError, match="train needs either shards or groups of them; set the other to None"):
            data.training({**config, "train": train_}, build(config["tasks"]), (64, 48))
