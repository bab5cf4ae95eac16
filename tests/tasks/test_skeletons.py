"""Tables of points: faces of 300-W and WFLW as they are annotated, and one convention written in another."""

import json
from pathlib import Path

import numpy as np
import pytest

from shared.data.shards import Shards, write_shards
from shared.data.synthetic import keypoints
from shared.data.synthetic.rig import Rig
from shared.data.wanted import Wanted
from shared.vocabulary import Vocabulary
from tasks.pose.task import SKELETONS

TABLES = ("300w68", "coco17", "face243", "openpose137", "sapiens308", "wflw98", "wholebody133")


def table(stem: str) -> Vocabulary:
    return Vocabulary.load(SKELETONS / f"{stem}.toml")


def annotated(shared_folder: Path, name: str) -> list[np.ndarray]:
    """The faces of a data set's sample file, each (K,2) pixels."""
    path = shared_folder / "images" / "faces" / name / f"test_{name}.json"
    if not path.is_file():
        pytest.skip(f"there is no {path.name} beside the repository")
    found = json.loads(path.read_text(encoding="utf-8"))["annotations"]
    return [np.array(annotation["keypoints"]) for annotation in found]


def numbered(count: int) -> np.ndarray:
    """Points that say which they are: (k, 10 k, 0.5 + k / 1000)."""
    k = np.arange(count, dtype=float)
    return np.stack([k, 10 * k, 0.5 + k / 1000], 1)


def mirror_error(points: np.ndarray, swap: np.ndarray) -> float:
    """How far the mirror image of a face, swapped, is from the face after the best similarity, in parts of its size (RMS)."""
    face = points[:, 0] + 1j * points[:, 1]
    face = face - face.mean()
    mirrored = (-points[:, 0] + 1j * points[:, 1])[swap]
    mirrored = mirrored - mirrored.mean()
    fitted = mirrored * np.vdot(mirrored, face) / np.vdot(mirrored, mirrored)
    return float(np.linalg.norm(fitted - face) / np.linalg.norm(face))


@pytest.mark.parametrize("stem", TABLES)
def test_every_table_joins_its_points_and_says_which_part_they_are_of(stem):
    words = table(stem)
    assert words.links
    parts = [name for name in ("body", "foot", "head", "face", "left_hand", "right_hand", "extra") if name in words.groups]
    assert sorted(k for part in parts for k in words.groups[part]) == list(range(len(words)))


@pytest.mark.parametrize("stem", TABLES)
def test_sigmas_are_given_where_they_were_published(stem):
    assert (table(stem).sigmas is None) == (stem in ("300w68", "wflw98", "openpose137"))


@pytest.mark.parametrize("stem", TABLES)
def test_the_eyes_that_measure_a_face_are_a_pair(stem):
    words = table(stem)
    if stem != "coco17":
        right, left = words.groups["interocular"]
        assert words.swap[right] == left != right


@pytest.mark.parametrize(("stem", "name"), [("300w68", "300w"), ("wflw98", "wflw")])
def test_a_mirrored_face_is_a_face_after_left_and_right_are_swapped(stem, name, shared_folder):
    words = table(stem)
    faces = [points.reshape(-1, 3) for points in annotated(shared_folder, name)]
    assert all(len(points) == len(words) for points in faces)
    right = min(mirror_error(points, words.swap) for points in faces)  # of the one that looks most into the camera
    assert right < 0.15
    for points in faces:
        found = mirror_error(points, words.swap)
        for left, other in words.pairs:  # no single pair is better taken apart
            wrong = words.swap.copy()
            wrong[[left, other]] = left, other
            assert mirror_error(points, wrong) > found


