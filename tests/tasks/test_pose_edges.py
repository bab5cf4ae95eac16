"""Nobody, sixty people, boxes that make no sense and annotations that are no numbers: answered in words or with an empty list."""

import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import default_collate

from shared.data.indexed import Indexed
from shared.data.shards import DamagedSample, Shards, write_shards
from shared.data.sources import coco
from shared.data.sources.conventions import CONVENTIONS
from shared.data.stream import Stream
from shared.data.view import Jitter
from shared.data.wanted import Wanted
from shared.dense.decoder import Spec
from shared.dense.frame import settle
from shared.dense.model import DenseModel
from shared.infer.predictor import Predictor
from shared.vit.model import ViT
from tasks.pose.task import Pose

SIZE, HW = (64, 48), (90, 120)
NAN = float("nan")
TASK = Pose()
WANTED = Wanted({"keypoints": TASK.vocabulary})
WHOLE = (20.0, 10.0, 60.0, 80.0)
SOUND = {  # boxes that say where somebody is, or that nobody knows
    "whole": WHOLE,
    "of one pixel": (29.5, 39.5, 30.5, 40.5),
    "of no extent": (30.0, 40.0, 30.0, 40.0),
    "larger than the picture": (-500.0, -500.0, 600.0, 600.0),
    "partly outside": (100.0, 60.0, 180.0, 150.0),
    "unknown": (NAN,) * 4,
    "half unknown": (10.0, NAN, 40.0, 50.0),
}
WRONG = {
    (500.0, 10.0, 560.0, 80.0): "lies outside the picture",
    (-60.0, 10.0, -10.0, 80.0): "lies outside the picture",
    (60.0, 10.0, 20.0, 80.0): "ends before it begins",
    (20.0, 80.0, 60.0, 10.0): "ends before it begins",
}


def image():
    return np.random.default_rng(0).integers(0, 256, (*HW, 3), np.uint8)


def points():
    return np.c_[np.random.default_rng(1).uniform([25, 15], [55, 75], (17, 2)), np.ones(17)].astype(np.float32)


def packed(folder, *samples):
    """Samples of a box and points; the picture is the same."""
    listed = ((f"{i}", {"image": image(), "keypoints": p, "box": np.array(box, np.float32)}) for i, (box, p) in enumerate(samples))
    write_shards(listed, folder, names={"keypoints": TASK.vocabulary.names})
    return folder


def hurt():
    """Points of which some are no numbers: each is unknown."""
    some = points()
    some[0, 0] = some[1, 1] = some[2, 2] = NAN
    some[3] = NAN
    return some


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DenseModel(ViT("nano", image_hw=SIZE), [TASK], decoder=Spec(up=(8, 8), refine=()))


@pytest.fixture(scope="module")
def predictor(model):
    return Predictor(model)


# Packing


def annotated(*rows):
    return {"images": [{"id": 1, "file_name": "a.png", "height": HW[0], "width": HW[1]}, {"id": 2, "file_name": "b.png"}],
            "annotations": [{"id": i, "image_id": 1, "iscrowd": 0, **row} for i, row in enumerate(rows)]}  # fmt: skip


def person(box=(20, 10, 40, 70), keypoints=None):
    known = points() if keypoints is None else keypoints
    return {"bbox": list(box), "keypoints": known.astype(float).ravel().tolist(), "area": 2800.0}


@pytest.fixture
def photos(tmp_path):
    for name in ("a", "b"):
        Image.fromarray(image()).save(tmp_path / f"{name}.png")
    return tmp_path


def test_sixty_people_in_a_photo_are_sixty_samples_and_nobody_is_none(photos):
    report = coco.Report()
    found = coco.pictures(annotated(*[person()] * 60), CONVENTIONS["coco"], report)
    people = dict(coco.samples(found, photos, report))
    assert len(people) == 60
    assert all(key.startswith("a/") for key in people), "nobody is annotated in b.png"
    assert (report.faults, report.passed_over) == ([], [])
    assert coco.pictures(annotated(), CONVENTIONS["coco"], report) == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (person(keypoints=hurt()), "its points are not finite"),
        (person(box=(NAN, 0, 5, 5)), "its box is not finite"),
        (person(box=(None, 0, 5, 5)), "its box is not four numbers"),
        (person(box=(40, 10, -20, 70)), "its box is empty"),
        (person(box=(300, 10, 20, 20)), "its box lies outside the picture"),
        (person(box=(30, 40, 1, 1)), "its box is not wider and higher than a pixel"),
        (person(box=(1e300, 1e300, 1e300, 1e300)), "its box lies outside the picture"),
        (person(keypoints=0 * points()), coco.NO_POINTS),
    ],
)
def test_who_cannot_be_packed_is_told_and_the_others_are_packed(photos, row, reason):
    report = coco.Report()
    found = coco.pictures(annotated(row, person()), CONVENTIONS["coco"], report)
    assert list(dict(coco.samples(found, photos, report))) == ["a/1"]
    assert dict(report.reasons) == {reason: 1}
    assert [sentence for _, sentence in report.faults] + report.passed_over == [f"person 0 of a.png: {reason}"]


