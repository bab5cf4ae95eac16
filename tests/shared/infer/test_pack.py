"""Only pictures with enough people, large enough, are packed; what was found goes with them, and who was left out is told."""

import cv2
import numpy as np
import pytest

from shared.data.facts import facts
from shared.data.pack import main
from shared.data.shards import Shards, write_shards
from shared.data.sources.source import Report
from shared.infer.pack import COMMANDS, Filter, inside
from shared.infer.people import People

PROG = {"commands": COMMANDS, "prog": "python -m shared.infer.pack", "about": None}


def find(name: str, image: np.ndarray) -> People:
    """A person for each column of white pixels in the first row, as high as the pixels of that column that are white."""
    heights = (image[..., 0] > 128).sum(0)
    columns = np.flatnonzero(heights)
    return People(
        np.array([[x - 0.5, -0.5, x + 0.5, heights[x] - 0.5] for x in columns]).reshape(-1, 4), np.full(len(columns), 0.95)
    )


def picture(*heights: int) -> np.ndarray:
    image = np.zeros((20, 30, 3), np.uint8)
    for x, height in enumerate(heights):
        image[:height, 4 * x + 1] = 255
    return image


SAMPLES = [
    ("nobody", {"image": picture()}),
    ("small", {"image": picture(4)}),
    ("one", {"image": picture(12)}),
    ("two", {"image": picture(12, 4, 15), "facts": {"seed": 7}}),
]


@pytest.mark.parametrize(
    ("least", "pixels", "kept"),
    [(1, 10, ["one", "two"]), (2, 10, ["two"]), (1, 3, ["small", "one", "two"]), (3, 10, []), (3, 4, ["two"]), (1, 13, ["two"])],
)
def test_there_have_to_be_so_many_of_such_a_size(least, pixels, kept):
    report = Report()
    passed = list(Filter(find, "eyes", least=least, pixels=pixels)(SAMPLES, report))
    assert [key for key, _ in passed] == kept
    assert sum(report.reasons.values()) == len(report.passed_over) == 4 - len(kept)
    assert not report.faults


def test_why_pictures_are_left_out_is_counted_and_told():
    report = Report()
    list(Filter(find, "eyes", least=2, pixels=10)(SAMPLES, report))
    assert report.reasons == {"shows nobody": 1, "shows too few people": 2}
    assert report.passed_over[:2] == [
        "nobody shows 0 people, that is nobody; 2 of 10 px are asked for",
        "small shows 1 people, the largest 4 px; 2 of 10 px are asked for",
    ]
    report = Report()
    list(Filter(find, "eyes", least=1, pixels=16)(SAMPLES, report))
    assert report.reasons == {"shows nobody": 1, "shows people that are too small": 3}


def test_boxes_and_counts_go_into_the_shard_beside_what_was_known(tmp_path):
    write_shards(Filter(find, "eyes", pixels=10)(SAMPLES, Report()), tmp_path)
    shards = Shards(tmp_path)
    assert [shards.key(i) for i in range(len(shards))] == ["one", "two"]
    known = facts(shards, 1)
    assert known["seed"] == 7
    assert (known["found"]["detector"], known["found"]["large"]) == ("eyes", 2)
    assert known["found"]["boxes"] == [[0.5, -0.5, 1.5, 11.5], [4.5, -0.5, 5.5, 3.5], [8.5, -0.5, 9.5, 14.5]]
    assert known["found"]["scores"] == [0.95] * 3
    assert "box" not in shards.read(1), "what training sees stays as it was"


def test_shards_pass_through_and_pictures_byte_for_byte(small_shards, tmp_path):
    before, report = Shards(small_shards), Report()
    write_shards(inside(before, report), tmp_path, names=before.names)
    after = Shards(tmp_path)
    assert len(after) == 12
    assert after.names == before.names
    for i in (0, 5, 11):
        assert facts(after, i) == facts(before, i)
        assert before.member(i, "jpg") == after.member(i, "jpg") is not None
        for name, value in before.read(i).items():
            if name == "normal":  # rounded to the steps that shards have, once more
                np.testing.assert_allclose(after.read(i)[name], value, atol=3e-4)
            else:
                np.testing.assert_array_equal(after.read(i)[name], value)
    assert not report.reasons


def test_a_damaged_sample_is_told_and_the_others_pass(tmp_path):
    path = write_shards(SAMPLES, tmp_path / "in")[0]
    content = bytearray(path.read_bytes())
    picture_ = Shards(path).member(2, "jpg")
    assert picture_ is not None
    content[content.index(picture_) + 200] ^= 0xFF
    shards, report = Shards(path), Report()
    path.write_bytes(content)
    assert [key for key, _ in inside(shards, report)] == ["nobody", "small", "two"]
    assert "its checksum differs" in report.faults[0][1]


def test_the_commands_pack_photos_and_shards(detector, tmp_path, capsys):
    """Weights that see people everywhere: how sure and how large they have to be decides."""
    (tmp_path / "photos").mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (90, 120, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), noise)
    some = ["--detector", str(detector), "--people-score", "0.5", "--quiet"]
    photos = ["people", str(tmp_path / "photos"), *some]
    assert main([*photos, "--out", str(tmp_path / "all"), "--pixels", "1", "--max-side", "100"], **PROG) == 0
    shards = Shards(tmp_path / "all")
    assert len(shards) == 2
    assert shards.read(0)["image"].shape == (75, 100, 3)
    found = facts(shards, 0)["found"]
    assert found["large"] == len(found["boxes"]) > 1
    assert found["detector"] == detector.name
    assert main([*photos, "--out", str(tmp_path / "none"), "--pixels", "5000"], **PROG) == 2
    assert "2 not packed: shows people that are too small" in capsys.readouterr().out
    again = ["people-of", str(tmp_path / "all"), *some, "--out", str(tmp_path / "again"), "--pixels", "1", "--least", "2"]
    assert main(again, **PROG) == 0
    assert len(Shards(tmp_path / "again")) == 2
    assert main([*again, "--overwrite", "--least", "200"], **PROG) == 2
    assert "2 not packed: shows too few people" in capsys.readouterr().out


def test_a_detector_that_is_not_there_is_a_sentence(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), picture(3))
    assert main(["people", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), "--detector", "nobody"], **PROG) == 2
    assert "there is no detector 'nobody'" in capsys.readouterr().err
