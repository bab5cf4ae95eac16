"""A joint pass is compared with single ones: counted parts add up, and what a run wrote of itself is told."""

from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from shared import checkpoint
from shared.build import build
from shared.dense.model import DenseModel
from shared.engine.compare import compared, cost, rows, run, table
from shared.engine.launch import describe, train

ROOT = Path(__file__).parents[3]
TASKS = ["seg", "depth", "normal", "pose"]


@pytest.fixture(scope="module")
def model(tiny, tmp_path_factory) -> DenseModel:
    made = build(describe(tiny("joint", tmp_path_factory.mktemp("joint"))))
    assert isinstance(made, DenseModel)
    return made.eval()


@pytest.fixture(scope="module")
def image():
    return torch.zeros(2, 3, 64, 48, dtype=torch.uint8)


def test_the_backbone_is_paid_once_in_a_joint_pass_and_once_for_each_task_apart(model, image):
    nothing, joint = cost(model, image, [], repeats=1), cost(model, image, TASKS, repeats=1)
    each = [cost(model, image, [name], repeats=1) for name in TASKS]
    for field in ("parameters", "flops"):
        backbone = getattr(nothing, field)
        assert backbone > 0
        assert getattr(joint, field) == sum(getattr(one, field) for one in each) - 3 * backbone
    assert joint.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert joint.seconds > 0


def test_arithmetic_grows_with_the_batch_and_parameters_do_not(model, image):
    one, two = cost(model, image[:1], TASKS, repeats=1), cost(model, image, TASKS, repeats=1)
    assert two.flops == 2 * one.flops
    assert two.parameters == one.parameters


def test_known_arithmetic_is_not_counted_again_and_a_compiled_model_is_not_watched_by_the_counter(model, image):
    watched = []
    handle = model.register_forward_pre_hook(lambda *_: watched.append(is_in_torch_dispatch_mode()))
    try:
        counted = cost(model, image, TASKS, repeats=1)
        known = cost(model, image, TASKS, repeats=1, flops=7)
    finally:
        handle.remove()
    assert (counted.parameters, known.flops) == (known.parameters, 7)
    assert watched == [True, False, False, False]


def test_a_table_has_the_share_and_the_scores_that_a_run_wrote(tiny, tmp_path, image, small_shards):
    config = tiny("joint", tmp_path / "mine", "iters=2", "val_every=2", "balance=dwa")
    path = train({**config, "val": {"shards": str(small_shards), "limit": 1}})
    one = compared(str(path))
    told = table([one], [rows(one, image, repeats=1)])
    first, *others = told.splitlines()[1:]
    assert first.split()[:2] == ["mine", "dwa"]
    scores = checkpoint.load(path).about["scores"]
    wanted = [f"{scores[f'{task.name}/{task.score.name}']:.4f}" for task in one.model.tasks]
    assert first.split()[-4:] == wanted
    assert [line.split()[0] for line in others[:4]] == TASKS
    joint, apart = (float(line.split()[-3]) for line in (first.rsplit(None, 4)[0], others[4]))
    assert others[5].startswith("  one pass / one after another")
    assert float(others[5].split()[-3]) == pytest.approx(joint / apart, abs=0.02)


def test_a_config_and_a_single_task_are_compared_too(tiny, tmp_path, capsys):
    seg = train(tiny("seg", tmp_path / "single", "iters=1"))
    assert run([str(ROOT / "configs/joint/synthetic_nano.py"), str(seg), "--device", "cpu", "--repeats", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["model", "synthetic_nano", *TASKS, "one", "one", "single"]


def test_every_option_changes_something(trained, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr("shared.engine.compare.rows", lambda one, image, **options: seen.append((image.shape[0], options)) or {})
    for options in ([], ["--batch", "3"], ["--repeats", "2"], ["--bf16"]):
        assert run([str(trained), "--device", "cpu", *options]) == 0
    assert len({str(one) for one in seen}) == 4


def test_mistakes_are_sentences(pretrained, tmp_path, capsys):
    assert run([str(pretrained), "--device", "cpu"]) == 2
    assert "which answers nothing; give models of tasks" in capsys.readouterr().err
    assert run([str(tmp_path / "no.py"), "--device", "cpu"]) == 2
    assert "no.py" in capsys.readouterr().err
