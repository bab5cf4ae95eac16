"""A checkpoint and a picture of any size in, answers of the picture's own size out."""

import numpy as np
import pytest
import torch

from shared import builtin, checkpoint
from shared.infer.predictor import Predictor

ALL = ["seg", "depth", "normal", "pose"]


@pytest.fixture(scope="module")
def predictor(trained) -> Predictor:
    return Predictor.load(trained, device="cpu")


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("hw", [(1, 1), (129, 97), (64, 48), (1, 300), (300, 1), (2, 40_000), (700, 1100)])
def test_answers_have_the_size_of_the_picture(predictor, hw):
    image = picture(*hw)
    answers = predictor(image)
    assert list(answers) == ALL
    assert answers["seg"].shape == hw
    assert answers["seg"].dtype == np.uint8
    assert answers["depth"].shape == hw
    assert answers["normal"].shape == (*hw, 3)
    assert np.allclose(np.linalg.norm(answers["normal"], axis=2), 1, atol=1e-4)
    assert answers["pose"].shape == (17, 3)
    assert all(np.isfinite(answer).all() for answer in answers.values())
    assert all(shown.shape == image.shape and shown.dtype == np.uint8 for shown in predictor.render(image, answers).values())


def test_an_answer_is_the_model_s_own(predictor, person):
    """On a picture of the network's size nothing is resampled before the network."""
    image = picture(64, 48)
    with torch.inference_mode():
        raw = predictor.model(torch.from_numpy(image).movedim(-1, 0)[None])["depth"]
    wide = torch.nn.functional.interpolate(raw, (64, 48), mode="bilinear", align_corners=False)[0, 0]
    assert np.allclose(predictor(image)["depth"], wide.numpy(), atol=1e-5)


def test_a_subset_is_answered_as_the_whole_is(predictor, trained):
    some, image = Predictor.load(trained, device="cpu", only=["depth", "seg"]), picture(70, 50)
    few, many = some(image), predictor(image)
    assert list(few) == ["seg", "depth"]
    assert all(np.array_equal(few[name], many[name]) for name in few)
    assert list(some.render(image, few)) == ["seg", "depth"]


def test_people_are_answered_one_by_one(predictor):
    image = picture(90, 80)
    boxes = np.array([[5, 5, 40, 80], [30, 10, 79, 89], [0, 0, 0, 0]], np.float32)
    together = predictor(image, boxes=boxes)["pose"]
    assert together.shape == (3, 17, 3)
    for box, found in zip(boxes, together, strict=True):
        assert np.allclose(predictor(image, boxes=box[None])["pose"][0], found, atol=1e-3)  # a batch is added up in another order
    assert not np.array_equal(together[0], together[1])
    assert predictor(image, boxes=np.zeros((0, 4), np.float32))["pose"].shape == (0, 17, 3)
    assert np.array_equal(predictor(image, boxes=boxes)["depth"], predictor(image)["depth"]), "boxes are for pose alone"


def test_the_points_of_a_box_lie_in_its_frame(predictor):
    box = np.array([20, 30, 50, 80], np.float32)
    xy = predictor(picture(300, 300), boxes=box[None])["pose"][0, :, :2]
    middle, reach = (box[:2] + box[2:]) / 2, 0.5 * 1.25 * 50 + 9  # a peak on the border may lie up to a heatmap's pixel outside
    assert (np.abs(xy - middle) <= reach).all()


def test_people_without_a_number_are_a_sentence(predictor):
    with pytest.raises(ValueError, match="is not finite; give x0 y0 x1 y1 in pixels"):
        predictor(picture(9, 9), boxes=np.array([[0, 0, np.nan, 5]], np.float32))


def test_another_size_of_the_network_answers_otherwise_at_the_same_size(trained, predictor):
    image = picture(100, 75)
    other = Predictor.load(trained, device="cpu", size=(80, 64))(image)["depth"]
    assert other.shape == (100, 75)
    assert not np.array_equal(other, predictor(image)["depth"])


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_other_arrays_are_a_sentence(predictor, image):
    with pytest.raises(ValueError, match=r"an image is \(H,W,3\) uint8 RGB, this is .*; use shared\.data\.photo\.read_photo"):
        predictor(image)


def test_depth_is_shown_on_the_person_only(predictor):
    image = picture(40, 30)
    answers = predictor(image)
    nobody = {**answers, "seg": np.zeros((40, 30), np.uint8)}
    everybody = {**answers, "seg": np.ones((40, 30), np.uint8)}
    shown = [predictor.render(image, told)["depth"] for told in (nobody, everybody)]
    assert not np.array_equal(*shown)


def test_checkpoints_that_do_not_answer_are_sentences(trained, pretrained, tmp_path):
    with pytest.raises(ValueError, match=r"answers seg, depth, normal, pose, not hands, matting; give a checkpoint of that task"):
        Predictor.load(trained, only=["seg", "matting", "hands"])
    with pytest.raises(ValueError, match="holds a MaskedAutoencoder, which answers nothing; fine-tune it first"):
        Predictor.load(pretrained)
    assert checkpoint.load(trained).about["iteration"] == 2


def test_without_a_path_the_built_in_model_answers(trained, predictor, monkeypatch):
    monkeypatch.setattr(builtin, "MODEL", trained)
    image = picture(70, 50)
    assert np.array_equal(Predictor.load(device="cpu")(image)["depth"], predictor(image)["depth"])
    with pytest.raises(ValueError, match="the built-in model answers seg, depth, normal, pose, not pointmap; give a checkpoint of"):
        Predictor.load(only=["pointmap"])


def test_a_copy_without_the_built_in_model_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(builtin, "MODEL", tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"this copy has no built-in model: there is no .*model\.safetensors; give a checkpoint"):
        Predictor.load()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the compiler's own
def test_compiled_answers_are_the_same(predictor, trained):
    image = picture(64, 48)
    plain, compiled = predictor(image), Predictor.load(trained, device="cpu", compiled=True)(image)
    assert np.allclose(compiled["depth"], plain["depth"], atol=1e-4)
    assert np.allclose(compiled["pose"], plain["pose"], atol=1e-2)


@pytest.mark.parametrize("boxes", [[1, 2, 30, 40], [[1, 2, 30, 40, 0.9]], [["a", "b", "c", "d"]], [None], 7, [[[0, 0, 1, 1]]]])
def test_what_is_no_list_of_boxes_is_a_sentence(predictor, boxes):
    with pytest.raises(ValueError, match=r"boxes are \(P,4\) numbers x0 y0 x1 y1 in pixels"):
        predictor(picture(30, 20), boxes=boxes)


def test_in_bfloat16_a_checkpoint_s_weights_are_kept_in_it(trained, predictor):
    lowered, image = Predictor.load(trained, device="cpu", precision="bf16"), picture(64, 48)
    assert lowered.model.backbone.patch_embed.weight.dtype == torch.bfloat16
    assert predictor.model.backbone.patch_embed.weight.dtype == torch.float32
    apart = np.abs(lowered(image)["depth"] - predictor(image)["depth"])
    assert 0 < apart.mean() < 0.05
