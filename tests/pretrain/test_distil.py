"""Self-distillation: the numbers by hand, a teacher that follows and never learns, answers that do not collapse."""

from dataclasses import fields
from math import log
from typing import Any

import pytest
import torch
from torch.utils.data import default_collate

from pretrain.distil import Distil, agreement, sharpened
from pretrain.model import MaskedAutoencoder
from shared.data.crops import Crops
from shared.data.stream import Stream
from shared.engine.optim import groups, inside
from shared.vit.model import ViT

HW, SMALL = (32, 24), (16, 16)
SIZE = {"dim": 32, "depth": 2, "heads": 2, "family": "sapiens2"}
LITTLE = {"prototypes": 16, "hidden": 32, "bottleneck": 16}


def made(backbone=None, **recipe) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = backbone or ViT(SIZE, image_hw=HW, patch=8)
        return MaskedAutoencoder(backbone, dim=16, depth=1, heads=2, distil=Distil(**{**LITTLE, **recipe})).train()


def batch(count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    picture, other, local = (
        torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
        for shape in ((3, *HW), (3, *HW), (2, 3, *SMALL))
    )
    return {"image": picture, "other": other, "local": local, "position": torch.arange(count)}


def total(model, data):
    return torch.stack(list(model.losses(data).values())).sum()


def test_cross_entropy_by_hand():
    """Three views of one picture, the first two large; each is compared with every large one but itself."""
    answers = torch.zeros(3, 1, 2)
    answers[1, 0, 0] = 0.1 * log(3)  # three quarters and one quarter at a temperature of 0.1
    target = torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]]])
    by_hand = (-log(0.75) + log(2) + log(2) + log(2)) / 4
    assert float(agreement(answers, target, 0.1)) == pytest.approx(by_hand, abs=1e-6)


def test_cross_entropy_is_the_mean_over_pictures_and_least_where_views_agree():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(2, 5, 7, generator=generator)
    alone = [agreement(truth[:, i : i + 1], truth[:, i : i + 1].softmax(2), 1.0) for i in range(5)]
    torch.testing.assert_close(agreement(truth, truth.softmax(2), 1.0), torch.stack(alone).mean())
    same = truth[:1].expand(2, -1, -1)
    entropy = -(same.softmax(2) * same.log_softmax(2)).sum(2).mean()
    torch.testing.assert_close(agreement(same, same.softmax(2), 1.0), entropy)
    assert agreement(same.flip(2), same.softmax(2), 1.0) > entropy


def test_centring_by_hand():
    truth = torch.tensor([[0.2, 0.1]])
    assert sharpened(truth, torch.tensor([0.1, 0.0]), 0.1)[0].tolist() == pytest.approx([0.5, 0.5])
    assert sharpened(truth, torch.zeros(2), 0.1)[0].tolist() == pytest.approx([0.7310586, 0.2689414])
    assert sharpened(truth, torch.zeros(2), 0.05)[0, 0] > 0.85, "the lower the temperature, the surer"


def test_the_centre_moves_to_the_mean_of_all_micro_batches_of_steps_that_are_taken():
    model = made(centring=0.8)
    distil, data = model.distil, [batch(seed=1), batch(seed=2)]
    said = torch.stack([distil.teacher(model.normalise(torch.cat([d["image"], d["other"]]))).mean(0) for d in data]).mean(0)
    model.begin(1, 10)
    for part in data:
        model.losses(part)
    model.end(taken=False)
    assert distil.centre.abs().sum() == 0
    model.begin(1, 10)
    for part in data:
        model.losses(part)
    model.end(taken=True)
    torch.testing.assert_close(distil.centre, 0.2 * said)
    model.end(taken=True)  # nothing was seen since
    model.eval().losses(data[0])
    model.end(taken=True)
    torch.testing.assert_close(distil.centre, 0.2 * said)


def test_the_teacher_follows_exactly():
    model = made(momentum=(0.9, 1.0))
    moved = {name: weight for name, weight in model.named_parameters() if name.startswith(("backbone.", "distil.head."))}
    before = {name: weight.clone() for name, weight in model.distil.teacher.named_parameters()}
    with torch.no_grad():
        for weight in moved.values():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    model.begin(5, 10)
    model.losses(batch())
    model.end(taken=True)
    assert model.distil.recipe.momentum_at(5, 10) == pytest.approx(0.95)
    for name, weight in model.distil.teacher.named_parameters():
        theirs = moved[name if name.startswith("backbone.") else f"distil.{name}"]
        torch.testing.assert_close(weight, 0.95 * before[name] + 0.05 * theirs, rtol=1e-6, atol=1e-7)


def test_before_the_first_iteration_the_teacher_is_what_the_student_starts_from():
    model = made()
    with torch.no_grad():
        model.backbone.cls_token.add_(1.0)  # as an initialisation from a file
        model.backbone.rope.periods.mul_(1.5)
    model.begin(3, 10)
    assert not torch.equal(model.distil.teacher.backbone.cls_token, model.backbone.cls_token)
    model.begin(0, 10)
    teacher = model.distil.teacher.backbone.state_dict()
    assert all(torch.equal(teacher[name], value) for name, value in model.backbone.state_dict().items())
    assert len({value.data_ptr() for part in (teacher, model.backbone.state_dict()) for value in part.values()}) == 2 * len(teacher)


