"""Is all that is recorded of a picture true of it? Asked of every sample of a few of the rig's people, as shards hold them."""

from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

from shared.data import facts
from shared.data.codec import encode
from shared.data.fields import CORE, EXTRA, Sample
from shared.data.listing import FACTS
from shared.data.shards import Shards, write_shards
from shared.data.synthetic import NAMES, faces, keypoints, samples
from shared.data.synthetic.camera import SHOTS
from shared.data.synthetic.mesh import PART
from shared.data.synthetic.portrait import View, look, point_map, sample, setting
from shared.data.synthetic.rig import Identity, Rig

HW = (192, 144)
DRAWN = [*((21, shot) for shot in SHOTS), (22, "face"), (23, "upper")]
STILL = slice(17, 48)  # brows, nose and eyes: landmarks that hang on the bone of the head alone


class Recorded(NamedTuple):
    """A picture as it was rendered, and what shards give back of it."""

    view: View
    sample: Sample
    facts: dict[str, Any]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> list[Recorded]:
    folder = tmp_path_factory.mktemp("truth")
    views = [look(setting((5, seed), shot=shot), HW) for seed, shot in DRAWN]
    write_shards(((f"{i}", sample(view) | {FACTS: view.facts}) for i, view in enumerate(views)), folder, names=NAMES)
    shards = Shards(folder)
    return [Recorded(view, shards.read(i), facts.facts(shards, i)) for i, view in enumerate(views)]


def test_every_field_and_every_person_is_recorded(recorded):
    for one in recorded:
        assert set(one.sample) == {*CORE, *EXTRA}
        assert len(one.facts["people"]) == len(one.view.boxes)
        assert {"seed", "shot", "backdrop", "camera", "light", "sensor", "main"} <= set(one.facts)
    assert min(len(one.facts["people"]) for one in recorded) == 1 < max(len(one.facts["people"]) for one in recorded)


@pytest.mark.parametrize(("parts", "degrees"), [(("Face_Neck",), 9), (("Upper_Clothing", "Lower_Clothing"), 9)])
def test_normals_of_skin_and_cloth_are_the_derivative_of_depth(recorded, parts, degrees):
    """Within so many degrees at half of the pixels; smooth normals stand on flat faces, so that no pixel is exact."""
    looked = 0
    for one in recorded:
        z = one.sample["depth"].astype(float)
        fx, fy, cx, cy = one.sample["intrinsics"].astype(float)
        points = np.stack([(np.arange(HW[1]) - cx) / fx * z, (np.arange(HW[0])[:, None] - cy) / fy * z, z], -1)
        slope = np.cross(points[1:-1, 2:] - points[1:-1, :-2], points[:-2, 1:-1] - points[2:, 1:-1]) * (1, -1, -1)
        slope /= np.linalg.norm(slope, axis=-1, keepdims=True)
        mask = np.isin(one.sample["seg"], [PART[part] for part in parts]).astype(np.uint8)
        inside = cv2.erode(mask, np.ones((5, 5)))[1:-1, 1:-1] > 0
        if inside.sum() < 150:
            continue
        apart, upside_down = (
            np.degrees(np.arccos(np.clip((slope * one.sample["normal"][1:-1, 1:-1] * sign).sum(-1), -1, 1)))[inside]
            for sign in ((1, 1, 1), (1, -1, 1))
        )
        looked += 1
        assert np.nanmedian(apart) < degrees < np.nanmedian(upside_down)
        assert np.nanpercentile(apart, 80) < 3 * degrees
    assert looked >= 3


def test_labels_cover_the_silhouette_and_nothing_else(recorded):
    for one in recorded:
        labelled, somebody = one.sample["seg"] > 0, one.sample["person"] > 0
        assert np.array_equal(labelled, somebody)
        assert np.array_equal(labelled, np.isfinite(one.sample["depth"]))
        assert not labelled[one.sample["alpha"] == 0].any()
        assert labelled[one.sample["alpha"] == 1].all()
        soft = (one.sample["alpha"] > 0) & (one.sample["alpha"] < 1)
        rim = cv2.dilate(labelled.astype(np.uint8), np.ones((3, 3))) != cv2.erode(labelled.astype(np.uint8), np.ones((3, 3)))
        assert rim[soft].mean() > 0.9  # half covered are pixels of outlines, and a few where one sees through hair
        assert soft.any()


def test_numbers_of_people_match_their_boxes(recorded):
    for one in recorded:
        assert set(np.unique(one.sample["person"])) <= set(range(len(one.facts["people"]) + 1))
        for number, person in enumerate(one.facts["people"], 1):
            rows, columns = np.nonzero(one.sample["person"] == number)
            if len(rows):
                assert person["box"] == [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]
            else:
                assert person["box"] == [None] * 4
        assert one.facts["people"][one.facts["main"]]["box"] == one.sample["box"].tolist()


def test_visible_points_lie_on_their_person(recorded):
    """Within a pixel and a half, as fingers are thinner than pixels."""
    for one in recorded:
        for number, person in enumerate(one.facts["people"], 1):
            x, y, visible = facts.keypoints(person, one.sample["intrinsics"]).T
            mask = cv2.dilate((one.sample["person"] == number).astype(np.uint8), np.ones((3, 3)))
            columns, rows = (np.rint(at[visible > 0]).astype(int) for at in (x, y))
            assert mask[rows, columns].sum() >= 0.99 * len(rows)
            assert cv2.dilate(mask, np.ones((3, 3)))[rows, columns].all()


