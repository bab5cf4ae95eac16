"""Data of any vocabulary train a model of any other: names, not numbers, decide."""

import numpy as np
import pytest

from shared.data.fields import EXTRA
from shared.data.indexed import Indexed
from shared.data.shards import DamagedSample, Shards, write_shards
from shared.data.stream import Stream
from shared.data.surface import normals
from shared.data.view import Jitter
from shared.data.wanted import Wanted, beyond
from shared.vocabulary import Vocabulary


def words(*names):
    return Vocabulary.parse({"entries": [{"name": name, "colour": [0, 0, 0]} for name in names]})


MANY = words(*(f"point {i}" for i in range(255)))


@pytest.fixture
def packed(tmp_path):
    """Shards of these samples, under these names."""

    def pack(names, *samples):
        write_shards(((f"{i}", sample) for i, sample in enumerate(samples)), tmp_path, names=names)
        return Shards(tmp_path)

    return pack


def image():
    return np.zeros((2, 3, 3), np.uint8)


def test_seventeen_named_points_train_a_model_of_255(packed):
    names = [f"point {i}" for i in range(200, 183, -1)]  # seventeen, backwards
    points = np.arange(51, dtype=np.float32).reshape(17, 3)
    points[:, 2] = 1
    shards = packed({"keypoints": names}, {"image": image(), "keypoints": points})
    seen = Wanted({"keypoints": MANY}).over(shards).translate(shards.read(0))["keypoints"]
    assert seen.shape == (255, 3)
    assert seen.dtype == np.float32
    assert np.flatnonzero(seen[:, 2]).tolist() == list(range(184, 201))
    assert np.array_equal(seen[184:201], points[::-1])
    assert not seen[:184].any()


def test_a_class_that_the_model_does_not_know_is_unknown(packed):
    seg = np.array([[0, 1, 2], [3, 255, 1]], np.uint8)
    shards = packed({"seg": ["wall", "hat", "hair", "dog"]}, {"image": image(), "seg": seg})
    seen = Wanted({"seg": words("hair", "wall")}).over(shards).translate(shards.read(0))["seg"]
    assert seen.tolist() == [[1, 255, 0], [255, 255, 255]]
    assert seen.dtype == np.uint8


def test_the_models_own_names_in_its_own_order_change_nothing(packed):
    seg = np.array([[0, 1, 255], [1, 0, 0]], np.uint8)
    shards = packed({"seg": ["wall", "hat"]}, {"image": image(), "seg": seg})
    assert np.array_equal(Wanted({"seg": words("wall", "hat")}).over(shards).translate(shards.read(0))["seg"], seg)


def test_several_classes_of_the_data_may_be_one_of_the_model(packed):
    entries = [{"name": "wall", "colour": [0, 0, 0]}, {"name": "cloth", "colour": [0, 0, 0], "also": ["shirt", "coat"]}]
    shards = packed(
        {"seg": ["coat", "shirt", "hat", "wall"]}, {"image": image(), "seg": np.array([[0, 1, 2], [3, 255, 0]], np.uint8)}
    )
    seen = Wanted({"seg": Vocabulary.parse({"entries": entries})}).over(shards).translate(shards.read(0))["seg"]
    assert seen.tolist() == [[1, 1, 255], [0, 255, 1]]


def test_a_point_that_the_data_call_otherwise_is_found_but_its_own_name_comes_first(packed):
    points = np.array([[1, 1, 1], [2, 2, 1], [3, 3, 1]], np.float32)
    nose, eye = ({"name": name, "colour": [0, 0, 0], "also": [f"{name}_old"]} for name in ("nose", "eye"))
    shards = packed({"keypoints": ["eye_old", "nose_old", "nose"]}, {"image": image(), "keypoints": points})
    wanted = Wanted({"keypoints": Vocabulary.parse({"entries": [nose, eye]})})
    assert wanted.over(shards).translate(shards.read(0))["keypoints"][:, 0].tolist() == [3, 1]


def test_without_a_shared_name_a_sentence_says_so(packed):
    shards = packed({"seg": ["wall", "hat"]}, {"image": image(), "seg": np.zeros((2, 3), np.uint8)})
    with pytest.raises(ValueError, match=r"share no name in 'seg': the data say 'wall', ..., the model 'Wand'"):
        Wanted({"seg": words("Wand", "Hut")}).over(shards)