# Training


@pytest.mark.parametrize("box", SOUND.values(), ids=SOUND)
@pytest.mark.parametrize("known", [points(), hurt(), 0 * points()], ids=["all", "some", "none"])
def test_whatever_is_known_costs_and_gradients_are_finite(tmp_path, model, box, known):
    stream = Stream(packed(tmp_path, (box, known)), size=SIZE, wanted=WANTED, framing="boxes", jitter=Jitter(fewest=3))
    batch = default_collate([stream[p] for p in range(3)])
    model.zero_grad()
    cost = torch.stack(list(model.losses(batch).values())).sum()
    cost.backward()
    assert cost.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert TASK.trivial(batch).isfinite().all()
    if not known.any():
        assert cost == 0


@pytest.mark.parametrize(("box", "sentence"), WRONG.items())
def test_a_box_of_nobody_is_named_and_the_next_person_takes_its_place(tmp_path, caplog, box, sentence):
    stream = Stream(packed(tmp_path, (WHOLE, points()), (box, points())), size=SIZE, wanted=WANTED, framing="boxes")
    with caplog.at_level(logging.WARNING):
        first, second = stream[0], stream[1]
    assert torch.equal(first["keypoints"], second["keypoints"])
    assert f"{sentence}; repair it and pack the sample again; the next sample takes its place" in caplog.text
    assert "'box' of sample '1' of shard" in caplog.text


# Evaluation


@pytest.mark.parametrize("box", SOUND.values(), ids=SOUND)
@pytest.mark.parametrize("known", [points(), hurt(), 0 * points()], ids=["all", "some", "none"])
def test_whatever_is_known_measurements_are_finite(tmp_path, model, box, known):
    item = Indexed(packed(tmp_path, (box, known)), size=SIZE, wanted=WANTED, framing="boxes")[0]
    with torch.inference_mode():
        answer = settle(TASK, model(item.image[None])["pose"][0], item.view, item.source_hw)
    row = TASK.measure(answer, item.truth)
    assert answer.isfinite().all()
    assert row.isfinite().all()
    assert row[0] == int(((known[:, 2] > 0) & np.isfinite(known).all(1)).sum())
    scores = TASK.summarise(row[None])
    assert all(np.isfinite(value) == known.any() for value in scores.values()), "where nothing is known there is no score"


@pytest.mark.parametrize(("box", "sentence"), WRONG.items())
def test_validation_stops_at_a_box_of_nobody_with_a_sentence(tmp_path, box, sentence):
    data = Indexed(packed(tmp_path, (box, points())), size=SIZE, wanted=WANTED, framing="boxes")
    with pytest.raises(DamagedSample, match=f"'box' of sample '0' of shard .*{sentence}; repair it"):
        data[0]


def test_shards_keep_what_is_no_number_as_unknown(tmp_path):
    sample = Shards(packed(tmp_path, (SOUND["half unknown"], hurt()))).read(0)
    assert np.isnan(sample["box"]).sum() == 1
    assert np.isnan(sample["keypoints"]).sum() == 6


# COCO's scores


def truth(*people):
    rows = [{"id": i + 1, "image_id": 1, "category_id": 1, "iscrowd": 0, **row} for i, row in enumerate(people)]
    return {"images": [{"id": 1, "file_name": "a.png"}], "annotations": rows, "categories": [{"id": 1, "name": "person"}]}