def test_the_points_of_everybody_project_onto_those_of_the_picture(recorded):
    for one in recorded:
        for number, person in enumerate(one.facts["people"]):
            projected = facts.keypoints(person, one.sample["intrinsics"])
            assert projected[:, :2] == pytest.approx(one.view.keypoints[number, :, :2], rel=1e-4, abs=0.02, nan_ok=True)
            assert np.array_equal(projected[:, 2], one.view.keypoints[number, :, 2])
        main = facts.keypoints(one.facts["people"][one.facts["main"]], one.sample["intrinsics"])
        assert main == pytest.approx(one.sample["keypoints"], rel=1e-4, abs=0.02)


def test_the_68_landmarks_project_onto_the_points_of_the_face(recorded):
    rows = [NAMES["keypoints"].index(name) for name in facts.FACE]
    for one in recorded:
        x, y, z = facts.landmarks(one.facts["people"][one.facts["main"]], NAMES["keypoints"]).T
        fx, fy, cx, cy = one.sample["intrinsics"]
        assert np.stack([fx * x / z + cx, fy * y / z + cy], 1) == pytest.approx(one.sample["keypoints"][rows, :2], abs=0.02)


def test_a_visible_landmark_lies_on_the_map_of_points(recorded):
    """On the skin, or at most its tolerance below hair, where pixels are fine enough to tell."""
    count = 0
    for one in recorded:
        met = point_map(one.view)
        for person in one.facts["people"]:
            seen = facts.keypoints(person, one.sample["intrinsics"])
            for k in (NAMES["keypoints"].index(name) for name in facts.FACE):
                pixel = person["points"][k][2] / one.sample["intrinsics"][0]
                if seen[k, 2] and pixel < 0.012:
                    row, column = max(round(seen[k, 1]), 1), max(round(seen[k, 0]), 1)
                    near = met[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 3)
                    count += 1
                    assert np.nanmin(np.linalg.norm(near - person["points"][k], axis=1)) < keypoints.TOLERANCE[k] + 3 * pixel
    assert count > 100


def test_the_map_of_points_projects_back_onto_its_pixels(recorded):
    for one in recorded:
        points, (fx, fy, cx, cy) = point_map(one.view), one.sample["intrinsics"]
        known = np.isfinite(points[..., 2])
        row, column = np.nonzero(known)
        assert known[one.sample["person"] > 0].all()
        x, y, z = points[known].T
        assert np.abs(fx * x / z + cx - column).max() < 0.01
        assert np.abs(fy * y / z + cy - row).max() < 0.01
        np.testing.assert_array_equal(points[..., 2][one.sample["person"] > 0], one.sample["depth"][one.sample["person"] > 0])


def test_shape_expression_and_pose_of_the_head_give_back_the_landmarks(recorded):
    """Coefficients -> the rig at rest -> the frame of its head -> the camera: 2 mm at brows, nose and eyes of everybody."""
    rig = Rig.load()
    for one in recorded:
        for person in one.facts["people"]:
            who = Identity(np.array(person["shape"]), 0.5, 0.7, np.ones(3) / 3)
            rest, heads = rig.rest(who, person["expression"])
            frame = faces.head(rig, rig.pose(rest, heads, {}))
            placed = keypoints.place(rig, rest)[[NAMES["keypoints"].index(name) for name in facts.FACE]]
            local = (placed - frame[:, 3]) @ frame[:, :3]
            here = local @ np.array(person["head"]["rotation"]).T + person["head"]["position"]
            apart = np.linalg.norm(here - facts.landmarks(person, NAMES["keypoints"]), axis=1)
            assert apart[STILL].max() < 0.002


def test_the_angles_are_those_of_the_rotation_and_the_face_looks_their_way(recorded):
    sided = 0
    for one in recorded:
        for person in one.facts["people"]:
            head = person["head"]
            turned = np.array(head["rotation"])
            assert turned @ turned.T == pytest.approx(np.eye(3), abs=1e-4)
            assert faces.rotation(head["yaw"], head["pitch"], head["roll"]) == pytest.approx(turned, abs=1e-4)
            marks = facts.landmarks(person, NAMES["keypoints"])
            ahead = marks[30] - (marks[0] + marks[16]) / 2  # from between the ears to the tip of the nose
            ahead /= np.linalg.norm(ahead)
            assert ahead @ turned @ (0, 0, -1) > 0.9
            if abs(head["yaw"]) > 15:
                sided += 1
                assert np.sign(ahead[0]) == -np.sign(head["yaw"])  # a positive yaw looks at the left edge
    assert sided >= 3


def test_colours_without_light_are_those_of_the_renderer(recorded):
    for one in recorded:
        met = np.isfinite(one.view.maps.depth)
        albedo = one.sample["albedo"].astype(float) / 255
        linear = np.where(albedo <= 0.04045, albedo / 12.92, ((albedo + 0.055) / 1.055) ** 2.4)
        assert np.abs(linear[met] - np.clip(one.view.maps.albedo[met], 0, 1)).max() < 0.005
        assert (one.sample["albedo"][~met] == 0).all()


def test_the_recorded_seed_draws_the_picture_again(recorded):
    one = recorded[2]
    again = look(setting(tuple(one.facts["seed"]), shot=one.facts["shot"]), HW)
    assert np.array_equal(again.image, one.view.image)
    assert again.facts == one.view.facts


def test_the_same_seed_records_the_same_bytes():
    first, second = (dict(samples(1, seed=8, hw=(48, 36), maps=EXTRA))["000000"] for _ in range(2))
    assert encode(first) == encode(second)
    assert first[FACTS]["seed"] == [8, 0]
