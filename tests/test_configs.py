"""Every config says what can be built, on one screen, and every example of an override is one."""

import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from shared.build import build, named
from shared.dense.balance import balancer
from shared.dense.decoder import HEATMAP_V2, HEATMAP_V2_1B, NORMAL_V2, NORMAL_V2_5B, POINTMAP, POINTMAP_5B, SEG_V2
from shared.dense.distil import Distillation
from shared.engine.config import load
from shared.engine.data import CHANGES, OWN
from shared.engine.launch import describe
from shared.engine.optim import groups, schedule
from shared.vit.sizes import SIZES

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("configs/*/*.py") if path.parent.name != "_base_")
WORDS = re.compile(r"(?:finetune|evaluate|mae)\.py +(configs/\S+\.py)((?: +[\w-]\S*)*)")


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_builds_its_model(config):
    """On the meta device: shapes without memory."""
    tree = load(ROOT / config)
    with torch.device("meta"):
        model = build(describe(tree))
    folder, name = config.split("/")[1], Path(config).stem
    *_, generation, size = name.split("_")
    size = f"v2_{size}" if generation == "v2" else size
    dim, depth, *_ = SIZES[size]
    assert (model.backbone.dim, len(model.backbone.blocks)) == (dim, depth), "the name of the file gives the size"
    names = [task.name for task in model.tasks]
    assert names == {"pretrain": [], "joint": ["seg", "depth", "normal", "pose"]}.get(folder, [folder])
    assert groups(model, **{key: tree[key] for key in ("lr", "weight_decay", "layer_decay")})
    assert schedule(tree["schedule"], iters=tree["iters"], warmup=tree["warmup"])
    assert tree["work_dir"] == f"runs/{folder}/{name}"


HEADS = {"pose": HEATMAP_V2, "pose_1b": HEATMAP_V2_1B, "seg": SEG_V2, "normal": NORMAL_V2, "normal_5b": NORMAL_V2_5B}
HEADS |= {"pointmap": POINTMAP, "pointmap_5b": POINTMAP_5B}


@pytest.mark.parametrize("config", [config for config in CONFIGS if "_v2_" in config and "pretrain" not in config])
def test_a_config_of_sapiens2_has_the_official_head(config):
    _, task, name = Path(config).with_suffix("").parts
    tree = load(ROOT / config)
    spec = build(tree["decoder"]) or POINTMAP
    wanted = HEADS.get(f"{task}_{name.rsplit('_', 1)[1]}", HEADS[task])
    assert json.dumps(asdict(spec)) == json.dumps(asdict(wanted))


@pytest.mark.parametrize("config", CONFIGS)
def test_changes_of_the_training_views_build(config):
    tree = load(ROOT / config)
    build(tree["jitter"])
    build(tree["photometric"])
    build(tree.get("crops"))


@pytest.mark.parametrize("config", [config for config in CONFIGS if "balance =" in (ROOT / config).read_text()])
def test_the_balance_of_a_config_is_a_rule_for_its_tasks(config):
    tree = load(ROOT / config)
    names = tuple(named(task["type"]).name for task in tree["tasks"])
    assert balancer(tree["balance"], names).rule.tasks == names


@pytest.mark.parametrize("config", [config for config in CONFIGS if "teacher =" in (ROOT / config).read_text()])
def test_the_teacher_of_a_config_is_the_run_of_another_and_fits_its_student(config):
    tree = load(ROOT / config)
    options = dict(tree["teacher"])
    theirs = load(ROOT / options.pop("checkpoint").replace("runs/", "configs/").replace("/model.safetensors", ".py"))
    with torch.device("meta"):
        student, teacher = build(describe(tree)), build(describe(theirs))
        assert build({"type": Distillation, **options}, student=student, teachers=[teacher]).tasks == (
            "seg",
            "depth",
            "normal",
            "pose",
        )
    seen = [round(options["enlarge"] * n) for n in tree["backbone"]["image_hw"]]
    assert seen == list(theirs["backbone"]["image_hw"]), "the teacher sees what it was made for"


@pytest.mark.parametrize("config", [config for config in CONFIGS if "groups=" in (ROOT / config).read_text()])
def test_the_groups_of_a_config_train_every_task_at_sizes_that_its_patches_fill(config):
    tree = load(ROOT / config)
    groups = tree["train"]["groups"]
    assert {name for group in groups for name in group["tasks"]} == {named(task["type"]).name for task in tree["tasks"]}
    assert all(set(group) <= {*OWN, *CHANGES} for group in groups)
    assert all(n % tree["backbone"]["patch"] == 0 for group in groups for n in group["image_hw"])
    assert tree["accumulate"] % sum(group.get("weight", 1) for group in groups) == 0, "every step has all of them"


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_is_short_and_begins_with_a_sentence(config):
    lines = (ROOT / config).read_text().splitlines()
    assert len(lines) <= 40
    assert lines[0].startswith('"""')
    assert lines[0].endswith('."""')


def test_there_is_a_config_of_every_kind():
    assert {config.split("/")[1] for config in CONFIGS} == {"pretrain", "pose", "seg", "depth", "normal", "pointmap", "joint"}


def examples() -> list[tuple[str, str]]:
    """(config, overrides) of the commands in documents, docstrings and help texts."""
    texts = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tasks/**/*.md")]
    texts += [path for part in ("pretrain", "shared", "tasks") for path in (ROOT / part).rglob("*.py")]
    found = set()
    for path in texts:
        for config, rest in WORDS.findall(path.read_text(encoding="utf-8").replace("\\\n", " ")):
            if "{" not in config:
                words = [word.rstrip("`\"'.,;") if "'" not in word else word for word in rest.split()]
                found.add((config, " ".join(word for word in words if "=" in word and not word.startswith("-"))))
    return sorted(found)


@pytest.mark.parametrize(("config", "overrides"), examples())
def test_every_example_of_an_override_is_one(config, overrides):
    load(ROOT / config, shlex.split(overrides))


def test_there_are_examples():
    assert any(overrides for _, overrides in examples())
