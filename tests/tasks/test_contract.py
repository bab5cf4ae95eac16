"""What every task promises, whatever it asks of the pixels: shared/task.py as tests."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from shared.build import build
from shared.data.fields import FIELDS
from shared.dense.decoder import Spec
from shared.dense.model import DenseModel
from shared.formats import Ask
from shared.task import Batch, Task
from shared.vit.model import ViT
from tasks.depth.task import Depth, relative
from tasks.normal.task import Normal
from tasks.pointmap.geometry import truth as located
from tasks.pointmap.task import Pointmap
from tasks.pose.task import Pose
from tasks.seg.task import Seg

HW = (64, 48)
TABLE = {"entries": [{"name": "one", "colour": [1, 2, 3]}, {"name": "two", "colour": [4, 5, 6]}]}


@dataclass
class Case:
    """A task, and what its scores are for a perfect answer."""

    task: Any  # Pose, Seg, ...: a frozen dataclass
    ideal: Mapping[str, float]
    perfect: Callable[[Task, Batch], Tensor]  # raw, at the size of the picture


def _maps(task: Task, batch: Batch) -> Tensor:
    assert isinstance(task, Pose)
    return task.target(batch, HW)[0]


def _canonical(task: Task, batch: Batch) -> Tensor:
    told = located(batch["depth"], batch["intrinsics"])
    scale = told.scale[:, None, None, None]
    return torch.cat([scale * told.points, scale.expand(-1, 1, *HW)], 1)


def _far(task: Task, batch: Batch) -> Tensor:
    assert isinstance(task, Depth)
    return task.target(batch)[0][:, None]


CASES = {
    "seg": Case(
        Seg(dice=0.5, border=2.0),
        {"miou": 1, "macc": 1, "aacc": 1, "person_iou": 1, "boundary_f": 1},
        lambda task, batch: 30 * F.one_hot(batch["seg"].long(), task.channels).movedim(-1, 1).float(),
    ),
    "depth": Case(
        Depth(),
        {
            n: float(n.startswith(("delta", "edge")))
            for n in ["abs_rel", "sq_rel", "rmse_m", "rmse_log", "log10", "delta1", "delta2", "delta3", "edge_f"]
        },
        lambda task, batch: relative(batch["depth"])[0][:, None],
    ),
    "metric depth": Case(
        Depth(metric=True),
        {
            n: float(n.startswith(("delta", "edge")))
            for n in ["abs_rel", "sq_rel", "rmse_m", "rmse_log", "log10", "delta1", "delta2", "delta3", "edge_f"]
        },
        _far,
    ),
    "normal": Case(
        Normal(slope=1.0),
        {"mean_deg": 0, "median_deg": 0, "rmse_deg": 0} | {f"within_{limit}": 1 for limit in ("5", "7.5", "11.25", "22.5", "30")},
        lambda task, batch: batch["normal"].nan_to_num(0),
    ),
    "pointmap": Case(
        Pointmap(),
        {f"{name}_m": 0 for name in ("l2", "x", "y", "z", "rmse")}
        | {f"within_{limit}": 1 for limit in (5, 10, 20)}
        | {"focal_rel": 0},
        _canonical,
    ),
    "pose": Case(Pose(), {"pck05": 1, "pck10": 1, "oks": 1}, _maps),
}


@pytest.fixture(params=CASES, scope="module")
def case(request) -> Case:
    return CASES[request.param]


def unknown(batch: Batch, task: Task, rows: Any = slice(None)) -> dict[str, Tensor]:
    """The batch without the task's labels in these rows."""
    labels = {name: batch[name].clone() for name in (task.field, *task.also)}
    for name, label in labels.items():
        label[rows] = FIELDS[name].unknown
    return {**batch, **labels}


def noise(task: Task, hw=(16, 12), count=3) -> Tensor:
    return torch.randn(count, task.channels, *hw, generator=torch.Generator().manual_seed(0)).requires_grad_()


def total(terms: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def pull(terms: Mapping[str, Tensor], raw: Tensor) -> Tensor:
    """The gradient of all terms at the raw answer."""
    return torch.autograd.grad(total(terms), raw)[0]


def answers(task: Task, people) -> list[Tensor]:
    """The truth as an answer; something else where it is unknown."""
    return [task.ideal(truth(person)).nan_to_num(0.3) for person in people]


def truth(person) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in person.items()}


