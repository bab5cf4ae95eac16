"""A model with a course: it is told where the training is, its state goes on with the run, and what it leaves is an encoder."""

import inspect
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pretrain.distil import Distil
from pretrain.model import MaskedAutoencoder
from shared import checkpoint
from shared.build import build
from shared.engine import optim
from shared.engine.config import load
from shared.engine.course import Course
from shared.engine.launch import describe, train
from shared.engine.plan import plan
from shared.engine.session import Session
from shared.engine.survive import Guard, Signals
from shared.vit.model import ViT

DISTIL = {"type": "pretrain.distil.Distil", "prototypes": 16, "hidden": 16, "bottleneck": 8, "momentum": (0.5, 1.0), "warmup": 3}
CROPS = {"type": "shared.data.crops.Crops", "local": 2, "local_hw": (32, 32)}
COURSE = (f"model.distil={DISTIL}", f"crops={CROPS}", "model.ratio=(0.4,0.9)", "model.block_share=0.5", "accumulate=2")


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """The settings of a run of four iterations that was never stopped."""
    folder = tmp_path_factory.mktemp("course") / "whole"
    config = tiny("pretrain", folder, "iters=4", "save_every=2", "keep=3", "preview=2", "optimizer=adamw", *COURSE)
    train(config)
    return config


def state(config, iteration):
    return torch.load(f"{config['work_dir']}/iter_{iteration}.pth", weights_only=True)["state_dict"]


def test_a_run_that_was_killed_goes_on_with_its_teacher_and_its_centre(whole, tmp_path):
    again = {**whole, "work_dir": str(tmp_path / "again")}
    shutil.copytree(whole["work_dir"], again["work_dir"])
    for name in ("iter_4.pth", "model.safetensors"):
        (tmp_path / "again" / name).unlink()
    train(again)
    one, two = state(whole, 4), state(again, 4)
    assert all(torch.equal(two[name], tensor) for name, tensor in one.items())
    before, after = state(whole, 2)["model.distil.centre"], one["model.distil.centre"]
    assert before.abs().sum() > 0
    assert not torch.equal(before, after)
    teacher, student = (one[f"model.{part}backbone.cls_token"] for part in ("distil.teacher.", ""))
    assert not torch.equal(teacher, student)


def test_what_it_leaves_is_an_autoencoder_with_the_backbone_of_the_teacher(whole):
    path, last = f"{whole['work_dir']}/model.safetensors", state(whole, 4)
    model: Any = checkpoint.load(path).model
    assert isinstance(model, MaskedAutoencoder)
    assert model.distil is None
    assert model.ratios == (0.4, 0.9)
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, last[f"model.distil.teacher.backbone.{name}"])
    assert torch.equal(model.decoder_pred.weight, last["model.decoder_pred.weight"])
    assert not [name for name in load_file(path) if name.startswith("distil")]


def test_its_backbone_begins_a_fine_tuning(whole):
    backbone: Any = ViT("nano", image_hw=(64, 48), patch=16)
    checkpoint.initialise(backbone, f"{whole['work_dir']}/model.safetensors")
    kept = state(whole, 4)["model.distil.teacher.backbone.blocks.3.mlp.fc1.weight"]
    assert torch.equal(backbone.blocks[3].mlp.fc1.weight, kept)


def test_a_run_that_starts_from_weights_has_a_teacher_that_does(whole, tiny, tmp_path):
    """After one iteration in which nothing moves but by half."""
    init = f"init={whole['work_dir']}/model.safetensors"
    config = tiny("pretrain", tmp_path / "from", init, "iters=1", "lr=0.0", "optimizer=adamw", *COURSE)
    train(config)
    given, last = load_file(f"{whole['work_dir']}/model.safetensors"), state(config, 1)
    for name, tensor in given.items():
        if name.startswith("backbone."):
            torch.testing.assert_close(last[f"model.distil.teacher.{name}"], tensor)


def test_pictures_are_drawn(whole):
    assert [path.suffix for path in (Path(whole["work_dir"]) / "preview").iterdir()] == [".jpg"]


