"""COCO's scores: perfect answers, answers with a fault of known size, and the judgement of the original evaluator."""

import contextlib
import io
import json
import math
from typing import Any

import numpy as np
import pytest

from shared.vocabulary import Vocabulary
from tasks.pose.official import SCORES, TABLES, boxes, evaluate, main, read_answers
from tasks.pose.task import SKELETONS

pytest.importorskip("faster_coco_eval", reason="the extra `coco` is not installed")
PARTS = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")
SLICES = {"body": (0, 17), "foot": (17, 23), "face": (23, 91), "left_hand": (91, 112), "right_hand": (112, 133)}
SIGMAS = np.array(Vocabulary.load(SKELETONS / "coco17.toml").sigmas)
AREA = 100.0 * 120.0  # pixels: a large person


def points(seed=0):
    rng = np.random.default_rng(seed)
    return np.c_[rng.uniform(0, 200, (17, 2)), np.full(17, 2)]


def told(*people, **more):
    """Annotations of one person per image."""
    images = [{"id": i, "file_name": f"{i}.jpg", "height": 300, "width": 300} for i in range(len(people))]
    row = {"bbox": [0, 0, 100, 120], "area": AREA, "iscrowd": 0, "category_id": 1} | more
    rows = [{**row, "id": i + 1, "image_id": i, "keypoints": p.ravel().tolist()} for i, p in enumerate(people)]
    return {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "person"}]}


def answered(*people, scores=None):
    scores = scores or [0.9] * len(people)
    return [{"image_id": i, "keypoints": p.ravel().tolist(), "score": s} for i, (p, s) in enumerate(zip(people, scores))]


def shifted(person, similarity):
    """Every point so far to the right that its similarity is this."""
    distance = np.sqrt(-math.log(similarity) * 8 * SIGMAS**2 * AREA)
    return person + np.c_[distance, np.zeros((17, 2))]


def test_perfect_answers_score_one():
    people = [points(0), points(1), points(2)]
    found = evaluate(told(*people), answered(*people))
    assert found.keys() == set(SCORES)
    assert all(value == pytest.approx(1) for name, value in found.items() if name not in ("ap_medium", "ar_medium"))
    assert math.isnan(found["ap_medium"])  # nobody is of that size


@pytest.mark.parametrize(("similarity", "thresholds"), [(0.99, 10), (0.72, 5), (0.55 + 1e-9, 2), (0.55 - 1e-9, 1), (0.49, 0)])
def test_a_shift_scores_the_share_of_thresholds_below_its_similarity(similarity, thresholds):
    people = [points(0), points(1)]
    found = evaluate(told(*people), answered(*(shifted(person, similarity) for person in people)))
    assert found["ap"] == pytest.approx(thresholds / 10)
    assert found["ar"] == pytest.approx(thresholds / 10)
    assert found["ap50"] == (thresholds > 0)
    assert found["ap75"] == (thresholds > 5)


def test_one_of_two_people_found_is_half_of_the_recall():
    people = [points(0), points(1)]
    found = evaluate(told(*people), answered(people[0]))
    assert found["ar"] == 0.5
    assert found["ap"] == pytest.approx(51 / 101)  # precision 1 at the recalls 0, 0.01, ..., 0.5 of 101


def test_a_wrong_answer_that_is_surer_than_the_right_one_costs_precision():
    person = points()
    wrong = {"image_id": 0, "keypoints": (person + np.array([500, 0, 0])).ravel().tolist(), "score": 0.9}
    right = answered(person, scores=[0.5])
    assert evaluate(told(person), [*right, wrong])["ap"] == pytest.approx(0.5)
    assert evaluate(told(person), [*right, wrong | {"score": 0.1}])["ap"] == pytest.approx(1)


def test_crowds_and_people_without_points_are_neither_found_nor_missed():
    person, empty = points(), np.zeros((17, 3))
    truth = told(person, empty, person)
    truth["annotations"][2]["iscrowd"] = 1
    assert evaluate(truth, answered(person))["ap"] == pytest.approx(1)
    truth = told(empty)
    assert all(math.isnan(value) for value in evaluate(truth, []).values())


def test_nobody_found_is_zero():
    assert evaluate(told(points()), []) == pytest.approx(dict.fromkeys(SCORES, 0.0))


def real(shared_folder, name):
    path = shared_folder / "images" / "coco" / name
    if not path.is_file():
        pytest.skip(f"there is no {name} beside the repository")
    return json.loads(path.read_text())


def whole(row):
    return np.array([number for key in PARTS for number in row[key]], float).reshape(-1, 3)


