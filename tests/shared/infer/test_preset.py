"""The official preset is the official pipeline, restated here step by step from the specification with OpenCV and PyTorch."""

from math import inf

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from shared.data.view import View
from shared.dense import frame
from shared.dense.decoder import Decoder, Spec
from shared.dense.frame import Back, sample, settle
from shared.dense.model import DenseModel
from shared.infer.predictor import Predictor
from shared.infer.preset import OFFICIAL, Look, preset_of, show, view_of
from shared.vit.model import ViT
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pointmap.task import Pointmap
from tasks.pose.task import Pose
from tasks.seg.task import Seg

SIZE = (64, 48)
MEAN, STD = (torch.tensor(row).view(3, 1, 1) for row in ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]))
PICTURES = [(64, 48), (129, 97), (30, 200), (200, 30), (20, 15)]
NARROW = Spec(up=(16, 16, 16, 16), refine=(16,))
TASKS = [Seg(), Depth(), Normal(), Pose(), Pointmap()]


def picture(height: int, width: int) -> np.ndarray:
    """Smooth, so that a pixel's rounding does not decide."""
    noise = np.random.default_rng(height * 1000 + width).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)


def small(family: str, tasks: list, **options) -> DenseModel:
    torch.manual_seed(0)
    backbone = ViT({"dim": 32, "depth": 2, "heads": 2, "family": family}, image_hw=SIZE, **options)
    model = DenseModel(backbone, tasks, decoder=NARROW).eval()
    peaked(model)
    return model


def peaked(model: DenseModel) -> None:
    """Heatmaps that have peaks, as a model has them that was trained for longer than two iterations."""
    for name, decoder in model.decoders.items():
        if name == "pose":
            assert isinstance(decoder, Decoder)
            decoder.last.weight = torch.nn.Parameter(300 * decoder.last.weight)


@torch.inference_mode()
def asked(model: DenseModel, seen: np.ndarray, name: str, *, mirrored: bool = False) -> torch.Tensor:
    """What the network says to its input, (H,W,3) uint8: (C,h,w)."""
    image = (torch.from_numpy(seen.copy()).permute(2, 0, 1).float() - MEAN) / STD
    return model.decoders[name](model.backbone(image.flip(-1)[None] if mirrored else image[None]))[0]


def enlarged(raw: torch.Tensor, *sizes: tuple[int, int]) -> torch.Tensor:
    for size in sizes:
        raw = F.interpolate(raw[None], size, mode="bilinear", align_corners=False)[0]
    return raw


@pytest.fixture(scope="module")
def first(trained) -> Predictor:
    predictor = Predictor.load(trained, device="cpu", preset="official")
    peaked(predictor.model)
    return predictor


@pytest.fixture(scope="module")
def second() -> Predictor:
    return Predictor(small("sapiens2", [Seg(labels="sapiens29"), Normal(), Pose(skeleton="sapiens308")]), preset="official")


@pytest.mark.parametrize("hw", PICTURES)
def test_the_first_generation_sees_the_picture_stretched_and_is_enlarged_twice(first, hw):
    image = picture(*hw)
    seen = cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    found = first(image)
    wanted = {name: enlarged(asked(first.model, seen, name), SIZE, hw) for name in ("seg", "depth", "normal")}
    assert np.abs(found["depth"] - wanted["depth"][0].numpy()).max() < 1e-4
    assert np.abs(found["normal"] - F.normalize(wanted["normal"], dim=0).movedim(0, -1).numpy()).max() < 1e-4
    (parts,) = (task for task in first.tasks if task.name == "seg")
    assert (found["seg"] == parts.decode(wanted["seg"][None])[0].numpy()).mean() > 0.999


@pytest.mark.parametrize("hw", PICTURES)
def test_the_second_generation_sees_parts_in_a_stretched_picture_of_areas_or_cubics(second, hw):
    image = picture(*hw)
    flag = cv2.INTER_AREA if SIZE[1] < hw[1] else cv2.INTER_CUBIC
    wanted = enlarged(asked(second.model, cv2.resize(image, SIZE[::-1], interpolation=flag), "seg"), hw).argmax(0)
    assert (second(image)["seg"] == wanted.numpy()).mean() > 0.999


@pytest.mark.parametrize("hw", PICTURES)
def test_the_second_generation_sees_normals_letterboxed_and_normalises_before_it_enlarges(second, hw):
    (h, w), (H, W), image = hw, SIZE, picture(*hw)
    scale = min(W / w, H / h)
    height, width = int(h * scale), int(w * scale)
    top, left = (H - height) // 2, (W - width) // 2
    seen = np.zeros((H, W, 3), np.uint8)
    flag = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    seen[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=flag)
    raw = F.normalize(asked(second.model, seen, "normal"), dim=0, eps=1e-8)
    wanted = enlarged(raw[:, top : top + height, left : left + width], hw).movedim(0, -1)
    assert np.abs(second(image)["normal"] - wanted.numpy()).max() < 1e-4


