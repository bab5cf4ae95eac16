"""A student and its teachers: who learns, what is compared with what, what it costs, and that teachers stay outside."""

import copy
import math

import pytest
import torch
from torch import nn

from shared.dense.balance import balancer
from shared.dense.decoder import Spec
from shared.dense.distil import Distillation, matched, unlike
from shared.dense.model import DenseModel
from shared.vit.model import ViT
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pose.task import Pose
from tasks.seg.task import Seg

HW = (32, 32)
ALL = (Seg(), Depth(), Normal(), Pose())
UNKNOWN = {
    "seg": torch.full((2, *HW), 255, dtype=torch.uint8),
    "depth": torch.full((2, *HW), torch.nan),
    "normal": torch.full((2, 3, *HW), torch.nan),
    "keypoints": torch.zeros(2, 17, 3),
}


def model(tasks=ALL, seed=0, dim=32, **options) -> DenseModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = DenseModel(
            ViT({"dim": dim, "depth": 2, "heads": 2}, image_hw=HW), tasks, decoder=Spec(up=(8,), refine=(8,)), **options
        )
        for decoder in made.decoders.values():
            nn.init.normal_(decoder.last.weight, std=0.3)  # type: ignore[union-attr, arg-type]
    return made


def batch(seed=0) -> dict[str, torch.Tensor]:
    """Two pictures of which nothing is known."""
    return {
        **UNKNOWN,
        "image": torch.randint(0, 256, (2, 3, *HW), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8),
    }


def taught(costs) -> dict[str, float]:
    return {name: cost.item() for name, cost in costs.items() if name.endswith(("/taught", "/features"))}


def test_a_student_that_is_its_teacher_pays_nothing_and_another_one_pays_for_every_task():
    teacher = model()
    same, other = copy.deepcopy(teacher), model(seed=1)
    costs = taught(Distillation(same, [teacher]).losses(same, batch()))
    assert costs == pytest.approx(dict.fromkeys((f"loss/{task.name}/taught" for task in ALL), 0), abs=1e-6)
    costs = Distillation(other, [teacher]).losses(other, batch())
    assert all(cost > 1e-3 for cost in taught(costs).values())
    assert all(cost == 0 for name, cost in costs.items() if name not in taught(costs)), "there are no labels"


def test_costs_are_those_of_the_tasks_weighed_and_come_on_top_of_labels():
    teacher, student = model(), model(seed=1, weights={"seg": 3.0})
    known = {**batch(), "seg": torch.zeros(2, *HW, dtype=torch.uint8)}
    costs = Distillation(student, [teacher], weight=2.0).losses(student, known)
    raw, theirs = student(known["image"]), teacher.eval()(known["image"])
    for task in ALL:
        wanted = 2 * (3 if task.name == "seg" else 1) * task.imitate(raw[task.name], theirs[task.name])
        torch.testing.assert_close(costs[f"loss/{task.name}/taught"], wanted)
    alone = student.losses(known)
    assert alone["loss/seg/ce"] > 0
    assert all(torch.equal(costs[name], alone[name]) for name in alone)


def test_the_gradient_reaches_the_student_and_nobody_else():
    teacher, student = model(dim=16), model(seed=1)
    distillation = Distillation(student, [teacher], features=1.0)
    torch.stack(list(distillation.losses(student, batch()).values())).sum().backward()
    assert all(p.grad is not None for p in student.parameters()), "DDP waits for every one"
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0 for p in student.parameters() if p.ndim > 1
    )  # a bias before a norm moves nothing
    assert all(p.grad is not None for p in distillation.parameters())
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert not teacher.training


def test_a_teacher_is_no_part_of_what_is_saved_averaged_or_exchanged():
    teacher, student = model(dim=16), model(seed=1)
    distillation = Distillation(student, [teacher], features=1.0).train()
    assert (
        {name for name, _ in distillation.named_parameters()} == set(distillation.state_dict()) == {"maps.0.weight", "maps.0.bias"}
    )
    assert not teacher.training, "as the student is set to train, its teacher is not"
    copied = copy.deepcopy(distillation)
    assert copied._beside.lessons[0].teacher is teacher, "a copy has no second one"


def test_features_are_matched_through_a_linear_map():
    teacher, student = model(dim=16, tasks=(Seg(), Depth())), model(seed=1)
    distillation = Distillation(student, [teacher], weight=0.0, features=2.0)
    costs = taught(distillation.losses(student, batch()))
    mine = student.backbone(student.normalise(batch()["image"]))
    theirs = teacher.backbone(teacher.normalise(batch()["image"]))
    cosine = torch.cosine_similarity(distillation.maps[0](mine), theirs, dim=1).mean().item()
    assert costs == pytest.approx(dict.fromkeys(("loss/seg/features", "loss/depth/features"), 1 - cosine), rel=1e-4)


def test_features_cost_one_minus_the_cosine_by_hand():
    student, teacher = torch.tensor([3.0, 0, 0, 1])[None, :, None, None], torch.tensor([1.0, 0, 0, 0])[None, :, None, None]
    assert unlike(student, teacher).item() == pytest.approx(1 - 3 / math.sqrt(10), rel=1e-5)
    assert unlike(5 * student, student).item() == pytest.approx(0, abs=1e-6)
    halves = torch.cat([torch.ones(1, 1, 2, 2), torch.tensor([[0.0, 2], [2, 0]])[None, None]], 1)
    assert unlike(torch.ones(1, 2, 1, 1), halves).item() == pytest.approx(0, abs=1e-6), "four places are one of a coarser grid"


