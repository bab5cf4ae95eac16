"""The truth scores perfectly, scores do not depend on how pictures are dealt, and the trivial answer is beside them."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared import checkpoint
from shared.data.fields import warp
from shared.data.indexed import Indexed
from shared.dense.frame import unmirror
from shared.engine import data
from shared.engine.evaluate import evaluate, run
from shared.engine.score import _measure, detailed, details, measured, score, table, times_better, trivial_answers
from shared.engine.session import Session
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pose.task import Pose
from tasks.seg.task import Seg

ROOT = Path(__file__).parents[3]
HERE = Session(torch.device("cpu"))
TASKS = (Seg(), Depth(), Normal(), Pose())
METRIC = Depth(metric=True)


@pytest.fixture(scope="module")
def people(small_shards) -> Indexed:
    return Indexed(small_shards, size=(64, 48), wanted=data.wanted(TASKS))


class Oracle(nn.Module):
    """Knows every picture by heart."""

    def __init__(self, people: Indexed) -> None:
        super().__init__()
        self.known = {item.image.numpy().tobytes(): item for item in people}

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        rows = [self.answer(picture) for picture in image]
        return {task.name: torch.stack([row[task.name] for row in rows]) for task in TASKS}

    def answer(self, picture: Tensor) -> dict[str, Tensor]:
        truth = self.known[picture.numpy().tobytes()].truth
        maps, _ = TASKS[3].target({"image": picture[None], "keypoints": truth["keypoints"][None]}, (64, 48))
        return {
            "seg": F.one_hot(truth["seg"].long().clamp(max=27), 28).movedim(-1, 0).float(),
            "depth": truth["depth"].nan_to_num(0)[None],
            "normal": truth["normal"].nan_to_num(0).movedim(-1, 0),
            "pose": maps[0],
        }


class Twice(Oracle):
    """Knows mirror images, too: right, or wrong and loud."""

    def __init__(self, people: Indexed, *, right: bool) -> None:
        super().__init__(people)
        self.right = right

    def answer(self, picture: Tensor) -> dict[str, Tensor]:
        if picture.numpy().tobytes() in self.known:
            return super().answer(picture)
        truth = super().answer(picture.flip(-1).contiguous())
        mirrored = {task.name: unmirror(task, truth[task.name][None])[0] for task in TASKS}
        return mirrored if self.right else {name: 3 * raw.roll(1, 0).flip(-1) for name, raw in mirrored.items()}


def test_with_flip_the_mirror_image_counts_as_much_as_the_picture(people):
    plain, right, wrong = (
        score(Twice(people, right=known), people, HERE, tasks=TASKS, flip=flip)[0]
        for known, flip in ((True, False), (True, True), (False, True))
    )
    assert right == pytest.approx(plain, abs=1e-5, nan_ok=True)
    assert all(wrong[f"{task.name}/{task.score.name}"] != right[f"{task.name}/{task.score.name}"] for task in TASKS)


def test_the_truth_scores_perfectly(people):
    scores, trivial = score(Oracle(people), people, HERE, tasks=TASKS)
    assert scores["seg/miou"] == scores["seg/aacc"] == scores["depth/delta1"] == scores["pose/pck05"] == 1
    assert scores["depth/abs_rel"] < 1e-5
    assert scores["normal/mean_deg"] < 0.1
    assert scores["pose/oks"] > 0.9
    assert trivial == {}


class Metric(nn.Module):
    """Knows the canonical depth of every picture as the network sees it, and answers `beside` next to the picture."""

    def __init__(self, people: Indexed, *, beside: float = 1.0) -> None:
        super().__init__()
        self.known = {}
        for item in people:
            told = {name: item.truth[name].numpy() for name in ("depth", "intrinsics")}
            seen = {name: torch.from_numpy(value)[None] for name, value in warp(told, item.view).items()}
            self.known[item.image.numpy().tobytes()] = torch.where(seen["depth"].isfinite(), METRIC.target(seen)[0], beside)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"depth": torch.stack([self.known[picture.numpy().tobytes()] for picture in image])}


@pytest.mark.parametrize(("size", "framing"), [((64, 48), "whole"), ((96, 160), "whole"), ((128, 96), "boxes")])
def test_metric_depth_is_scored_in_metres_whatever_the_network_sees_of_a_picture(small_shards, size, framing):
    """Padded, magnified, in a box: a perfect network is right to the rim of people, in every batch and beside anything."""
    data_ = Indexed(small_shards, size=size, wanted=data.wanted((METRIC,)), framing=framing)
    found = [score(Metric(data_, beside=b), data_, HERE, tasks=(METRIC,), batch=n)[0] for b, n in ((1.0, 5), (1.0, 1), (3.0, 12))]
    assert found[0] == found[1]
    for scores in found:
        assert scores["depth/delta1"] > 0.97
        assert scores["depth/abs_rel"] < 0.02
    if size == (64, 48):
        assert found[0]["depth/abs_rel"] == pytest.approx(0, abs=1e-6)


def test_a_picture_without_a_camera_is_not_scored_in_metres(small_shards):
    wanted = data.wanted((METRIC,))
    known = Indexed(small_shards, size=(64, 48), wanted=wanted)
    item = known[0]
    raw = Metric(known)(item.image[None])["depth"][0]
    blind = item._replace(truth=item.truth | {"intrinsics": torch.full((4,), torch.nan)})
    row, none = (_measure(METRIC, raw, one, None)[0] for one in (item, blind))
    assert row.any()
    assert not none.any()
    assert METRIC.summarise(torch.stack([row, none])) == METRIC.summarise(row[None])


@pytest.fixture(scope="module")
def model(trained):
    return checkpoint.load(trained).model


def test_scores_do_not_depend_on_the_batch(model, people):
    one, many = (score(model, people, HERE, tasks=model.tasks, batch=batch)[0] for batch in (1, 5))
    assert one == pytest.approx(many, rel=1e-3, abs=1e-3, nan_ok=True)


def test_what_is_answered_beside_the_picture_does_not_count(people, small_shards):
    wide = Indexed(small_shards, size=(64, 96), wanted=data.wanted(TASKS))  # 24 pixels of nothing on either side of each picture
    oracle = Oracle(people)

    class Padded(nn.Module):
        def __init__(self, beside: float) -> None:
            super().__init__()
            self.beside = beside

        def forward(self, image: Tensor) -> dict[str, Tensor]:
            assert not image[..., :24].any()
            assert not image[..., -24:].any()
            inside = oracle(image[..., 24:-24].contiguous())
            maps = {name: F.pad(raw, (24, 24), value=self.beside) for name, raw in inside.items() if name != "pose"}
            return maps | {"pose": F.pad(inside["pose"], (24, 24))}  # which looks for its one maximum wherever it is

    found = [score(Padded(beside), wide, HERE, tasks=TASKS[:3])[0] for beside in (0.0, 7.0, -1e3)]
    plain = score(oracle, people, HERE, tasks=TASKS[:3])[0]
    assert found[0] == found[1] == found[2]
    assert found[0] == pytest.approx(plain, abs=1e-9, nan_ok=True)


def test_a_further_table_of_each_task_that_has_one(model, people, tiny, trained, small_shards, tmp_path, monkeypatch, capsys):
    rows = measured(model, people, HERE, tasks=model.tasks)
    found = details(model.tasks, rows)
    assert list(found) == ["seg", "depth"]
    assert list(found["seg"]) == list(Seg().vocabulary.names)
    text = detailed(found)
    assert len(text.splitlines()) == 28 + 2 + 2 * 2  # a line of columns and an empty one before each
    never = next(name for name, line in found["seg"].items() if math.isnan(line["iou"]))
    assert next(line for line in text.splitlines() if line.startswith(never)).split()[1:] == ["-"] * 4 + ["0.0000"]
    arguments = [str(ROOT / "configs/depth/synthetic_nano.py"), "--checkpoint", trained, "--json", tmp_path / "scores.json"]
    overrides = [f"val.shards={small_shards}", f"train.shards={small_shards}", "device=cpu", "val.limit=4"]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments), *overrides])
    evaluate(only=Depth)
    assert "scale and shift" in capsys.readouterr().out
    told = json.loads((tmp_path / "scores.json").read_text())
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, [*arguments[:-1], tmp_path / "nowhere" / "scores.json"])])
    with pytest.raises(SystemExit):
        evaluate(only=Depth)
    assert "scores.json lies in no folder; make" in capsys.readouterr().err
    assert told["details"]["depth"]["scale and shift"]["abs_rel"] == told["scores"]["depth/abs_rel"]


def test_shares_of_several_processes_are_all_pictures_once(people):
    dealt = [[item.index for items in people.batches(2, rank=rank, processes=5) for item in items] for rank in range(5)]
    assert sorted(index for share in dealt for index in share) == list(range(12))


def test_a_limit_takes_the_first(model, small_shards):
    few = Indexed(small_shards, size=(64, 48), wanted=data.wanted(TASKS), limit=3)
    assert [item.index for items in few.batches(2) for item in items] == [0, 1, 2]
    assert score(model, few, HERE, tasks=model.tasks)[0].keys() == score(model, few, HERE, tasks=model.tasks, batch=1)[0].keys()


def test_the_trivial_answer_stands_beside_every_score(tiny, trained, small_shards, tmp_path):
    config = tiny("joint", tmp_path, f"val={{'shards': '{small_shards}'}}")
    model, scores, trivial = run(config, trained, HERE)
    assert scores.keys() == trivial.keys()
    # one distance everywhere, and the commonest class: background, which holds no person
    assert trivial["depth/rmse_m"] > 0
    assert trivial["seg/person_iou"] == 0
    text = table(model.tasks, scores, trivial)
    assert all(f"{task.name}/{task.score.name} *" in text for task in model.tasks)
    assert len(text.splitlines()) == len(scores) + 2


def test_one_task_of_a_joint_model_can_be_scored_alone(tiny, trained, small_shards, tmp_path):
    config = tiny("depth", tmp_path, f"val={{'shards': '{small_shards}', 'limit': 4}}")
    model, scores, _ = run(config, trained, HERE, only=Depth)
    assert [task.name for task in model.tasks] == ["depth"]
    assert {name.split("/")[0] for name in scores} == {"depth"}


def test_the_trivial_depth_does_not_look(tiny, tmp_path):
    stream = data.plain_training(tiny("depth", tmp_path), (Depth(),), (64, 48))
    assert trivial_answers((Depth(),), stream)["depth"].unique().numel() == 1


def test_times_better_is_a_ratio_in_the_right_direction():
    assert times_better(Depth(), {"depth/abs_rel": 0.1}, {"depth/abs_rel": 0.4}) == pytest.approx(4)
    assert times_better(Seg(), {"seg/miou": 0.6}, {"seg/miou": 0.2}) == pytest.approx(3)
    assert math.isinf(times_better(Seg(), {"seg/miou": 0.6}, {"seg/miou": 0.0}))


def test_checkpoints_that_cannot_be_scored_are_sentences(tiny, pretrained, trained, tmp_path, small_shards):
    config = tiny("joint", tmp_path, f"val={{'shards': '{small_shards}'}}")
    with pytest.raises(ValueError, match=r"holds a MaskedAutoencoder, which answers nothing; fine-tune it first \(init="):
        run(config, pretrained, HERE)
    with pytest.raises(ValueError, match=r"names no validation set; set val\.shards="):
        run(tiny("joint", tmp_path), trained, HERE)
