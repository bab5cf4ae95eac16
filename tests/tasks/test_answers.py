"""People's points as files: all that is known of them, in our own convention and in those of others."""

import json

import numpy as np
import pytest

from shared.formats import About, Ask
from shared.vocabulary import Vocabulary
from tasks.pose.answers import EMPTY, OPENPOSE, score, shared_points
from tasks.pose.task import CONVENTIONS, SKELETONS, Pose

HW = (400, 300)


def people(count: int, task: Pose, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.uniform(0, 300, (count, task.channels, 2)), rng.uniform(0.3, 1, (count, task.channels, 1))], -1)


def asked(task: Pose, answer: np.ndarray, form: str = "json", about: About | None = None):
    """What the file of one format holds, through JSON and back."""
    (content,) = task.asked(answer, Ask(frozenset({form}), about=about)).values()
    return json.loads(json.dumps(content))


def test_a_file_says_who_where_and_how_sure():
    task = Pose()
    answer, boxes = people(2, task), np.array([[9.5, 19.5, 109.5, 219.5], [-0.5, -0.5, 4.5, 5.5]], np.float32)
    about = About(HW, boxes, np.array([0.5, 1], np.float32))
    told = task.asked(answer, Ask(about=about))["pose.json"]
    assert told == asked(task, answer, "json", about), "it is the usual file"
    assert (told["skeleton"], told["height"], told["width"]) == ("coco17", 400, 300)
    assert told["keypoint_names"] == list(task.vocabulary.names)
    first, second = told["people"]
    assert np.allclose(first["keypoints"], answer[0], atol=1e-3)
    assert (first["bbox"], first["bbox_score"]) == ([10, 20, 100, 200], 0.5), "x y width height from the corner, as COCO's"
    assert (second["bbox"], second["bbox_score"]) == ([0, 0, 5, 6], 1)
    assert first["score"] == pytest.approx(0.5 * answer[0, :, 2].mean(), abs=1e-4)
    assert second["score"] == pytest.approx(answer[1, :, 2].mean(), abs=1e-4)


def test_a_whole_picture_has_no_box_and_nobody_is_an_empty_list():
    task = Pose()
    (whole,) = asked(task, people(1, task)[0], about=About(HW))["people"]
    assert whole.keys() == {"keypoints", "score"}
    for form in task.formats:
        assert asked(task, np.zeros((0, 17, 3)), form, About(HW, np.zeros((0, 4)), np.zeros(0)))["people"] == []


def test_the_score_of_a_person_is_that_of_the_sure_points():
    points = np.array([[0, 0, 0.1], [0, 0, 0.5], [0, 0, 0.7]])
    assert score(points) == pytest.approx(0.6)
    assert score(points, 0.5) == pytest.approx(0.3)
    assert score(points[:1]) == 0


def test_a_table_of_one_s_own_has_no_name_or_that_of_its_file(tmp_path):
    entries = [{"name": "tip", "colour": [1, 2, 3]}]
    assert "skeleton" not in asked(Pose(skeleton={"entries": entries}), np.ones((1, 3)))
    (tmp_path / "mine.toml").write_text('entries = [{ name = "tip", colour = [1, 2, 3] }]')
    assert asked(Pose(skeleton=str(tmp_path / "mine.toml")), np.ones((1, 3)))["skeleton"] == "mine"


@pytest.mark.parametrize("skeleton", ["coco17", "wholebody133", "sapiens308"])
@pytest.mark.parametrize("form", ["coco17", "wholebody133"])
def test_answers_of_one_convention_are_written_in_another(skeleton, form):
    task, words = Pose(skeleton=skeleton), Vocabulary.load(SKELETONS / f"{form}.toml")
    answer = people(2, task)
    told = asked(task, answer, form, About(HW, np.array([[0, 0, 9, 9.0]] * 2), np.ones(2)))
    assert told["skeleton"] == form
    assert told["keypoint_names"] == list(words.names)
    for p, person in enumerate(told["people"]):
        points = dict(zip(words.names, person["keypoints"]))
        for name in ("nose", "left_wrist", "right_ankle"):
            assert points[name] == pytest.approx(answer[p, task.vocabulary.names.index(name)], abs=1e-3)
        assert person["bbox"] == [0.5, 0.5, 9, 9]
        if skeleton == "coco17" and form == "wholebody133":
            assert points["left_heel"] == [0, 0, 0]


