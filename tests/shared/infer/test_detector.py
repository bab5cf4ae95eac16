"""People found by a network: threshold, overlap, limit and scale by hand; torchvision's and transformers' by random weights."""

import logging
import sys

import numpy as np
import pytest
import torch

from shared.infer.detector import TORCHVISION, Detector
from shared.infer.people import People

SMALL = "ssdlite320_mobilenet_v3_large"


def told(boxes, scores, seen=None):
    """A network that finds these boxes in whatever it is shown."""

    def find(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if seen is not None:
            seen.append(image)
        return np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32)

    return find


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_surest_come_first_and_who_is_not_sure_is_nobody():
    network = told([[10, 10, 20, 20], [30, 30, 60, 60], [70, 70, 90, 90]], [0.6, 0.9, 0.4])
    people = Detector(network)("a.jpg", photo(100, 100))
    assert people.scores.tolist() == pytest.approx([0.9, 0.6])
    assert people.boxes.tolist() == [[29.5, 29.5, 59.5, 59.5], [9.5, 9.5, 19.5, 19.5]], "centres of pixels are integers"
    assert len(Detector(network, score=0.3)("a.jpg", photo(100, 100))) == 3


@pytest.mark.parametrize(("overlap", "count"), [(0.4, 1), (0.6, 2)])
def test_of_two_boxes_around_one_person_the_surer_stays(overlap, count):
    network = told([[0, 0, 100, 100], [0, 0, 100, 50]], [0.8, 0.9])  # half of their union is in both
    people = Detector(network, overlap=overlap)("a.jpg", photo(100, 100))
    assert len(people) == count
    assert people.scores[0] == pytest.approx(0.9)


def test_more_people_than_the_limit_are_told(caplog):
    boxes = [[10 * i, 0, 10 * i + 9, 9] for i in range(10)]
    network = told(boxes, np.linspace(0.6, 0.9, 10))
    with caplog.at_level(logging.WARNING):
        people = Detector(network, most=3)("a.jpg", photo(100, 100))
    assert people.boxes[:, 0].tolist() == [89.5, 79.5, 69.5]
    assert caplog.messages == ["a.jpg: 10 people were found, the 3 surest are looked at"]


@pytest.mark.parametrize(("hw", "shown"), [((400, 300), (200, 150)), ((200, 100), (200, 100)), ((1, 900), (1, 200))])
def test_a_large_photo_is_shrunk_and_its_boxes_are_in_its_own_pixels(hw, shown):
    seen: list[np.ndarray] = []
    h, w = shown
    image = photo(*hw)
    people = Detector(told([[0, 0, w / 2, h]], [0.9], seen), longest=200)("a.jpg", image)
    assert seen[0].shape == (h, w, 3)
    assert people.boxes.tolist() == [[-0.5, -0.5, hw[1] / 2 - 0.5, hw[0] - 0.5]]
    if hw == (400, 300):
        assert np.abs(seen[0].astype(float) - image.reshape(200, 2, 150, 2, 3).mean((1, 3))).max() <= 1, "by averages"


def test_boxes_end_at_the_border_and_those_without_extent_or_numbers_are_none():
    network = told([[-50, 20, 20, 900], [40, 40, 40, 60], [np.nan, 0, 9, 9], [120, 0, 140, 9]], [0.9] * 4)
    assert Detector(network)("a.jpg", photo(100, 100)).boxes.tolist() == [[-0.5, 19.5, 19.5, 99.5]]


def test_nobody_is_people_of_none():
    people = Detector(told([], []))("a.jpg", photo(9, 9))
    assert isinstance(people, People)
    assert people.boxes.shape == (0, 4)


def test_a_network_that_fails_on_a_photo_is_a_sentence():
    def broken(image):
        raise RuntimeError("shape '[2]' is invalid\nand more")

    with pytest.raises(ValueError, match=r"the detector failed on a picture of 9x7 \(shape '\[2\]' is invalid\); try another"):
        Detector(broken)("a.jpg", photo(9, 7))


@pytest.mark.parametrize("score", [-0.1, 1.5])
def test_a_threshold_that_is_no_score_is_a_sentence(score):
    with pytest.raises(ValueError, match="is no score; write a number from 0 to 1"):
        Detector(told([], []), score=score)


