"""Borders of classes, counted on fingers and by brute force over all pairs of pixels."""

import numpy as np
import pytest

from tasks.seg.boundary import matches, tolerance_px

IGNORE = 255


def brute(answer, truth, classes, reach):
    """The same from the definition: every border pixel against every other."""

    def border(labels, c):
        H, W = labels.shape
        found = []
        for i, j in zip(*np.nonzero(labels == c)):
            beside = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
            inside = [labels[y, x] for y, x in beside if 0 <= y < H and 0 <= x < W]
            if any(label not in (c, IGNORE) for label in inside):
                found.append((i, j))
        return np.array(found).reshape(-1, 2)

    answer = np.where(truth == IGNORE, IGNORE, answer)
    counts = np.zeros((classes, 4))
    for c in range(classes):
        a, t = border(answer, c), border(truth, c)
        apart = np.linalg.norm(a[:, None] - t[None], axis=-1)
        near = apart <= reach
        counts[c] = near.any(1).sum(), len(a), near.any(0).sum(), len(t)
    return counts


def halves(H, W, column):
    labels = np.zeros((H, W), np.uint8)
    labels[:, column:] = 1
    return labels


def test_a_border_by_hand():
    truth = halves(4, 6, 3)
    assert matches(truth, truth, 2, ignore=IGNORE).tolist() == [[4, 4, 4, 4]] * 2
    assert matches(halves(4, 6, 4), truth, 2, ignore=IGNORE).tolist() == [[4, 4, 4, 4]] * 2, "a pixel off is within the tolerance"
    assert matches(halves(4, 6, 5), truth, 2, ignore=IGNORE).tolist() == [[0, 4, 0, 4]] * 2, "two are not"
    assert matches(np.zeros((4, 6), np.uint8), truth, 2, ignore=IGNORE).tolist() == [[0, 0, 0, 4]] * 2


def test_the_tolerance_is_a_share_of_the_diagonal_and_at_least_a_pixel():
    assert tolerance_px((300, 400)) == pytest.approx(0.0075 * 500)
    assert tolerance_px((30, 40)) == 1
    truth = halves(300, 400, 200)
    assert matches(halves(300, 400, 203), truth, 2, ignore=IGNORE)[0].tolist() == [300] * 4
    assert matches(halves(300, 400, 204), truth, 2, ignore=IGNORE)[0].tolist() == [0, 300, 0, 300]


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_those_of_brute_force(seed):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 5, (2, 5, 4))
    truth, answer = (np.kron(labels, np.ones((6, 7), int)).astype(np.uint8) for labels in small)
    answer = np.roll(answer, seed, axis=1)
    truth[rng.random(truth.shape) < 0.05] = IGNORE
    found = matches(answer, truth, 6, ignore=IGNORE)
    assert found.tolist() == brute(answer, truth, 6, 1.0).tolist()
    assert found[:5, 1].min() > 0


def test_neither_the_edge_of_the_picture_nor_that_of_the_unknown_is_a_border():
    truth = np.full((5, 6), 2, np.uint8)
    truth[:, 3] = IGNORE
    truth[:, 4:] = 1
    assert not matches(truth, truth, 3, ignore=IGNORE).any()
    assert not matches(truth, np.full_like(truth, IGNORE), 3, ignore=IGNORE).any()
