"""People keep their numbers: through a crossing, through a pole they pass behind, in whatever order a detector lists them."""

import numpy as np
import pytest

from shared.infer.tracking import PATIENCE_S, Tracker, overlaps, similarities

FPS = 25
SHAPES = np.random.default_rng(3).uniform(0.1, 0.9, (2, 17, 2))  # two people hold themselves differently


def person(x: float, y: float, who: int, *, wide: float = 60, high: float = 150) -> tuple[np.ndarray, np.ndarray]:
    """Box (4,) and points (17,3) of somebody whose upper left corner is at x, y."""
    points = np.concatenate([SHAPES[who] * [wide, high] + [x, y], np.ones((17, 1))], 1)
    return np.array([x, y, x + wide, y + high]), points


def walk(tracker: Tracker, frames: list[list[tuple[np.ndarray, np.ndarray]]]) -> list[list[int]]:
    """Numbers of the people of each frame."""
    numbers = []
    for n, people in enumerate(frames):
        boxes = np.stack([box for box, _ in people]) if people else np.zeros((0, 4))
        points = np.stack([points for _, points in people]) if people else np.zeros((0, 17, 3))
        numbers.append(tracker(boxes, points, seconds=n / FPS).tolist())
    return numbers


def crossing(n: int, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """One goes right, one left; in the middle their boxes are one. Three pixels of noise."""
    noise = rng.normal(0, 1.5, (2, 2))
    return [person(6 * n + noise[0, 0], noise[0, 1], 0), person(300 - 6 * n + noise[1, 0], 4 + noise[1, 1], 1)]


def test_two_who_cross_keep_their_numbers_in_whatever_order_they_are_listed():
    rng = np.random.default_rng(0)
    frames, wanted = [], []
    for n in range(51):
        order = rng.permutation(2)
        people = crossing(n, rng)
        frames.append([people[who] for who in order])
        wanted.append(order.tolist())
    numbers = walk(Tracker(None), frames)
    names = dict(zip(wanted[0], numbers[0]))
    assert numbers == [[names[who] for who in order] for order in wanted]


def test_twins_who_cross_are_told_apart_by_their_pace():
    frames = [[person(6.0 * n, 0, 0), person(303 - 6.0 * n, 0, 0)] for n in range(51)]
    assert walk(Tracker(None), frames) == [[1, 2]] * 51


def test_who_passes_behind_a_pole_comes_back_with_the_same_number():
    frames = [[person(4.0 * n, 0, 0)] if not 20 <= n < 32 else [] for n in range(50)]
    numbers = walk(Tracker(None), frames)
    assert [row for row in numbers if row] == [[1]] * 38


def test_one_of_two_is_missed_in_the_middle_of_a_crossing():
    frames = [crossing(n, np.random.default_rng(n)) for n in range(51)]
    for n in range(23, 28):
        frames[n] = frames[n][:1]  # the other is hidden
    numbers = walk(Tracker(None), frames)
    assert all(row == [1, 2][: len(row)] for row in numbers)


def test_who_is_half_hidden_before_and_after_comes_back_with_the_same_number():
    def shown(n: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """A runner behind a pole of 60 pixels whose points nobody is sure of; less than half of somebody is nobody."""
        box, points = person(12.0 * n, 0, 0)
        points[:, 2] = 0
        if box[2] > 200 and box[0] < 200:  # the left edge of the pole
            box[2] = 200
        if box[0] < 260 and box[2] > 260:
            box[0] = 260
        hidden = box[2] - box[0] < 30 or (box[0] >= 200 and box[2] <= 260)
        return [] if hidden else [(box, points)]

    numbers = walk(Tracker(None), [shown(n) for n in range(30)])
    assert {number for row in numbers for number in row} == {1}
    assert [] in numbers


def test_who_is_away_for_too_long_is_somebody_new_and_no_number_is_given_twice():
    away = round(PATIENCE_S * FPS)
    for gap, number in ((away, 1), (away + 1, 2)):
        frames = [[person(0, 0, 0)], *[[] for _ in range(gap - 1)], [person(0, 0, 0)]]
        tracker = Tracker(None)
        assert walk(tracker, frames)[-1] == [number]
        assert tracker.alive == {number}


def test_somebody_elsewhere_is_somebody_else():
    assert walk(Tracker(None), [[person(0, 0, 0)], [person(500, 0, 0)], [person(0, 0, 0), person(500, 0, 0)]])[-1] == [1, 2]


def test_points_decide_between_boxes_that_agree():
    box, points = person(0, 0, 0)
    other = person(0, 0, 1)[1]
    tracker = Tracker(None)
    assert tracker(np.stack([box, box]), np.stack([points, other]), seconds=0).tolist() == [1, 2]
    assert tracker(np.stack([box, box]), np.stack([other, points]), seconds=0.04).tolist() == [2, 1]


def test_boxes_decide_where_no_point_is_sure():
    frames = [[person(6.0 * n, 0, 0), person(6.0 * n + 100, 0, 0)] for n in range(10)]
    for people in frames:
        for _, points in people:
            points[:, 2] = 0.1
    assert walk(Tracker(None), frames) == [[1, 2]] * 10


def test_overlaps_are_what_one_counts_by_hand():
    boxes = np.array([[0.0, 0, 4, 4], [0, 0, 0, 0]])
    others = np.array([[2.0, 2, 6, 6], [0, 0, 4, 2], [9, 9, 9, 9]])
    assert np.allclose(overlaps(boxes[:, None], others[None]), [[4 / 28, 0.5, 0], [0, 0, 0]])


def test_similarities_are_those_of_coco_over_what_both_show():
    pose = np.array([[[10.0, 10, 1], [20, 20, 1], [30, 30, 0.2]]])
    other = np.array([[[13.0, 14, 1], [20, 20, 1], [99, 99, 1]]])
    near = np.exp(-25 / (2 * 100 * (2 * 0.1) ** 2))
    assert similarities(pose, other, np.array([100.0]), [0.1, 0.2, 0.3]) == pytest.approx((near + 1) / 2)
    pose[..., 2] = 0
    assert np.isnan(similarities(pose, other, np.array([100.0]), None)).all()


def test_sixty_people_in_a_square_keep_their_numbers():
    rng = np.random.default_rng(1)
    places = np.stack(np.meshgrid(np.arange(10) * 45.0, np.arange(6) * 100.0), -1).reshape(-1, 2)
    pace = rng.normal(0, 1, (60, 2))
    frames = [[person(x + n * dx, y + n * dy, 0) for (x, y), (dx, dy) in zip(places, pace)] for n in range(12)]
    assert walk(Tracker(None), frames) == [list(range(1, 61))] * 12
