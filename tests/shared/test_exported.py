"""An exported file stands where a checkpoint answers: photos, close views, people, scores; what it cannot do is a sentence."""

from pathlib import Path

import numpy as np
import pytest
import torch

from shared import checkpoint
from shared.engine.backbones import loaded
from shared.engine.evaluate import run
from shared.engine.session import Session
from shared.export.__main__ import main
from shared.formats import Ask
from shared.infer.idle import idle
from shared.infer.predictor import Predictor

onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
HERE = Session(torch.device("cpu"), 0, 1)


@pytest.fixture(scope="module")
def raw(trained, tmp_path_factory) -> Path:
    """A trained model of four tasks with raw answers, for any number of pictures."""
    path = tmp_path_factory.mktemp("exported") / "raw.onnx"
    main([str(path), "--raw", "--checkpoint", str(trained)])
    return path


@pytest.fixture(scope="module")
def pairs(trained, tmp_path_factory) -> Path:
    """The same for two pictures at a time."""
    path = tmp_path_factory.mktemp("exported") / "pairs.onnx"
    main([str(path), "--raw", "--checkpoint", str(trained), "--batch", "2"])
    return path


def same(one: dict, other: dict) -> None:
    assert list(one) == list(other)
    for name, answer in other.items():
        if name == "seg":
            assert (one[name] != answer).mean() < 1e-3
        else:
            np.testing.assert_allclose(one[name], answer, atol=2e-3 if name == "pose" else 1e-4)


@pytest.mark.parametrize("options", [{}, {"flip": True}, {"mode": "tiles"}, {"mode": "people", "batch": 3}], ids=str)
def test_it_answers_photos_in_every_way_that_the_weights_do(options, raw, trained, person):
    boxes = np.array([[20.0, 10, 150, 240], [60, 60, 120, 200], [5, 30, 90, 250]]) if options.get("mode") == "people" else None
    one, other = (Predictor.load(path, device="cpu", **options)(person["image"], boxes=boxes) for path in (raw, trained))
    same(one, other)


def test_of_files_for_two_pictures_three_are_asked_in_two_rounds(pairs, trained, person):
    boxes = np.array([[20.0, 10, 150, 240], [60, 60, 120, 200], [5, 30, 90, 250]])
    one, other = (Predictor.load(path, device="cpu")(person["image"], boxes=boxes) for path in (pairs, trained))
    same(one, other)


def test_one_task_of_it_can_answer_alone(raw, trained, person):
    one, other = (Predictor.load(path, device="cpu", only=["depth"])(person["image"]) for path in (raw, trained))
    same(one, other)


def test_it_scores_as_the_weights_do(raw, trained, tiny, small_shards, tmp_path):
    config = tiny("joint", tmp_path, f"val={{'shards': '{small_shards}'}}")
    (_, one, _), (_, other, _) = (run(config, path, HERE) for path in (raw, trained))
    assert one.keys() == other.keys()
    assert all(one[name] == pytest.approx(other[name], abs=2e-3, nan_ok=True) for name in other)


def test_int8_is_smaller_and_nearly_the_same(raw, trained, person, tmp_path):
    path = tmp_path / "int8.onnx"
    main([str(path), "--raw", "--int8", "--checkpoint", str(trained)])
    assert path.stat().st_size < 0.6 * raw.stat().st_size
    assert {"MatMulInteger"} < {node.op_type for node in onnx.load(path).graph.node}
    one, other = (Predictor.load(file, device="cpu")(person["image"]) for file in (path, trained))
    assert (one["seg"] != other["seg"]).mean() < 0.05
    off = np.abs(one["depth"] - other["depth"]).max() / np.abs(other["depth"]).max()
    assert 1e-5 < off < 0.05  # rounded, and not by much


def test_it_holds_no_weights_that_could_be_moved_or_lowered(raw):
    model, about = checkpoint.load(raw)
    model.lower(torch.bfloat16)  # type: ignore[operator]
    assert model.half().to("cpu") is model
    assert not any(weight.numel() for weight in model.parameters() if not weight.is_meta)
    assert about["answers"] == "raw"


def test_a_precision_changes_nothing_without_openvino_and_that_is_told(raw, trained, monkeypatch):
    monkeypatch.setattr("shared.exported.find_spec", lambda name: None if name == "openvino" else True)
    looks = {path: Predictor.load(path, device="cpu", precision="bf16") for path in (raw, trained)}
    told = {path: idle({"precision": "bf16"}, looking, Ask(), []) for path, looking in looks.items()}
    assert len(told[raw]) == 1
    assert "--precision bf16 changes nothing here: an exported model computes in the precision that it" in told[raw][0]
    assert told[trained] == []


def test_with_openvino_bf16_is_computed_and_nearly_the_same(raw, pairs, trained, person):
    pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    boxes = np.array([[20.0, 10, 150, 240], [60, 60, 120, 200], [5, 30, 90, 250]])
    for path in (raw, pairs):
        looking = Predictor.load(path, device="cpu", precision="bf16")
        one, other = (look(person["image"], boxes=boxes) for look in (looking, Predictor.load(trained, device="cpu")))
        assert (one["seg"] != other["seg"]).mean() < 0.05
        off = np.abs(one["depth"] - other["depth"]).max() / np.abs(other["depth"]).max()
        assert 1e-5 < off < 0.05
        assert one["pose"].shape == other["pose"].shape
        assert idle({"precision": "bf16"}, looking, Ask(), []) == []


def test_another_size_is_a_sentence(raw, person):
    with pytest.raises(ValueError, match=r"was exported for pictures of 64x48, and is shown 128x96; leave --size out"):
        Predictor.load(raw, device="cpu", size=(128, 96))(person["image"])


def test_what_it_cannot_do_is_a_sentence(raw, trained, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="there is nothing to compile: an exported model runs as it was written"):
        Predictor.load(raw, device="cpu", compiled=True)
    with pytest.raises(ValueError, match="cannot be trained; use the checkpoint that it was made of"):
        checkpoint.load(raw).model(torch.zeros(1, 3, 64, 48, dtype=torch.uint8), fork=lambda *_: {})
    with pytest.raises(ValueError, match="cannot be trained or converted; give the"):
        loaded(raw)
    with pytest.raises(ValueError, match=r"there is no checkpoint nowhere\.onnx"):
        checkpoint.load("nowhere.onnx")
    final = tmp_path / "final.onnx"
    main([str(final), "--checkpoint", str(trained), "--tasks", "depth"])
    with pytest.raises(ValueError, match="holds a model with final answers for pictures of one size; export it with --raw"):
        checkpoint.load(final)
    monkeypatch.setattr("shared.exported.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"takes onnxruntime; install it with pip install 'vitruvian\[export\]'"):
        checkpoint.load(raw)


def test_files_of_others_and_broken_ones_are_sentences(raw, tmp_path):
    other = tmp_path / "other.onnx"
    model = onnx.load(raw)
    del model.metadata_props[:]
    onnx.save(model, other)
    with pytest.raises(ValueError, match=r"was not written by python -m shared.export of this version"):
        checkpoint.load(other)
    other.write_bytes(raw.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"ONNX Runtime cannot read .*other\.onnx"):
        checkpoint.load(other)
