"""Runs with balanced tasks: fixed weights are the run as it was, a stopped one ends as if it never was, curves tell who counted."""

import shutil

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shared import checkpoint
from shared.engine.launch import train

STAGES = [{"at": 0.0, "weights": {"seg": 0.0}}, {"at": 1.0, "weights": {"seg": 2.0}}]
RULES = {
    "gradnorm": ("balance=gradnorm", "accumulate=2"),
    "uncertainty": ("balance={'type': 'shared.dense.balance.Uncertainty', 'rate': 0.3}", "ema=0.7"),
    "staged": (f"balance={{'type': 'shared.dense.balance.Staged', 'stages': {STAGES}}}", "optimizer=adamw"),
    "pcgrad": ("balance=pcgrad", "accumulate=2"),
}


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_fixed_weights_are_the_run_as_it_was_bit_for_bit(tiny, tmp_path, trained):
    compared = train(tiny("joint", tmp_path / "joint", "iters=2", "balance=fixed", "compare=True"))
    assert same(load_file(compared), load_file(trained))


@pytest.fixture(scope="module", params=RULES)
def run(request, tiny, tmp_path_factory):
    """The settings of a run of three iterations that was never stopped."""
    folder = tmp_path_factory.mktemp("balance") / request.param
    config = tiny("joint", folder, "save_every=1", "keep=9", "log_every=1", *RULES[request.param])
    train(config)
    return config


def test_a_stopped_run_ends_as_if_it_never_was(run, tmp_path, trained):
    whole = torch.load(f"{run['work_dir']}/iter_3.pth", weights_only=True)
    shutil.copytree(run["work_dir"], tmp_path / "stopped")
    (tmp_path / "stopped" / "iter_3.pth").unlink()
    resumed = train({**run, "work_dir": str(tmp_path / "stopped")})
    last = torch.load(tmp_path / "stopped" / "iter_3.pth", weights_only=True)
    for part in {"state_dict", "ema_state_dict"} & whole.keys():
        assert same(last[part], whole[part])
    weights = load_file(resumed)
    assert not same(weights, load_file(trained))
    assert not [name for name in weights if "balance" in name], "what balanced the training is no part of the model"
    assert checkpoint.load(resumed).model.losses  # and the file is one that can be used


def test_curves_tell_costs_and_weights_and_where_they_are_looked_at_gradients(run):
    events = EventAccumulator(run["work_dir"])
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {f"balance/{what}/{task}" for what in ("cost", "weight") for task in ("seg", "depth", "normal", "pose")} <= tags
    looked = run["balance"] in ("gradnorm", "pcgrad")
    assert ("balance/norm/seg" in tags) == ("balance/cosine/seg-depth" in tags) == looked
    if "stages" in run["balance"]:
        assert [event.value for event in events.Scalars("balance/weight/seg")] == pytest.approx([0, 2 / 3, 4 / 3])
    if run["accumulate"] == 1:
        for step in range(3):  # the sum of the losses is that of costs times weights
            values = {tag: events.Scalars(tag)[step].value for tag in tags if tag.startswith(("balance/", "loss"))}
            costs = {tag.rpartition("/")[2]: value for tag, value in values.items() if "/cost/" in tag}
            total = sum(value * values[f"balance/weight/{task}"] for task, value in costs.items())
            assert values["loss"] == pytest.approx(total, rel=1e-5)


def test_a_balance_that_does_not_exist_is_a_sentence_and_no_folder(tiny, tmp_path):
    with pytest.raises(ValueError, match="no balance 'gradnrm'; choose one of fixed, uncertainty, gradnorm"):
        train(tiny("joint", tmp_path / "joint", "balance=gradnrm"))
    assert not list(tmp_path.iterdir())
