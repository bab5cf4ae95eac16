"""Segmentation: cross-entropy by hand and by torch, and scores that can be counted on fingers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tasks.seg.boundary import beside
from tasks.seg.task import Seg


def table(count, weights=None, pairs=()):
    entries = [{"name": f"part {i}", "colour": [i, 0, 0]} for i in range(count)]
    for entry, weight in zip(entries, weights or []):
        entry["weight"] = weight
    return {"entries": entries, "pairs": list(pairs)}


def scores(task, truth, answer):
    truth, answer = torch.tensor(truth, dtype=torch.uint8), torch.tensor(answer, dtype=torch.uint8)
    return task.summarise(task.measure(answer, {"seg": truth})[None])


def test_the_cost_is_the_official_one(golden):
    told = golden["seg_ce"]
    task = Seg(labels=table(4, weights=told["class_weight"]))
    target = (torch.arange(2 * 8 * 6) % 5).reshape(2, 8, 6)
    target[target == 4] = 255
    ours = task.loss(golden.wave((2, 4, 8, 6), 0.11), {"seg": target.to(torch.uint8)})["ce"]
    # the official mean is over all pixels, ours over the known ones (specification, trap 9)
    assert ours.item() * (target != 255).float().mean().item() == pytest.approx(told["loss_final"], abs=1e-5)


def test_the_cost_without_weights_is_torchs():
    raw = torch.randn(2, 4, 8, 6, generator=torch.Generator().manual_seed(0))
    target = torch.randint(0, 4, (2, 8, 6), generator=torch.Generator().manual_seed(1))
    target[0, :3] = 255
    ours = Seg(labels=table(4, weights=[9.0, 9, 9, 9]), weighted=False).loss(raw, {"seg": target.to(torch.uint8)})
    assert list(ours) == ["ce"]
    torch.testing.assert_close(ours["ce"], F.cross_entropy(raw, target, ignore_index=255))


def test_a_coarse_answer_is_enlarged_to_the_labels():
    raw = torch.randn(1, 3, 4, 3, generator=torch.Generator().manual_seed(0))
    target = torch.randint(0, 3, (1, 8, 6), generator=torch.Generator().manual_seed(1))
    wanted = F.cross_entropy(F.interpolate(raw, (8, 6), mode="bilinear"), target)
    torch.testing.assert_close(Seg(labels=table(3)).loss(raw, {"seg": target.to(torch.uint8)})["ce"], wanted)


def test_undoing_the_weights_answers_the_likeliest_class():
    """Cross-entropy with weights is least where shares are in proportion to weight times probability."""
    weights, likely = torch.tensor([0.1, 10.0, 1.0]), torch.tensor([0.7, 0.1, 0.2])
    raw = (weights * likely).log()[None, :, None, None]
    answers = [Seg(labels=table(3, weights=weights.tolist()), undo=undo).decode(raw).item() for undo in (0.0, 1.0)]
    assert answers == [1, 0]
    assert Seg(labels=table(3, weights=weights.tolist()), undo=1.0, weighted=False).decode(raw).item() == 1


def test_the_trivial_answer_is_the_commonest_class_whatever_its_weight():
    task = Seg(labels=table(3, weights=[0.1, 10.0, 1.0]), undo=1.0)
    assert task.decode(task.trivial({"seg": torch.tensor([[[2, 2, 0]]], dtype=torch.uint8)})[None]).unique().tolist() == [2]


def test_pixels_near_another_class_weigh_more_by_hand():
    """Rows of six; a coin's toss of two classes costs ln 2 at every pixel."""
    target = torch.tensor([[[0, 0, 0, 1, 1, 255]]], dtype=torch.uint8)
    half = torch.zeros(1, 2, 1, 6)
    plain = torch.log(torch.tensor(2.0)).item()
    cost = {
        reach: Seg(labels=table(2), border=3.0, border_reach=reach).loss(half, {"seg": target})["ce"].item()
        for reach in (1.0, 2.0, 9.0)
    }
    assert cost[1.0] == pytest.approx(plain * (3 + 2 * 3) / 5)  # two of the five known pixels touch the other class
    assert cost[2.0] == pytest.approx(plain * (1 + 4 * 3) / 5)
    assert cost[9.0] == pytest.approx(plain * 3)
    share = 2.0 / 37**0.5  # of the diagonal of 1 x 6
    assert Seg(labels=table(2), border=3.0, border_reach=share).loss(half, {"seg": target})["ce"].item() == pytest.approx(cost[2.0])
    assert Seg(labels=table(2)).loss(half, {"seg": target})["ce"].item() == pytest.approx(plain)