def test_torchvision_s_detectors_are_loaded_by_path_and_find_people_in_the_photo(detector):
    found = Detector.load(str(detector), most=5)("a.jpg", photo(150, 200))
    assert len(found) == 5
    assert (found.scores > 0.5).all()
    assert (found.boxes >= -0.5).all()
    assert (found.boxes <= [199.5, 149.5, 199.5, 149.5]).all()
    assert len(Detector.load(str(detector), score=1.0)("a.jpg", photo(150, 200))) == 0
    tiny = Detector.load(str(detector))("a.jpg", photo(1, 1))
    assert len(tiny) <= 100


def test_weights_in_torch_s_cache_need_no_path(detector, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / detector.name).symlink_to(detector)
    cached, given = (Detector.load(what, most=3)("a.jpg", photo(90, 90)) for what in (SMALL, str(detector)))
    assert np.array_equal(cached.boxes, given.boxes)


@pytest.mark.parametrize("name", TORCHVISION)
def test_weights_that_are_not_there_are_named_with_the_way_to_them(name, tmp_path, monkeypatch):
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="there are no weights of the detector") as told_:
        Detector.load(name)
    sentence = str(told_.value)
    assert sentence.startswith(f"there are no weights of the detector {name}: no file {tmp_path / 'hub' / 'checkpoints' / name}")
    assert f"get('{name}', weights='DEFAULT')" in sentence
    assert "--people BOXES.json, or --people whole" in sentence
    assert not list(tmp_path.iterdir()), "nothing was fetched"


def test_what_is_no_detector_is_a_sentence(detector, tmp_path):
    with pytest.raises(ValueError, match="there is no detector 'yolo'; --detector is a file, a folder, or one of fasterrcnn"):
        Detector.load("yolo")
    with pytest.raises(ValueError, match=r"there is no detector '.*none\.pth'"):
        Detector.load(str(tmp_path / "none.pth"))
    other = tmp_path / "mine.pth"
    other.symlink_to(detector)
    with pytest.raises(ValueError, match=r"mine\.pth does not say which detector it belongs to; its name should begin with one of"):
        Detector.load(str(other))
    wrong = tmp_path / f"{SMALL}.pth"
    torch.save({"head.weight": torch.zeros(3)}, wrong)
    with pytest.raises(ValueError, match=rf"holds no weights of {SMALL}: .*; fetch them again"):
        Detector.load(str(wrong))
    wrong.write_text("<html>not found</html>")
    with pytest.raises(ValueError, match="holds no weights"):
        Detector.load(str(wrong))


def test_without_torchvision_there_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ValueError, match=r"looking for people needs torchvision .*; pip install torchvision, or give boxes"):
        Detector.load()


def test_without_transformers_there_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"needs transformers .*; pip install transformers, or give boxes"):
        Detector.load(str(tmp_path))


@pytest.mark.filterwarnings("default")  # transformers' own
def test_transformers_detectors_are_loaded_from_a_folder_and_know_people_by_name(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": [64, 64]}

    def folder(name: str, labels: dict[int, str]) -> str:
        torch.manual_seed(0)
        config = transformers.YolosConfig(**sizes, patch_size=16, num_detection_tokens=8, id2label=labels)
        transformers.YolosForObjectDetection(config).save_pretrained(tmp_path / name)
        transformers.YolosImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tmp_path / name)
        return str(tmp_path / name)

    chairs = {0: "chair", 1: "person"}, {0: "person", 1: "chair"}, {0: "person", 1: "Person"}
    some, others, everything = (
        Detector.load(folder(str(n), labels), score=0, overlap=1, longest=100)("a.jpg", photo(120, 200))
        for n, labels in enumerate(chairs)
    )
    assert len(some) + len(others) == len(everything) == 8
    assert sorted([*some.scores, *others.scores], reverse=True) == everything.scores.tolist()
    assert (everything.boxes[:, 2] > 100).any(), "in pixels of the photo"
    assert (everything.boxes <= [199.5, 119.5, 199.5, 119.5]).all()
    with pytest.raises(ValueError, match=r"does not know people: its labels are chair, cup, \.\.\.; give"):
        Detector.load(folder("none", {0: "chair", 1: "cup"}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty is no detector of transformers, neither as a folder nor in the cache"):
        Detector.load(str(tmp_path / "empty"))
