"""Rules that weigh losses against the formulae of their papers, on two tasks whose answer is known by hand."""

import math

import numpy as np
import pytest
import torch

from shared.build import build
from shared.dense.balance import (
    MGDA,
    CAGrad,
    DynamicAverage,
    Fixed,
    GradNorm,
    LossMean,
    PCGrad,
    ScaleMatch,
    Staged,
    Uncertainty,
    balancer,
)
from shared.dense.balance.learnt import Learnt
from shared.dense.balance.rule import Seen, When

TWO = ("a", "b")
RULES = [Fixed, Uncertainty, GradNorm, DynamicAverage, LossMean, ScaleMatch, PCGrad, CAGrad, MGDA]


def when(share: float = 0.0) -> When:
    return When(int(share * 100), share, np.random.default_rng(0))


def seen(*costs: float, gram=None) -> Seen:
    """An iteration; a cost of 0 is a task without labels."""
    told = torch.tensor(costs)
    return Seen(told, told > 0, gram)


def weights(rule, *costs: float, share: float = 0.0) -> list[float]:
    return rule.weigh(torch.tensor(costs or (1.0,) * len(rule.tasks)), when(share)).tolist()


def test_fixed_weights_are_one():
    assert weights(Fixed(TWO), 3.0, 0.0) == [1.0, 1.0]


def test_priorities_run_in_straight_lines_between_the_stages():
    stages = [{"at": 0.2, "weights": {"a": 7.0, "b": 3.0}}, {"at": 0.6, "weights": {"b": 5.0}}]
    rule = Staged(TWO, stages=stages)
    by_hand = {0.0: [7, 3], 0.2: [7, 3], 0.4: [4, 4], 0.5: [2.5, 4.5], 0.6: [1, 5], 1.0: [1, 5]}
    for share, wanted in by_hand.items():
        assert weights(rule, share=share) == pytest.approx(wanted)


def test_uncertainty_ends_at_the_logarithm_of_the_loss():
    rule = Uncertainty(TWO, classified=["b"], rate=0.05)
    for _ in range(600):
        rule.learn(seen(0.2, 3.0))
    assert rule.learnt.value.tolist() == pytest.approx([math.log(0.2), math.log(2 * 3.0)], abs=1e-3)
    assert weights(rule) == pytest.approx([1 / (2 * 0.2), 1 / (2 * 3.0)], rel=1e-3)


def test_uncertainty_goes_down_the_gradient_of_the_paper():
    rule = Uncertainty(TWO, classified=["b"], rate=1e-3)
    for costs in ((3.0, 0.2), (2.0, 0.4)):
        s = rule.learnt.value.clone().requires_grad_()
        variance = s.exp()
        paper = costs[0] / (2 * variance[0]) + costs[1] / variance[1] + variance.sqrt().log().sum()
        (slope,) = torch.autograd.grad(paper, s)
        before = rule.learnt.mean.clone()
        rule.learn(seen(*costs))
        torch.testing.assert_close((rule.learnt.mean - 0.9 * before) / 0.1, slope)


def test_what_is_learnt_is_learnt_by_adam():
    ours, theirs = Learnt(2, rate=0.1), torch.nn.Parameter(torch.zeros(2))
    adam = torch.optim.Adam([theirs], lr=0.1)
    for step in range(5):
        theirs.grad = torch.tensor([1.0 + step, -0.1 * step + 0.05])
        ours.step(theirs.grad, torch.tensor([True, True]))
        adam.step()
    torch.testing.assert_close(ours.value, theirs.detach())


@pytest.mark.parametrize("limit", [1.0, 2.0])
def test_a_variance_stays_within_its_limit(limit):
    rule = Uncertainty(TWO, rate=0.5, limit=limit)
    for _ in range(30):
        rule.learn(seen(1e9, 1e-9))
    assert rule.learnt.value.tolist() == [limit, -limit]


def norms(rule: GradNorm, lengths: torch.Tensor) -> torch.Tensor:
    """Of w_i L_i's gradients, where those of L_i are that long."""
    return rule.weigh(torch.ones(2), when()) * lengths