def test_coco_scores_of_sixty_people_and_of_nobody():
    pytest.importorskip("faster_coco_eval", reason="the extra `coco` is not installed")
    from tasks.pose.official import boxes, evaluate

    crowd = [person(keypoints=points() + np.array([200 * i, 0, 1], np.float32)) for i in range(60)]
    answers = [{"image_id": 1, "keypoints": row["keypoints"], "score": 0.9} for row in crowd]
    found = evaluate(truth(*crowd), answers)
    assert found["ar"] == pytest.approx(20 / 60)  # COCO counts the twenty surest answers of an image
    assert all(np.isnan(value) for value in evaluate(truth(), []).values())
    assert evaluate(truth(), answers)["ap"] != 1
    assert boxes(truth()) == {}


NUMBERS = points().astype(float).ravel().tolist()
BAD = hurt().astype(float).ravel().tolist()


@pytest.mark.parametrize(
    ("told", "answer", "sentence"),
    [
        ({"keypoints": BAD}, {}, "annotation 1 holds numbers that are not finite"),
        ({"keypoints": NUMBERS[:6]}, {}, "annotation 1 has 6 numbers where 51 belong"),
        ({"keypoints": ["nose"] * 51}, {}, "annotation 1 has no list of numbers where 51 belong"),
        ({"bbox": None}, {}, "the bbox of annotation 1 has no list of numbers where 4 belong"),
        ({"bbox": [1, 2, NAN, 4]}, {}, "the bbox of annotation 1 holds numbers that are not finite"),
        ({"area": NAN}, {}, "the area of annotation 1 holds numbers that are not finite"),
        ({}, {"keypoints": BAD}, "an answer for image 1 holds numbers that are not finite"),
        ({}, {"keypoints": NUMBERS[:6]}, "an answer for image 1 has 7 numbers where 52 belong"),
        ({}, {"score": NAN}, "an answer for image 1 holds numbers that are not finite"),
    ],
)
def test_coco_scores_of_what_is_no_number_are_a_sentence(tmp_path, capsys, told, answer, sentence):
    pytest.importorskip("faster_coco_eval", reason="the extra `coco` is not installed")
    from tasks.pose.official import main

    (tmp_path / "truth.json").write_text(json.dumps(truth(person() | told)))
    row = {"image_id": 1, "keypoints": NUMBERS, "score": 1.0} | answer
    (tmp_path / "answers.json").write_text(json.dumps([row]))
    assert main(["score", str(tmp_path / "truth.json"), str(tmp_path / "answers.json")]) == 2
    assert f"{sentence}; correct it, or leave it out of the file\n" in capsys.readouterr().err


def test_a_point_without_a_label_may_be_anything():
    pytest.importorskip("faster_coco_eval", reason="the extra `coco` is not installed")
    from tasks.pose.official import evaluate

    some = points()
    some[3] = NAN, NAN, 0
    answer = {"image_id": 1, "keypoints": NUMBERS, "score": 1.0}
    assert evaluate(truth(person(keypoints=some)), [answer])["ap"] == pytest.approx(1)


# Answers


def test_nobody_in_the_picture_is_an_empty_list(predictor):
    for nobody in (np.zeros((0, 4), np.float32), []):
        answer = predictor(image(), boxes=nobody)["pose"]
        assert answer.shape == (0, 17, 3)
        assert TASK.files(answer)["pose.json"]["people"] == []
        assert np.array_equal(TASK.render(image(), answer), image())


def test_sixty_people_have_sixty_answers_each_as_if_alone(predictor):
    boxes = np.array([[i, i / 2, i + 40, i / 2 + 40] for i in range(60)], np.float32)
    found = predictor(image(), boxes=boxes)["pose"]
    assert found.shape == (60, 17, 3)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[59], predictor(image(), boxes=boxes[59:])["pose"][0], atol=1e-3)


@pytest.mark.parametrize(
    "box",
    [*(box for box in SOUND.values() if np.isfinite(box).all()), (500, 10, 560, 80), (-1e6, 1e6, -9e5, 2e6), (0, 0, 1e-6, 1e6)],
)
def test_any_box_that_is_one_has_a_finite_answer(predictor, box):
    found = predictor(image(), boxes=np.array([box], np.float32))["pose"]
    assert found.shape == (1, 17, 3)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("box", "sentence"),
    [((NAN, 10, 40, 50), "is not finite"), ((10, 10, np.inf, 50), "is not finite"), ((60, 10, 20, 80), "ends before it begins")],
)
def test_a_box_that_is_none_is_a_sentence(predictor, box, sentence):
    with pytest.raises(ValueError, match=f"the box .* {sentence}; give x0 y0 x1 y1 in pixels"):
        predictor(image(), boxes=np.array([WHOLE, box], np.float32))
