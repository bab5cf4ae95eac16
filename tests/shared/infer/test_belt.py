"""A belt gives back in order what it was given, however long each thing takes, and never holds more than it may."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.infer.belt import Belt, Here


@pytest.fixture
def pool():
    with ThreadPoolExecutor(3) as threads:
        yield threads


def test_what_is_done_first_waits_for_what_was_given_first(pool):
    later = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert later.wait(10), "nobody works beside the first"
        later.set()
        return -number

    with Belt(pool, most=5) as belt:
        got = [(thing, future.result()) for thing, future in belt.over(range(20), weigh=lambda _: 1, work=work)]
    assert got == [(number, -number) for number in range(20)]


@pytest.mark.parametrize("weights", [[2] * 30, [1, 9, 3, 50, 2, 2, 2, 7, 1, 1, 1] * 2])
def test_no_more_is_on_it_than_it_may_hold_however_slow_the_owner(pool, weights):
    most, lock, held, peak = 8, threading.Lock(), 0, 0

    def work(weight: int) -> int:
        nonlocal held, peak
        with lock:
            held += weight
            peak = max(peak, held if held > weight else 0)  # one thing alone may be heavier
        return weight

    with Belt(pool, most=most) as belt:
        for number, (weight, future) in enumerate(belt.over(weights, weigh=lambda weight: weight, work=work)):
            future.result()
            time.sleep(0.002)
            with lock:
                held -= weight
            assert weight == weights[number]
    assert 0 < peak <= most
    assert number == len(weights) - 1


def test_where_it_is_left_by_an_error_what_has_begun_ends_and_the_rest_never_begins(pool):
    begun, go_on = [], threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        assert go_on.wait(10)
        return number

    def fails(belt: Belt) -> None:
        for number in range(10):
            belt.put(number, 1, work, number)
        while len(begun) < 3:
            time.sleep(0.001)
        threading.Timer(0.05, go_on.set).start()
        raise KeyboardInterrupt

    belt = Belt(pool, most=10)
    with pytest.raises(KeyboardInterrupt), belt:
        fails(belt)
    assert sorted(begun) == [0, 1, 2]
    assert [future.result() for _, future in belt.rest()] == [0, 1, 2]


def test_without_threads_nothing_is_done_ahead():
    story = []
    with Here() as here, Belt(here, most=100) as belt:
        for thing, _ in belt.over("abc", weigh=lambda _: 1, work=lambda thing: story.append(f"make {thing}")):
            story.append(f"use {thing}")
    assert story == ["make a", "use a", "make b", "use b", "make c", "use c"]


def test_what_goes_wrong_is_raised_where_it_is_looked_at_and_the_rest_goes_on(pool):
    for workers in (pool, Here()):
        with Belt(workers, most=3) as belt:
            found = [
                future.exception() or future.result() for _, future in belt.over([1, 0, 2], weigh=lambda _: 1, work=lambda n: 2 / n)
            ]
        assert found[::2] == [2, 1]
        assert isinstance(found[1], ZeroDivisionError)
