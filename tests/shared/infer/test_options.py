"""What the words on the command line mean."""

import pytest

from shared import builtin
from shared.infer.options import parser_of, size, span
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pointmap.task import Pointmap
from tasks.pose.task import Pose
from tasks.seg.task import Seg

TASKS = {"seg": Seg, "depth": Depth, "normal": Normal, "pose": Pose, "pointmap": Pointmap}


def test_a_size_is_height_and_width():
    assert size("1024x768") == size("1024X768") == (1024, 768)
    for text in ("0x5", "axb", "-1x5", "1x2x3"):
        with pytest.raises(ValueError, match="is not a size"):
            size(text)


def test_a_span_is_two_distances_the_nearer_first():
    assert span("2,3.5") == (2, 3.5)
    for text in ("2", "3,2", "0,1", "a,b", "1,inf", "nan,2"):
        with pytest.raises(ValueError, match="is no span"):
            span(text)


@pytest.mark.parametrize("task", TASKS)
def test_the_help_is_true_about_the_built_in_model_for_every_task(task, trained, monkeypatch):
    """`trained` answers what the built-in model does."""
    monkeypatch.setattr(builtin, "MODEL", trained)
    said = parser_of(TASKS[task]).format_help()
    examples = [line for line in said.splitlines() if f"tasks/{task}/infer.py" in line]
    words = " ".join(said.split())
    assert len(examples) == 6
    if task == "pointmap":
        assert "(needed: the built-in model does not answer pointmap)" in words
        assert all(" --checkpoint " in line for line in examples), "what is shown there works"
        assert not any("--smooth-maps" in line for line in examples), "which is refused for pointmaps"
    else:
        assert "(default: the built-in model)" in words
        assert "needed" not in words
        assert not all(" --checkpoint " in line for line in examples)


@pytest.mark.parametrize(("content", "told"), [(None, "this copy has no built-in model"), (b"weights", "cannot be read")])
def test_the_help_does_without_a_built_in_model(content, told, tmp_path, monkeypatch):
    model = tmp_path / "model.safetensors"
    if content is not None:
        model.write_bytes(content)
    monkeypatch.setattr(builtin, "MODEL", model)
    assert told in " ".join(parser_of(Seg).format_help().split())