def test_a_field_that_no_sample_has_is_told(packed):
    shards = packed({}, {"image": image(), "depth": np.ones((2, 3), np.float32)})
    with pytest.raises(ValueError, match="no sample has the field 'normal' that the task needs; the shards hold depth, image"):
        Wanted({"normal": None, "depth": None}).over(shards)


def test_a_field_that_nobody_needs_to_have_is_unknown_where_it_is_not(packed):
    shards = packed({}, {"image": image(), "depth": np.ones((2, 3), np.float32)})
    wanted = Wanted({"sure": None, "depth": None}, optional=["sure"]).over(shards)
    assert wanted.lacks == set()
    assert np.isnan(wanted.fill(shards.read(0), (4, 5))["sure"]).all()


def test_one_sample_with_the_field_is_enough_and_the_others_are_filled(packed):
    shards = packed({}, {"image": image()}, {"image": image(), "depth": np.ones((2, 3), np.float32)})
    wanted = Wanted({"depth": None}).over(shards)
    sample = wanted.translate(shards.read(0))
    filled = wanted.fill(sample, (4, 5))
    assert filled["depth"].shape == (4, 5)
    assert np.isnan(filled["depth"]).all()
    assert "depth" not in wanted.fill(shards.read(1), (4, 5))


def test_unknown_has_the_shape_and_type_of_its_field():
    extra = dict.fromkeys(EXTRA)
    wanted = Wanted({"seg": words("a"), "depth": None, "normal": None, "keypoints": MANY, "intrinsics": None, **extra})
    filled = wanted.fill({}, (4, 5))
    assert {name: (v.shape, v.dtype.name) for name, v in filled.items()} == {
        "seg": ((4, 5), "uint8"),
        "depth": ((4, 5), "float32"),
        "normal": ((4, 5, 3), "float32"),
        "keypoints": ((255, 3), "float32"),
        "intrinsics": ((4,), "float32"),
        "person": ((4, 5), "uint8"),
        "alpha": ((4, 5), "float32"),
        "albedo": ((4, 5, 3), "uint8"),
        "box": ((4,), "float32"),
    }
    assert (filled["seg"] == 255).all()
    assert (filled["person"] == 255).all()
    assert (filled["keypoints"] == 0).all()
    assert all(np.isnan(filled[name]).all() for name in ("depth", "normal", "alpha", "box", "intrinsics"))


def test_swaps_and_reads_follow_from_the_fields():
    pair = Vocabulary.parse(
        {"entries": [{"name": n, "colour": [0, 0, 0]} for n in ("left", "right")], "pairs": [["left", "right"]]}
    )
    wanted = Wanted({"keypoints": pair, "depth": None})
    assert wanted.reads == {"image", "box", "keypoints", "depth"}
    assert {name: order.tolist() for name, order in wanted.swaps.items()} == {"keypoints": [1, 0]}


def test_shards_without_names_are_taken_at_their_word(packed):
    seg = np.array([[0, 1, 255], [1, 0, 0]], np.uint8)
    shards = packed({}, {"image": image(), "seg": seg})
    assert np.array_equal(Wanted({"seg": words("wall", "hat")}).over(shards).translate(shards.read(0))["seg"], seg)


def unnamed(folder, seg):
    """A shard that says nothing of its classes, as others write them."""
    write_shards([("photo", {"image": np.zeros((*seg.shape, 3), np.uint8), "seg": seg})], folder)
    return Shards(folder)


def test_a_label_beyond_the_vocabulary_is_refused_with_its_file_and_value(tmp_path):
    shards = unnamed(tmp_path, np.array([[0, 1, 255], [9, 0, 1]], np.uint8))
    wanted = Wanted({"seg": words("wall", "hat")})
    sentence = r"'seg' of sample 'photo' of shard .*000000\.tar holds the label 9, but only 2 classes are named"
    with pytest.raises(DamagedSample, match=sentence):
        wanted.over(shards).read(shards, 0, only={"image", "seg"})
    with pytest.raises(DamagedSample, match=sentence):
        _ = Indexed(tmp_path, size=(2, 3), wanted=wanted)[0]