def test_whoever_tells_gradients_apart_finds_features_in_their_tasks():
    """At the fork the gradients of tasks add up to that of the run without it; each has its share of the features'."""
    teacher, student = model(), model(seed=1)
    distillation = Distillation(student, [teacher], weight=0.0, features=1.0)
    pulls = []
    for compare in (False, True):
        balance = balancer("fixed", [task.name for task in ALL], compare=compare)
        student.zero_grad()
        losses = balance.weigh(distillation.losses(student, batch(), fork=balance.fork))
        torch.stack(list(losses.values())).sum().backward()
        pull = student.backbone.patch_embed.weight.grad
        assert pull is not None
        pulls.append(pull.clone())
        told = balance.end()
    torch.testing.assert_close(*pulls)
    norms = [told[f"balance/norm/{task.name}"].item() for task in ALL]
    assert min(norms) == pytest.approx(max(norms), rel=1e-4)
    assert min(norms) > 0


def test_of_two_teachers_the_first_answers_and_each_only_its_own():
    parts, everything, student = model((Seg(),)), model(seed=2), model(seed=1)
    costs = taught(Distillation(student, [parts, everything]).losses(student, batch()))
    alone = taught(Distillation(student, [parts]).losses(student, batch()))
    others = taught(Distillation(student, [everything]).losses(student, batch()))
    assert list(alone) == ["loss/seg/taught"]
    assert costs == pytest.approx(others | alone)
    assert costs["loss/seg/taught"] != pytest.approx(others["loss/seg/taught"])


def test_points_are_matched_by_name_and_the_student_keeps_those_of_its_own():
    entries = [{"name": name, "colour": [1, 2, 3]} for name in ("tail", "right_ear", "nose")]
    theirs = Pose(skeleton={"entries": entries})
    mine, their = matched(Pose(), theirs)
    assert isinstance(mine, list)
    assert isinstance(their, list)
    names = Pose().vocabulary.names
    assert [(names[a], theirs.vocabulary.names[b]) for a, b in zip(mine, their)] == [("nose", "nose"), ("right_ear", "right_ear")]
    teacher, student = model((theirs,)), model((Pose(),), seed=1)
    cost = taught(Distillation(student, [teacher]).losses(student, batch()))["loss/pose/taught"]
    raw, answer = student(batch()["image"])["pose"], teacher(batch()["image"])["pose"]
    assert cost == pytest.approx(((raw[:, [0, 4]] - answer[:, [2, 1]]) ** 2).mean().item(), rel=1e-4)


def test_classes_may_stand_in_another_order_but_have_to_be_the_same():
    def table(*names):
        return Seg(labels={"entries": [{"name": name, "colour": [1, 2, 3]} for name in names]})

    mine, theirs = matched(table("a", "b", "c"), table("c", "a", "b"))
    assert isinstance(mine, list)
    assert isinstance(theirs, list)
    assert dict(zip(mine, theirs)) == {0: 1, 1: 2, 2: 0}
    for other in (table("a", "b"), table("a", "b", "c", "d"), table("a", "b", "d")):
        with pytest.raises(ValueError, match=r"seg has 3 names, of which the teacher .* knows [23]; .*label\.py"):
            matched(table("a", "b", "c"), other)


@pytest.mark.parametrize(
    ("teachers", "options", "told"),
    [
        ([(Pose(sigma=0.1),)], {}, r"pose is learnt with sigma=0\.0234375, but the teacher's answers have sigma=0\.1"),
        ([(Depth(metric=True),)], {}, "depth is learnt with metric=False"),
        ([(Seg(weighted=False),)], {}, "seg is learnt with weighted=True"),
        ([ALL, (Seg(),)], {}, "a teacher answers seg, but every task has a teacher already; leave it out"),
        ([(Seg(),), (Seg(),)], {}, "a teacher answers seg, but what is left to learn is depth, normal, pose"),
        ([ALL], {"weight": 0.0}, r"nothing is learnt with weight=0\.0 and features=0\.0"),
        ([ALL], {"weight": -1.0, "features": 2.0}, r"nothing is learnt with weight=-1"),
        ([ALL], {"enlarge": 0.0}, r"enlarge=0\.0 leaves no picture"),
    ],
)
def test_what_cannot_be_learnt_is_a_sentence(teachers, options, told):
    with pytest.raises(ValueError, match=told):
        Distillation(model(), [model(tasks) for tasks in teachers], **options)


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_a_teacher_may_see_pictures_larger_or_smaller_than_the_student_does(factor):
    teacher, student = model(), model(seed=1)
    seen = []
    teacher.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-1]))
    costs = [taught(Distillation(student, [teacher], enlarge=e).losses(student, batch())) for e in (1.0, factor)]
    assert seen == [32, 32 * factor]
    assert costs[0] != costs[1]
    grey = {**batch(), "image": torch.full((2, 3, *HW), 77, dtype=torch.uint8)}
    Distillation(student, [teacher], enlarge=factor).losses(student, grey)


def test_a_student_gets_near_its_teacher_on_pictures_without_labels():
    teacher, student = model(), model(seed=1, dim=16)
    distillation = Distillation(student, [teacher], features=1.0)
    optimiser = torch.optim.Adam([*student.parameters(), *distillation.parameters()], lr=3e-3)
    pictures = batch()
    before = taught(distillation.losses(student, pictures))
    for _ in range(30):
        optimiser.zero_grad()
        torch.stack(list(distillation.losses(student, pictures).values())).sum().backward()
        optimiser.step()
    after = taught(distillation.losses(student, pictures))
    assert all(after[name] < 0.9 * before[name] for name in before), {name: (before[name], after[name]) for name in before}
