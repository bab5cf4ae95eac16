"""The model that comes with the project: all four answers from a file that a repository can hold, and that names no machine."""

import re

import numpy as np
import torch

from shared import builtin, weights
from shared.infer.predictor import Predictor

MOST = 30e6  # bytes


def test_the_built_in_model_answers_all_four_tasks():
    predictor = Predictor.load(device="cpu")
    assert {task.name for task in predictor.tasks} == {"seg", "depth", "normal", "pose"}
    answers = predictor(np.full((80, 60, 3), 128, np.uint8))
    assert all(np.isfinite(answer).all() for answer in answers.values())


def test_the_file_is_small_and_half_as_large_as_its_numbers():
    found = weights.read(builtin.MODEL)
    assert builtin.MODEL.stat().st_size <= MOST
    learnt = [tensor for name, tensor in found.tensors.items() if not name.endswith("rope.periods")]
    assert {tensor.dtype for tensor in learnt} == {torch.bfloat16}
    assert found.about is not None
    assert not re.search(r'"~?/\w', str(found.about).replace("'", '"')), "a path of the machine that it was trained on"


def test_the_card_has_no_room_left_to_fill():
    card = builtin.MODEL.with_name("README.md").read_text(encoding="utf-8")
    assert "not there yet" not in card
    assert not re.findall(r"^- .*:$", card, re.MULTILINE), "a line of the card waits for what stands behind its colon"
