"""A run begins where another one ended: the backbone, and the decoders that answer the same, by the names of their points."""

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from shared import checkpoint
from shared.build import build
from shared.dense.decoder import Spec
from shared.dense.model import DenseModel
from shared.engine.launch import train
from shared.vit.model import ViT
from tasks.depth.task import Depth
from tasks.pointmap.task import Pointmap
from tasks.pose.task import Pose
from tasks.seg.task import Seg

SPEC = {"type": "shared.dense.decoder.Spec", "up": (16,), "refine": (16,)}


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """A model of 308 points, 28 parts and depth, with random weights."""
    backbone = {"type": "shared.vit.model.ViT", "size": "nano", "image_hw": (64, 48)}
    tasks = [
        {"type": "tasks.pose.task.Pose", "skeleton": "sapiens308"},
        {"type": "tasks.seg.task.Seg"},
        {"type": "tasks.depth.task.Depth"},
    ]
    about = {"type": "shared.dense.model.DenseModel", "backbone": backbone, "tasks": tasks, "decoder": SPEC}
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    checkpoint.save(path, made(Pose(skeleton="sapiens308"), Seg(), Depth()).state_dict(), about)
    return path


def made(*tasks, width: int = 16) -> DenseModel:
    return DenseModel(ViT("nano", image_hw=(64, 48)), tasks, decoder=Spec((width,), (width,)))


def test_points_are_found_by_their_names(file):
    learnt, model = load_file(file), made(Pose(skeleton="coco17"))
    first = model.decoders["pose"].state_dict()["last.weight"].clone()
    checkpoint.initialise_decoders(model, file)
    state, names = model.decoders["pose"].state_dict(), Pose(skeleton="sapiens308").vocabulary.names
    assert torch.equal(state["refine.0.0.weight"], learnt["decoders.pose.refine.0.0.weight"])
    for row, name in enumerate(Pose(skeleton="coco17").vocabulary.names):
        assert torch.equal(state["last.weight"][row], learnt["decoders.pose.last.weight"][names.index(name)]), name
    assert not torch.equal(state["last.weight"], first)


def test_points_that_the_file_does_not_know_keep_their_first_values(file, caplog):
    caplog.set_level(logging.INFO)
    model = made(Pose(skeleton="wholebody133"))
    first = model.decoders["pose"].state_dict()["last.weight"].clone()
    checkpoint.initialise_decoders(model, file)
    kept = (model.decoders["pose"].state_dict()["last.weight"] == first).flatten(1).all(1)
    assert 0 < int(kept.sum()) < 60
    assert f"initialised from {file}, {133 - int(kept.sum())} of its 133 points" in caplog.text


@pytest.mark.parametrize(
    ("model", "why"),
    [(made(Seg(labels="sapiens29")), "that of the file answers something else"),
     (made(Depth(metric=True)), "that of the file answers something else"),
     (made(Depth(), width=32), "its widths are others than those of the file")],
    ids=["labels", "metres", "widths"],
)  # fmt: skip
def test_what_answers_something_else_or_does_not_fit_begins_anew(file, model, why, caplog):
    caplog.set_level(logging.INFO)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    checkpoint.initialise_decoders(model, file)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert f"begins from random numbers: {why}" in caplog.text


@pytest.mark.parametrize("wanted", [True, False])
def test_a_run_takes_the_decoders_unless_told_not_to(tiny, tmp_path, trained, wanted):
    learnt = load_file(trained)
    found = load_file(train(tiny("joint", tmp_path, "iters=1", "lr=0.0", f"init={trained}", f"init_decoders={wanted}")))
    same = {name: torch.equal(tensor, learnt[name]) for name, tensor in found.items()}
    assert all(equal for name, equal in same.items() if name.startswith("backbone."))
    assert all(same[f"decoders.{task}.refine.0.0.weight"] is wanted for task in ("seg", "depth", "normal", "pose"))


def test_a_decoder_that_also_answers_the_scale_does_not_fit_one_that_does_not(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    task, scale = {"type": "tasks.pointmap.task.Pointmap"}, {"convs": (8, 4), "hidden": (16,), "grid": (1, 1)}
    backbone = {"type": "shared.vit.model.ViT", "size": "nano", "image_hw": (64, 48)}
    about = {"type": "shared.dense.model.DenseModel", "backbone": backbone, "tasks": [task], "decoder": {**SPEC, "scale": scale}}
    checkpoint.save(tmp_path / "model.safetensors", build(about).state_dict(), about)
    checkpoint.initialise_decoders(made(Pointmap()), tmp_path / "model.safetensors")
    assert "begins from random numbers: its widths are others" in caplog.text
