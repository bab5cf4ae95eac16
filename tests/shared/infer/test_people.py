"""Who is looked at: everybody at once or the people in boxes, many or nobody, one by one or together with those of other photos."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shared.data.photo import find_photos
from shared.infer import run as running
from shared.infer.people import Given, People, whole
from shared.infer.predictor import Predictor
from shared.infer.run import run

RNG = np.random.default_rng(0)
NOBODY = np.zeros((0, 4), np.float32)


def picture(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def crowd(count: int, hw: tuple[int, int]) -> np.ndarray:
    """Boxes of people at least six pixels wide."""
    low = RNG.uniform(0, 0.7, (count, 2)) * [hw[1], hw[0]]
    return np.c_[low, low + 6 + RNG.uniform(0, 0.3, (count, 2)) * [hw[1], hw[0]]].astype(np.float32)


@pytest.fixture(scope="module")
def joint(trained) -> Predictor:
    return Predictor.load(trained, device="cpu", batch=4)


@pytest.fixture(scope="module")
def pose(trained) -> Predictor:
    return Predictor.load(trained, device="cpu", only=["pose"], batch=4)


@pytest.fixture
def passes(pose):
    """How many views went through the network at once, pass by pass."""
    seen: list[int] = []
    handle = pose.model.backbone.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    yield seen
    handle.remove()


@pytest.fixture
def album(tmp_path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    for name in "abcde":
        Image.fromarray(picture(40, 30)).save(folder / f"{name}.png")
    return folder


def people_of(out: Path) -> dict[str, list]:
    return {path.name.split(".")[0]: json.loads(path.read_text())["people"] for path in sorted(out.glob("*.pose.json"))}


def test_people_are_numbers_in_order():
    people = People([[1, 2, 3, 4], [5, 6, 5, 6]], [0.5, 1])  # type: ignore[arg-type]
    assert people.boxes.dtype == people.scores.dtype == np.float32
    assert len(people) == 2
    assert people[people.scores > 0.7].boxes.tolist() == [[5, 6, 5, 6]]
    assert len(People(NOBODY, np.zeros(0))) == 0


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        ([0, 0, np.nan, 5], r"the box \[0, 0, nan, 5\] is not finite"),
        ([0, 0, np.inf, 5], "is not finite, or no box of a photo"),
        ([0, 0, 1e30, 5], "is not finite, or no box of a photo"),
        ([9, 0, 5, 5], r"the box \[9, 0, 5, 5\] ends before it begins; give x0 y0 x1 y1"),
        ([0, 9, 5, 5], "ends before it begins"),
        ([0, 0, 5], r"people are boxes \(P,4\) and scores \(P,\), these are \(1, 3\) and \(1,\)"),
    ],
)
def test_a_box_that_is_none_is_a_sentence(box, sentence):
    with pytest.raises(ValueError, match=sentence):
        People(np.array([box], float), np.ones(1))


def test_a_score_that_is_none_is_a_sentence():
    with pytest.raises(ValueError, match="a score of these 1 people is not finite"):
        People(np.array([[0, 0, 5, 5]]), np.array([np.nan]))


def test_without_a_finder_nobody_is_told_apart():
    assert whole("a.jpg", picture(4, 4)) is None
    assert Given({"b.jpg": []})("a.jpg", picture(4, 4)) is None, "a photo without an entry is one person"
    nobody = Given({"b.jpg": []})("b.jpg", picture(4, 4))
    assert nobody is not None
    assert nobody.boxes.shape == (0, 4)


def test_who_lies_outside_of_the_photo_is_left_out_with_a_warning(caplog):
    rows = [[0, 0, 5, 5], [40, 0, 50, 9], [0, -9, 5, -1], [9.4, 9.4, 20, 20], [-30, -30, 50, 50, 0.25]]
    with caplog.at_level(logging.WARNING):
        people = Given({"a.jpg": rows})("a.jpg", picture(10, 10))
    assert people is not None
    assert people.boxes.tolist() == [rows[0], [pytest.approx(v) for v in rows[3]], rows[4][:4]]
    assert people.scores.tolist() == [1, 1, 0.25], "a fifth number is a score"
    assert caplog.messages == [
        "a.jpg: the box [40, 0, 50, 9] lies outside of its 10 x 10 pixels and is left out",
        "a.jpg: the box [0, -9, 5, -1] lies outside of its 10 x 10 pixels and is left out",
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("[[0, 0, 1, 1]]", '{"a": [[0, 0, 1]]}', '{"a": [0, 0, 1, 1]}', '{"a": [["0", 0, 1, 1]]}', "3", "{", '{"a": null}'),
        *('{"a": [[0, 0, 1, 1, 1, 1]]}', '{"a": [[0, 0, 1, 1' + 400 * "0" + "]]}"),
    ],
)
def test_boxes_that_are_none_are_told_before_anything_is_answered(tmp_path, text):
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(ValueError, match=r"write \{photo name: \[\[x0, y0, x1, y1\], \.\.\.\]\}"):
        Given.read(tmp_path / "boxes.json")


def test_sixty_people_go_through_the_network_four_at_a_time(pose, passes):
    image, boxes = picture(90, 120), crowd(60, (90, 120))
    together = pose(image, boxes=boxes)["pose"]
    assert passes == [4] * 15
    some = range(0, 60, 7)
    alone = np.stack([pose(image, boxes=boxes[[p]])["pose"][0] for p in some])
    assert np.abs(together[some] - alone).max() < 1e-4 * np.abs(alone).max()


def test_people_of_several_pictures_go_together_and_are_told_apart(pose, joint, passes):
    pictures = [(picture(50, 40), crowd(3, (50, 40))), (picture(30, 70), NOBODY), (picture(64, 64), crowd(6, (64, 64)))]
    found = [begun.finish() for begun in pose.begin(pictures)]
    assert passes == [4, 4, 1]
    for predictor in (pose, joint):
        for answers, (image, boxes) in zip(found, pictures):
            wanted = predictor(image, boxes=boxes)["pose"]
            assert answers["pose"].shape == wanted.shape == (len(boxes), 17, 3)
            assert np.allclose(answers["pose"], wanted, rtol=1e-5, atol=1e-4)


def test_whole_pictures_go_together(pose, joint, passes):
    pictures = [(picture(50, 40), None), (picture(30, 70), None)]
    found = [begun.finish() for begun in pose.begin(pictures)]
    assert passes == [2]
    for answers, (image, _) in zip(found, pictures):
        assert np.allclose(answers["pose"], pose(image)["pose"], rtol=1e-5, atol=1e-4)


def test_pictures_with_maps_go_together_where_that_is_asked_for(trained, joint):
    pictures = [(picture(50, 40), crowd(2, (50, 40))), (picture(30, 70), None), (picture(64, 48), NOBODY)]
    seen: list[int] = []
    joint.model.backbone.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    together = [begun.finish() for begun in joint.begin(pictures)]
    assert seen == [2, 2, 1], "two people; two pictures without them as a whole; one as a whole with its points"
    for answers, (image, boxes) in zip(together, pictures):
        alone = joint(image, boxes=boxes)
        assert list(answers) == list(alone) == ["seg", "depth", "normal", "pose"]
        assert all(answer.shape == alone[name].shape for name, answer in answers.items())
        assert (answers["seg"] == alone["seg"]).mean() > 0.999
        assert all(np.allclose(answers[name], alone[name], atol=1e-4) for name in ("depth", "normal", "pose"))
    few = Predictor.load(trained, device="cpu")
    assert [few.fill([boxes]) for boxes in (None, NOBODY, crowd(3, (9, 9)))] == [0, 0, 3 / 8], "on processors maps wait for nobody"
    assert [joint.fill([boxes] * 2) for boxes in (None, NOBODY, crowd(3, (9, 9)))] == [2 / 4, 2 / 4, 6 / 4]


def test_an_answer_that_is_finished_later_in_another_thread_is_the_same(joint, monkeypatch):
    pictures = [(picture(50, 40), crowd(2, (50, 40))), (picture(30, 70), None)]
    at_once = [begun.finish() for begun in joint.begin(pictures)]
    monkeypatch.setattr(joint, "late", True)
    begun = list(joint.begin(pictures))
    with ThreadPoolExecutor(2) as pool:
        later = list(pool.map(lambda one: one.finish(), reversed(begun)))[::-1]
    for one, other in zip(at_once, later):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_device_without_room_is_shown_fewer_views_at_once(trained, monkeypatch, caplog):
    predictor, seen = Predictor.load(trained, device="cpu", batch=4), []
    pictures = [(picture(50, 40), None) for _ in range(5)]
    wanted = [predictor(image)["depth"] for image, _ in pictures]
    forward = predictor.model.forward

    def cramped(image, **options):
        seen.append(len(image))
        if len(image) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(image, **options)

    monkeypatch.setattr(predictor.model, "forward", cramped)
    found = [begun.finish()["depth"] for begun in predictor.begin(pictures)]
    assert seen == [4, 2, 2, 1]
    assert all(np.allclose(one, other, atol=1e-4) for one, other in zip(found, wanted))
    assert caplog.messages == ["the device has no room for 4 views at once; from now on it is shown 2"]


def test_without_room_for_a_single_view_the_photo_fails_with_a_sentence(trained, album, tmp_path, monkeypatch):
    predictor = Predictor.load(trained, device="cpu")

    def cramped(image, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(predictor.model, "forward", cramped)
    failed = run(predictor, find_photos([album]), tmp_path / "out")
    assert set(failed.values()) == {"the device has no room for one view; make it smaller (--size), or use another"}
    assert list(failed) == ["a", "b", "c", "d", "e"]


def test_people_of_photos_wait_for_one_another_up_to_a_batch(pose, passes, album, tmp_path):
    told = {"a.png": 3, "b.png": 1, "c.png": 2, "d.png": 0, "e.png": 9}
    finder = Given({name: crowd(count, (40, 30)).tolist() for name, count in told.items()})
    assert run(pose, find_photos([album]), tmp_path / "out", finder=finder, render=False) == {}
    assert passes == [4, 2, 4, 4, 1]
    assert {f"{name}.png": len(people) for name, people in people_of(tmp_path / "out").items()} == told


def test_photos_that_wait_hold_a_bounded_number_of_pixels(pose, passes, album, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "HELD", 2 * 40 * 30)
    assert run(pose, find_photos([album]), tmp_path / "out", render=False) == {}
    assert passes == [2, 2, 1]


def test_together_or_alone_the_files_are_the_same(pose, album, tmp_path, trained):
    finder = Given({name: crowd(3, (40, 30)).tolist() for name in ("a.png", "b.png", "c.png")})
    found = []
    for batch in (1, 5):
        predictor = Predictor.load(trained, device="cpu", only=["pose"], batch=batch)
        run(predictor, find_photos([album]), tmp_path / str(batch), finder=finder, render=False)
        found.append(people_of(tmp_path / str(batch)))
    assert list(found[0]) == list(found[1]) == list("abcde")
    for one, other in zip(found[0].values(), found[1].values()):
        assert len(one) == len(other)
        for p, q in zip(one, other):
            assert np.allclose(p["keypoints"], q["keypoints"], atol=2e-3)  # written to three decimals
            assert p.get("bbox") == q.get("bbox")


def test_odd_people_are_answered_or_named_and_the_rest_goes_on(pose, album, tmp_path):
    boxes = {
        "a.png": [[0, 0, float("nan"), 5]],
        "b.png": [[20, 20, 5, 5], [0, 0, 9, 9]],
        "c.png": [[100, 100, 120, 130], [-1e6, -1e6, 1e6, 1e6], [7, 7, 8, 8], [5, 5, 5, 5]],
        "d.png": [],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    failed = run(pose, find_photos([album]), tmp_path / "out", finder=Given.read(tmp_path / "boxes.json"))
    assert {name: text.split("; ")[0] for name, text in failed.items()} == {
        "a": "the box [0, 0, nan, 5] is not finite, or no box of a photo",
        "b": "the box [20, 20, 5, 5] ends before it begins",
    }
    people = people_of(tmp_path / "out")
    assert {name: len(found) for name, found in people.items()} == {"c": 3, "d": 0, "e": 1}
    assert all(np.isfinite(person["keypoints"]).all() for found in people.values() for person in found)


def test_a_picture_of_nobody_is_drawn_as_it_is(pose):
    image = picture(40, 30)
    answers = pose(image, boxes=NOBODY)
    assert answers["pose"].shape == (0, 17, 3)
    assert np.array_equal(pose.draw(pose.tasks[0], image, answers, boxes=NOBODY), image)


def test_a_photo_that_the_network_cannot_be_shown_fails_alone(trained, album, tmp_path):
    Image.fromarray(picture(1, 33_000)).save(album / "c.png")  # longer than the official warp can address
    predictor = Predictor.load(trained, device="cpu", only=["pose"], preset="official", batch=5)
    failed = run(predictor, find_photos([album]), tmp_path / "out", render=False)
    assert list(failed) == ["c"]
    assert "the official warp ends at" in failed["c"]
    assert list(people_of(tmp_path / "out")) == ["a", "b", "d", "e"]


def test_boxes_are_drawn_around_people_and_reach_the_file(joint, album, tmp_path):
    finder = Given({"a.png": [[4.5, 5.5, 20.5, 30.5, 0.5]]})
    for out, given in (("boxed", finder), ("whole", whole)):
        assert run(joint, find_photos([album / "a.png"]), tmp_path / out, finder=given) == {}
    (person,) = people_of(tmp_path / "boxed")["a"]
    assert (person["bbox"], person["bbox_score"]) == ([5, 6, 16, 25], 0.5)
    assert "bbox" not in people_of(tmp_path / "whole")["a"][0]
    told = json.loads((tmp_path / "boxed" / "a.pose.json").read_text())
    assert (told["skeleton"], told["height"], told["width"]) == ("coco17", 40, 30)
    for task in ("seg", "depth", "normal"):
        assert (tmp_path / "boxed" / f"a.{task}.jpg").read_bytes() == (tmp_path / "whole" / f"a.{task}.jpg").read_bytes()
    assert (tmp_path / "boxed" / "a.pose.jpg").read_bytes() != (tmp_path / "whole" / "a.pose.jpg").read_bytes()
