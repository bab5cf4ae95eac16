"""AdamW of eight bits: almost AdamW's steps, a quarter of its memory, and a state that goes on where it was."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn, optim

from shared.engine import eightbit
from shared.engine.launch import train
from shared.engine.optim import adamw, adamw8bit, optimizer, state_bytes
from shared.vit.model import ViT

OPTIONS = {"lr": 1e-3, "weight_decay": 0.1, "layer_decay": 0.5, "betas": (0.9, 0.99)}


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = ViT("nano", image_hw=(32, 32), cls=True)


def model() -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Model()


def follow(made: optim.Optimizer, model: nn.Module, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        made.step()


@pytest.fixture
def torchao() -> None:
    pytest.importorskip("torchao", reason="torchao is not installed; pip install torchao")


@pytest.mark.usefixtures("torchao")
def test_its_steps_are_almost_adamws_in_every_group():
    start, exact, narrow = model(), model(), model()
    for made, of in ((adamw(exact, **OPTIONS), exact), (adamw8bit(narrow, **OPTIONS), narrow)):
        follow(made, of, range(5))
    for (name, begun), a, b in zip(start.named_parameters(), exact.parameters(), narrow.parameters()):
        moved = (a - begun).norm()
        assert moved > 0
        assert (a - b).norm() < 0.1 * moved, name
        if a.ndim == 1:
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)  # too small for eight bits


@pytest.mark.usefixtures("torchao")
def test_groups_keep_their_rates_and_decays_as_numbers():
    ours, theirs = (make(model(), **OPTIONS).param_groups for make in (adamw8bit, adamw))
    for a, b in zip(ours, theirs, strict=True):
        assert isinstance(a["lr"], float)
        assert a["lr"] == b["lr"]
        assert (a["weight_decay"], a["betas"], len(a["params"])) == (b["weight_decay"], b["betas"], len(b["params"]))


@pytest.mark.usefixtures("torchao")
def test_a_rate_that_a_scheduler_sets_is_followed():
    found = []
    for rate in (1e-3, 0.0):
        one = model()
        made = adamw8bit(one, **OPTIONS)
        for group in made.param_groups:
            group["lr"] = rate
        follow(made, one, range(1))
        assert all(isinstance(group["lr"], float) for group in made.param_groups)
        found.append(one)
    still, moved = found[1], found[0]
    assert all(torch.equal(a, b) for a, b in zip(still.parameters(), model().parameters()))
    assert not any(torch.equal(a, b) for a, b in zip(moved.parameters(), model().parameters()))


def size(value: torch.Tensor) -> int:
    parts = getattr(value, "tensor_attrs", ())
    return sum(size(getattr(value, part)) for part in parts) if parts else value.nbytes


@pytest.mark.usefixtures("torchao")
def test_its_memory_is_the_planned_one_and_a_quarter_of_adamws():
    one = model()
    made = adamw8bit(one, **OPTIONS)
    follow(made, one, range(1))
    taken = {p: sum(size(value) for key, value in made.state[p].items() if key != "step") for p in one.parameters()}
    planned = {p: state_bytes("adamw8bit", name, p) for name, p in one.named_parameters()}
    assert taken == planned
    weights = sum(planned[p] for p in planned if p.ndim > 1), sum(state_bytes("adamw", "", p) for p in planned if p.ndim > 1)
    assert weights[0] < 0.35 * weights[1]


@pytest.mark.usefixtures("torchao")
def test_a_run_that_was_stopped_goes_on_with_the_same_weights(tiny, tmp_path):
    settings = ("optimizer=adamw8bit", "iters=4", "save_every=2", "layer_decay=0.5")
    whole = train(tiny("seg", tmp_path / "whole", *settings))
    cut = Path(tmp_path / "whole").rename(tmp_path / "cut")
    wanted = load_file(cut / "model.safetensors")
    for name in ("iter_4.pth", "model.safetensors"):
        (cut / name).unlink()
    went_on = load_file(train(tiny("seg", cut, *settings)))
    assert whole.name == "model.safetensors"
    assert all(torch.equal(went_on[name], wanted[name]) for name in wanted)
    plain = load_file(train(tiny("seg", tmp_path / "plain", *settings[1:])))
    assert not all(torch.equal(plain[name], wanted[name]) for name in wanted)


def test_without_the_library_it_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao.optim", None)  # what Python takes for a module that is not there
    with pytest.raises(
        ValueError, match=r"needs torchao, which cannot be imported .*; pip install torchao, or use optimizer=adamw"
    ):
        optimizer("adamw8bit", Model(), **OPTIONS)


def test_small_and_odd_tensors_stay_in_full_precision():
    sizes = {count: eightbit.state_bytes(nn.Parameter(torch.zeros(count))) for count in (4095, 4096, 4097)}
    assert sizes == {4095: 8 * 4095, 4096: 2 * (4096 + 4 * 16 + 1024), 4097: 8 * 4097}
