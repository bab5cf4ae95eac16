"""The order of a stream: everything once per pass, never the same pass twice, and any position at once."""

import numpy as np
import pytest

from shared.data.order import Order, Positions

COUNTS = [5, 1, 9, 4, 7, 2, 8]
N = sum(COUNTS)


def passes(order, first=0, count=1):
    return [[order[p] for p in range(t * order.total, (t + 1) * order.total)] for t in range(first, first + count)]


@pytest.mark.parametrize("window", [1, 2, 3, 7, 100])
def test_each_pass_visits_every_sample_once(window):
    for seen in passes(Order(COUNTS, window=window), count=3):
        assert sorted(seen) == list(range(N))


def test_passes_and_seeds_differ():
    first, second = passes(Order(COUNTS), count=2)
    (other,) = passes(Order(COUNTS, seed=1))
    assert first != second
    assert first != other
    assert first != list(range(N))


def test_any_position_at_once_is_the_position_in_sequence():
    sequential = Order(COUNTS, seed=3, window=2)
    wanted = [sequential[p] for p in range(4 * N)]
    scattered = Order(COUNTS, seed=3, window=2)
    for position in np.random.default_rng(0).permutation(4 * N):
        assert scattered[position] == wanted[position]
    assert Order(COUNTS, seed=3, window=2)[10**12] == Order(COUNTS, seed=3, window=2)[10**12]


def test_neighbours_in_time_are_neighbours_on_disk():
    order = Order([10] * 40, window=4)
    shards = np.array(passes(order)[0]) // 10
    for window in shards.reshape(10, 40):
        assert len(set(window)) == 4
        assert not np.array_equal(window, np.sort(window))


def test_a_window_changes_the_order_and_bounds_the_memory():
    assert passes(Order(COUNTS, window=1)) != passes(Order(COUNTS, window=3))
    order = Order([100] * 50, window=2)
    for position in range(0, 10_000, 7):
        order[position]
    assert sum(len(window) for window in order._windows.values()) <= 2 * 200


@pytest.mark.parametrize("counts", [[1], [0, 3, 0], [1] * 20])
def test_one_sample_and_empty_shards_are_orders_too(counts):
    assert sorted(passes(Order(counts, window=2), first=5)[0]) == list(range(sum(counts)))


def test_every_sample_comes_anywhere_in_a_pass():
    order = Order([4, 4])
    places = np.array(passes(order, count=400))
    first = np.bincount(places[:, 0], minlength=8) / 400
    assert np.abs(first - 1 / 8).max() < 0.06


def batches(**options):
    return list(Positions(**options))


@pytest.mark.parametrize(("processes", "batch"), [(2, 4), (4, 2), (8, 1)])
def test_processes_see_together_what_one_sees(processes, batch):
    alone = batches(batch=8, start=3, stop=9)
    shares = [batches(batch=batch, start=3, stop=9, rank=rank, processes=processes) for rank in range(processes)]
    assert [[position for piece in pieces for position in piece] for pieces in zip(*shares)] == alone
    assert alone[0] == list(range(24, 32))


def test_a_restart_goes_on_where_it_was():
    whole = batches(batch=3, start=0, stop=10)
    assert batches(batch=3, start=4, stop=10) == whole[4:]
    assert len(Positions(3, start=4, stop=10)) == 6
    assert batches(batch=3, start=10, stop=10) == []
    assert len(Positions(3, start=11, stop=10)) == 0