def summary(task: Task, answers, people) -> dict[str, float]:
    return task.summarise(torch.stack([task.measure(a, truth(p)) for a, p in zip(answers, people)]))


def test_no_label_costs_exactly_zero_with_zero_gradient(case, batch):
    raw = noise(case.task)
    terms = case.task.loss(raw, unknown(batch, case.task))
    assert all(term.shape == () and term == 0 for term in terms.values())
    assert torch.equal(pull(terms, raw), torch.zeros_like(raw))


def test_a_picture_without_label_neither_pays_nor_pulls(case, batch):
    raw = noise(case.task)
    terms = case.task.loss(raw, unknown(batch, case.task, rows=1))
    gradient = pull(terms, raw)
    assert torch.equal(gradient[1], torch.zeros_like(raw[1]))
    assert gradient[[0, 2]].abs().sum() > 0
    others = {name: value[[0, 2]] for name, value in batch.items()}
    for name, value in case.task.loss(raw[[0, 2]], others).items():
        torch.testing.assert_close(terms[name], value)


def test_costs_are_finite_and_so_are_gradients(case, batch):
    for scale in (1e-6, 1, 1e4):
        raw = noise(case.task)
        terms = case.task.loss(raw * scale, batch)
        assert all(term.isfinite() and term > 0 for term in terms.values())
        assert pull(terms, raw).isfinite().all()


def test_the_perfect_answer_costs_next_to_nothing_and_has_a_finite_gradient(case, batch):
    raw = case.perfect(case.task, batch).requires_grad_()
    terms = case.task.loss(raw, batch)
    assert all(term < 1e-4 for term in terms.values())
    assert pull(terms, raw).isfinite().all()
    wrong = case.task.loss(noise(case.task), batch)
    assert all(terms[name] < wrong[name] / 100 for name in terms)


def test_answers_of_any_resolution_have_a_cost(case, batch):
    for hw in ((2, 2), (7, 5), HW, (100, 70)):
        assert total(case.task.loss(noise(case.task, hw), batch)).isfinite()


def test_the_truth_scores_ideal(case, people):
    scores = summary(case.task, answers(case.task, people), people)
    assert scores.keys() == case.ideal.keys()
    for name, value in case.ideal.items():
        assert scores[name] == pytest.approx(value, abs=0.06 if name == "median_deg" else 1e-5), name


def test_the_main_score_is_one_of_the_scores_and_a_worse_answer_has_a_worse_one(case, people):
    name, higher_is_better = case.task.score
    right = summary(case.task, answers(case.task, people), people)[name]
    wrong = summary(case.task, [answer.flip(0) for answer in answers(case.task, people)], people)[name]
    assert (right > wrong) == higher_is_better
    assert right != wrong


def test_scores_do_not_depend_on_the_order_or_the_grouping_of_pictures(case, people):
    task = case.task
    generator = torch.Generator().manual_seed(0)
    rows = []
    for person in people:
        raw = torch.randn(1, task.channels, *HW, generator=generator)
        decoded = task.decode(raw)[0]
        answer = decoded.movedim(0, -1) if task.answers == "map" and decoded.dim() == 3 else decoded
        rows.append(task.measure(answer, truth(person)))
    assert all(row.dtype == torch.float64 and row.shape == rows[0].shape for row in rows)
    wanted = task.summarise(torch.stack(rows))
    for order in ([2, 0, 1], [1, 2, 0]):
        assert task.summarise(torch.stack([rows[i] for i in order])) == pytest.approx(wanted)


def test_a_task_with_a_table_has_a_value_for_every_line_and_column(case, people):
    rows = torch.stack([case.task.measure(a, truth(p)) for a, p in zip(answers(case.task, people), people)])
    table = case.task.details(rows)
    assert bool(table) == (case.task.name in ("seg", "depth", "pointmap"))
    assert all(line.keys() == next(iter(table.values())).keys() for line in table.values())
    shuffled = case.task.details(rows[[2, 0, 1]])
    assert all(shuffled[name] == pytest.approx(table[name], nan_ok=True) for name in table)


