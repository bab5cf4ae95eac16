"""Rows of passes, with a model that takes no time."""

import math

import pytest
import torch
from answering import TOGETHER, Joint, passes, rows, ways
from speed_table import Bench, Row

from shared.dense.decoder import Spec
from shared.dense.model import DenseModel
from shared.engine.compare import cost

CPU = torch.device("cpu")
TINY = Joint("tiny", {"dim": 32, "depth": 1, "heads": 2}, (64, 48), CPU, Spec((16,), (16,)), batches=(1, 2))


@pytest.fixture(scope="module")
def model() -> DenseModel:
    return TINY.model()


def test_every_batch_has_a_row_for_all_for_each_and_for_what_they_share(model):
    found = list(rows(Bench(CPU), TINY, model, repeats=1))
    assert [row.name for row in found[:6]] == [
        f"tiny, batch 1, {way}" for way in (TOGETHER, "pose alone", "seg alone", "depth alone", "normal alone", "one pass / apart")
    ]
    assert [row.name.replace("batch 1", "batch 2") for row in found[:6]] == [row.name for row in found[6:]]
    assert all(row.images_per_s > 0 for row in found if not row.why)


def test_arithmetic_is_that_of_one_forward_pass_and_a_joint_one_is_told_as_a_share_of_the_others(model):
    one, chosen = TINY.pictures(1), ways(model)
    first, *_, last = passes(Bench(CPU), "tiny", model, TINY.pictures(2), repeats=1)
    joint, *alone = (cost(model, one, only, repeats=1).flops for only in chosen.values())
    assert first.tflops == pytest.approx(joint * first.images_per_s / 1e12)
    assert last.why.endswith(f"{joint / sum(alone):.3f} of the arithmetic")


def test_what_had_no_room_before_it_was_compiled_is_not_measured_afterwards(model):
    known = {"seg alone": cost(model, TINY.pictures(1), ["seg"], repeats=1)}
    row, *others = passes(Bench(CPU), "tiny, compiled", model, TINY.pictures(1), repeats=1, known=known)
    assert row.name == "tiny, compiled, seg alone"
    assert row.tflops == pytest.approx(known["seg alone"].flops * row.images_per_s / 1e12)
    assert others == []


def test_official_heads_stand_on_the_model_where_no_other_widths_are_given():
    large = Joint("300m", "300m", (1024, 768), torch.device("meta")).model()
    assert sum(parameter.numel() for parameter in large.parameters()) > 300e6
    assert {name: decoder.last.out_channels for name, decoder in large.decoders.items()} == {  # type: ignore[union-attr]
        "pose": 308,
        "seg": 28,
        "depth": 1,
        "normal": 3,
    }


def test_rows_for_which_the_time_is_up_are_named_and_nothing_is_computed(model):
    found = list(passes(Bench(CPU, until=-math.inf), "tiny", model, TINY.pictures(1)))
    assert found == [Row(f"tiny, {way}", why="left out: the time is up") for way in ways(model)]


def test_a_row_that_breaks_is_told_and_the_next_is_measured(model, capsys):
    wrong = TINY.pictures(1)[:, :2]  # two colours
    found = list(passes(Bench(CPU), "tiny", model, wrong, repeats=1))
    assert all(row.broken and row.why.startswith("broke: ") for row in found)
    assert len(found) == 5
    assert "Traceback" in capsys.readouterr().err
