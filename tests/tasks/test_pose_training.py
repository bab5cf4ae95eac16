"""Training of points from shard to gradient: boxes, mirror images and targets agree, and what is not annotated pulls at nothing."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from shared.data.fields import warp
from shared.data.half import HalfBody
from shared.data.occlusion import Occlusion
from shared.data.shards import Shards, write_shards
from shared.data.stream import Stream
from shared.data.view import Jitter, View
from shared.data.wanted import Wanted
from shared.dense.decoder import Spec
from shared.dense.frame import settle
from shared.dense.model import DenseModel
from shared.vit.model import ViT
from tasks.pose.task import Pose

SIZE = (64, 48)
BODY, WHOLE = Pose(), Pose(skeleton="sapiens308", sigma=0.03)
OFFICIAL = Jitter(scale=(2 / 3, 2.0), degrees=80.0, shift=0.16, turned=0.6, moved=0.3, bell=True, fewest=8)


@pytest.fixture(scope="module")
def mixed(small_shards, tmp_path_factory):
    """Two people annotated with 17 points, in COCO's order and names, and two with all that the renderer gives."""
    source, folder = Shards(small_shards), tmp_path_factory.mktemp("mixed")
    rows = BODY.vocabulary.rows(source.names["keypoints"])
    people = [source.read(i, only={"image", "box", "keypoints"}) for i in range(4)]
    few = [(f"few{i}", person | {"keypoints": person["keypoints"][rows]}) for i, person in enumerate(people[:2])]
    write_shards(few, folder / "few", names={"keypoints": BODY.vocabulary.names})
    many = [(f"many{i}", person) for i, person in enumerate(people[2:])]
    write_shards(many, folder / "many", names={"keypoints": source.names["keypoints"]})
    return SimpleNamespace(few=folder / "few", both=[folder / "few", folder / "many"])


def stream(shards, task=WHOLE, **options: Any) -> Stream:
    return Stream(shards, size=SIZE, wanted=Wanted({"keypoints": task.vocabulary}), framing="boxes", **options)


def total(terms) -> torch.Tensor:
    return torch.stack(list(terms.values())).sum()


def pulled(model, batch):
    """The length of the gradient at each channel's last weights, (K,)."""
    model.zero_grad()
    total(model.losses(batch)).backward()
    last = model.decoders["pose"].last
    return torch.cat([last.weight.grad.flatten(1), last.bias.grad[:, None]], 1).norm(dim=1)


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DenseModel(ViT("nano", image_hw=SIZE), [WHOLE], decoder=Spec(up=(8, 8), refine=()))


def test_data_of_17_points_train_17_channels_of_308_and_no_other(mixed, model):
    samples = stream(mixed.few)
    batch = default_collate([samples[p] for p in range(2)])
    known = (batch["keypoints"][..., 2] > 0).any(0)
    names = {WHOLE.vocabulary.names[k] for k in known.nonzero()[:, 0].tolist()}
    assert len(names) >= 12
    assert names <= set(BODY.vocabulary.names)
    assert torch.equal(pulled(model, batch) > 0, known)


def test_beside_people_with_308_points_each_pulls_at_its_own(mixed, model):
    samples = stream(mixed.both)
    drawn = [samples[p] for p in range(4)]
    counts = [int((sample["keypoints"][:, 2] > 0).sum()) for sample in drawn]
    assert sorted(count > 17 for count in counts) == [False, False, True, True]
    batch = default_collate(drawn)
    known = batch["keypoints"][..., 2] > 0
    assert torch.equal(pulled(model, batch) > 0, known.any(0))
    raw = torch.zeros(4, 308, 16, 12, requires_grad=True)
    target = WHOLE.target(batch, (16, 12))[1]
    gradient = torch.autograd.grad(total(WHOLE.loss(raw, batch)), raw)[0]
    assert torch.equal(gradient.abs().sum((2, 3)) > 0, target)


