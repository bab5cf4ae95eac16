"""Averaged with its mirror image: left stays left, and the answer turns round with the picture."""

import numpy as np
import pytest
import torch

from shared.dense import frame
from shared.dense.decoder import Spec
from shared.dense.model import DenseModel
from shared.infer.predictor import Predictor
from shared.vit.model import ViT
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pointmap.task import Pointmap
from tasks.pose.task import Pose
from tasks.seg.task import Seg

SIZE = (64, 48)
TASKS = [Seg(), Depth(), Normal(), Pose(), Pointmap()]


@pytest.mark.parametrize("preset", ["default", "official"])
@pytest.mark.parametrize("generation", ["sapiens", "sapiens2"])
def test_with_its_mirror_image_averaged_in_an_answer_mirrors_with_the_picture(generation, preset):
    """True of any weights, and of none without the average. Not of points: DARK's mixed second difference has a handedness."""
    torch.manual_seed(0)
    backbone = ViT({"dim": 32, "depth": 2, "heads": 2, "family": generation}, image_hw=SIZE)
    tasks = [Seg(labels="sapiens28" if generation == "sapiens" else "sapiens29"), Depth(), Normal()]
    model = DenseModel(backbone, tasks, decoder=Spec(up=(16, 16), refine=(16,)))
    names = {"seg", "depth", "normal"} - ({"depth"} if generation == "sapiens2" and preset == "official" else set())
    once, plain = (Predictor(model, only=sorted(names), preset=preset, flip=flip) for flip in (True, False))
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    turned = np.ascontiguousarray(image[:, ::-1])
    pairs = {task.name: (task, once(image)[task.name], once(turned)[task.name]) for task in once.tasks}
    for name, (task, here, there) in pairs.items():
        swap = task.vocabulary.swap if task.vocabulary else np.arange(1)
        back = swap[there[:, ::-1]] if name == "seg" else there[:, ::-1] * ([-1, 1, 1] if name == "normal" else 1)
        assert (np.abs(here.astype(float) - back) < 1e-2).mean() > 0.99, name
        assert not np.array_equal(here, plain(image)[name]), name
    assert all(row.look.flip for row in once.presets.values())


def test_heatmaps_of_the_mirror_image_are_those_of_the_person():
    task, (H, W) = Pose(), SIZE
    points = torch.cat([torch.rand(1, 17, 2) * torch.tensor([W - 1.0, H - 1.0]), torch.ones(1, 17, 1)], 2)
    mirrored = torch.cat([W - 1 - points[..., :1], points[..., 1:]], 2)[:, torch.from_numpy(task.vocabulary.swap)]
    here, there = (task.target({"image": torch.empty(1, 3, H, W), "keypoints": p}, (16, 12))[0] for p in (points, mirrored))
    torch.testing.assert_close(frame.unmirror(task, there), here)


@pytest.mark.parametrize("task", TASKS)
def test_mirrored_twice_is_the_answer_itself(task):
    raw = torch.randn(2, task.channels, 4, 3)
    assert torch.equal(frame.unmirror(task, frame.unmirror(task, raw)), raw)
