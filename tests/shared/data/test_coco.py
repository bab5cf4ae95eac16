"""People annotated in the form of COCO become samples, one each, and whoever does not is told why."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.data.facts import facts
from shared.data.pack import main
from shared.data.photo import read_photo
from shared.data.shards import Shards
from shared.data.sources import coco
from shared.data.sources.conventions import CONVENTIONS, Convention
from shared.vocabulary import Vocabulary

SKELETONS = Path(__file__).parents[3] / "tasks" / "pose" / "skeletons"
TWO = Convention("two points", ("nose", "chin"))
NAN = float("nan")


def row(number: int | str = 1, image=7, points=(10, 20, 2, 12, 25, 1), box=(8, 16, 6, 12), **more):
    return {"id": number, "image_id": image, "keypoints": list(points), "bbox": list(box), "area": 50.0, "iscrowd": 0, **more}


def annotations(*rows, size=(40, 30)):
    images = [{"id": 7, "file_name": "a.jpg", "height": size[0], "width": size[1]}, {"id": 8, "file_name": "b.png"}]
    return {"images": images, "annotations": list(rows)}


@pytest.fixture
def photos(tmp_path) -> Path:
    """Two photos of 40 x 30 pixels, each of which differs: a.jpg and b.png."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rows, columns = np.mgrid[:40, :30]
    pixels = np.stack([6 * rows, 8 * columns, 0 * rows], 2).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "a.jpg", quality=100, subsampling=0)
    Image.fromarray(pixels).save(folder / "b.png")
    return folder


def pack(photos, *rows, convention=TWO, crop=None, size=(40, 30)):
    report = coco.Report()
    found = coco.pictures(annotations(*rows, size=size), convention, report)
    return dict(coco.samples(found, photos, report, crop=crop)), report


def test_everybody_is_a_sample_of_the_whole_photo(photos):
    people, report = pack(photos, row(1), row(2, points=(3, 4, 2, 0, 0, 0)), row(3, image=8))
    assert list(people) == ["a/1", "a/2", "b/3"]
    assert people["a/1"]["image"] == people["a/2"]["image"] == (photos / "a.jpg").read_bytes()
    assert people["b/3"]["image"].shape == (40, 30, 3)
    assert (report.faults, report.passed_over, not report.reasons) == ([], [], True)


def test_a_point_is_known_where_it_is_labelled_seen_or_not(photos):
    people, _ = pack(photos, row(points=(10, 20, 2, 12, 25, 1)), row(2, points=(10.5, 20, 1, NAN, 99, 0)))
    assert people["a/1"]["keypoints"].tolist() == [[10, 20, 1], [12, 25, 1]]
    assert people["a/2"]["keypoints"].tolist() == [[10.5, 20, 1], [0, 0, 0]]


def test_a_box_around_one_pixel_column_and_row_ends_half_a_pixel_from_their_middle(photos):
    people, _ = pack(photos, row(box=(7, 5, 2, 3)), row(2, box=(-4, -4, 100, 10)))
    assert people["a/1"]["box"].tolist() == [6.5, 4.5, 8.5, 7.5]
    assert people["a/2"]["box"].tolist() == [-0.5, -0.5, 29.5, 5.5]  # its part in the picture


def test_without_a_box_the_points_give_one(photos):
    bare = row()
    del bare["bbox"]
    people, _ = pack(photos, bare)
    assert people["a/1"]["box"].tolist() == [9.5, 19.5, 12.5, 25.5]


def test_what_the_official_measure_needs_is_kept(photos):
    people, _ = pack(photos, row(5), row(6, area=0), row(7, area=NAN), row(8, area="x"))
    told = {"photo": "a.jpg", "image_id": 7, "annotation_id": 5, "area": 50.0, "offset": [0, 0]}
    assert people["a/5"]["facts"] == {"coco": told}
    assert [people[f"a/{number}"]["facts"]["coco"]["area"] for number in (6, 7, 8)] == [None] * 3


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (row(iscrowd=1), "it is a crowd"),
        (row(points=(10, 20, 0, 12, 25, 0)), "none of its points is labelled"),
        (row(points=(NAN, 20, 2, 12, 25, 1)), "its points are not finite"),
        (row(points=(10, float("inf"), 2, 12, 25, 1)), "its points are not finite"),
        (row(points=(10, 20, NAN, 12, 25, 1)), "its points are not finite"),
        (row(points=(10, 20, 2)), "it has 3 numbers where 2 points have 6"),
        (row(points="ten"), "its points are no list of numbers"),
        (row(points=({}, 2)), "its points are no list of numbers"),
        (row(box=(NAN, 0, 5, 5)), "its box is not finite"),
        (row(box=(1, 2, 3)), "its box is not four numbers"),
        (row(box=(1, 2, "x", 3)), "its box is not four numbers"),
        (row(box=(5, 5, 1, 1)), "its box is not wider and higher than a pixel"),
        (row(box=(5, 5, 9, 1)), "its box is not wider and higher than a pixel"),
        (row(box=(5, 5, 0, 9)), "its box is empty"),
        (row(box=(5, 5, -3, 9)), "its box is empty"),
        (row(box=(31, 5, 9, 9)), "its box lies outside the picture"),
        (row(box=(-9, 5, 8, 9)), "its box lies outside the picture"),
        (row(image=99), "its image is not in the file"),
    ],
)
def test_whoever_cannot_be_used_is_told_with_a_reason_and_the_rest_goes_on(photos, wrong, reason):
    people, report = pack(photos, wrong, row(2))
    assert list(people) == ["a/2"]
    assert dict(report.reasons) == {reason: 1}
    told = [sentence for _, sentence in report.faults] + report.passed_over
    assert len(told) == 1
    assert told[0].startswith("person 1 of ")
    assert told[0].endswith(reason)
    assert bool(report.passed_over) == (reason in (coco.CROWD, coco.NO_POINTS))


