"""Teachers label pictures: what they are sure of is written in their words, what is true stays, and a stopped run goes on."""

import json
import sys

import numpy as np
import pytest

from shared import checkpoint
from shared.build import build
from shared.data.facts import facts
from shared.data.shards import DamagedSample, Shards, write_shards
from shared.data.wanted import Wanted
from shared.engine import data
from shared.engine.launch import train
from shared.infer.label import run
from shared.infer.taught import Least, label, refuse
from shared.infer.teacher import Lesson, Options, teachers
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pointmap.task import Pointmap
from tasks.pose.task import Pose
from tasks.seg.task import Seg

NAN = float("nan")
ALL = {"seg", "depth", "normal", "keypoints"}
UNSURE = Least(0.0, 0.0)


def called(monkeypatch, *arguments: object) -> int:
    """Exit code of the command in this process."""
    monkeypatch.setattr(sys, "argv", ["label.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        run()
    return exit_.value.code  # type: ignore[return-value]


def content(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


@pytest.fixture(scope="module")
def photos(small_shards, tmp_path_factory):
    """Two shards of two people: pictures and boxes only, as bytes."""
    folder, people = tmp_path_factory.mktemp("photos"), Shards(small_shards)
    for number in range(2):
        some = [
            (people.key(i), {"image": people.member(i, "jpg"), "box": people.read(i)["box"], "facts": {"from": "here"}})
            for i in (2 * number, 2 * number + 1)
        ]
        write_shards(some, folder, prefix=f"{number}-")
    return folder


@pytest.fixture(scope="module")
def found(trained):
    return teachers([trained], device="cpu")


def lesson(shards, found, **options):
    return Lesson(Shards(shards), found, Options(UNSURE, **options))


def test_a_pixel_is_labelled_where_its_class_is_likely_enough():
    answer = np.array([[[0.9, 0.1], [0.45, 0.55]], [[0.4, 0.6], [0.2, 0.8]]], np.float32)
    ids, sure = label(Seg(), answer, Least(part=0.6))
    assert ids.tolist() == [[0, 255], [1, 1]]
    assert sure is not None
    np.testing.assert_allclose(sure, [[0.9, 0.55], [0.6, 0.8]])


def test_a_point_is_labelled_where_its_map_is_high_enough():
    answer = np.array([[3, 4, 0.5], [5, 6, 0.2], [-1, -1, 0.0]], np.float32)
    assert label(Pose(), answer, Least(point=0.3)).label.tolist() == [[3, 4, 1], [0, 0, 0], [0, 0, 0]]
    assert label(Pose(), answer, Least(point=0.0)).label[:, 2].tolist() == [1, 1, 0], "no map, no point"


def test_depth_is_positive_and_keeps_its_order():
    answer = np.array([[-0.2, 0.3, 1.1]], np.float32)
    np.testing.assert_allclose(label(Depth(), answer, Least()).label, [[1, 1.5, 2.3]], rtol=1e-6)
    np.testing.assert_array_equal(label(Depth(metric=True), answer, Least()).label, np.array([[NAN, 0.3, 1.1]], np.float32))


def test_normals_have_length_one_or_are_unknown():
    normal = label(Normal(), np.array([[[0, 0, 0.9], [0.1, 0, 0]]], np.float32), Least()).label
    np.testing.assert_array_equal(normal, [[[0, 0, 1], [NAN] * 3]])


def test_points_of_a_surface_are_no_label_of_one_field():
    with pytest.raises(ValueError, match="what pointmap answers is no label of one field; name the tasks to label with --tasks"):
        refuse(Pointmap())


def test_pictures_go_through_untouched_and_get_the_labels_of_the_teacher(found, photos, tmp_path):
    one = lesson(photos, found)
    sample, shards = one(0), Shards(photos)
    assert sample["image"] == shards.member(0, "jpg")
    answers = found[0].predictor(shards.read(0)["image"], boxes=shards.read(0)["box"][None])
    np.testing.assert_array_equal(sample["seg"], answers["seg"].argmax(-1))
    np.testing.assert_array_equal(sample["keypoints"][:, :2], answers["pose"][0, :, :2])
    np.testing.assert_allclose(sample["normal"], answers["normal"], atol=1e-5)
    np.testing.assert_allclose(sample["depth"] - sample["depth"].min(), answers["depth"] - answers["depth"].min(), atol=1e-5)
    write_shards([("a", sample)], tmp_path, names=one.names)
    back = Shards(tmp_path)
    assert back.names["seg"] == list(Seg().vocabulary.names)
    assert back.names["keypoints"] == list(Pose().vocabulary.names)
    told = facts(back, 0)
    assert told["from"] == "here"
    assert told["taught"].keys() == ALL
    assert told["taught"]["seg"]["by"] == "model.safetensors"
    assert told["taught"]["seg"]["sure"] == pytest.approx(answers["seg"].max(-1).mean(), abs=1e-3)
    assert told["taught"]["depth"] == {"by": "model.safetensors", "relative": True, "known": 1.0}


def test_true_labels_stay_in_the_teachers_words_or_are_replaced(found, small_shards, tmp_path):
    people = Shards(small_shards)
    some = [("a", people.read(0)), ("b", {"image": people.read(1)["image"], "box": people.read(1)["box"]})]
    write_shards(some, tmp_path / "some", names=people.names)
    kept, replaced = lesson(tmp_path / "some", found)(0), lesson(tmp_path / "some", found, keep=False)(0)
    for field in ("depth", "normal"):
        np.testing.assert_array_equal(kept[field], Shards(tmp_path / "some").read(0)[field])
        assert not np.array_equal(replaced[field], kept[field], equal_nan=True)
    words = {"seg": Seg().vocabulary, "keypoints": Pose().vocabulary}
    mapped = Wanted(words).over(people).translate(people.read(0))
    for field in words:
        np.testing.assert_array_equal(kept[field], mapped[field])
    assert "taught" not in facts_of(kept)
    assert facts_of(lesson(tmp_path / "some", found)(1))["taught"].keys() == ALL
    assert "intrinsics" in kept
    assert "intrinsics" not in replaced, "relative depth and a camera would be taken for metres"


def facts_of(sample):
    return {name: value for name, value in sample["facts"].items() if value}


def test_what_all_samples_have_is_not_asked_for(found, small_shards):
    one, people = lesson(small_shards, found), Shards(small_shards)
    assert one.asked == []
    assert one.names == people.names
    np.testing.assert_array_equal(one(0)["keypoints"], people.read(0)["keypoints"])


def test_depth_and_normals_of_people_only(trained, found, photos):
    plain, only = lesson(photos, found)(0), lesson(photos, found, people_only=True)(0)
    nobody = plain["seg"] == 0
    for field in ("depth", "normal"):
        known = np.isfinite(only[field]).reshape(*nobody.shape, -1).all(-1)
        np.testing.assert_array_equal(known, ~nobody)
    assert only["facts"]["taught"]["depth"]["known"] == pytest.approx((~nobody).mean(), abs=1e-3)
    with pytest.raises(ValueError, match="--people-only needs parts"):
        Lesson(Shards(photos), teachers([trained], only=["depth"], device="cpu"), Options(people_only=True))


def test_how_sure_a_part_is_is_written_on_request(found, photos):
    assert "sure" not in lesson(photos, found)(0)
    sample = lesson(photos, found, sure=True)(0)
    assert sample["sure"].mean() == pytest.approx(sample["facts"]["taught"]["seg"]["sure"], abs=1e-3)


def test_metres_come_with_the_lens_that_they_are_of(tiny, photos, small_shards, tmp_path):
    config = tiny("depth", tmp_path / "run", "iters=1", "tasks.0.metric=True")
    metric = teachers([train(config)], device="cpu")
    sample = lesson(photos, metric)(0)
    assert sample["intrinsics"][0] == pytest.approx(np.hypot(64, 48) / 2 / np.tan(np.radians(37.5)), rel=1e-4)
    people = Shards(small_shards)
    told = {name: people.read(0)[name] for name in ("image", "intrinsics")}
    write_shards([("a", told)], tmp_path / "told")
    same = lesson(tmp_path / "told", metric)(0)
    np.testing.assert_array_equal(same["intrinsics"], told["intrinsics"])
    ratio = np.nanmedian(same["depth"]) / np.nanmedian(lesson(photos, metric)(0)["depth"])
    assert ratio == pytest.approx(told["intrinsics"][0] / sample["intrinsics"][0], rel=0.3)


def test_of_two_teachers_the_first_answers(trained, tiny, tmp_path):
    seg = train(tiny("seg", tmp_path / "seg", "iters=1"))
    both = teachers([seg, trained], device="cpu")
    assert [[task.name for task in one.predictor.tasks] for one in both] == [["seg"], ["depth", "normal", "pose"]]
    with pytest.raises(ValueError, match="answers seg, of which nothing is left to ask; leave it out"):
        teachers([trained, seg], device="cpu")
    with pytest.raises(ValueError, match="no teacher answers pose; give a checkpoint of that task, too"):
        teachers([seg], only=["seg", "pose"], device="cpu")


def test_a_backbone_teaches_nothing(pretrained):
    with pytest.raises(ValueError, match="which answers nothing; fine-tune it first"):
        teachers([pretrained], device="cpu")


def test_the_command_goes_on_where_it_stopped(trained, photos, tmp_path, monkeypatch):
    command = (photos, "--checkpoint", trained, "--device", "cpu", "--out")
    assert called(monkeypatch, *command, tmp_path / "out") == 0
    first = content(tmp_path / "out")
    assert list(first) == ["000000-000000.tar", "000001-000000.tar"]
    (tmp_path / "out" / "000000-000000.tar").unlink()
    before = (tmp_path / "out" / "000001-000000.tar").stat().st_mtime_ns
    assert called(monkeypatch, *command, tmp_path / "out") == 0
    assert content(tmp_path / "out") == first
    assert (tmp_path / "out" / "000001-000000.tar").stat().st_mtime_ns == before
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert called(monkeypatch, *command, tmp_path / "half") == 0
    assert content(tmp_path / "half") == {"000001-000000.tar": first["000001-000000.tar"]}


@pytest.mark.parametrize(
    "options",
    [("--part-score", "0"), ("--point-score", "0"), ("--flip",), ("--people-only",), ("--sure",), ("--tasks", "seg,pose"),
     ("--mode", "whole"), ("--precision", "bf16"), ("--no-keep",)],
)  # fmt: skip
def test_every_option_changes_the_labels(trained, small_shards, plain, tmp_path, monkeypatch, options):
    shards, wanted = plain
    assert called(monkeypatch, shards, "--checkpoint", trained, "--device", "cpu", "--out", tmp_path, *options) == 0
    assert content(tmp_path) != wanted


@pytest.fixture(scope="module")
def plain(trained, small_shards, tmp_path_factory):
    """A shard of one small person in a larger picture with true normals, and what the plain command makes of it."""
    folder, person = tmp_path_factory.mktemp("plain"), Shards(small_shards).read(0)
    image = np.pad(person["image"], ((0, 100), (0, 100), (0, 0)))
    normal = np.broadcast_to(np.array([0, 0, 1], np.float32), image.shape)
    write_shards([("a", {"image": image, "box": person["box"], "normal": normal})], folder / "in")
    with pytest.MonkeyPatch.context() as patch:
        assert called(patch, folder / "in", "--checkpoint", trained, "--device", "cpu", "--out", folder / "out") == 0
    return folder / "in", content(folder / "out")


def test_mistakes_are_sentences(trained, photos, small_shards, tmp_path, monkeypatch, capsys):
    command = ("--checkpoint", trained, "--device", "cpu", "--out", tmp_path / "out")
    assert called(monkeypatch, photos, *command, "--part-score", "2") == 2
    assert "--part-score 2 is no score; write a number from 0 to 1" in capsys.readouterr().err
    assert called(monkeypatch, photos, "--checkpoint", trained, "--device", "cpu", "--out", small_shards) == 2
    assert "holds shards that this command did not make; choose another folder" in capsys.readouterr().err
    assert called(monkeypatch, photos, *command) == 0
    assert called(monkeypatch, photos, *command, "--flip") == 2
    assert "was begun with another flip; choose another folder, or repeat it" in capsys.readouterr().err


def test_a_damaged_sample_is_named_and_left_out(trained, photos, tmp_path, monkeypatch, capsys):
    shards = Shards(photos)
    write_shards([("a", {"image": shards.member(0, "jpg")}), ("b", {"box": shards.read(1)["box"]})], tmp_path / "in")
    assert called(monkeypatch, tmp_path / "in", "--checkpoint", trained, "--device", "cpu", "--out", tmp_path / "out") == 1
    assert "left out: sample 'b' of shard" in capsys.readouterr().err
    assert [Shards(tmp_path / "out").key(i) for i in range(1)] == ["a"]
    with pytest.raises(DamagedSample, match="has no picture to label"):
        lesson(tmp_path / "in", teachers([trained], device="cpu"))(1)


def test_a_labelled_set_and_a_taught_one_train_one_student(tiny, trained, photos, small_shards, tmp_path, monkeypatch):
    out = tmp_path / "taught"
    assert called(monkeypatch, photos, "--checkpoint", trained, "--device", "cpu", "--sure", "--part-score", "0", "--out", out) == 0
    config = tiny("joint", tmp_path / "run", "iters=4", "tasks.0.trust=True", "val_every=2")
    config["val"] = {"shards": str(small_shards), "limit": 2}
    config["train"]["shards"] = [{"shards": str(small_shards), "weight": 1}, {"shards": str(out), "weight": 3}]
    stream = data.training(config, build(config["tasks"]), (64, 48))
    seen = [stream[position] for position in range(8)]
    taught = [sample["sure"].isfinite().any().item() for sample in seen]
    assert taught.count(True) == 6
    assert all((sample["seg"] != 255).any() and sample["depth"].isfinite().any() for sample in seen)
    model, about = checkpoint.load(train(config))
    assert about["scores"]["iteration"] == 4
    plain = {**config, "tasks": [config["tasks"][0] | {"trust": False}, *config["tasks"][1:]], "work_dir": str(tmp_path / "plain")}
    other, _ = checkpoint.load(train(plain))
    pairs = zip(model.state_dict().values(), other.state_dict().values())
    assert not all((a == b).all() for a, b in pairs), "trust changes what is learnt"
    assert json.loads((out / "label.json").read_text())["sure"] is True