def test_classes_and_borders_weigh_together():
    target = torch.tensor([[[0, 0, 1, 1]]], dtype=torch.uint8)
    cost = Seg(labels=table(2, weights=[1.0, 5.0]), border=2.0, border_reach=1.0).loss(torch.zeros(1, 2, 1, 4), {"seg": target})
    assert cost["ce"].item() == pytest.approx(torch.log(torch.tensor(2.0)).item() * (1 + 2 + 2 * 5 + 5) / 4)


@pytest.mark.parametrize("reach", [1, 2, 5])
def test_what_is_near_another_class_is_found_as_by_a_loop(reach):
    rng = np.random.default_rng(reach)
    labels = np.kron(rng.integers(0, 3, (2, 4, 3)), np.ones((1, 5, 6), int)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.1] = 255
    wanted = np.zeros(labels.shape, bool)
    for b, y, x in np.argwhere(labels != 255):
        window = labels[b, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        wanted[b, y, x] = ((window != labels[b, y, x]) & (window != 255)).any()
    found = beside(torch.from_numpy(labels).long(), torch.from_numpy(labels != 255), reach)
    assert np.array_equal(found.numpy(), wanted)
    assert 0 < wanted.sum() < (labels != 255).sum()


def test_the_edge_of_the_unknown_is_no_border_and_stays_free():
    target = torch.full((1, 6, 6), 255, dtype=torch.uint8)
    target[:, 2:4, 2:4] = 1
    raw = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with_border, without = (Seg(labels=table(3), border=b, border_reach=2.0).loss(raw, {"seg": target})["ce"] for b in (9.0, 1.0))
    assert with_border == without
    target[:, 2, 2] = 0
    (pull,) = torch.autograd.grad(Seg(labels=table(3), border=9.0, border_reach=2.0).loss(raw, {"seg": target})["ce"], raw)
    assert (pull[:, :, target[0] == 255] == 0).all()
    assert (pull[:, :, target[0] != 255] != 0).all()


def test_dice_by_hand():
    task = Seg(labels=table(2), dice=1.0)
    half = torch.zeros(1, 2, 2, 2)  # both classes 0.5 everywhere
    target = torch.tensor([[[0, 0], [0, 1]]], dtype=torch.uint8)
    # of class 1: share 1/2 at four pixels, truth 1 at one; class 0 is the background, and does not count
    assert task.loss(half, {"seg": target})["dice"].item() == pytest.approx(1 - (2 * 0.5 + 1e-3) / (4 * 0.25 + 1 + 1e-3))
    known = torch.tensor([[[255, 255], [255, 1]]], dtype=torch.uint8)
    assert task.loss(half, {"seg": known})["dice"].item() == pytest.approx(1 - (2 * 0.5 + 1e-3) / (0.25 + 1 + 1e-3))


def test_dice_is_a_mean_over_classes_and_then_over_pictures_that_are_labelled():
    task = Seg(labels=table(3), dice=1.0)
    raw = torch.zeros(1, 3, 1, 4)  # a third each
    lost = [1 - (2 * n / 3 + 1e-3) / (4 / 9 + n + 1e-3) for n in (1, 2)]
    target = torch.tensor([[[1, 2, 2, 0]]], dtype=torch.uint8)
    assert task.loss(raw, {"seg": target})["dice"].item() == pytest.approx(sum(lost) / 2)
    empty, unknown = torch.zeros_like(target), torch.full_like(target, 255)
    three = {"seg": torch.cat([target, empty, unknown])}
    assert task.loss(raw.expand(3, -1, -1, -1), three)["dice"].item() == pytest.approx(sum(lost) / 2 / 2)


def test_scores_of_two_by_two_pixels_by_hand():
    found = scores(Seg(labels=table(3)), [[0, 0], [1, 1]], [[0, 1], [1, 1]])
    assert found.pop("boundary_f") == 1  # no pixel of so few lies more than one beside the true border
    assert found == pytest.approx({"miou": (1 / 2 + 2 / 3) / 2, "macc": (1 / 2 + 1) / 2, "aacc": 3 / 4, "person_iou": 2 / 3})


def reference(truth, answer, classes):
    """Scores class by class from sets of pixels: the definitions, without a confusion matrix."""
    known = truth != 255
    found = {}
    for c in range(classes):
        t, a = (truth == c) & known, (answer == c) & known
        if t.any():
            both = (t & a).sum()
            found[c] = {
                "iou": both / (t | a).sum(),
                "acc": both / t.sum(),
                "precision": both / a.sum() if a.any() else 0.0,
                "share": t.sum() / known.sum(),
            }
    return found


def test_scores_of_noise_are_those_of_the_definitions():
    rng = np.random.default_rng(0)
    truth, answer = (rng.integers(0, 6, (40, 30)).astype(np.uint8) for _ in range(2))
    truth[rng.random((40, 30)) < 0.2] = 255
    truth[truth == 4] = 1  # a class that is answered and never true
    task = Seg(labels=table(6))
    rows = task.measure(torch.from_numpy(answer), {"seg": torch.from_numpy(truth)})[None]
    wanted = reference(truth, answer, 6)
    found, classes = task.summarise(rows), task.details(rows)
    assert list(classes) == [f"part {i}" for i in range(6)]
    for c, scores_ in wanted.items():
        assert {name: classes[f"part {c}"][name] for name in scores_} == pytest.approx(scores_)
    assert all(np.isnan(classes["part 4"][name]) for name in ("iou", "acc", "precision", "boundary_f"))
    assert classes["part 4"]["share"] == 0
    means = {score: np.mean([w[name] for w in wanted.values()]) for score, name in (("miou", "iou"), ("macc", "acc"))}
    known = truth != 255
    there = (truth > 0) & known
    means["aacc"] = (truth == answer)[known].mean()
    means["person_iou"] = (there & (answer > 0)).sum() / (known & ((truth > 0) | (answer > 0))).sum()
    assert {name: found[name] for name in means} == pytest.approx(means)


def test_the_border_score_is_a_mean_over_classes_with_a_border():
    task = Seg(labels=table(4))
    truth, answer = torch.zeros(9, 30, dtype=torch.uint8), torch.zeros(9, 30, dtype=torch.uint8)
    truth[:, 10:20], answer[:, 10:20] = 1, 1
    truth[:, 20:], answer[:, 20:26], answer[:, 26:] = 2, 2, 3  # a border too many between 2 and 3; 3 is never true
    rows = task.measure(answer, {"seg": truth})[None]
    f = 2 * (1 / 2) * 1 / (1 / 2 + 1)  # of class 2: half of its border pixels are right, all true ones are found
    assert task.summarise(rows)["boundary_f"] == pytest.approx((1 + 1 + f) / 3)
    assert [task.details(rows)[f"part {i}"]["boundary_f"] for i in range(3)] == pytest.approx([1, 1, f])


@pytest.mark.parametrize("hw", [(1, 7), (10, 10), (37, 29)])
def test_one_wrong_pixel_of_n_costs_one_nth_of_accuracy(hw):
    truth = torch.randint(0, 5, hw, generator=torch.Generator().manual_seed(0))
    answer = truth.clone()
    answer[0, 0] = (answer[0, 0] + 1) % 5
    assert scores(Seg(labels=table(5)), truth.tolist(), answer.tolist())["aacc"] == pytest.approx(1 - 1 / truth.numel())


def test_noise_scores_chance():
    generator = torch.Generator().manual_seed(0)
    truth, answer = (torch.randint(0, 4, (400, 400), generator=generator) for _ in range(2))
    found = scores(Seg(labels=table(4)), truth.tolist(), answer.tolist())
    assert found["aacc"] == pytest.approx(1 / 4, abs=0.01)
    assert found["macc"] == pytest.approx(1 / 4, abs=0.01)
    assert found["miou"] == pytest.approx(1 / 7, abs=0.01)  # 1/16 in both, 7/16 in either


def test_unknown_pixels_do_not_count():
    task = Seg(labels=table(3))
    assert scores(task, [[0, 255], [1, 255]], [[0, 2], [1, 2]]) == scores(task, [[0, 1]], [[0, 1]])


def test_classes_that_the_truth_lacks_have_no_iou_of_their_own():
    found = scores(Seg(labels=table(4)), [[0, 0, 1]], [[0, 3, 1]])
    assert found["miou"] == pytest.approx((1 / 2 + 1) / 2)


def test_scores_are_of_all_pixels_not_means_over_pictures():
    task = Seg(labels=table(2))
    rows = [
        task.measure(torch.zeros(10, 10, dtype=torch.uint8), {"seg": torch.zeros(10, 10, dtype=torch.uint8)}),
        task.measure(torch.zeros(1, 1, dtype=torch.uint8), {"seg": torch.ones(1, 1, dtype=torch.uint8)}),
    ]
    assert task.summarise(torch.stack(rows))["aacc"] == pytest.approx(100 / 101)


def test_a_class_beyond_the_vocabulary_is_told():
    with pytest.raises(ValueError, match="the truth holds class 7, but the vocabulary ends at 2"):
        scores(Seg(labels=table(3)), [[7]], [[0]])


def test_the_trivial_answer_is_the_commonest_class():
    target = torch.tensor([[[0, 2, 2], [255, 255, 255]]], dtype=torch.uint8)
    raw = Seg(labels=table(3)).trivial({"seg": target})
    assert (raw.argmax(0) == 2).all()


@pytest.mark.parametrize(("labels", "count"), [("sapiens28", 28), ("sapiens29", 29), ("lip20", 20), ("cihp20", 20)])
def test_the_tables_that_come_with_us_have_their_classes(labels, count):
    task = Seg(labels=labels)
    assert task.channels == count
    assert task.vocabulary.names[0] == "Background"


def test_a_table_that_is_not_there_is_told():
    with pytest.raises(ValueError, match="no table 'sapiens'; choose one of"):
        _ = Seg(labels="sapiens").vocabulary


def test_the_answer_is_the_first_of_the_largest():
    raw = torch.randint(0, 4, (2, 28, 9, 7), generator=torch.Generator().manual_seed(0)).float()
    first = (raw == raw.amax(1, keepdim=True)).float().cumsum(1).eq(0).sum(1)
    assert torch.equal(Seg().decode(raw), first.to(torch.uint8))


def test_a_pixel_counts_as_much_as_its_teacher_was_sure():
    raw = torch.randn(1, 28, 2, 2, generator=torch.Generator().manual_seed(0))
    seg, sure = torch.tensor([[[0, 3], [5, 255]]], dtype=torch.uint8), torch.tensor([[[0.5, torch.nan], [0.0, 0.9]]])
    task = Seg(trust=True, weighted=False)
    each = torch.nn.functional.cross_entropy(raw, seg.long(), ignore_index=255, reduction="none")
    by_hand = (0.5 * each[0, 0, 0] + each[0, 0, 1]) / 3
    assert task.loss(raw, {"seg": seg, "sure": sure})["ce"].item() == pytest.approx(by_hand.item(), rel=1e-5)
    unsaid = task.loss(raw, {"seg": seg, "sure": torch.full((1, 2, 2), torch.nan)})["ce"]
    assert unsaid == Seg(weighted=False).loss(raw, {"seg": seg})["ce"]
    assert Seg().heeds == ()
    assert task.heeds == ("sure",)


def test_the_legend_names_what_is_seen_in_the_colours_of_the_picture_the_largest_first():
    task, ids = Seg(labels="sapiens28"), np.zeros((40, 40), np.uint8)
    ids[:10], ids[10:, :10], ids[15:25, 15:25] = 7, 3, 20  # 400, 300 and 100 pixels
    legend = task.legend(ids)
    assert [name for name, _ in legend] == [task.vocabulary.names[part] for part in (7, 3, 20)]
    drawn = task.render(np.zeros((40, 40, 3), np.uint8), ids)
    for (_, colour), (row, column) in zip(legend, [(4, 20), (30, 4), (20, 20)]):
        assert drawn[row, column] == pytest.approx(0.6 * np.array(colour), abs=1)
    soft = F.one_hot(torch.from_numpy(ids).long(), 28).float().numpy()
    assert task.legend(soft) == legend
    assert task.legend(np.zeros((4, 4), np.uint8)) == [], "of nobody there are no parts"