@pytest.mark.parametrize("box", [(31, 5, 9, 9), (5, 5, 1, 1)])
def test_a_box_is_measured_by_the_photo_where_the_file_has_no_sizes(photos, box):
    people, report = pack(photos, row(1, image=8, box=box), row(2, image=8))
    assert list(people) == ["b/2"]
    assert report.reasons.total() == 1


def test_photos_that_are_absent_damaged_or_others_lose_their_people_only(photos):
    assert pack(photos, row(1), row(3, image=8), size=(30, 40))[1].faults[0][1].startswith("1 people are lost: ")
    (photos / "a.jpg").write_bytes(b"text")
    people, report = pack(photos, row(1), row(2), row(3, image=8))
    assert list(people) == ["b/3"]
    assert dict(report.reasons) == {"its photo cannot be used": 2}
    assert "2 people are lost: " in report.faults[0][1]
    (photos / "b.png").unlink()
    people, report = pack(photos, row(3, image=8))
    assert not people
    assert "does not exist" in report.faults[0][1]


def test_a_cut_photo_shows_the_same_pixels_under_the_points(photos):
    whole, _ = pack(photos, row(image=8))
    people, _ = pack(photos, row(image=8), crop=1.5)
    sample = people["b/1"]
    left, top = sample["facts"]["coco"]["offset"]
    assert (left, top) == (5, 13)  # 12 pixels high, so 3 more each way than 7.5 ... 13.5 and 15.5 ... 27.5
    assert sample["image"].shape == (18, 12, 3)
    np.testing.assert_array_equal(sample["image"], whole["b/1"]["image"][13:31, 5:17])
    assert sample["keypoints"].tolist() == [[5, 7, 1], [7, 12, 1]]
    assert sample["box"].tolist() == [2.5, 2.5, 8.5, 14.5]


def test_a_cut_beyond_the_photo_is_the_photo(photos):
    people, _ = pack(photos, row(points=(10, 20, 2, 5, 5, 0)), crop=100)
    sample = people["a/1"]
    assert sample["facts"]["coco"]["offset"] == [0, 0]
    assert sample["keypoints"].tolist() == [[10, 20, 1], [0, 0, 0]]
    np.testing.assert_array_equal(sample["image"], read_photo(photos / "a.jpg"))


def test_keys_differ_even_where_numbers_do_not(photos):
    people, _ = pack(photos, row(1), row(1), row("x.y/z"))
    assert list(people) == ["a/1", "a/1_2", "a/x_y_z"]


@pytest.mark.parametrize(
    ("name", "stem"), [("coco", "coco17"), ("coco-wholebody", "wholebody133"), ("300w", "300w68"), ("wflw", "wflw98")]
)
def test_points_are_called_as_the_models_call_them(name, stem):
    assert CONVENTIONS[name].names == Vocabulary.load(SKELETONS / f"{stem}.toml").names


def test_twelve_of_the_points_of_crowdpose_are_those_of_coco():
    names = CONVENTIONS["crowdpose"].names or ()
    assert len(names) == 14
    assert names[:4] == ("left_shoulder", "right_shoulder", "left_elbow", "right_elbow")
    assert len(set(names) & set(CONVENTIONS["coco"].names or ())) == 12


def test_parts_of_a_whole_body_are_put_end_to_end(photos):
    parts = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
    numbers = iter(range(1, 134))
    whole = row() | {key: [v for _ in range(count) for v in (next(numbers), 5, 1)] for key, count in parts.items() if count != 17}
    whole["keypoints"] = [v for number in range(134, 151) for v in (number, 5, 2)]
    people, _ = pack(photos, whole, convention=CONVENTIONS["coco-wholebody"])
    assert people["a/1"]["keypoints"][:, 0].tolist() == [*range(134, 151), *range(1, 117)]


