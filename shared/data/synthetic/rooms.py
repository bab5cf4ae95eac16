"""Rooms: four walls around the people and the camera, with pictures, windows, doors, shelves, curtains and coats on them."""

from collections.abc import Callable, Sequence

import numpy as np

from shared.data.synthetic import textures as draw
from shared.data.synthetic.furniture import Thing, box, moved, quad, sheet
from shared.data.synthetic.mesh import Array
from shared.data.synthetic.store import Store

FITTINGS = {"picture": 0.42, "window": 0.1, "door": 0.06, "shelf": 0.2, "curtain": 0.12, "coat": 0.1}


def room(rng: np.random.Generator, store: Store, *, inside: Array, gaze: Callable[[], Array]) -> Thing:
    """A room around points inside it (N,3), of which the last is the camera; gaze draws directions (3,) into its picture."""
    turn = rng.uniform(-np.pi, np.pi)
    c, s = np.cos(turn), np.sin(turn)
    back = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])  # world rows -> the room's
    local = inside @ back
    low = local.min(0) - rng.uniform(0.5, 2.8, 3)
    high = local.max(0) + rng.uniform(0.5, 2.8, 3)
    low[2], high[2] = 0.0, max(rng.uniform(2.3, 3.3), local[:, 2].max() + 0.25)
    corner = [np.array([x, y, 0]) for x, y in ((low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1]))]
    rise = np.array([0, 0, high[2]])
    walls = [(corner[(n + 1) % 4], corner[n]) for n in range(4)]  # seen from inside, left to right
    floor, ceiling = store.pick("floor"), store.picture(np.full((8, 8, 3), rng.uniform(0.5, 0.85), np.float32))
    thing: Thing = [quad(np.stack(corner), floor), quad(np.stack([one + rise for one in corner[::-1]]), ceiling)]
    paper, edge = store.pick("wall"), store.pick("wood")
    for start, end in walls:
        along = (end - start) / np.linalg.norm(end - start)
        wall = paper if rng.random() < 0.75 else store.pick("wall")
        thing.append(quad(np.stack([start, end, end + rise, start + rise]), wall))
        inward = np.array([-along[1], along[0], 0]) * -0.015
        skirt = np.array([0, 0, 0.1])
        thing.append(quad(np.stack([start, end, end + skirt, start + skirt]) - inward, edge))
        thing += _wall_fittings(rng, store, start, along, float(np.linalg.norm(end - start)), high[2], int(rng.integers(1, 5)))
    for _ in range(int(rng.integers(2, 9))):
        thing += _where_it_looks(rng, store, local[-1], gaze() @ back, walls, high[2])
    return moved(thing, turn, (0, 0, 0))


def _where_it_looks(
    rng: np.random.Generator, store: Store, eye: Array, way: Array, walls: Sequence[tuple[Array, Array]], top: float
) -> Thing:
    """Something on the wall that a gaze from the eye meets."""
    for start, end in walls:
        along = end - start
        matrix = np.stack([way[:2], -along[:2]], 1)
        if abs(np.linalg.det(matrix)) < 1e-6:
            continue
        ahead, share = np.linalg.solve(matrix, start[:2] - eye[:2])
        height = eye[2] + ahead * way[2]
        if ahead > 0.5 and 0.05 < share < 0.95 and 0.2 < height < top - 0.2:
            return _fitting(rng, store, start + share * along + [0, 0, height], along / np.linalg.norm(along), top)
    return []


def _wall_fittings(
    rng: np.random.Generator, store: Store, start: Array, along: Array, length: float, top: float, count: int
) -> Thing:
    found: Thing = []
    for at in rng.uniform(0.4, max(length - 0.4, 0.5), count):
        found += _fitting(rng, store, start + at * along + [0, 0, rng.uniform(0.9, 1.8)], along, top)
    return found


def _fitting(rng: np.random.Generator, store: Store, at: Array, along: Array, top: float) -> Thing:
    """A picture, a window, a door, a wall shelf, a curtain or a coat on a wall at a point (3,)."""
    at = at - along[[1, 0, 2]] * (-1, 1, 0) * rng.uniform(0, 0.02)  # or two that overlap would lie in one plane
    w, h = rng.uniform(0.12, 0.6), rng.uniform(0.15, 0.6)
    turn = float(np.arctan2(along[1], along[0]))  # a thing's front looks to -y, which is into the room
    kind = str(rng.choice(list(FITTINGS), p=list(FITTINGS.values())))
    if kind == "picture":
        h = min(h, at[2] - 0.05, top - at[2])
        frame = box((-w, -0.03, -h), (w, -0.002, h), store.pick("wood"))
        face = quad(
            [
                (-w + 0.03, -0.032, -h + 0.03),
                (w - 0.03, -0.032, -h + 0.03),
                (w - 0.03, -0.032, h - 0.03),
                (-w + 0.03, -0.032, h - 0.03),
            ],
            store.picture(draw.poster(rng)),
            fit=(1, 1),
        )
        return moved([*frame, face], turn, at)
    if kind in ("window", "door"):
        w, low, high = w + 0.25, (0.0 if kind == "door" else 0.9), 2.1
        view = draw.foliage(rng) if rng.random() < 0.5 else draw.poster(rng)
        pane = store.picture(view, glow=rng.uniform(0.5, 3)) if kind == "window" else store.pick("wood")
        frame = box((-w - 0.06, -0.03, low), (w + 0.06, -0.002, high), store.pick("wood"))
        face = quad(
            [(-w, -0.032, low + 0.06), (w, -0.032, low + 0.06), (w, -0.032, high - 0.06), (-w, -0.032, high - 0.06)],
            pane,
            fit=(1, 1),
        )
        bar = box((-0.02, -0.045, low), (0.02, -0.03, high), store.pick("wood"))
        return moved([*frame, face, *bar], turn, (at[0], at[1], 0))
    if kind == "shelf":
        thing = box((-w, -0.2, -0.02), (w, -0.002, 0.02), store.pick("wood"))
        x = -w
        while x < w - 0.05:
            wide, tall = rng.uniform(0.02, 0.12), rng.uniform(0.08, 0.3)
            thing += box((x, -0.18, 0.02), (min(x + wide, w), -0.03, tall), store.pick("any"))
            x += wide + rng.uniform(0, 0.08)
        return moved(thing, turn, at)
    if kind == "curtain":
        long = rng.uniform(1.0, 2.0)
        return moved(
            [sheet(rng, 2 * w, long, store.pick("cloth"))], turn, at - along[[1, 0, 2]] * (-0.08, 0.08, 0) - [0, 0, at[2] - 0.02]
        )
    coat = sheet(rng, rng.uniform(0.25, 0.5), rng.uniform(0.4, 1.0), store.pick("cloth"))
    drop = float(np.ptp(coat.points[:, 2]))
    return moved([coat], turn, at - along[[1, 0, 2]] * (-0.08, 0.08, 0) + [0, 0, max(1.6 - drop, 0.1) - at[2]])
