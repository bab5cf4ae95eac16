"""What cannot start says so in one sentence, before anything is answered, and ends with 2."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(np.zeros((30, 20, 3), np.uint8)).save(folder / "one.png")
    return folder


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_written_is_told_before_anything_is_answered(trained, photos, tmp_path, called, capsys):
    tmp_path.chmod(0o500)
    assert called(photos, "--checkpoint", trained, "--out", tmp_path) == 2
    assert "cannot be written: Permission denied; choose another folder with --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{photos}", "--checkpoint", "{tmp}/no.safetensors"], "there is no checkpoint"),
        (["{photos}", "--checkpoint", "{mae}"], "holds a MaskedAutoencoder, which answers nothing"),
        (["{tmp}", "--checkpoint", "{model}"], "holds no photo"),
        (["{tmp}/*.jpg", "--checkpoint", "{model}"], "matches nothing"),
        (["{photos}", "--checkpoint", "{model}", "--tasks", "hands"], "answers seg, depth, normal, pose, not hands"),
        (["{photos}", "--checkpoint", "{model}", "--size", "1024"], "write height x width in pixels"),
        (["{photos}", "--checkpoint", "{model}", "--people", "{tmp}/no.json"], "there is no file of boxes"),
        (["{photos}", "--checkpoint", "{model}", "--people", "{box}"], "names none of these photos"),
        (["{photos}", "--checkpoint", "{model}", "--people", "{box}", "--tasks", "seg"], "this run does not answer pose"),
        (["{photos}", "--checkpoint", "{model}", "--preset", "lite"], "there is no preset 'lite'; choose one of default, official"),
        (["{photos}", "--checkpoint", "{model}", "--precision", "fp64"], "no precision 'fp64'; choose one of auto, fp32, bf16"),
        (["{photos}", "--checkpoint", "{model}", "--formats", "npy,gif"], "cannot be written as 'gif'; choose from png, palette"),
        (["{photos}", "--checkpoint", "{model}", "--formats", "ply"], "ply of depth needs a focal length; pass --focal"),
        (["{photos}", "--checkpoint", "{model}", "--formats", "ply", "--focal", "-3"], "--focal -3 is no focal length"),
        (["{photos}", "--checkpoint", "{model}", "--span", "3,2"], "--span '3,2' is no span"),
        (["{photos}", "--checkpoint", "{model}", "--tasks", "pose", "--formats", "npy"], "choose from json, coco17, wholebody133"),
        (["{photos}", "--checkpoint", "{model}", "--people", "detekt"], "--people is whole, detect, or the path of a JSON file"),
        (["{photos}", "--checkpoint", "{model}", "--people", "detect", "--tasks", "seg"], "this run does not answer pose"),
        (["{photos}", "--checkpoint", "{model}", "--detector", "fcos_resnet50_fpn"], "are for --people detect; add it"),
        (["{photos}", "--checkpoint", "{model}", "--people-score", "0.3"], "are for --people detect; add it"),
        (["{photos}", "--checkpoint", "{model}", "--people", "detect"], "no weights of the detector fasterrcnn_resnet50_fpn_v2"),
        (["{photos}", "--checkpoint", "{model}", "--people", "detect", "--detector", "yolo"], "there is no detector 'yolo'"),
        (["{photos}", "--checkpoint", "{model}", "--batch", "0"], "--batch 0 answers nobody"),
        (["{photos}", "--checkpoint", "{photos}"], "is a folder, and a checkpoint is a file; and this one holds no weights"),
        (["{photos}", "--checkpoint", "{model}", "--out", "{box}"], "box.json is a file; --out names a folder"),
        (["{photos}", "--checkpoint", "{model}", "--out", "{box}/deeper"], "is a file; --out names a folder"),
        (["{photos}", "--checkpoint", "{model}", "--device", "tpu"], "there is no device 'tpu'; choose auto, cpu or cuda"),
    ],
)
def test_what_cannot_start_is_one_sentence(arguments, sentence, trained, pretrained, photos, tmp_path, called, capsys):
    box = tmp_path / "box.json"
    box.write_text('{"another.jpg": [[0, 0, 9, 9]]}')
    places = {"photos": photos, "tmp": tmp_path, "model": trained, "mae": pretrained, "box": box}
    given = [text.format(**places) for text in arguments]
    assert called("--out", tmp_path / "out", *given) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert sentence in said
    assert len(said.splitlines()) == 1
