"""What is known of a sample beside its fields: kept with it, read back, and no burden to who reads fields."""

import numpy as np
import pytest

from shared.data import facts
from shared.data.codec import decode, encode
from shared.data.shards import DamagedSample, Shards, write_shards

BOX = {"box": np.array([1, 2, 3, 4], np.float32)}
KNOWN = {
    "shot": "full",
    "seed": [0, 7],
    "people": [{"points": [[0, 0, 2], [1, -0.5, 4], [None] * 3, [1, 1, -1]], "visible": [1, 0, 0, 0]}],
}


@pytest.fixture
def shards(tmp_path):
    write_shards([("known", {**BOX, "facts": KNOWN}), ("bare", BOX), ("blind", {"seg": np.zeros((2, 2), np.uint8)})], tmp_path)
    return Shards(tmp_path)


def test_facts_come_back_as_they_were(shards):
    assert facts.facts(shards, 0) == KNOWN


def test_a_sample_may_have_none(shards):
    assert facts.facts(shards, 1) == {} == facts.facts(shards, 2)


@pytest.mark.parametrize("strange", [KNOWN, [1.0, 2.0], 3, "text", None])
def test_facts_are_no_field_whatever_they_are(strange):
    member = encode({**BOX, "facts": strange})["json"]
    assert set(decode("json", member)) == {"box"}


def test_fields_are_the_same_with_and_without_facts(shards):
    assert shards.fields(0) == shards.fields(1) == {"box"}
    np.testing.assert_array_equal(shards.read(0)["box"], shards.read(1)["box"])


@pytest.mark.parametrize("strange", [{"a": np.zeros(3)}, {"a": float("nan")}, {"a": {1, 2}}])
def test_facts_that_are_no_json_are_refused_in_a_sentence(tmp_path, strange):
    with pytest.raises(ValueError, match="'a' cannot be packed: its facts are nothing that JSON can hold"):
        write_shards([("a", {**BOX, "facts": strange})], tmp_path)


def test_facts_that_nobody_would_read_are_refused():
    with pytest.raises(ValueError, match="at most 16,777,216 are read"):
        encode({"facts": "x" * 2**24})


def test_damaged_facts_are_told_by_their_sample(shards):
    path = shards.paths[0]
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"shot":"full"', b'"shot":"fool"'))
    with pytest.raises(DamagedSample, match="facts of sample 'known' are damaged: its checksum differs"):
        facts.facts(shards, 0)


def test_points_project_by_hand():
    seen = facts.keypoints(KNOWN["people"][0], np.array([100, 200, 10, 20], np.float32))
    assert seen[:2].tolist() == [[10, 20, 1], [35, -5, 0]]
    assert np.isnan(seen[2:, :2]).all()  # an unknown one, and one behind the camera
    assert (seen[2:, 2] == 0).all()


def test_landmarks_are_found_by_their_names():
    names = ["nose", *reversed(facts.FACE)]
    person = {"points": [[i, 0, 1] for i in range(69)]}
    assert facts.landmarks(person, names)[:, 0].tolist() == list(range(68, 0, -1))
    assert len(facts.FACE) == 68
