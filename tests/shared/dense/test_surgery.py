"""Surgery of gradients against the formulae of its papers, on few tasks whose answer is known by hand."""

import numpy as np
import pytest

from shared.dense.balance import MGDA, CAGrad, PCGrad
from shared.dense.balance.rule import When
from shared.dense.balance.simplex import least_conflict, shortest

TWO = ("a", "b")


def when(seed: int = 0) -> When:
    return When(0, 0.0, np.random.default_rng(seed))


def steered(rule, gradients, costs=(1.0, 1.0), seed: int = 0) -> np.ndarray:
    """What the backbone gets of these gradients, rows."""
    gradients = np.asarray(gradients, float)
    return rule.steer(gradients @ gradients.T, np.asarray(costs, float), when(seed=seed)) @ gradients


def test_pcgrad_removes_the_conflicting_component_and_nothing_else():
    a, b = [1.0, 0.0], [-1.0, 1.0]
    projected_a, projected_b = np.array([0.5, 0.5]), np.array([0.0, 1.0])
    assert steered(PCGrad(TWO), [a, b]) == pytest.approx(projected_a + projected_b)
    assert projected_a @ np.array(b) == projected_b @ np.array(a) == 0
    assert steered(PCGrad(TWO), [[1.0, 0.0], [1.0, 0.2]]) == pytest.approx([2.0, 0.2]), "what agrees stays as it is"


def test_pcgrad_of_three_is_the_algorithm_of_the_paper():
    gradients = np.random.default_rng(1).normal(size=(3, 5))
    gradients[1] -= gradients[0]
    seeds = [3, 4, 5, 6]
    for seed in seeds:
        order = when(seed=seed).draw
        total = np.zeros(5)
        for i in range(3):
            projected = gradients[i].copy()
            for j in order.permutation(3):
                if j != i and (against := projected @ gradients[j]) < 0:
                    projected -= against / (gradients[j] @ gradients[j]) * gradients[j]
            total += projected
        assert steered(PCGrad("abc"), gradients, seed=seed) == pytest.approx(total)


@pytest.mark.parametrize(
    ("a", "b"),
    [([1, 0], [0, 1]), ([1, 0], [-1, 1]), ([3, 0], [1, 0.1]), ([0.1, 0], [5, 1]), ([1, 2], [-1, -2]), ([1, 1], [1, 1])],
)
def test_the_pareto_step_of_two_tasks_is_the_closed_form(a, b):
    a, b = np.array(a, float), np.array(b, float)
    share = np.clip((b - a) @ b / max((a - b) @ (a - b), 1e-12), 0, 1)
    point = share * a + (1 - share) * b
    assert steered(MGDA(TWO), [a, b]) / 2 == pytest.approx(point, abs=1e-9)
    assert min(point @ a, point @ b) >= point @ point - 1e-9, "no task gets worse"


@pytest.mark.parametrize("seed", range(4))
def test_the_shortest_vector_of_many_tasks_is_no_longer_than_any_other(seed):
    draw = np.random.default_rng(seed)
    gradients = draw.normal(size=(5, 4)) + draw.normal(size=4)
    gram = gradients @ gradients.T
    found = shortest(gram)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    slope = gram @ found  # the least at the optimum wherever there is weight
    assert slope.min() == pytest.approx(found @ slope, abs=1e-6 * gram.max())


def test_normalised_gradients_share_by_direction_or_loss():
    gradients = [[10.0, 0.0], [0.0, 0.1]]
    assert steered(MGDA(TWO), gradients) == pytest.approx([0.002, 0.2], rel=1e-3), "the smallest gradient rules"
    assert steered(MGDA(TWO, normalise="l2"), gradients) == pytest.approx([10.0, 0.1])
    by_loss = shortest(np.diag([(10 / 100) ** 2, (0.1 / 0.5) ** 2]))
    assert steered(MGDA(TWO, normalise="loss"), gradients, (100.0, 0.5)) == pytest.approx(2 * by_loss * [10, 0.1])
    by_both = shortest(np.diag([1 / 100**2, 1 / 0.5**2]))
    assert steered(MGDA(TWO, normalise="loss+"), gradients, (100.0, 0.5)) == pytest.approx(2 * by_both * [10, 0.1])


@pytest.mark.parametrize("c", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_cagrad_helps_the_worst_off_most_within_its_radius(c, seed):
    gradients = np.random.default_rng(seed).normal(size=(2, 2))
    mean = gradients.mean(0)
    step = steered(CAGrad(TWO, c=c), gradients) / 2
    radius = np.linalg.norm(mean)
    assert np.linalg.norm(step - mean) == pytest.approx(c * radius), "the bound is reached"
    turns = np.linspace(0, 2 * np.pi, 20_000)
    others = mean + c * radius * np.stack([np.cos(turns), np.sin(turns)], 1)
    assert (gradients @ step).min() >= (others @ gradients.T).min(1).max() - 1e-6


def test_the_least_conflict_of_three_tasks_is_that_of_a_fine_grid():
    gradients = np.random.default_rng(7).normal(size=(3, 6))
    gram, c = gradients @ gradients.T, 0.5

    def cost(found):
        mixed, mean = found @ gradients, gradients.mean(0)
        return mixed @ mean + c * np.linalg.norm(mean) * np.linalg.norm(mixed)

    grid = [np.array([i, j, 100 - i - j]) / 100 for i in range(101) for j in range(101 - i)]
    least = min(cost(found) for found in grid)
    assert least - 1e-3 < cost(least_conflict(gram, c)) <= least + 1e-12


def test_gradients_that_cancel_leave_the_plain_sum_to_cagrad():
    assert steered(CAGrad(TWO), [[1.0, 0.0], [-1.0, 0.0]]) == pytest.approx([0, 0])


@pytest.mark.parametrize("kind", [PCGrad, CAGrad, MGDA])
def test_surgery_does_not_ask_for_the_order_or_the_unit_of_gradients(kind):
    gradients = np.random.default_rng(0).normal(size=(2, 3))
    plain = steered(kind(TWO), gradients)
    assert steered(kind(TWO), gradients[::-1]) == pytest.approx(plain)
    assert steered(kind(TWO), 1e-5 * gradients) == pytest.approx(1e-5 * plain)
