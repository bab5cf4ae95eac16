"""The balancer at work on a small model: what reaches the backbone, what reaches the decoders, and what an absent label changes."""

import pytest
import torch
from torch import Tensor

from shared.dense.balance import Balancer, Staged, balancer
from shared.dense.balance.rule import Steering, Weighing
from shared.dense.decoder import Spec
from shared.dense.model import DenseModel
from shared.vit.model import ViT
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.seg.task import Seg

HW = (32, 32)
TINY = {"dim": 32, "depth": 2, "heads": 2}
TASKS = (Seg(), Depth(), Normal())
NAMES = ["seg", "depth", "normal"]
UNKNOWN = {"seg": 255, "depth": torch.nan, "normal": torch.nan}


@pytest.fixture(scope="module")
def model() -> DenseModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = DenseModel(ViT(TINY, image_hw=HW), TASKS, decoder=Spec(up=(8,), refine=(8,)))
        for decoder in made.decoders.values():
            torch.nn.init.normal_(decoder.last.weight, std=0.1)  # type: ignore[union-attr, arg-type]
        return made.train()


@pytest.fixture(scope="module")
def batch() -> dict[str, Tensor]:
    """Two pictures with every label."""
    draw = torch.Generator().manual_seed(1)
    normal = torch.nn.functional.normalize(torch.randn(2, 3, *HW, generator=draw), dim=1)
    image = torch.randint(0, 256, (2, 3, *HW), generator=draw, dtype=torch.uint8)
    seg = torch.randint(0, 28, (2, *HW), generator=draw, dtype=torch.uint8)
    return {"image": image, "seg": seg, "depth": 1 + torch.rand(2, *HW, generator=draw), "normal": normal}


