"""An exported file answers what the model answers, to whoever runs it, with any number of pictures; else there is no file."""

import errno
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from shared import builtin, checkpoint
from shared.build import build
from shared.data.photo import read_photo
from shared.data.view import View
from shared.dense.frame import settle
from shared.export import write
from shared.export.__main__ import main
from shared.export.compare import Difference, refused
from shared.export.graph import Graph
from shared.export.write import export
from shared.infer.predictor import Predictor
from shared.vit.position import resample
from tasks.pose.heatmap import gaussians, peaks

ROOT = Path(__file__).parents[2]
onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
DENSE = {"type": "shared.dense.model.DenseModel", "decoder": {"type": "shared.dense.decoder.Spec", "up": [8, 8], "refine": [8]}}
SEG = {"type": "tasks.seg.task.Seg", "labels": "sapiens28"}
FOUR = [
    {"type": "tasks.pose.task.Pose", "skeleton": "coco17"},
    SEG,
    {"type": "tasks.depth.task.Depth"},
    {"type": "tasks.normal.task.Normal"},
]
SCALE = {"type": "shared.dense.decoder.Spec", "up": [8], "refine": [8], "shuffle": True}
SCALE["scale"] = {"convs": [8, 8], "hidden": [8], "grid": [2, 1]}
V1, V2 = {"dim": 32, "depth": 1, "heads": 2}, {"dim": 32, "depth": 2, "heads": 2, "family": "sapiens2"}
MODELS = {
    "Sapiens, four tasks": (FOUR, {"size": V1}, {}),
    "Sapiens, patches that start outside": (FOUR[:1], {"size": V1, "patch_padding": 2}, {}),
    "Sapiens2, parts": ([SEG], {"size": V2}, {}),
    "Sapiens2, points in space": ([{"type": "tasks.pointmap.task.Pointmap"}], {"size": V2}, {"decoder": SCALE}),
    "Sapiens2, 4K tokenizer": ([SEG], {"size": {**V2, "tokenizer": 1}, "tokenizer": True, "image_hw": [128, 64]}, {}),
}


def described(tasks, backbone, more) -> tuple:
    """A model with random weights and its description."""
    told = {"type": "shared.vit.model.ViT", "image_hw": [96, 64], **backbone}
    about = {**DENSE, **more, "tasks": tasks, "backbone": told}
    torch.manual_seed(0)
    model = build(about).eval()
    for weight in model.parameters():
        if weight.dim() == 1:  # zeros hide what is left out
            torch.nn.init.normal_(weight, std=0.1)
    return model, {"model": about}