def test_openpose_s_file_is_openpose_s():
    task = Pose(skeleton="wholebody133")
    answer = people(2, task)
    told = asked(task, answer, "openpose")
    assert told["version"] == 1.3
    names = task.vocabulary.names
    sizes = {"pose_keypoints_2d": 25, "face_keypoints_2d": 70, "hand_left_keypoints_2d": 21, "hand_right_keypoints_2d": 21}
    for p, person in enumerate(told["people"]):
        assert person.keys() == {"person_id", *sizes, *EMPTY}
        rows = {key: np.array(person[key]).reshape(-1, 3) for key in OPENPOSE}
        assert {key: len(points) for key, points in rows.items()} == sizes
        at = {name: answer[p, names.index(name)] for name in names}
        body = rows[
            "pose_keypoints_2d"
        ]  # BODY_25: 0 nose, 1 neck, 4 right wrist, 8 middle of the hips, 14 left ankle, 24 right heel
        for index, name in {
            0: "nose",
            4: "right_wrist",
            14: "left_ankle",
            15: "right_eye",
            19: "left_big_toe",
            24: "right_heel",
        }.items():
            assert body[index] == pytest.approx(at[name], abs=1e-3)
        for index, (left, right) in {1: ("left_shoulder", "right_shoulder"), 8: ("left_hip", "right_hip")}.items():
            assert body[index, :2] == pytest.approx((at[left][:2] + at[right][:2]) / 2, abs=1e-3)
            assert body[index, 2] == pytest.approx(min(at[left][2], at[right][2]), abs=1e-3)
        assert rows["face_keypoints_2d"][30] == pytest.approx(at["face-30"], abs=1e-3)
        assert rows["hand_left_keypoints_2d"][8] == pytest.approx(at["left_forefinger4"], abs=1e-3)
        assert rows["hand_right_keypoints_2d"][20] == pytest.approx(at["right_pinky_finger4"], abs=1e-3)
        assert (rows["face_keypoints_2d"][68:] == 0).all(), "no pupils"


def test_points_that_a_model_has_not_or_did_not_find_are_zeros_to_openpose():
    task = Pose()
    answer = people(1, task)
    answer[0, task.vocabulary.names.index("nose")] = -7, 12, -0.01
    (person,) = asked(task, answer, "openpose")["people"]
    body = np.array(person["pose_keypoints_2d"]).reshape(25, 3)
    assert (body[0] == 0).all()
    assert (body[1] > 0).all()
    assert (body[19:] == 0).all(), "no feet"
    assert not any(person["face_keypoints_2d"])
    assert not any(person["hand_left_keypoints_2d"][3:]), "the root of a hand is its wrist"


def test_a_convention_without_a_point_in_common_is_a_sentence_before_anything_is_answered():
    chin = Pose(skeleton={"entries": [{"name": name, "colour": [1, 2, 3]} for name in ("chin", "tail")]})
    for form in CONVENTIONS:
        with pytest.raises(ValueError, match=rf"pose cannot be written as {form}: none of its points .* begin with chin, tail"):
            chin.decoding_for(["json", form])
        assert Pose(skeleton="sapiens308").decoding_for([form]) == Pose(skeleton="sapiens308")
    assert chin.decoding_for(["json", "png"]) is chin


def test_how_many_points_two_conventions_share():
    names = Vocabulary.load(SKELETONS / "coco17.toml").names
    shared = {form: shared_points(Vocabulary.load(SKELETONS / f"{table}.toml"), names) for form, table in CONVENTIONS.items()}
    assert shared == {"coco17": 17, "wholebody133": 17, "openpose": 17 + 2 + 2}, "neck, middle of the hips, roots of the hands"
