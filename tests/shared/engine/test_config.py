"""A config is what its file says and its overrides change; every misspelt or mistyped one is answered with a sentence."""

from pathlib import Path

import pytest

from shared.engine.config import differences, load

JOINT = Path(__file__).parents[3] / "configs" / "joint" / "synthetic_nano.py"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("lrr=1e-3", r"no setting 'lrr'; did you mean lr\?"),
        ("backbone.sise=tiny", r"did you mean backbone\.size\?"),
        ("backbone.recompte=True", r"did you mean backbone\.recompute\?"),
        ("train.shard=x", r"did you mean train\.shards\?"),
        ("tasks.0.labls=lip20", r"did you mean tasks\.0\.labels\?"),
        ("tasks.9.labels=lip20", r"there are tasks\.0, tasks\.1, tasks\.2, tasks\.3"),
        ("jitter.zoom=2", r"there are .*jitter\.degrees"),
        ("lr.rate=1", r"no setting 'lr\.rate'; there are none"),
        ("backbone.size.name=1", "there are none"),
        ("train.shards.x=1", "there are none"),
        ("lr", "'lr' is no override; write key=value"),
        ("=3", "no setting ''"),
        ("decoder.up.0=3", r"give all of them, as in decoder\.up="),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_nearest(override, told):
    with pytest.raises(ValueError, match=told):
        load(JOINT, [override])


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("batch=two", "batch='two' is str, but batch is int, now"),
        ("batch=2.5", "is float, but batch is int"),
        ("batch=True", "is bool, but batch is int"),
        ("batch=None", "is NoneType, but batch is int"),
        ("lr=fast", "is str, but lr is float"),
        ("betas=0.9", "is float, but betas is tuple"),
        ("backbone.image_hw=192", "is int, but backbone.image_hw is tuple"),
        ("backbone=nano", r"backbone is a group of settings; set one of backbone\.type, backbone\.size"),
    ],
)
def test_a_setting_of_another_kind_is_refused(override, told):
    with pytest.raises(ValueError, match=told):
        load(JOINT, [override])


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("lr=3e-4", ("lr",), 3e-4),
        ("lr=1", ("lr",), 1.0),
        ("seed=7", ("seed",), 7),
        ("backbone.image_hw=(64,48)", ("backbone", "image_hw"), (64, 48)),
        ("backbone.size=300m", ("backbone", "size"), "300m"),
        ("backbone.recompute=True", ("backbone", "recompute"), True),
        ("backbone.recompute=4", ("backbone", "recompute"), 4),
        ("backbone.recompute=selective", ("backbone", "recompute"), "selective"),
        ("tasks.0.labels=lip20", ("tasks", 0, "labels"), "lip20"),
        ("tasks.3.hardest=5", ("tasks", 3, "hardest"), 5),
        ("weights.pose=2", ("weights", "pose"), 2.0),
        ("train.shards=a-{000..511}.tar", ("train", "shards"), "a-{000..511}.tar"),
        ("train.shards=512", ("train", "shards"), "512"),
        ("train.shards=a=b", ("train", "shards"), "a=b"),
        ("train.shards=['a','b/c']", ("train", "shards"), ["a", "b/c"]),
        ("val.limit=10", ("val", "limit"), 10),
        ("val=None", ("val",), None),
        ("photometric=None", ("photometric",), None),
        ("init=some/file.safetensors", ("init",), "some/file.safetensors"),
    ],
)
def test_an_override_reaches_its_place_and_no_other(override, path, value):
    plain, node = load(JOINT), load(JOINT, [override])
    assert len(differences(plain, node)) <= 1
    for key in path:
        node = node[key]
    assert node == value
    assert type(node) is type(value)


def test_an_empty_group_is_filled_as_a_whole(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("weights = dict()")
    with pytest.raises(ValueError, match=r"weights is empty; fill it as a whole: weights=\{'seg': \.\.\.\}"):
        load(path, ["weights.seg=2.0"])
    assert load(path, ["weights={'seg': 2.0}"])["weights"] == {"seg": 2.0}


def test_a_file_can_be_taken_back():
    with_file = load(JOINT, ["init=a.safetensors"])
    assert load(JOINT, ["init=a.safetensors", "init=None"])["init"] is None
    assert differences(load(JOINT), with_file) == ["init: None -> 'a.safetensors'"]


def test_one_folder_stands_where_there_were_several():
    several = JOINT.parent / "builtin_tiny.py"
    assert load(several, ["train.shards=data/mine"])["train"]["shards"] == "data/mine"
    mixed = ["train.shards=[{'shards': 'a', 'weight': 1.0}]", "train.shards=data/mine"]
    assert load(several, mixed)["train"]["shards"] == "data/mine"
    with pytest.raises(ValueError, match="tasks is list"):
        load(several, ["tasks=seg"])


def test_later_overrides_win():
    assert load(JOINT, ["seed=1", "seed=2"])["seed"] == 2


def test_classes_stand_as_names_and_bases_are_inherited():
    config = load(JOINT)
    assert config["model"]["type"] == "shared.dense.model.DenseModel"
    assert [task["type"].rpartition(".")[2] for task in config["tasks"]] == ["Seg", "Depth", "Normal", "Pose"]
    assert config["schedule"] == "cosine"  # of run.py, two files up
    assert config["work_dir"] == str(Path("runs/joint/synthetic_nano"))


def test_a_config_that_is_not_there_is_named_with_its_neighbours(monkeypatch):
    monkeypatch.chdir(JOINT.parents[2])
    with pytest.raises(ValueError, match=r"no config file configs/joint/synthetic_nan\.py; did you mean .*synthetic_nano\.py"):
        load("configs/joint/synthetic_nan.py")


BASE = "from mmengine.config import read_base\n"


@pytest.mark.parametrize("text", ["lr = ", "lr = 1 / 0", f"{BASE}with read_base():\n    from .gone import *"])
def test_a_config_that_python_cannot_read_is_a_sentence(tmp_path, text):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"the config .*broken\.py cannot be read: \w+Error"):
        load(path)


def test_a_config_of_the_users_own_may_lie_anywhere(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("lr = 1.0\nbackbone = dict(size='nano')\n")
    config = load(path, ["lr=2", "backbone.size=tiny"])
    assert (config["lr"], config["backbone"]) == (2.0, {"size": "tiny"})


def test_differences_name_the_way_to_each_setting():
    old, new = {"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 1, "c": 3}, "d": [1], "e": None}
    assert differences(old, new) == ["a.c: 2 -> 3"]
    assert differences(old, old) == []