def noisy(truth, keys, seed=0):
    """An answer for every person with a box, off by a few percent of it, with chance scores."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in truth["annotations"]:
        place = np.array([n for key in keys for n in row[key]], float).reshape(-1, 3)
        off = rng.normal(0, rng.choice([0.002, 0.01, 0.03]) * max(row["bbox"][2:]), (len(place), 2))
        answer = np.c_[place[:, :2] + off, np.ones(len(place))]
        rows.append({"image_id": row["image_id"], "keypoints": answer.ravel().tolist(), "score": float(rng.random())})
    return rows


def original(truth, answers, sigmas):
    """What pycocotools says of them."""
    pytest.importorskip("pycocotools", reason="the original evaluator is not installed")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = json.loads(json.dumps(truth))
        gt.createIndex()
        rows: Any = [{**row, "category_id": 1} for row in answers]
        judge = COCOeval(gt, gt.loadRes(rows), "keypoints")
        judge.params.kpt_oks_sigmas = np.array(sigmas)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return dict(zip(SCORES, judge.stats))


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_the_original_evaluator(shared_folder, seed):
    truth = real(shared_folder, "test_coco.json")
    answers = noisy(truth, ["keypoints"], seed)
    assert evaluate(truth, answers) == pytest.approx(original(truth, answers, SIGMAS), abs=1e-6)


@pytest.mark.parametrize("part", [*SLICES, "whole"])
def test_scores_of_parts_are_those_of_the_original_evaluator_on_the_part(shared_folder, part):
    truth = real(shared_folder, "test_coco_wholebody.json")
    answers = noisy(truth, PARTS)
    start, end = SLICES.get(part, (0, 133))
    sliced = json.loads(json.dumps(truth))
    for row in sliced["annotations"]:
        some = whole(row)[start:end]
        row.update(keypoints=some.ravel().tolist(), num_keypoints=int((some[:, 2] > 0).sum()))
    some = [{**row, "keypoints": row["keypoints"][3 * start : 3 * end]} for row in answers]
    sigmas = Vocabulary.load(SKELETONS / "wholebody133.toml").sigmas or ()
    found = evaluate(truth, answers, data="coco-wholebody")
    prefix = "" if part == "whole" else f"{part}_"
    for name, value in original(sliced, some, sigmas[start:end]).items():
        assert found[prefix + name] == pytest.approx(value if value >= 0 else math.nan, abs=1e-6, nan_ok=True), name
    assert 0 < found[prefix + "ap"] < 1


@pytest.fixture
def folder(tmp_path):
    """Two people annotated, and answers of a model of 133 points for the first."""
    people = [points(0), points(1)]
    (tmp_path / "ann.json").write_text(json.dumps(told(*people)))
    names = Vocabulary.load(SKELETONS / "wholebody133.toml").names
    answer = np.zeros((133, 3))
    answer[:17] = people[0]
    answer[:17, 2] = [0.1] * 7 + [0.5] * 5 + [0.7] * 5
    (tmp_path / "answers").mkdir()
    written = {"keypoint_names": names, "people": [{"keypoints": answer.tolist()}]}
    (tmp_path / "answers" / "0.pose.json").write_text(json.dumps(written))
    return tmp_path


def test_answers_of_another_convention_are_scored_in_that_of_the_data(folder):
    rows, absent = read_answers(folder / "answers", told(points(0), points(1)))
    assert absent == 1
    assert len(rows) == 1
    assert np.array(rows[0]["keypoints"]).reshape(17, 3)[:, :2] == pytest.approx(points(0)[:, :2])
    assert rows[0]["score"] == pytest.approx(0.6)  # of the points surer than 0.2


def test_who_was_detected_is_as_sure_as_the_points_and_the_box_together(folder):
    path = folder / "answers" / "0.pose.json"
    written = json.loads(path.read_text())
    written["people"][0]["bbox_score"] = 0.5
    path.write_text(json.dumps(written))
    rows, _ = read_answers(folder / "answers", told(points(0), points(1)))
    assert rows[0]["score"] == pytest.approx(0.3)


def test_the_command_tells_scores_and_images_without_an_answer(folder, capsys):
    assert main(["score", str(folder / "ann.json"), str(folder / "answers"), "--json", str(folder / "scores.json")]) == 0
    out = capsys.readouterr().out
    assert "1 people answered; 1 of 2 images have no answer" in out
    assert "ar                       0.5000" in out
    assert json.loads((folder / "scores.json").read_text())["ar"] == 0.5


def test_results_in_the_form_of_coco_are_scored_as_they_are(folder, capsys):
    (folder / "results.json").write_text(json.dumps(answered(points(0), points(1))))
    assert main(["score", str(folder / "ann.json"), str(folder / "results.json")]) == 0
    assert "ap                       1.0000" in capsys.readouterr().out


def test_boxes_of_annotated_people_are_what_infer_reads(folder, capsys):
    assert main(["boxes", str(folder / "ann.json"), "--out", str(folder / "boxes.json")]) == 0
    assert capsys.readouterr().err.startswith("boxes of 2 people in 2 photos, in ")
    assert json.loads((folder / "boxes.json").read_text()) == {
        "0.jpg": [[-0.5, -0.5, 99.5, 119.5]],
        "1.jpg": [[-0.5, -0.5, 99.5, 119.5]],
    }
    assert boxes(told(np.zeros((17, 3)))) == {}


@pytest.mark.parametrize(
    ("annotations", "answers", "sentence"),
    [
        ("no.json", "answers", "there is no annotation file"),
        ("ann.json", "no.json", "is no file of results"),
        ("ann.json", "ann.json", "holds no results in the form of COCO"),
        ("ann.json", ".", "holds no answer for any image"),
    ],
)
def test_what_cannot_be_scored_is_answered_in_a_sentence(folder, capsys, annotations, answers, sentence):
    assert main(["score", str(folder / annotations), str(folder / answers)]) == 2
    assert sentence in capsys.readouterr().err


def test_every_convention_that_can_be_scored_has_sigmas():
    for stem in TABLES.values():
        assert Vocabulary.load(SKELETONS / f"{stem}.toml").sigmas