@pytest.mark.parametrize(("alpha", "wanted"), [(0.0, 1.0), (1.0, 0.8 / 0.2)])
def test_gradnorm_makes_norms_equal_or_as_unequal_as_the_rates_of_training_ask(alpha, wanted):
    """Two tasks a hundred times apart; since they began one has lost a fifth of its loss, the other four fifths."""
    rule, lengths = GradNorm(TWO, alpha=alpha, rate=0.01), torch.tensor([0.1, 10.0])
    rule.learn(seen(2.0, 30.0, gram=norms(rule, lengths).square().diag().double()))
    for _ in range(600):
        rule.learn(seen(1.6, 6.0, gram=norms(rule, lengths).square().diag().double()))
    slow, fast = norms(rule, lengths).tolist()
    assert slow / fast == pytest.approx(wanted, rel=0.05)
    assert sum(weights(rule)) == pytest.approx(2)


def test_gradnorm_goes_down_the_gradient_of_the_paper():
    rule, lengths = GradNorm(TWO, alpha=0.7, rate=1e-3), torch.tensor([2.0, 5.0])
    rule.learn(seen(1.0, 1.0))  # L(0), without gradients
    logarithm = rule.learnt.value.clone().requires_grad_()
    length = logarithm.exp() * lengths
    ratio = torch.tensor([0.9, 0.3])
    target = (length.mean() * (ratio / ratio.mean()) ** 0.7).detach()
    (slope,) = torch.autograd.grad((length - target).abs().sum(), logarithm)
    rule.learn(seen(0.9, 0.3, gram=lengths.square().diag().double()))
    torch.testing.assert_close(rule.learnt.mean / 0.1, slope)


def test_dynamic_averages_are_the_softmax_by_hand():
    rule = DynamicAverage(TWO, window=2, temperature=2.0)
    for costs in ((4.0, 1.0), (2.0, 3.0), (1.0, 2.0), (2.0, 2.0)):  # means 3 and 2, then 1.5 and 2
        assert weights(rule) == [1.0, 1.0]
        rule.learn(seen(*costs))
    up = [math.exp(1.5 / 3 / 2), math.exp(2 / 2 / 2)]
    by_hand = [2 * value / sum(up) for value in up]
    assert weights(rule) == pytest.approx(by_hand)
    rule.learn(seen(9.0, 9.0))  # half a window changes nothing
    assert weights(rule) == pytest.approx(by_hand)


def test_losses_over_their_means_are_of_one_size():
    rule = LossMean(TWO, decay=0.5)
    assert weights(rule) == [1.0, 1.0]
    rule.learn(seen(4.0, 1.0))
    rule.learn(seen(1.0, 1.0))  # means (4 / 4 + 1 / 2) / (3 / 4) = 2 and 1
    assert weights(rule) == pytest.approx([2 / 3, 4 / 3])


def test_matched_scales_cost_what_the_main_task_does():
    rule = ScaleMatch(("a", "b", "c"), main="b", limit=50.0)
    found = weights(rule, 4.0, 2.0, 1e-3)
    assert found == pytest.approx([0.5, 1.0, 50.0])
    rule.learn(seen(4.0, 2.0, 0.5))
    assert weights(rule, 7.0, 0.0, 3.0) == pytest.approx([0.5, 1.0, 4.0]), "without the main task: as it was last"


WEIGHING = [
    lambda: Uncertainty(TWO, rate=0.1),
    lambda: GradNorm(TWO, rate=0.1),
    lambda: DynamicAverage(TWO, window=3),
    lambda: LossMean(TWO, decay=0.5),
    lambda: ScaleMatch(TWO),
]


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        (Uncertainty, "classified", ["b"]),
        (Uncertainty, "rate", 0.2),
        (Uncertainty, "limit", 1e-3),
        (GradNorm, "alpha", 0.0),
        (GradNorm, "rate", 0.2),
        (DynamicAverage, "window", 1),
        (DynamicAverage, "temperature", 1.0),
        (LossMean, "decay", 0.1),
        (ScaleMatch, "main", "b"),
        (ScaleMatch, "limit", 1e-3),
    ],
)
def test_every_option_changes_what_is_decided(kind, option, value):
    usual = {"window": 2} if kind is DynamicAverage else {}
    decided = []
    for options in (usual, {**usual, option: value}):
        rule = kind(TWO, **options)
        for step in range(6):
            rule.learn(seen(2.0 - 0.1 * step**1.5, 3.0 / (step + 1), gram=torch.tensor([[4.0, 0.0], [0.0, 1.0]]).double()))
        decided.append(weights(rule, 0.5, 1.0))
    assert decided[0] != decided[1]