def test_training_passes_over_a_label_beyond_the_vocabulary_and_says_so(tmp_path, caplog):
    segs = [np.full((2, 3), value, np.uint8) for value in (0, 9, 1)]
    write_shards(((f"{i}", {"image": np.zeros((2, 3, 3), np.uint8), "seg": seg}) for i, seg in enumerate(segs)), tmp_path)
    stream = Stream(tmp_path, size=(2, 3), wanted=Wanted({"seg": words("wall", "hat")}))
    assert {value for p in range(12) for value in stream[p]["seg"].unique().tolist()} == {0, 1}
    assert "holds the label 9, but only 2 classes are named" in caplog.text


def test_packing_refuses_a_label_that_is_not_named(tmp_path):
    with pytest.raises(ValueError, match=r"sample 'a' cannot be packed: 'seg' holds the id 7, but only 2 are named"):
        write_shards([("a", {"image": image(), "seg": np.full((2, 3), 7, np.uint8)})], tmp_path, names={"seg": ["wall", "hat"]})
    assert not list(tmp_path.glob("*.tar"))


def test_the_first_stray_label_is_found_and_unknown_is_none():
    assert beyond(np.array([[0, 255], [4, 6]], np.uint8), 4) == 4
    assert beyond(np.array([[0, 255], [3, 1]], np.uint8), 4) is None


@pytest.fixture
def depth_only(packed, person):
    """One person whose normals are stored, one of whom only depth and camera are, and one of whom neither is."""
    fields = ("image", "depth", "intrinsics", "normal")
    return packed({}, *({name: person[name] for name in fields[:count]} for count in (4, 3, 1)))


def test_depth_and_a_camera_give_normals_where_a_sample_has_none(depth_only, person):
    wanted = Wanted({"normal": None}, derive=["normal"]).over(depth_only)
    assert wanted.reads == {"image", "box", "normal"}
    stored, computed, neither = (wanted.read(depth_only, i, only=wanted.reads) for i in range(3))
    assert stored.keys() == computed.keys() == {"image", "normal"}, "what normals follow from is not part of a batch"
    assert np.allclose(stored["normal"], person["normal"], atol=1e-3, equal_nan=True)
    known = np.isfinite(computed["normal"]).all(-1)
    assert np.array_equal(computed["normal"], normals(person["depth"], person["intrinsics"]), equal_nan=True)
    assert known.sum() > 0.5 * np.isfinite(person["depth"]).sum()
    assert "normal" not in neither


def test_normals_are_computed_on_request_and_from_all_they_follow_from(depth_only, packed):
    plain = Wanted({"normal": None}).over(depth_only)
    assert "normal" not in plain.read(depth_only, 1, only=plain.reads)
    asked_for_other = Wanted({"normal": None, "depth": None}, derive=["normal"]).over(depth_only)
    assert "normal" not in asked_for_other.read(depth_only, 1, only={"image", "depth"})
    with pytest.raises(ValueError, match="'depth' does not follow from other fields of a sample; normal can be derived"):
        Wanted({"depth": None}, derive=["depth"])


def test_data_with_depth_alone_train_normals_and_without_a_camera_they_are_refused(tmp_path, person):
    sample = {name: person[name] for name in ("image", "depth", "intrinsics")}
    write_shards([("a", sample)], tmp_path / "with")
    write_shards([("a", {name: person[name] for name in ("image", "depth")})], tmp_path / "without")
    wanted = Wanted({"normal": None}, derive=["normal"])
    turned = Stream(tmp_path / "with", size=(64, 48), wanted=wanted, jitter=Jitter(scale=(2.0, 2.0), degrees=30, shift=0))[0]
    assert turned["normal"].shape == (3, 64, 48)
    length = turned["normal"].norm(dim=0)
    assert np.allclose(length[length.isfinite()], 1, atol=1e-5)
    assert length.isfinite().float().mean() > 0.2
    item = Indexed(tmp_path / "with", size=(64, 48), wanted=wanted)[0]
    assert item.truth.keys() == {"normal", "box"}
    with pytest.raises(ValueError, match="no sample has the field 'normal' that the task needs; the shards hold depth, image"):
        wanted.over(Shards(tmp_path / "without"))