def official_point(heatmap: np.ndarray) -> np.ndarray:
    """Sapiens' own sub-pixel maximum of one map, in heatmap pixels (specification, 3.2)."""
    y, x = divmod(int(heatmap.argmax()), heatmap.shape[1])
    blurred = cv2.GaussianBlur(np.pad(heatmap, 5), (11, 11), 0)[5:-5, 5:-5]
    log = np.pad(np.log(np.clip(blurred * (heatmap.max() / blurred.max()), 1e-3, 50)), 1, mode="edge")
    f = log[y : y + 3, x : x + 3].astype(np.float64)
    slope = np.array([f[1, 2] - f[1, 0], f[2, 1] - f[0, 1]]) / 2
    mixed = (f[2, 2] - f[1, 2] - f[2, 1] + 2 * f[1, 1] - f[1, 0] - f[0, 1] + f[0, 0]) / 2
    bend = [[f[1, 2] - 2 * f[1, 1] + f[1, 0], mixed], [mixed, f[2, 1] - 2 * f[1, 1] + f[0, 1]]]
    return np.array([x, y]) - np.linalg.inv(np.array(bend) + np.finfo(np.float32).eps * np.eye(2)) @ slope


@pytest.mark.parametrize("generation", ["first", "second"])
@pytest.mark.parametrize("box", [None, (10, 20, 60, 90), (5, 5, 25, 15), (-20, 30, 150, 200)])
def test_points_are_those_of_the_udp_crop_and_its_mirror_image(generation, box, request):
    predictor, (H, W), image = request.getfixturevalue(generation), SIZE, picture(129, 97)
    x0, y0, x1, y1 = box or (0, 0, 97, 129)
    w, h = 1.25 * (x1 - x0), 1.25 * (y1 - y0)
    w, h = (w, w / 0.75) if w > 0.75 * h else (0.75 * h, h)
    centre, extent = np.array([x0 + x1, y0 + y1]) / 2, np.array([w, h])
    k = (np.array([W, H]) - 1) / extent
    matrix = np.c_[np.diag(k), k * (extent / 2 - centre)].astype(np.float32)
    flag = cv2.INTER_LINEAR if generation == "first" or k.min() < 1 else cv2.INTER_CUBIC
    seen = cv2.warpAffine(image, matrix, (W, H), flags=flag)
    task = predictor.tasks[-1]
    assert isinstance(task, Pose)
    back = asked(predictor.model, seen, "pose", mirrored=True).flip(-1)[torch.from_numpy(task.vocabulary.swap)]
    maps = ((asked(predictor.model, seen, "pose") + back) / 2).numpy()
    grid = np.array([maps.shape[2], maps.shape[1]]) - 1
    there = np.array([cv2.GaussianBlur(heatmap, (11, 11), 0, borderType=cv2.BORDER_CONSTANT).max() > 1e-2 for heatmap in maps])
    wanted = np.stack([official_point(heatmap) for heatmap in maps[there]]) / grid * extent + centre - extent / 2
    found = predictor(image, boxes=None if box is None else np.array([box], np.float32))["pose"]
    found = found if box is None else found[0]
    error = np.abs(found[there, :2] - wanted) / (1 + np.abs(wanted))
    assert there.sum() >= 5
    assert np.median(error) < 1e-5
    assert np.quantile(error, 0.95) < 1e-2  # these maps are noise: a long step, from a flat top, magnifies the last digit
    assert found[:, 2] == pytest.approx(maps.max((1, 2)), abs=1e-5)


def test_the_udp_crop_is_the_official_one(golden):
    told = golden["udp_warp"]
    box = np.array(told["bbox"])
    view = View.corners(box, (1024, 768))
    assert view.matrix.astype(np.float32) == pytest.approx(np.array(told["mat_rot0"]), rel=1e-6, abs=1e-5)
    half = np.array(told["scale_fixed"]) / 2
    assert np.allclose(view.to_view(told["center"] - half), [0, 0])
    assert np.allclose(view.to_view(told["center"] + half), [767, 1023])


@pytest.mark.parametrize("hw", [(1, 1), (7, 300), (300, 7), (80, 60)])
@pytest.mark.parametrize("strip", [1, 3000, 2**22])
def test_two_steps_are_torchs_two_and_never_hold_more_than_a_strip(monkeypatch, hw, strip):
    monkeypatch.setattr(frame, "STRIP", strip)
    raw = torch.randn(28, 16, 12, generator=torch.Generator().manual_seed(0))
    view = View.stretch(hw, SIZE)
    asked_for = []
    monkeypatch.setattr(frame, "_bilinear", lambda *given: asked_for.append(bilinear(*given)) or asked_for[-1])
    found = settle(Seg(), raw, view, hw, Back(through=True))
    wanted = enlarged(raw, SIZE, hw)
    assert (found == wanted.argmax(0)).float().mean() > 0.999
    lines = 28 * max(hw[1], SIZE[1] * (1 + SIZE[0] / hw[0]), 2 * SIZE[1])  # one line of the picture and what it is made of
    assert max(made.numel() for made in asked_for) <= max(strip + lines, 3 * lines)
    torch.testing.assert_close(sample(raw, view, (0, hw[0]), (0, hw[1]), through=True), wanted, atol=1e-5, rtol=1e-5)


