"""Transfer to real photos: the arithmetic by hand, and what the built-in model scores.

Any checkpoints, side by side, and pictures: .venv/bin/python tests/bench/transfer.py ours=FILE other=FILE --pictures runs/transfer
"""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import transfer
import transfer_scores as scores

from shared import checkpoint
from shared.build import build
from shared.infer.predictor import Predictor
from shared.vocabulary import Vocabulary
from tasks.seg.task import LABELS

BACKGROUND, SKIN, HAIR, CLOTH, SHOE = range(5)
OTHER, UNKNOWN = 5, 255
NANO = {
    "type": "shared.dense.model.DenseModel",
    "backbone": {"type": "shared.vit.model.ViT", "size": "nano", "image_hw": [64, 48]},
    "tasks": [{"type": "tasks.seg.task.Seg", "labels": "sapiens29"}, {"type": "tasks.pose.task.Pose", "skeleton": "sapiens308"}],
    "decoder": {"type": "shared.dense.decoder.Spec", "up": [16], "refine": [16]},
}


def maps(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


@pytest.fixture(scope="module")
def photos(shared_folder) -> Path:
    if not (shared_folder / "images" / "ccp").is_dir():
        pytest.skip("the real photos do not lie beside the repository")
    return shared_folder / "images"


@pytest.fixture(scope="module")
def nano(tmp_path_factory) -> Path:
    """A model of 29 parts and 308 points that has learnt nothing."""
    path = tmp_path_factory.mktemp("nano") / "model.safetensors"
    torch.manual_seed(0)
    checkpoint.save(path, build(NANO).state_dict(), NANO)
    return path


def test_every_class_of_three_vocabularies_has_one_group_and_the_table_holds_no_other():
    table = tomllib.loads(scores.TABLE.read_text())["groups"]
    words = [name for names in table.values() for name in names]
    known = {name for labels in ("sapiens28", "sapiens29", "ccp59") for name in Vocabulary.named(labels, LABELS).names}
    assert sorted(words) == sorted(known)
    assert (*scores.GROUPS, "other") == tuple(table)


def test_names_find_their_groups_and_a_strange_one_is_a_sentence():
    found = scores.groups_of(["null", "bag", "boots", "skin", "Hair", "Left_Sock", "Upper_Teeth"])
    assert found[:7].tolist() == [BACKGROUND, OTHER, SHOE, SKIN, HAIR, CLOTH, SKIN]
    assert set(found[7:].tolist()) == {UNKNOWN}
    with pytest.raises(ValueError, match=r"transfer\.toml has no group for Wing; write the names into one of its lists"):
        scores.groups_of(["Hair", "Wing"])


def test_the_truth_scores_one():
    truth = maps([BACKGROUND, SKIN, HAIR], [CLOTH, SHOE, OTHER])
    assert set(scores.ious(scores.confusion(truth, truth)).values()) == {1.0}


def test_union_and_intersection_by_hand():
    truth = maps([0, 0, 0, 0, SKIN, SKIN, HAIR, CLOTH, CLOTH, SHOE])
    answer = maps([0, 0, 0, CLOTH, SKIN, 0, HAIR, CLOTH, SKIN, CLOTH])
    found = scores.ious(scores.confusion(truth, answer))
    each = {"background": 3 / 5, "skin": 1 / 3, "hair": 1, "cloth": 1 / 4, "shoe": 0}
    assert found == pytest.approx(each | {"mean": sum(each.values()) / 5, "person": 5 / 7})


def test_other_things_are_no_truth_and_answering_them_is_a_miss_on_a_person():
    truth = maps([OTHER, UNKNOWN, SKIN, SKIN, 0])
    answer = maps([CLOTH, 0, OTHER, SKIN, OTHER])
    matrix = scores.confusion(truth, answer)
    assert matrix.sum() == 3
    found = scores.ious(matrix)
    assert found["skin"] == 1 / 2
    assert found["person"] == 2 / 3
    assert np.isnan(found["cloth"])


def test_pixels_count_alike_over_all_photos():
    one = scores.confusion(maps([SKIN]), maps([SKIN]))
    other = scores.confusion(maps([SKIN] * 3), maps([0] * 3))
    assert scores.ious(one + other)["skin"] == 1 / 4


def test_whoever_answers_background_gets_its_share_and_nothing_else():
    truth = maps([0, 0, 0, SKIN, OTHER])
    trivial = scores.all_background(scores.confusion(truth, maps([SKIN, 0, HAIR, SHOE, 0])))
    assert np.array_equal(trivial, scores.confusion(truth, maps([0] * 5)))
    found = scores.ious(trivial)
    assert (found["background"], found["skin"], found["person"]) == (3 / 4, 0, 0)


def test_maps_of_two_sizes_are_a_sentence():
    with pytest.raises(ValueError, match="both must have the photo's size"):
        scores.confusion(maps([0, 0]), maps([0]))


BOXES = np.array([[0, 0, 30, 40], [10, 10, 16, 18]], float)  # diagonals 50 and 10


def test_a_point_is_right_within_a_share_of_the_diagonal():
    truth = np.array([[[5, 5, 2], [9, 9, 0]], [[12, 12, 1], [15, 15, 2]]], float)
    answers = truth[..., :2] + np.array([[[10, 0], [99, 99]], [[2.1, 0], [0, 0]]])
    off = scores.distances(answers, truth, BOXES)
    assert np.allclose(off, [[0.2, np.nan], [0.21, 0]], equal_nan=True)
    assert [scores.pck(off, limit) for limit in (0.25, 0.2, 0.1)] == pytest.approx([1, 2 / 3, 1 / 3])
    assert np.isnan(scores.pck(np.full((1, 2), np.nan), 0.2))


def test_the_mean_pose_is_that_of_labelled_points_in_their_boxes():
    truth = np.array([[[15, 20, 2], [30, 0, 2], [1, 1, 0]], [[10, 10, 1], [7, 7, 0], [2, 2, 0]]], float)
    inside = scores.in_boxes(truth, BOXES)
    assert np.allclose(inside[0, :2], [[0.5, 0.5], [1, 0]])
    pose = scores.mean_pose(inside)
    assert np.allclose(pose, [[0.25, 0.25], [1, 0], [0.5, 0.5]])
    assert np.allclose(scores.placed(pose, BOXES)[1], [[11.5, 12], [16, 10], [13, 14]])


def test_nobody_is_in_the_mean_that_answers_for_them():
    points = np.array([[[0, 0, 2]] * 17, [[16, 18, 2]] * 17], float)
    people = transfer.People([Path("a"), Path("b")], points, BOXES, 0)
    answers = transfer.without_looking(people, None)
    assert np.allclose(answers[0], [30, 40])
    assert np.allclose(answers[1], [10, 10])


def test_the_training_data_give_a_mean_pose(small_shards, names):
    pose = dict(zip(transfer.COCO, transfer.training_pose(small_shards)))
    assert all(((place > -0.2) & (place < 1.2)).all() for place in pose.values())
    assert pose["nose"][1] < pose["left_hip"][1] < pose["left_ankle"][1]
    assert set(transfer.COCO) <= set(names["keypoints"])


def test_a_window_shows_what_a_view_of_the_box_shows():
    left, top, right, bottom = transfer.window(np.array([99.5, 199.5, 179.5, 599.5]), (64, 48))
    assert (top, bottom) == (150, 650), "grown by 1.25"
    assert right - left == 375, "and to the aspect of the input"
    assert (left + right) / 2 == pytest.approx(140, abs=1)


def test_a_window_is_black_outside_and_goes_back_to_its_place():
    image = np.arange(1, 21, dtype=np.uint8).reshape(4, 5)
    seen = (-2, 1, 3, 9)
    shown = transfer.cut(image, seen)
    assert shown.shape == (8, 5)
    assert np.array_equal(shown[:3, 2:], image[1:, :3])
    assert shown.astype(bool).sum() == 9
    back = transfer.put_back(shown, seen, image.shape)
    assert np.array_equal(back[1:, :3], image[1:, :3])
    assert back.astype(bool).sum() == 9


def test_a_box_holds_all_that_is_known_of_a_person():
    groups = np.zeros((9, 9), np.uint8)
    groups[2:4, 5:8], groups[8, 8] = OTHER, UNKNOWN
    assert transfer.box_of(groups).tolist() == [4.5, 1.5, 7.5, 3.5]
    assert transfer.box_of(np.zeros((2, 3), np.uint8)).tolist() == [-0.5, -0.5, 2.5, 1.5]


def test_twelve_people_of_the_sample_have_labelled_points(photos):
    people = transfer.people_of(photos / "coco")
    assert (len(people.photos), people.left_out) == (12, 2)
    known = people.points[..., 2] > 0
    assert known.sum() == 181
    inside = scores.in_boxes(people.points, people.boxes)[people.points[..., 2] == 2]
    assert ((inside > -0.05) & (inside < 1.05)).all(), "every point that can be seen lies in its box"
    assert set(transfer.pose_scores(people.points, people).values()) == {1.0}
    assert {len(boxes) for boxes in transfer.by_photo(people).values()} == {1, 2, 4, 5}


def test_every_model_gets_its_column_and_whoever_does_not_look_the_last(photos, nano):
    found = transfer.measure({"one": nano, "two": nano}, photos, device="cpu", limit=1)
    assert list(found) == ["one", "two", "trivial"]
    assert found["one"] == found["two"]
    assert found["one"].keys() == found["trivial"].keys()
    assert found["trivial"]["whole person"] == 0
    assert found["trivial"]["whole background"] == found["trivial"]["box background"] > 0.5
    assert 0 < found["trivial"]["pck 0.05"] < found["trivial"]["pck 0.10"] < found["trivial"]["pck 0.20"] < 1
    lines = transfer.table(found).splitlines()
    assert lines[0].split() == ["one", "two", "trivial"]
    assert {len(line) for line in lines} == {len(lines[0])}
    assert len(lines) == 1 + 3 + 2 * 7


def test_a_checkpoint_without_a_label_is_called_after_its_folder():
    assert transfer.labelled("ours=runs/lr=1/model.safetensors") == ("ours", Path("runs/lr=1/model.safetensors"))
    assert transfer.labelled("runs/joint/model.safetensors") == ("joint", Path("runs/joint/model.safetensors"))


def test_a_model_without_the_points_is_a_sentence(photos, tmp_path):
    face = {**NANO, "tasks": [{"type": "tasks.pose.task.Pose", "skeleton": "face243"}]}
    checkpoint.save(tmp_path / "face.safetensors", build(face).state_dict(), face)
    with pytest.raises(ValueError, match=r"this model has no left_shoulder, .*ankle; COCO's photos need all of its 17 points"):
        transfer.answered_points(Predictor.load(tmp_path / "face.safetensors", device="cpu"), transfer.people_of(photos / "coco"))


@pytest.fixture(scope="module")
def found(photos):
    return transfer.report({"builtin": None}, photos)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["pck 0.10", "pck 0.05", "whole mean", "whole person", "box mean", "box person"])
def test_the_built_in_model_sees_more_than_whoever_does_not_look(found, name):
    assert found["builtin"][name] > found["trivial"][name]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.xfail(reason="0.757 against 0.818: its errors are rarer than a mean pose's, but farther", strict=True)
def test_the_built_in_model_is_seldom_far_off(found):
    assert found["builtin"]["pck 0.20"] > found["trivial"]["pck 0.20"]