def test_a_file_may_name_points_of_its_own(tmp_path, photos):
    names = list(Vocabulary.load(SKELETONS / "sapiens308.toml").names)
    points = [v for i in range(308) for v in (i % 30, i % 40, 2)]
    told = annotations(row(points=points)) | {"categories": [{"id": 1, "name": "person", "keypoints": names}]}
    (tmp_path / "ann.json").write_text(json.dumps(told))
    assert main(["keypoints", str(tmp_path / "ann.json"), str(photos), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    shards = Shards(tmp_path / "out")
    assert shards.names["keypoints"] == names
    assert shards.read(0)["keypoints"][307].tolist() == [307 % 30, 307 % 40, 1]


def command(tmp_path, photos, told, *options, source="coco"):
    (tmp_path / "ann.json").write_text(json.dumps(told) if isinstance(told, dict | list) else told)
    return main([source, str(tmp_path / "ann.json"), str(photos), "--out", str(tmp_path / "out"), "--quiet", *options])


def test_the_command_counts_reasons_and_lists_everybody(tmp_path, photos, capsys):
    points = [1, 2, 2] * 17
    told = annotations(
        row(1, points=points), row(2, points=points, iscrowd=1), row(3, points=[0] * 51), row(4, points=points, box=(5, 5, 1, 1))
    )
    assert command(tmp_path, photos, told) == 1
    out, err = capsys.readouterr()
    assert out.startswith("packed 1 samples into 1 shard(s), ")
    assert "skipped 1\n" in out
    for reason in (coco.CROWD, coco.NO_POINTS, "its box is not wider and higher than a pixel"):
        assert f"        1 not packed: {reason}\n" in out
    assert "person 4 of a.jpg" in err
    assert "person 2" not in err
    listed = (tmp_path / "out" / "skipped.txt").read_text().splitlines()
    assert [line.split(" of ")[0] for line in listed] == ["person 4", "person 2", "person 3"]
    assert facts(Shards(tmp_path / "out"), 0)["coco"]["annotation_id"] == 1


def test_crowds_and_people_without_points_are_no_failure(tmp_path, photos):
    told = annotations(row(1, points=[1, 2, 2] * 17), row(2, points=[0] * 51))
    assert command(tmp_path, photos, told) == 0
    assert (tmp_path / "out" / "skipped.txt").read_text() == "person 2 of a.jpg: none of its points is labelled\n"


@pytest.mark.parametrize(
    ("told", "source", "sentence"),
    [
        ("{", "coco", "not readable JSON"),
        ([], "coco", "has no list of images"),
        ({"images": []}, "coco", "has no list of annotations"),
        ({"images": [3], "annotations": []}, "coco", "has no list of images"),
        (annotations(row()), "keypoints", "the annotations name no points"),
        (annotations(), "coco", "nothing was packed"),
    ],
)
def test_a_file_of_another_form_is_answered_in_a_sentence(tmp_path, photos, capsys, told, source, sentence):
    assert command(tmp_path, photos, told, source=source) == 2
    assert sentence in capsys.readouterr().err


def test_absent_files_and_small_factors_are_answered_in_a_sentence(tmp_path, photos, capsys):
    assert main(["coco", str(tmp_path / "no.json"), str(photos), "--out", str(tmp_path / "out")]) == 2
    assert "there is no annotation file" in capsys.readouterr().err
    assert main(["coco", str(photos), str(tmp_path / "ann.json"), "--out", str(tmp_path / "out")]) == 2
    assert "is a folder; the annotation file stands first" in capsys.readouterr().err
    assert command(tmp_path, tmp_path / "nowhere", annotations(row())) == 2
    assert "there is no folder of photos" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command(tmp_path, photos, annotations(row()), "--crop", "0.5")
    assert "would cut the person" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "folder", "file", "count"),
    [
        ("coco", "coco", "test_coco.json", 12),
        ("coco-wholebody", "coco", "test_coco_wholebody.json", 12),
        ("300w", "faces/300w", "test_300w.json", 2),
        ("wflw", "faces/wflw", "test_wflw.json", 4),
    ],
)
def test_samples_of_the_real_sets_are_packed(tmp_path, shared_folder, name, folder, file, count):
    images = shared_folder / "images" / folder
    if not (images / file).is_file():
        pytest.skip(f"there is no {file} beside the repository")
    assert main([name, str(images / file), str(images), "--out", str(tmp_path), "--quiet"]) == 0
    shards = Shards(tmp_path)
    assert len(shards) == count
    told = {row["id"]: row for row in json.loads((images / file).read_text())["annotations"]}
    for i in range(count):
        sample, about = shards.read(i), facts(shards, i)["coco"]
        truth = told[about["annotation_id"]]
        body = np.array(truth["keypoints"], float).reshape(-1, 3)
        ours = sample["keypoints"][: len(body)]
        known = body[:, 2] > 0
        assert (ours[:, 2] == known).all()
        np.testing.assert_allclose(ours[known, :2], body[known, :2], rtol=1e-6)
        assert about["area"] == truth["area"]
        h, w = sample["image"].shape[:2]
        assert (sample["box"] >= -0.5).all()
        assert (sample["box"] <= np.array([w, h, w, h]) - 0.5).all()