def test_momentum_rises_by_a_cosine_and_the_temperature_in_a_straight_line():
    recipe = Distil(momentum=(0.996, 1.0), sharper=(0.04, 0.07), warmup=30)
    assert [recipe.momentum_at(done, 100) for done in (0, 50, 100)] == pytest.approx([0.996, 0.998, 1.0])
    assert recipe.momentum_at(25, 100) == pytest.approx(1 - 0.004 * (2**-0.5 + 1) / 2)
    assert [recipe.sharper_at(done) for done in (0, 10, 30, 99)] == pytest.approx([0.04, 0.05, 0.07, 0.07])
    assert Distil(warmup=0).sharper_at(0) == 0.065


def test_everything_learns_but_the_teacher_which_gets_no_gradient():
    model = made()
    total(model, batch()).backward()
    still = ("distil.teacher.", "decoder_pos_embed")
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith(still), name
    known = {id(p) for group in groups(model, lr=1.0, weight_decay=0.1, layer_decay=1.0) for p in group["params"]}
    assert not known & {id(p) for p in model.distil.teacher.parameters()}


def test_a_teacher_drops_nothing_and_recomputes_nothing():
    model = made(ViT(SIZE, image_hw=HW, patch=8, drop_path=0.9, recompute=True))
    image = model.normalise(batch()["image"])
    assert torch.equal(model.train().distil.teacher(image), model.distil.teacher(image))
    assert not model.distil.teacher.backbone.recompute


def test_the_student_sees_a_quarter_of_the_large_views_and_its_teacher_all_of_them():
    model, tokens = made(), {"student": [], "teacher": []}
    for name, backbone in (("student", model.backbone), ("teacher", model.distil.teacher.backbone)):
        backbone.blocks[0].register_forward_pre_hook(lambda _, given, name=name: tokens[name].append(tuple(given[0].shape[:2])))
    model.losses(batch())
    assert tokens == {"student": [(8, 9 + 3), (8, 9 + 4)], "teacher": [(8, 9 + 12)]}


def test_the_two_large_views_are_masked_differently():
    model, data = made(), batch()
    data["other"] = data["image"]
    sums = []
    model.distil.register_forward_pre_hook(lambda _, given: sums.append(given[1].chunk(2)))
    model.losses(data)
    assert not torch.allclose(*sums[0])


CHANGES = {
    **{"weight": 0.9, "apart": 0.5, "prototypes": 8, "hidden": 16, "bottleneck": 8, "momentum": (0.1, 0.1), "centring": 0.0},
    **{"sharp": 0.2, "sharper": (0.5, 0.5), "warmup": 0},
}


@pytest.mark.parametrize("field", [field.name for field in fields(Distil)])
def test_every_number_of_the_recipe_changes_the_cost(field):
    costs = []
    for model in (made(sharper=(0.1, 0.3)), made(**{"sharper": (0.1, 0.3), field: CHANGES[field]})):
        optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        for done in range(3):
            model.begin(done, 10)
            cost = total(model, batch())
            optimiser.zero_grad()
            cost.backward()
            optimiser.step()
            model.end(taken=True)
        costs.append(cost.item())
    assert costs[0] != costs[1]


def test_prototypes_are_directions_and_stay_out_of_what_muon_turns():
    model = made()
    head, cls = model.distil.head, torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    before = head(cls)
    assert before.abs().max() <= 1 + 1e-6
    with torch.no_grad():
        head.prototypes.mul_(5.0)
    torch.testing.assert_close(head(cls), before)
    assert not inside("distil.head.prototypes", head.prototypes)
    assert inside("distil.head.layers.0.weight", head.layers[0].weight)


def test_what_cannot_be_is_told():
    with pytest.raises(ValueError, match=r"this backbone has none; set backbone\.cls=True"):
        made(ViT("nano", image_hw=HW, patch=8))
    with pytest.raises(ValueError, match="set crops="):
        made().losses({name: value for name, value in batch().items() if name != "other"})
    with pytest.raises(ValueError, match=r"1\.5 is no share"):
        Distil(momentum=(0.9, 1.5))
    with pytest.raises(ValueError, match="temperatures, which are above 0"):
        Distil(sharp=0.0)
    model = made()
    model.backbone.register_parameter("beside", torch.nn.Parameter(torch.zeros(1)))
    with pytest.raises(ValueError, match="goes without lora"):
        model.begin(0, 10)


def trained(stream, steps=60, **recipe):
    """A model after some steps on twelve people, cls alone deciding, and what its teacher answers to them: (12,K)."""
    model = made(weight=1.0, apart=0.0, momentum=(0.9, 0.9), sharper=(0.04, 0.04), **recipe)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    for done in range(steps):
        data = default_collate([stream[position] for position in range(12 * done, 12 * done + 12)])
        model.begin(done, steps)
        cost = model.losses(data)["loss/distil/cls"]
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
        model.end(taken=True)
    with torch.no_grad():
        said = model.distil.teacher(model.normalise(default_collate([stream[p] for p in range(12)])["image"]))
    return sharpened(said, model.distil.centre, 0.1)


def variety(chosen):
    """Of probabilities (n,K): entropy of their mean, in nats; 0 when all choose the same prototype."""
    mean = chosen.mean(0)
    return float(-(mean * mean.clamp(min=1e-12).log()).sum())


def test_with_a_centre_pictures_go_on_to_choose_different_prototypes(small_shards):
    stream = Stream(small_shards, size=HW, crops=Crops(local=2, local_hw=SMALL))
    centred, free = trained(stream, centring=0.9), trained(stream, centring=1.0)
    assert variety(centred) > 0.7 * log(16)
    assert variety(free) < 0.7 * variety(centred)