bilinear = frame._bilinear


def test_the_smooth_way_back_keeps_a_plane_and_the_edge_of_the_picture():
    view = view_of(Look("letterbox"), (100, 50), None, SIZE)
    raw = torch.full((4, *SIZE), 9.0)
    raw[:, :, 8:40] = 2.0  # the picture is 32 wide in the middle, and what is beside it must not leak in
    raw[3] = 1
    answer = settle(Pointmap(), raw, view, (100, 50), Back(late=True, blur=4))
    assert answer.shape == (100, 50, 4)
    torch.testing.assert_close(answer[..., :3], torch.full((100, 50, 3), 2.0))


@pytest.mark.parametrize(("hw", "inside"), [((100, 50), (0, 8, 64, 32)), ((33, 100), (24, 0, 15, 48)), ((1, 300), (31, 0, 1, 48))])
def test_a_letterbox_is_cut_down_to_whole_pixels_and_black_around(hw, inside):
    top, left, height, width = inside
    look = Look("letterbox")
    seen = show(look, np.full((*hw, 3), 200, np.uint8), view_of(look, hw, None, SIZE))
    wanted = np.zeros((*SIZE, 3), np.uint8)
    wanted[top : top + height, left : left + width] = 200
    assert np.array_equal(seen, wanted)


def test_official_positions_are_rounded_and_ours_are_not():
    model = small("sapiens2", [Normal()])
    assert model.backbone.rope is not None
    plain = Predictor(model)(picture(*SIZE))["normal"]
    assert model.backbone.rope.dtype == torch.float32
    Predictor(model, preset="official")
    assert model.backbone.rope.dtype == torch.bfloat16
    assert 0 < np.abs(Predictor(model)(picture(*SIZE))["normal"] - plain).max() < 0.1


@pytest.mark.parametrize(("family", "name"), [(family, name) for family, rows in OFFICIAL.items() for name in rows])
def test_every_row_is_of_a_task_whose_words_come_with_us(family, name):
    row = OFFICIAL[family][name]
    kind = {type(task).name: type(task) for task in TASKS}[name]
    for option, known in row.needs.items():
        for word in known:
            found, task = preset_of("official", kind(**{option: word}), family)
            assert found == row
            assert task.channels > 1
    if name == "pose":
        assert row.look.flip
        assert preset_of("official", Pose(skeleton=row.needs["skeleton"][0], blur=3), family)[1].reach == inf  # type: ignore[attr-defined]


def test_the_default_preset_is_ours_and_changes_no_task():
    for task in TASKS:
        row, same = preset_of("default", task, "sapiens")
        assert same is task
        assert (row.look.frame, row.look.flip, row.back) == ("fit", False, Back())


OWN = {"entries": [{"name": "a", "colour": [0, 0, 0]}, {"name": "b", "colour": [0, 0, 0]}]}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("lite", Depth(), "sapiens"), "there is no preset 'lite'; choose one of default, official"),
        (
            ("official", Pointmap(), "sapiens"),
            "there is no official pointmap for models of the family sapiens, which has pose, seg",
        ),
        (
            ("official", Depth(), "sapiens2"),
            "there is no official depth .* which has pose, seg, normal, pointmap; use the default preset",
        ),
        (
            ("official", Seg(labels=OWN), "sapiens"),
            "has labels sapiens28 or lip20, and this model has a table of its own; use the def",
        ),
        (("official", Seg(labels="ccp59"), "sapiens"), "and this model has 'ccp59'; use the default preset"),
        (("official", Pose(skeleton="coco17"), "sapiens2"), "has skeleton sapiens308, and this model has 'coco17'"),
    ],
)
def test_what_has_no_official_way_is_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        preset_of(*arguments)


def test_a_picture_too_long_for_the_official_warp_is_a_sentence(first):
    with pytest.raises(ValueError, match="the picture is 33000x2, and the official warp ends at 32766; make it smaller"):
        first(np.zeros((2, 33_000, 3), np.uint8))


@pytest.mark.parametrize("hw", [(1, 1), (1, 300), (300, 1), (2, 5000)])
@pytest.mark.parametrize("generation", ["first", "second"])
def test_answers_have_the_size_of_the_picture(generation, hw, request):
    predictor, image = request.getfixturevalue(generation), np.full((*hw, 3), 99, np.uint8)
    answers = predictor(image)
    assert {answers[name].shape[:2] for name in answers if name != "pose"} == {hw}
    assert all(np.isfinite(answer).all() for answer in answers.values())


@pytest.mark.parametrize("file", ["sapiens1_tiny/seg28.pth", "sapiens1_tiny/pose17.pth", "sapiens2_tiny/normal.safetensors"])
@pytest.mark.parametrize("preset", ["default", "official"])
def test_official_files_answer_pictures(shared_folder, file, preset):
    path = shared_folder / "parity" / file
    if not path.is_file():
        pytest.skip(f"there is no {file} beside the repository")
    predictor = Predictor.load(path, device="cpu", preset=preset)
    answers = predictor(picture(70, 50))
    assert len(answers) == 1
    assert all(np.isfinite(answer).all() for answer in answers.values())