def test_a_picture_without_truth_changes_no_score(case, people):
    task, person = case.task, truth(people[0])
    empty = person | {name: torch.full_like(person[name], FIELDS[name].unknown) for name in (task.field, *task.also)}
    answer = answers(task, people)[0]
    rows = [task.measure(answer.flip(0), person), task.measure(answer, empty)]
    assert task.summarise(torch.stack(rows)) == pytest.approx(task.summarise(rows[0][None]))
    assert all(np.isnan(value) for value in task.summarise(rows[1][None]).values())


def test_decoding_sees_each_picture_by_itself_and_maps_each_pixel(case):
    task, raw = case.task, noise(case.task).detach()
    decoded = task.decode(raw)
    torch.testing.assert_close(decoded[1:2], task.decode(raw[1:2]))
    assert task.answers == "map" or decoded.shape == (3, task.channels, 3)
    if task.answers == "map":
        torch.testing.assert_close(decoded[..., 3:9, 2:5], task.decode(raw[..., 3:9, 2:5]))


@pytest.mark.parametrize("rows", [[], [1], [0, 1, 2]])
def test_the_trivial_answer_is_a_raw_answer_whatever_is_unknown(case, batch, rows):
    raw = case.task.trivial(unknown(batch, case.task, rows=rows))
    assert raw.shape[0] == case.task.channels
    assert raw.dim() == 3
    assert raw.isfinite().all()
    assert case.task.decode(raw[None]).float().isfinite().all()


def test_the_trivial_answer_ignores_pictures_without_label(case, batch):
    some = {name: value[[0, 2]] for name, value in batch.items()}
    torch.testing.assert_close(case.task.trivial(unknown(batch, case.task, rows=1)), case.task.trivial(some))


def test_a_cost_goes_down_when_it_is_followed(case, batch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        task = Pose(sigma=0.05) if case.task.name == "pose" else case.task
        model = DenseModel(ViT("nano", image_hw=HW), [task], decoder=Spec(up=(16, 16), refine=(16,)))
        optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
        costs = []
        for _ in range(40):
            cost = total(model.losses(batch))
            costs.append(cost.item())
            optimiser.zero_grad()
            cost.backward()
            optimiser.step()
    assert np.mean(costs[-3:]) < 0.75 * costs[0], costs


def test_a_task_comes_back_from_its_description(case):
    options = {f.name: getattr(case.task, f.name) for f in fields(case.task)}
    written = json.loads(json.dumps({"type": f"tasks.{case.task.name}.task.{type(case.task).__name__}", **options}))
    assert build(written) == case.task


def test_what_is_written_can_be_read_and_what_is_drawn_is_a_picture(case, people):
    answer = answers(case.task, people)[0].numpy()
    for suffix, content in case.task.files(answer).items():
        assert suffix.startswith(case.task.name + ".")
        if suffix.endswith(".json"):
            assert json.loads(json.dumps(content)) == content
        else:
            assert content.dtype == (np.uint8 if suffix.endswith("png") else np.float32)
            assert content.shape[:2] == HW
    drawn = case.task.render(people[0]["image"], answer)
    assert (drawn.shape, drawn.dtype) == ((*HW, 3), np.uint8)
    assert not np.array_equal(drawn, people[0]["image"])
    legend, words = case.task.legend(answer), case.task.vocabulary
    assert set(legend) <= set(zip(words.names, words.colours) if words else ()), "colours that have names have those of the table"


def test_every_format_that_a_task_names_has_its_file(case, people):
    answer = answers(case.task, people)[0].numpy()
    usual = case.task.files(answer)
    assert case.task.asked(answer, Ask()).keys() == usual.keys()
    assert case.task.asked(answer, Ask(frozenset({"of another task"}))).keys() == usual.keys()
    for form, suffix in case.task.formats.items():
        task = case.task.decoding_for([form])
        other = F.one_hot(torch.from_numpy(answer).long().clamp(max=27), 28).float().numpy() if task != case.task else answer
        assert list(task.asked(other, Ask(frozenset({form}), focal_px=60.0))) == [suffix]
        assert suffix.startswith(f"{case.task.name}.")


def test_the_official_head_takes_its_arguments(case):
    with torch.device("meta"):
        model = DenseModel(ViT("nano", image_hw=HW), [case.task])
    raw = model(torch.empty(1, 3, *HW, dtype=torch.uint8, device="meta"))[case.task.name]
    assert raw.shape[1] == case.task.channels