def test_a_step_that_is_left_out_moves_no_teacher():
    guard = Guard(Session(torch.device("cpu")), Signals(), spike=0.0, skips=10)
    backbone = ViT({"dim": 32, "depth": 1, "heads": 2, "family": "sapiens2"}, image_hw=(16, 16), patch=8)
    recipe = Distil(prototypes=8, hidden=8, bottleneck=8, momentum=(0.0, 0.0))
    model: Any = MaskedAutoencoder(backbone, dim=16, depth=1, heads=2, distil=recipe).train()
    course, runner = Course(model, guard), SimpleNamespace(iter=1, max_iters=4)
    image = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    batch = {"image": image, "other": image, "local": image[:, None], "position": torch.arange(2)}
    for left_out in (True, False):
        course.before_train_iter(runner, 1)  # type: ignore[arg-type]
        model.losses(batch)
        with torch.no_grad():
            model.backbone.cls_token.add_(1.0)
        guard.left_out = left_out
        course.after_train_iter(runner, 1)  # type: ignore[arg-type]
        assert torch.equal(model.distil.teacher.backbone.cls_token, model.backbone.cls_token) is not left_out
        assert bool(model.distil.centre.abs().sum() > 0) is not left_out


def test_the_arithmetic_of_a_teacher_has_no_way_back(tiny, tmp_path):
    """It sees both large views whole: twice the patches, forward alone."""
    config = tiny("pretrain", tmp_path, f"model.distil={DISTIL}", f"crops={CROPS}", "model.block_share=0.5")
    found, alone = plan(config), plan({**config, "model": {**config["model"], "distil": None}, "crops": None})
    assert found.parameters > found.trained + sum(p.numel() for p in ViT("nano", image_hw=(64, 48), cls=True).parameters())
    assert found.activations > 2 * alone.activations
    assert found.flops > 2 * alone.flops
    model: Any = build(describe(config))
    blocks = sum(p.numel() for block in model.backbone.blocks for p in block.parameters() if p.ndim > 1)
    least = 2 * blocks * (2 * 13 + 3 * (2 * 4 + 2 * 5))  # the linear layers: teacher's tokens once, the student's three times
    assert least < found.flops < 2 * least


def test_a_rate_that_is_for_so_many_pictures_grows_with_them(tiny, tmp_path):
    config = tiny("pretrain", tmp_path / "run", "batch=2", "accumulate=2", "lr=0.01", "lr_for=8", "iters=1", "schedule=constant")
    assert optim.rate(config, processes=1) == pytest.approx(0.005)
    assert optim.rate(config, processes=64) == pytest.approx(0.32)
    assert optim.rate({**config, "lr_for": None}, processes=64) == 0.01
    train(config)
    saved = torch.load(tmp_path / "run" / "iter_1.pth", weights_only=True)
    assert {group["lr"] for group in saved["optimizer"]["param_groups"]} == {0.005}
    with pytest.raises(ValueError, match="lr_for=0 is no number of pictures"):
        train({**config, "lr_for": 0, "work_dir": str(tmp_path / "none")})


def test_the_recipe_of_sapiens2_is_the_one_that_was_published():
    """Specification of Sapiens2, section 5.1."""
    config = load("configs/pretrain/humans_v2_1b.py")
    recipe = Distil(**{key: value for key, value in config["model"]["distil"].items() if key != "type"})
    assert (recipe.weight, recipe.apart, recipe.momentum, recipe.centring) == (0.4, 0.04, (0.992, 0.992), 0.9)
    assert (recipe.sharp, recipe.sharper, recipe.warmup) == (0.1, (0.065, 0.07), 1000)
    assert config["model"]["block_share"] == 0.4
    assert "ratio" not in config["model"], "a number here would not give way to model.ratio=(0.75,0.95)"
    assert inspect.signature(MaskedAutoencoder).parameters["ratio"].default == 0.75
    assert (config["lr"], config["betas"], config["weight_decay"], config["clip"]) == (1e-4, (0.9, 0.95), 0.05, 5.0)
    assert (config["iters"], config["warmup"], config["photometric"]) == (500_000, 1000, None)