def without(batch: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return batch | {name: torch.full_like(batch[name], UNKNOWN[name]) for name in names}


def gradients(model: DenseModel, terms: dict[str, Tensor], **options) -> dict[str, Tensor]:
    """Of the sum of these terms, by parameter."""
    found = torch.autograd.grad(torch.stack(list(terms.values())).sum(), list(model.parameters()), **options)
    return dict(zip((name for name, _ in model.named_parameters()), found))


def balanced(model: DenseModel, balance: Balancer, batch) -> dict[str, Tensor]:
    return gradients(model, balance.weigh(model.losses(batch, fork=balance.fork)))


def alone(model: DenseModel, batch) -> list[dict[str, Tensor]]:
    """Of each task's loss, one after the other."""
    losses = model.losses(batch)
    each = [{name: value for name, value in losses.items() if name.split("/")[1] == task} for task in NAMES]
    return [gradients(model, terms, retain_graph=True, allow_unused=True, materialize_grads=True) for terms in each]


def trunk(found: dict[str, Tensor], part: str = "backbone.") -> Tensor:
    return torch.cat([value.flatten() for name, value in found.items() if name.startswith(part)])


def test_fixed_weights_and_compared_gradients_change_no_bit(model, batch):
    plain = gradients(model, model.losses(batch))
    for name, compare in (("fixed", False), (None, True), ("fixed", True)):
        found = balanced(model, balancer(name, NAMES, compare=compare), batch)
        assert all(torch.equal(found[key], plain[key]) for key in plain), (name, compare)


def test_weights_reach_backbone_and_decoder_alike(model, batch):
    stages = [{"at": 0.0, "weights": {"depth": 3.0}}]
    found = balanced(model, Balancer(Staged(NAMES, stages=stages)), batch)
    single = alone(model, batch)
    wanted = {name: single[0][name] + 3 * single[1][name] + single[2][name] for name in found}
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("where", ["features", "trunk"])
@pytest.mark.parametrize("rule", ["PCGrad", "CAGrad", "MGDA"])
def test_surgery_changes_the_backbone_by_the_formula_and_no_decoder(model, batch, rule, where):
    balance = balancer({"type": f"shared.dense.balance.{rule}", "where": where}, NAMES, seed=3)
    balance.begin(5, 10)
    found, single = balanced(model, balance, batch), alone(model, batch)
    told = balance.end()
    factors = [float(told[f"balance/weight/{name}"]) for name in NAMES]
    if where == "trunk":
        rows = torch.stack([trunk(one) for one in single]).double()
    else:
        features = model.backbone(model.normalise(batch["image"]))
        losses = model.losses(batch, fork=lambda _, names, __: dict.fromkeys(names, features))
        each = [torch.stack([v for k, v in losses.items() if k.split("/")[1] == name]).sum() for name in NAMES]
        rows = torch.stack([torch.autograd.grad(one, features, retain_graph=True)[0].flatten() for one in each]).double()
    assert isinstance(balance.rule, Steering)
    gram, costs = (rows @ rows.T).numpy(), torch.stack([told[f"balance/cost/{name}"] for name in NAMES]).double().numpy()
    assert factors == pytest.approx(balance.rule.steer(gram, costs, balance.when()), rel=1e-4, abs=1e-6)
    assert max(abs(factor - 1) for factor in factors) > 1e-3, "nothing was steered, which proves nothing"
    wanted = torch.stack([factor * trunk(one) for factor, one in zip(factors, single)]).sum(0)
    assert (trunk(found) - wanted).norm() < 1e-5 * wanted.norm()
    plain = gradients(model, model.losses(batch))
    assert all(torch.equal(found[name], plain[name]) for name in plain if name.startswith("decoders."))


@pytest.mark.parametrize(("where", "part"), [("last", "backbone.norm."), ("trunk", "backbone.")])
def test_norms_and_cosines_at_parameters_are_those_of_the_tasks_one_by_one(model, batch, where, part):
    balance = balancer({"type": "shared.dense.balance.GradNorm", "where": where}, NAMES)
    balanced(model, balance, batch)
    told, rows = balance.end(), [trunk(one, part) for one in alone(model, batch)]
    for name, row in zip(NAMES, rows):
        assert float(told[f"balance/norm/{name}"]) == pytest.approx(float(row.norm()), rel=1e-4)
    cosine = torch.nn.functional.cosine_similarity(rows[0], rows[2], dim=0)
    assert float(told["balance/cosine/seg-normal"]) == pytest.approx(float(cosine), abs=1e-5)


def test_recomputed_activations_change_nothing(model, batch):
    found = []
    for again in (False, True):
        model.backbone.recompute = again
        balance = balancer({"type": "shared.dense.balance.PCGrad", "where": "trunk"}, NAMES)
        found.append(trunk(balanced(model, balance, batch)))
    model.backbone.recompute = False
    assert (found[0] - found[1]).norm() < 1e-6 * found[0].norm()


@pytest.mark.parametrize("rule", ["gradnorm", "pcgrad", "cagrad", "mgda"])
def test_half_precision_decides_nearly_the_same(model, batch, rule):
    told = []
    for half in (False, True):
        balance = balancer(rule, NAMES)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            losses = balance.weigh(model.losses(batch, fork=balance.fork))
        found = gradients(model, losses)
        assert all(value.dtype == torch.float32 and value.isfinite().all() for value in found.values())
        told.append({name: float(value) for name, value in balance.end().items()})
    assert told[1] == pytest.approx(told[0], rel=0.1, abs=0.1)
    assert told[1] != told[0]


@pytest.mark.parametrize("rule", ["pcgrad", "cagrad", "mgda"])
def test_surgery_without_a_label_is_surgery_of_the_others(model, batch, rule):
    empty = without(batch, "normal")
    balance, few = balancer(rule, NAMES), balancer(rule, NAMES[:2])
    found = trunk(balanced(model, balance, empty))
    losses = model.losses(
        empty, fork=lambda features, names, backbone: {**few.fork(features, names[:2], backbone), names[2]: features}
    )
    others = few.weigh({name: value for name, value in losses.items() if "/normal/" not in name})
    wanted = trunk(gradients(model, others, allow_unused=True, materialize_grads=True))
    assert (found - wanted).norm() < 1e-5 * wanted.norm()
    assert "balance/norm/normal" not in balance.end()


@pytest.mark.parametrize("rule", ["uncertainty", "gradnorm", "dwa", "lossmean", "scalematch", "pcgrad", "cagrad", "mgda"])
def test_a_batch_without_any_label_leaves_zero_and_no_trace(model, batch, rule):
    balance = balancer(rule, NAMES, compare=True)
    balanced(model, balance, batch)
    balance.end()
    kept = {name: value.clone() for name, value in balance.state_dict().items() if not name.endswith("age")}
    balance.begin(1, 9)
    found = balanced(model, balance, without(batch, *NAMES))
    assert all((value == 0).all() for value in found.values())
    assert all(value.isfinite() for value in balance.end().values())
    assert all(torch.equal(balance.state_dict()[name], value) for name, value in kept.items())


def test_a_frozen_backbone_is_balanced_by_its_losses_alone(model, batch):
    model.backbone.requires_grad_(False)
    try:
        for rule in ("gradnorm", "pcgrad", "uncertainty"):
            balance = balancer(rule, NAMES)
            losses = balance.weigh(model.losses(batch, fork=balance.fork))
            torch.stack(list(losses.values())).sum().backward()
            assert "balance/norm/seg" not in balance.end()
    finally:
        model.backbone.requires_grad_(True)
        model.zero_grad()


def test_the_gradient_of_two_micro_batches_is_looked_at_as_one(model, batch):
    """Half the loss of each, as the optimiser takes them; every picture has all its labels."""
    for where in ("features", "last"):
        told = []
        for parts in ([batch], [{name: value[i : i + 1] for name, value in batch.items()} for i in (0, 1)]):
            balance = balancer({"type": "shared.dense.balance.GradNorm", "where": where}, ["depth"])
            own = DenseModel(model.backbone, [TASKS[1]], decoder=Spec(up=(8,), refine=(8,)))
            own.decoders = torch.nn.ModuleDict({"depth": model.decoders["depth"]})
            for part in parts:
                losses = balance.weigh(own.losses(part, fork=balance.fork))
                (torch.stack(list(losses.values())).sum() / len(parts)).backward()
            told.append({name: float(value) for name, value in balance.end().items()})
        assert told[0] == pytest.approx(told[1], rel=1e-4), where
    model.zero_grad()


def test_a_number_that_is_none_is_passed_on_and_not_learnt(model, batch):
    for rule in ("uncertainty", "gradnorm", "dwa", "lossmean", "scalematch", "pcgrad", "mgda"):
        balance = balancer(rule, NAMES)
        losses = model.losses(batch, fork=balance.fork)
        broken = balance.weigh({name: value * (torch.nan if "/depth/" in name else 1.0) for name, value in losses.items()})
        found = gradients(model, broken)
        assert found["backbone.norm.weight"].isnan().any(), "a broken loss has to be seen"
        balance.end()
        assert all(value.isfinite().all() for value in balance.state_dict().values()), rule
        if isinstance(balance.rule, Weighing):
            assert balance.rule.weigh(torch.ones(3), balance.when()).isfinite().all()


def test_random_decisions_are_functions_of_seed_iteration_and_micro_batch():
    def draws(seed: int, iteration: int, batch: int) -> list[int]:
        balance = balancer("pcgrad", NAMES, seed=seed)
        balance.begin(iteration, 100)
        return balance.when(batch).draw.integers(1 << 30, size=4).tolist()

    assert draws(1, 5, 0) == draws(1, 5, 0)
    different = [draws(1, 5, 0), draws(2, 5, 0), draws(1, 6, 0), draws(1, 5, 1)]
    assert len({tuple(row) for row in different}) == 4


def test_a_step_that_is_left_out_teaches_nothing(model, batch):
    balance = balancer("lossmean", NAMES)
    balance.begin(0, 10)
    before = {name: value.clone() for name, value in balance.state_dict().items()}
    for learn, changes in ((False, False), (True, True)):
        balanced(model, balance, batch)
        balance.end(learn=learn)
        balance.begin(1, 10)
        assert changes == any(not torch.equal(value, before[name]) for name, value in balance.state_dict().items())