@pytest.mark.parametrize(("stem", "name"), [("300w68", "300w"), ("wflw98", "wflw")])
def test_the_right_eye_of_a_face_is_on_the_left_of_its_picture_and_chins_are_lowest(stem, name, shared_folder):
    words = table(stem)
    for points in annotated(shared_folder, name):
        xy = points.reshape(-1, 3)[:, :2]
        right, left = words.groups["interocular"]
        axis = xy[left] - xy[right]
        down = np.array([-axis[1], axis[0]])
        height = xy @ down  # faces may be turned: down is across the eyes
        assert axis[0] > 0
        mean = {name: height[list(ids)].mean() for name, ids in words.groups.items()}
        chin = words.groups["contour"][len(words.groups["contour"]) // 2]
        assert mean["right_eyebrow"] < mean["right_eye"] < mean["nose"] < mean["outer_lip"] < height[chin]
        assert mean["left_eyebrow"] < mean["left_eye"] < mean["nose"]


@pytest.mark.parametrize("stem", TABLES)
def test_in_its_own_convention_an_answer_is_itself(stem):
    words = table(stem)
    points = numbered(len(words))
    np.testing.assert_array_equal(words.rewrite(points, words.names), points)


def test_308_points_hold_the_17_and_all_of_the_133_but_two_hand_roots_and_most_of_the_face():
    largest, whole, body = (table(stem) for stem in ("sapiens308", "wholebody133", "coco17"))
    points = numbered(308)
    ours = whole.rewrite(points, largest.names)
    lacking = {name for name, point in zip(whole.names, ours) if not point.any()}
    face = {f"face-{i}" for i in range(68)}
    same = {f"face-{i}" for i in (17, 26, 27, 36, 39, 42, 45, 48, 51, 54, 57, 60, 62, 64, 66)}
    assert lacking == face - same | {"left_hand_root", "right_hand_root"}
    there = dict(zip(whole.names, ours))
    told = dict(zip(largest.names, points))
    assert there["left_pinky_finger1"].tolist() == told["left_pinky_finger_third_joint"].tolist()
    assert there["face-54"].tolist() == told["l_outer_corner_of_mouth"].tolist()
    assert body.rewrite(points, largest.names).tolist() == body.rewrite(ours, whole.names).tolist()
    assert (body.rewrite(points, largest.names)[:, 2] > 0).all()


def test_points_said_to_be_the_same_lie_in_one_place_of_the_body():
    rig, names = Rig.load(), list(keypoints.NAMES)
    placed = keypoints.place(rig, rig.mean)
    compared = 0
    for stem in ("wholebody133", "sapiens308", "face243", "openpose137"):
        words = table(stem)
        for name, others in zip(words.names, words.also):
            for other in set(others) & set(names) if name in names else ():
                metres = np.linalg.norm(placed[names.index(name)] - placed[names.index(other)])
                assert metres < 0.0015, f"{name} and {other}"
                compared += 1
    assert compared >= 60


def test_what_is_the_same_one_way_is_the_same_the_other_way():
    tables = {stem: table(stem) for stem in TABLES}
    for one in tables.values():
        for other in tables.values():
            there, back = one.rows(other.names), other.rows(one.names)
            assert all(back[row] == k for k, row in enumerate(there) if row >= 0)


@pytest.mark.parametrize("pair", [("300w68", "wflw98"), ("300w68", "sapiens308"), ("wholebody133", "openpose137")])
def test_left_stays_left_in_the_other_convention(pair):
    one, other = (table(stem) for stem in pair)
    rows = one.rows(other.names)
    for k, row in enumerate(rows):
        assert rows[one.swap[k]] == (other.swap[row] if row >= 0 else -1), one.names[k]


def test_neck_and_mid_hip_of_openpose_lie_between_shoulders_and_hips():
    body, ours = table("coco17"), table("openpose137")
    points = numbered(17)
    found = dict(zip(ours.names, ours.rewrite(points, body.names)))
    assert found["mid_shoulder"].tolist() == [5.5, 55, 0.505]  # the mean of 5 and 6, the lower score
    assert found["mid_hip"].tolist() == [11.5, 115, 0.511]
    assert found["left_hand_root"].tolist() == points[9].tolist()
    assert found["face-3"].tolist() == found["left_heel"].tolist() == [0, 0, 0]
    points[5] = 0
    found = dict(zip(ours.names, ours.rewrite(points, body.names)))
    assert found["mid_shoulder"].tolist() == [0, 0, 0]


def test_many_people_are_rewritten_at_once():
    body, ours = table("coco17"), table("openpose137")
    people = np.stack([numbered(17), 2 * numbered(17)])
    found = ours.rewrite(people, body.names)
    assert found.shape == (2, 137, 3)
    for one, person in zip(people, found):
        np.testing.assert_array_equal(person, ours.rewrite(one, body.names))
    assert ours.rewrite(np.zeros((0, 17, 3)), body.names).shape == (0, 137, 3)


def test_faces_of_wflw_train_the_points_that_a_model_of_68_shares_with_them(tmp_path):
    points = numbered(98).astype(np.float32)
    sample = {"image": np.zeros((4, 4, 3), np.uint8), "keypoints": points}
    write_shards([("a", sample)], tmp_path, names={"keypoints": table("wflw98").names})
    shards = Shards(tmp_path)
    found = Wanted({"keypoints": table("300w68")}).over(shards).translate(shards.read(0))["keypoints"]
    known = found[:, 2] > 0
    assert known.sum() == 52
    assert found[[8, 36, 45, 60]].tolist() == points[[16, 60, 72, 88]].tolist()
    assert not known[[37, 38, 40, 41, 18, 21]].any()