def test_the_hardest_points_of_people_with_few_are_among_those_few(mixed):
    samples = stream(mixed.both)
    batch = default_collate([samples[p] for p in range(4)])
    task = Pose(skeleton="sapiens308", sigma=0.03, hardest=128)
    raw = torch.randn(4, 308, 16, 12, generator=torch.Generator().manual_seed(0)).requires_grad_()
    known = task.target(batch, (16, 12))[1]
    terms = task.loss(raw, batch)
    pulls = torch.autograd.grad(terms["mse"], raw)[0].abs().sum((2, 3)) > 0
    assert not (pulls & ~known).any()
    assert pulls.sum(1).tolist() == [min(128, n) for n in known.sum(1).tolist()]
    assert max(known.sum(1)) > 128 > min(known.sum(1))


@pytest.mark.parametrize("seed", range(12))
def test_points_come_back_from_the_targets_of_any_training_view(large_shards, seed):
    """Box, half body, jitter, mirror image, target, peak, and back into the picture: within a twentieth of a heatmap's pixel."""
    shards, rng = Shards(large_shards), np.random.default_rng(seed)
    wanted = Wanted({"keypoints": BODY.vocabulary}).over(shards)
    person = wanted.read(shards, seed % 2, only=wanted.reads)
    hw, size = person["image"].shape[:2], (256, 192)
    view = HalfBody()(View.box(person["box"], size), person["keypoints"], BODY.vocabulary.groups, rng)
    view = OFFICIAL(view, rng)
    seen = warp(person, view, swaps=wanted.swaps)
    batch = {"image": torch.zeros(1, 3, *size), "keypoints": torch.from_numpy(seen["keypoints"])[None]}
    maps, known = BODY.target(batch, (64, 48))
    found = settle(BODY, maps[0], view, hw).numpy()
    swap = BODY.vocabulary.swap if view.flip else np.arange(17)
    inside = known[0].numpy() & ((seen["keypoints"][:, :2] > 24) & (seen["keypoints"][:, :2] < np.array([168, 232]))).all(1)
    assert inside.any()
    off = np.linalg.norm(found[inside, :2] - person["keypoints"][swap][inside, :2], axis=1)
    assert off.max() < 0.05 * 4 / view.scale  # a pixel of the heatmap is four of the view


def test_a_mirror_image_shows_the_left_hand_on_the_other_side_and_calls_it_right(mixed):
    plain, mirrored = (stream(mixed.few, BODY, jitter=Jitter(scale=(1, 1), degrees=0, shift=0, flip=flip)) for flip in (0.0, 1.0))
    one, other = plain[0]["keypoints"], mirrored[0]["keypoints"]
    swapped = other[torch.from_numpy(BODY.vocabulary.swap)]
    known = one[:, 2] > 0
    assert torch.equal(known, swapped[:, 2] > 0)
    torch.testing.assert_close(swapped[known, 0], SIZE[1] - 1 - one[known, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(swapped[known, 1], one[known, 1], atol=1e-3, rtol=0)


def test_targets_and_costs_are_made_where_the_batch_is():
    """On the meta device nothing can be moved to the CPU and looked at."""
    points = torch.empty(2, 17, 3, device="meta")
    batch = {"image": torch.empty(2, 3, *SIZE, device="meta"), "keypoints": points}
    maps, known = BODY.target(batch, (16, 12))
    assert (maps.device.type, maps.shape, known.device.type) == ("meta", (2, 17, 16, 12), "meta")
    for task in (BODY, Pose(hardest=4)):
        assert task.loss(torch.empty(2, 17, 16, 12, device="meta"), batch)["mse"].device.type == "meta"


def test_all_changes_of_the_official_configs_together_give_batches_that_can_be_learned_from(mixed, model):
    samples = stream(mixed.both, half_body=HalfBody(), jitter=OFFICIAL, occlusion=Occlusion())
    batch = default_collate([samples[p] for p in range(8)])
    kept = (batch["keypoints"][..., 2] > 0).sum(1)
    assert (kept >= 8).float().mean() > 0.8
    assert all(cost.isfinite() and cost > 0 for cost in model.losses(batch).values())