@pytest.mark.parametrize("make", WEIGHING)
def test_state_that_was_kept_goes_on_as_if_nothing_had_been(make):
    gram = torch.tensor([[4.0, 1.0], [1.0, 9.0]], dtype=torch.float64)
    whole, first, second = make(), make(), make()
    for step in range(8):
        whole.learn(seen(3.0 / (step + 1), 2.0, gram=gram))
        (first if step < 4 else second).learn(seen(3.0 / (step + 1), 2.0, gram=gram))
        if step == 3:
            second.load_state_dict(first.state_dict())
    assert weights(second, 0.0, 1.0) == weights(whole, 0.0, 1.0) != weights(make(), 0.0, 1.0)


@pytest.mark.parametrize("make", WEIGHING)
def test_a_task_without_labels_learns_nothing_and_gets_a_finite_weight(make):
    """Labels of the second come and go; what is known of the two is as if they had never been missing."""
    costs = [(2.0, 8.0), (1.5, 8.0), (1.0, 4.0), (0.9, 4.0), (0.8, 2.0), (0.7, 2.0)]
    gram = torch.tensor([[4.0, 0.0], [0.0, 9.0]], dtype=torch.float64)
    rule, alone = make(), make()
    for a, b in costs:
        rule.learn(seen(a, b, gram=gram))
        alone.learn(seen(a, b, gram=gram))
    kept = {name: value.clone() for name, value in rule.state_dict().items()}
    for a, _ in costs:
        assert all(math.isfinite(weight) and weight > 0 for weight in weights(rule, a, 0.0))
        rule.learn(seen(a, 0.0, gram=gram * torch.tensor([1.0, 0.0])[:, None] * torch.tensor([1.0, 0.0])))
    for name, value in rule.state_dict().items():
        if value.ndim:
            assert value[1] == kept[name][1], name


@pytest.mark.parametrize("make", WEIGHING)
def test_a_task_that_never_had_labels_has_a_finite_weight_when_they_come(make):
    rule = make()
    for _ in range(7):
        rule.learn(seen(2.0, 0.0, gram=torch.tensor([[4.0, 0.0], [0.0, 0.0]], dtype=torch.float64)))
    assert all(0 < weight < 100 for weight in weights(rule, 2.0, 5.0))


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("gradnrm", "no balance 'gradnrm'; choose one of fixed, uncertainty"),
        ({"type": Staged, "stages": []}, "give shares of the training that rise"),
        ({"type": Staged, "stages": [{"at": 0.5, "weights": {}}, {"at": 0.1, "weights": {}}]}, r"stages stand at \[0.5, 0.1\]"),
        ({"type": Staged, "stages": [{"at": 0, "weights": {"face": 1}}]}, "stages names face, but the tasks are a, b"),
        ({"type": Staged, "stages": [{"at": 0, "weights": {"a": -1}}]}, "a weight is at least 0"),
        ({"type": LossMean, "decay": 1.0}, "decay=1.0 is no decay"),
        ({"type": ScaleMatch, "main": "face"}, "main names face"),
        ({"type": ScaleMatch, "limit": 0.0}, "limit=0.0 leaves no weight"),
        ({"type": DynamicAverage, "window": 0}, "have to be more than 0"),
        ({"type": Uncertainty, "classified": ["face"]}, "classified names face"),
        ({"type": Uncertainty, "rate": 0.0}, "rate=0.0 learns nothing"),
        ({"type": Uncertainty, "limit": 0.0}, "leaves no variance"),
        ({"type": GradNorm, "alpha": -1.0}, "alpha=-1.0 favours what is fast already"),
        ({"type": GradNorm, "where": "first"}, "no place 'first'; choose features, last or trunk"),
        ({"type": PCGrad, "where": "last"}, "no place 'last'; choose features or trunk"),
        ({"type": CAGrad, "c": 1.0}, "c=1.0 is no radius"),
        ({"type": MGDA, "normalise": "l1"}, "no normalisation 'l1'"),
        ({"type": "tasks.seg.task.Seg"}, "is no rule; give dict"),
        ({"alpha": 1.0}, "is no rule; give dict"),
    ],
)
def test_what_cannot_be_is_a_sentence(rule, told):
    with pytest.raises(ValueError, match=told):
        balancer(rule, TWO)


@pytest.mark.parametrize("kind", RULES)
def test_a_rule_has_a_short_name_and_a_description(kind):
    names = {"fixed", "uncertainty", "gradnorm", "dwa", "lossmean", "scalematch", "pcgrad", "cagrad", "mgda"}
    assert kind in {type(balancer(name, TWO).rule) for name in names}
    assert isinstance(build({"type": kind}, tasks=TWO), kind)