def command(*arguments: object) -> int:
    """The exit code."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def pictures(count: int, height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """The built-in model with final answers."""
    path = tmp_path_factory.mktemp("export") / "people.onnx"
    assert command(path) == 0
    return path


@pytest.mark.parametrize(
    ("name", "raw"), [*((name, False) for name in MODELS), ("Sapiens, four tasks", True)], ids=[*MODELS, "Sapiens, raw"]
)
def test_three_pictures_are_answered_as_by_the_model(name, raw, tmp_path):
    model, about = described(*MODELS[name])
    export(model, about, tmp_path / "model.onnx", raw=raw)  # compares two
    size = tuple(n * model.backbone.stride for n in model.backbone.grid)
    three = pictures(3, *size)  # and as many as the file was not compared with
    found = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"image": three.numpy()})
    with torch.no_grad():
        expected = Graph(model, raw=raw)(three)
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one.astype(float) - other.double().numpy()).max() <= 1e-4 * other.abs().max()


def test_a_program_of_pytorch_answers_the_same_and_says_what_it_is(tmp_path):
    model, about = described(*MODELS["Sapiens, four tasks"])
    export(model, about, tmp_path / "model.pt2")
    extra = {"vitruvian": ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=extra).module()
    three = pictures(3, 96, 64)
    with torch.no_grad():
        for one, other in zip(program(three), Graph(model, raw=False)(three), strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert json.loads(extra["vitruvian"])["outputs"]["seg"]["names"][0] == "Background"


def test_final_answers_are_those_of_the_predictor_for_a_picture_of_that_size(people, person):
    image = cv2.resize(person["image"], (144, 192), interpolation=cv2.INTER_AREA)
    session = onnxruntime.InferenceSession(people)
    assert session.get_inputs()[0].shape == ["batch", 3, 192, 144]
    found = dict(zip((o.name for o in session.get_outputs()), session.run(None, {"image": image.transpose(2, 0, 1)[None]})))
    expected = Predictor.load(device="cpu")(image)
    assert list(found) == list(expected) == ["seg", "depth", "normal", "pose"]
    assert (found["seg"][0] != expected["seg"]).mean() < 1e-3
    for name in ("depth", "normal"):
        assert np.abs(found[name][0] - expected[name]).max() < 1e-4, name
    sure = expected["pose"][:, 2] > 0.1
    assert sure.sum() > 20
    assert np.abs(found["pose"][0, sure] - expected["pose"][sure]).max() < 0.01


@pytest.mark.parametrize("name", ["Sapiens, four tasks", "Sapiens2, points in space"])
def test_final_answers_of_every_task_are_what_settles_in_a_picture_of_the_networks_size(name):
    model, _ = described(*MODELS[name])
    image, view = pictures(2, 96, 64), View.whole((96, 64), (96, 64))
    with torch.no_grad():
        raw, final = model(image), Graph(model, raw=False)(image)
    for task, answer in zip(model.tasks, final, strict=True):
        settled = torch.stack([settle(task, one, view, (96, 64)) for one in raw[task.name]])
        torch.testing.assert_close(answer, settled, atol=1e-4, rtol=1e-4)


def test_what_the_documentation_says_runs_and_finds_the_person(people, person, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/export.md").read_text(encoding="utf-8"), re.DOTALL)
    cv2.imwrite(str(tmp_path / "photo.jpg"), cv2.cvtColor(person["image"], cv2.COLOR_RGB2BGR))
    (tmp_path / "people.onnx").symlink_to(people)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    assert {"Background", "Hair"} <= set(names["parts"])
    expected = Predictor.load(device="cpu")(read_photo(tmp_path / "photo.jpg"))["pose"]
    sure = expected[:, 2] > 0.2
    assert sure.sum() > 20
    assert np.median(np.linalg.norm(names["points"] - expected[:, :2], axis=1)[sure]) < 2


def test_another_size_is_resampled_once_and_stands_in_the_file(tmp_path):
    assert command(tmp_path / "small.onnx", "--size", "96x72", "--batch", 2, "--tasks", "depth", "--raw") == 0
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx")
    assert session.get_inputs()[0].shape == [2, 3, 96, 72]
    image = pictures(2, 96, 72)
    model, _ = checkpoint.load(builtin.path())
    with torch.no_grad():
        expected = model(image, only=["depth"])["depth"]
    np.testing.assert_allclose(session.run(["depth"], {"image": image.numpy()})[0], expected.numpy(), atol=1e-5)


def test_a_backbone_made_for_another_size_answers_as_one_that_resamples_for_each_picture():
    model, _ = described(FOUR[1:2], {"size": V1}, {})
    image = pictures(1, 64, 96)
    with torch.no_grad():
        before, table = model(image)["seg"], model.backbone.pos_embed
        model.backbone.resize((64, 96))
        assert torch.equal(model.backbone.pos_embed, resample(table, (6, 4), (4, 6)))
        torch.testing.assert_close(model(image)["seg"], before)
    with pytest.raises(ValueError, match="not a multiple of 16; use 64x96"):
        model.backbone.resize((65, 96))


def test_a_file_that_would_answer_something_else_is_not_written(tmp_path, monkeypatch):
    model, about = described(*MODELS["Sapiens2, parts"])
    whole = write.run
    monkeypatch.setattr(write, "run", lambda *a, **k: [answer.roll(1, -1) for answer in whole(*a, **k)])
    with pytest.raises(ValueError, match=r"would answer something else than the model, seg in \d+\.\d% of its values"):
        export(model, about, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_rounding_that_makes_nonsense_is_not_written(tmp_path, monkeypatch):
    model, about = described(*MODELS["Sapiens2, parts"])
    answers = iter([write.run, lambda *a: [answer * 0 for answer in write.run(*a)]])
    monkeypatch.setattr(write, "_answer_onnx", lambda path, shown, names: next(answers)(write.running(path), shown, names))
    with pytest.raises(ValueError, match="would answer something else than the model, seg in"):
        export(model, about, tmp_path / "model.onnx", raw=True, int8=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("int8", [False, True])
def test_large_weights_lie_beside_the_file_and_both_appear_together(int8, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "TOGETHER", 1000)
    model, about = described(*MODELS["Sapiens2, parts"])
    export(model, about, tmp_path / "model.onnx", int8=int8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"image": pictures(1, 96, 64).numpy()})


def test_differences_are_seen_and_told():
    one = torch.tensor([1.0, 2.0, float("nan")])
    assert Difference.of(one, one)[:3] == (0, 2, 0)
    assert Difference.of(one, torch.tensor([1.0, 2.0, 3.0])).share == pytest.approx(1 / 3)
    assert Difference.of(one[:2], one).share == 1
    assert Difference.of(torch.tensor([3, 4]), torch.tensor([3, 5]))[:3] == (1, 5, 0.5)
    assert str(Difference.of(torch.tensor([3, 4]), torch.tensor([3, 5]))) == "another number in 50.00% of its values"
    close = Difference.of(torch.tensor([1.0, 1000.1]), torch.tensor([1.0, 1000.0]))
    assert close.share == 0
    assert str(close) == "off by 1.0e-01 at most, where the largest value is 1e+03"
    apart = Difference.of(torch.tensor([1.0, 6.0]), torch.tensor([1.0, 5.0]))
    assert str(apart) == "off by 1.0e+00 at most, where the largest value is 5; by more than 0.001 of that in 50.00% of its values"
    assert refused({"seg": close, "depth": apart}) == "depth in 50.0% of its values"


def test_heights_of_cut_peaks_are_the_same_in_a_graph(monkeypatch):
    points = torch.tensor([[[3.3, 4.6], [20.0, 9.5]], [[7.7, 2.2], [0.2, 15.4]]])
    maps = gaussians(points, (16, 24), 2.0)[0] * torch.tensor([1.0, 80.0])[:, None, None] - 0.01  # cut above 50 and below 1e-3
    eager = peaks(maps)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    torch.testing.assert_close(peaks(maps), eager)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.tflite"], "name it .onnx, or .pt2"),
        (["model.pt2", "--int8"], "--int8 is for .onnx; name it model.onnx, or leave --int8 out"),
        (["model.pt2", "--opset", "23"], "--opset is for .onnx; name it model.onnx, or leave --opset out"),
        (["model.onnx", "--batch", "0"], "argument --batch: '0' must be a whole number of at least 1"),
        (["model.onnx", "--size", "wide"], "argument --size: 'wide' must be height x width in pixels"),
        (["model.onnx", "--size", "100x100"], "not a multiple of 12; use 96x96"),
        (["model.onnx", "--tasks", "pointmap"], "it answers seg, depth, normal, pose, not pointmap"),
        (["model.onnx", "--checkpoint", "other.onnx"], "other.onnx is exported already; give the checkpoint"),
        (["model.onnx", "--checkpoint", "nowhere.safetensors"], "there is no checkpoint nowhere.safetensors"),
    ],
)
def test_a_slip_is_a_sentence(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(*words) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_a_sentence_and_leaves_nothing(capsys, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write, "_write_program", full)
    assert command(tmp_path / "model.pt2", "--tasks", "depth") == 2
    assert "make room there, and run it again, or write elsewhere" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_onnx_cannot_say_is_a_sentence(tmp_path, monkeypatch):
    model, about = described(*MODELS["Sapiens2, parts"])
    monkeypatch.setattr(model.decoders["seg"], "forward", lambda x: x[:, :28] * torch.linalg.svdvals(x)[:, :28, :1, None])
    with pytest.raises(ValueError, match=r"this model cannot be written as ONNX \(.*svd.*\); write a \.pt2 instead"):
        export(model, about, tmp_path / "model.onnx", raw=True)
    assert not list(tmp_path.iterdir())


def test_the_newest_operators_can_be_asked_for(tmp_path):
    model, about = described(*MODELS["Sapiens2, parts"])
    export(model, about, tmp_path / "model.onnx", opset=23)
    assert "Attention" in {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}


def test_without_the_libraries_the_sentence_says_what_to_install(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "find_spec", lambda name: None if name == "onnxscript" else True)
    assert command(tmp_path / "model.onnx") == 2
    assert "takes onnxscript; install them with pip install 'vitruvian[export]'" in capsys.readouterr().err
