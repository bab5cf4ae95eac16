"""People put side by side: near each other, never inside one another."""

from collections.abc import Callable

import numpy as np

from shared.data.synthetic.furniture import about_z
from shared.data.synthetic.mesh import Array
from shared.data.synthetic.people import Figure

TOUCH = 0.04  # metres that people keep from each other, measured between some of the points on them
Maker = Callable[[np.random.Generator, str], Figure]  # and the shot, which says how fine the mesh should be


def outline(one: Figure, step: int = 23) -> Array:
    """Some points (M,3) on every piece of a person."""
    return np.concatenate([piece.points[::step] for piece in one.pieces])


def gather(count: int, shot: str, rng: np.random.Generator, make: Maker) -> list[Figure]:
    """People side by side, near each other but never inside one another; the first stands at the origin."""
    found: list[Figure] = []
    for number, own in enumerate(rng.spawn(count)):
        drawn = make(own, shot)
        found.append(drawn if number == 0 else _beside(found, drawn, own))
    return found


def _beside(others: list[Figure], one: Figure, rng: np.random.Generator) -> Figure:
    """The person moved next to others, turned a little, as near as TOUCH allows."""
    from scipy.spatial import KDTree

    angle, turn = rng.uniform(-np.pi, np.pi), rng.normal(0, 0.5) if rng.random() < 0.8 else rng.uniform(-np.pi, np.pi)
    way, spare = np.array([np.cos(angle), 0.7 * np.sin(angle), 0]), rng.uniform(0, 0.4)
    there = KDTree(np.concatenate([outline(other) for other in others]))
    here = outline(one) @ about_z(turn).T
    for away in np.arange(0.2, 6.0, 0.06):
        placed = here + (away + spare) * way
        if not np.isfinite(there.query(placed, distance_upper_bound=TOUCH)[0]).any():
            break
    return moved(one, turn, (away + spare) * way)


def moved(one: Figure, turn: float, at: Array) -> Figure:
    """The person turned about the world's upright axis by `turn` radians, then shifted by `at` (3,) metres."""
    rotation, shift = about_z(turn).astype(np.float32), np.asarray(at, np.float32)
    move = lambda points: points @ rotation.T + shift  # noqa: E731
    pieces, things = (
        [piece._replace(points=move(piece.points), normals=piece.normals @ rotation.T) for piece in some]
        for some in (one.pieces, one.things)
    )
    frames = {name: move(points) for name, points in one.frames.items()}
    head = rotation @ one.head + np.c_[np.zeros((3, 3)), shift]
    return one._replace(pieces=pieces, things=things, keypoints=move(one.keypoints), frames=frames, head=head)
