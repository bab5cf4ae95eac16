"""Readers of features: they find what is there, find nothing where nothing is, and never look at the photo in question."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from shared.engine import readout
from shared.engine.readout import FOLDS, explained, linear, overlap, turned_by, vote

PATCHES, CLASSES = 600, 5


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def labels() -> Tensor:
    return torch.randint(0, CLASSES, (PATCHES,), generator=torch.Generator().manual_seed(1))


PHOTO = torch.arange(PATCHES) // 20


def read(features: Tensor, labels: Tensor) -> list[dict[str, float]]:
    one_hot = F.one_hot(labels, CLASSES)
    answers = vote(features, labels, PHOTO, classes=CLASSES), linear(features, one_hot, PHOTO % FOLDS).argmax(1)
    return [overlap(answer, labels, classes=CLASSES) for answer in answers]


def test_features_that_hold_the_label_are_read_perfectly(labels):
    features = torch.cat([F.one_hot(labels, CLASSES).float() * 3, 0.1 * drawn(PATCHES, 8)], 1) + 7
    assert read(features, labels) == [{"miou": 1.0, "acc": 1.0}] * 2


def test_features_that_hold_nothing_are_read_by_chance(labels):
    for scores in read(drawn(PATCHES, 16), labels):
        assert scores["acc"] == pytest.approx(1 / CLASSES, abs=0.06)
        assert scores["miou"] == pytest.approx(1 / (2 * CLASSES - 1), abs=0.06)


def test_a_photo_does_not_vote_for_itself():
    """Each photo has a colour of its own, and so has its label: only its own patches could tell it."""
    photo = torch.arange(60) // 10
    features = F.one_hot(photo, 6).float() + 0.01 * drawn(60, 6)
    assert (vote(features, photo, photo, classes=6) != photo).all()
    assert (linear(features, F.one_hot(photo, 6), photo % FOLDS).argmax(1)[photo < FOLDS] != photo[photo < FOLDS]).all()


def test_the_nearer_vote_counts_more(monkeypatch):
    features = torch.tensor([[1.0, 0.0], [1.0, 0.01], [1.0, 0.9], [1.0, 0.9], [1.0, 0.9]])
    labels, photo = torch.tensor([0, 1, 2, 2, 2]), torch.tensor([0, 1, 2, 3, 4])
    assert vote(features, labels, photo, classes=3)[0] == 1
    monkeypatch.setattr(readout, "TEMPERATURE", 1e6)
    assert vote(features, labels, photo, classes=3)[0] == 2  # without weights three are more than one


def test_votes_do_not_depend_on_how_many_are_compared_at_a_time(labels, monkeypatch):
    whole = vote(drawn(PATCHES, 16), labels, PHOTO, classes=CLASSES)
    monkeypatch.setattr(readout, "CHUNK", 7)
    assert torch.equal(vote(drawn(PATCHES, 16), labels, PHOTO, classes=CLASSES), whole)


def test_the_linear_map_is_the_ridge_regression_by_hand():
    features, fold = drawn(40, 3).double() * torch.tensor([1.0, 5.0, 0.1]) + 2, torch.arange(40) % 2
    target = features @ torch.tensor([[1.0, 0], [0, 2], [3, 0]]).double() + drawn(40, 2, seed=1)
    train = (fold == 0).numpy()
    x, y = features.numpy()[train], target.numpy()[train]
    middle, deviation = x.mean(0), x.std(0)
    z = (x - middle) / deviation
    slope = np.linalg.solve(z.T @ z + readout.RIDGE * len(z) * np.eye(3), z.T @ (y - y.mean(0)))
    by_hand = (features.numpy()[~train] - middle) / deviation @ slope + y.mean(0)
    np.testing.assert_allclose(linear(features, target, fold)[fold == 1], by_hand, rtol=1e-9)


def test_a_feature_that_never_changes_and_one_that_is_there_twice_do_no_harm():
    features, target = drawn(PATCHES, 4), drawn(PATCHES, 4)[:, :1] * 2
    odd = torch.cat([features, features[:, :1], torch.full((PATCHES, 2), 3.0)], 1)
    answer = linear(odd, target, PHOTO % FOLDS)
    assert answer.isfinite().all()
    assert explained(answer[:, 0], target[:, 0]) > 0.95
    assert linear(torch.ones(PATCHES, 2), target, PHOTO % FOLDS).isfinite().all()


def test_the_size_of_a_feature_does_not_count():
    features, target = drawn(PATCHES, 4), drawn(PATCHES, 1, seed=2)
    size = torch.tensor([1e-3, 1.0, 1e3, 10.0])
    torch.testing.assert_close(
        linear(features * size, target, PHOTO % FOLDS), linear(features, target, PHOTO % FOLDS), rtol=1e-4, atol=1e-6
    )


def test_scores_by_hand():
    truth, answer = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 0])
    assert overlap(answer, truth, classes=4) == {"miou": pytest.approx((1 / 3 + 1 / 2 + 0) / 3), "acc": 0.5}
    numbers = torch.tensor([1.0, 2.0, 3.0])
    assert explained(numbers, numbers) == 1
    assert explained(torch.full((3,), 2.0), numbers) == 0
    assert turned_by(torch.tensor([[1.0, 0, 0], [0, 2, 0]]), torch.tensor([[0, 1.0, 0], [0, 1, 0]])) == pytest.approx(45)
