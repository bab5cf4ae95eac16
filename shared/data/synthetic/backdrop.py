"""What is behind and around people: rooms, streets, the country, studios, heaps of anything, or a photo of the user's.

Everything is built around people and the camera, and clutter is put where the camera looks: a close-up sees shelves and pictures,
not bare paint. Nothing of it ever touches a person, and little stands in the way.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from shared.data.synthetic import textures as draw
from shared.data.synthetic.camera import Camera
from shared.data.synthetic.clutter import CLUTTER
from shared.data.synthetic.furniture import MAKERS, Shape, Thing, box, leaves, moved, pieces, quad, turned
from shared.data.synthetic.mesh import Array, Piece
from shared.data.synthetic.rooms import room
from shared.data.synthetic.sky import Sky, panorama
from shared.data.synthetic.store import Store
from shared.data.synthetic.textures import cloud, colour

SHARES = {"room": 0.5, "street": 0.18, "country": 0.14, "studio": 0.08, "heap": 0.1}
INDOOR = frozenset({"room", "studio", "heap"})
GAP = 0.25  # metres between a person and any thing
MOST_HIDDEN = 0.45  # share of the people that such a thing may hide
CHANCE_BEFORE = 0.2  # that something stands between the camera and the people


class Backdrop(NamedTuple):
    """Things, and what is seen where there are none."""

    kind: str
    pieces: list[Piece]
    sky: Sky


class Stage(NamedTuple):
    """Where the camera and the people are; points on people (M,3) world metres."""

    camera: Camera
    bodies: Array


def backdrop(rng: np.random.Generator, stage: Stage, *, kind: str | None = None) -> Backdrop:
    """A random backdrop around a stage."""
    kind = kind or str(rng.choice(list(SHARES), p=list(SHARES.values())))
    store = Store(rng)
    things = _BUILD[kind](rng, stage, store)
    if rng.random() < CHANCE_BEFORE:
        things += _in_the_way(rng, stage, store)
    made = pieces(things, store.textures, gloss=np.array(store.gloss), glow=np.array(store.glow))
    return Backdrop(kind, made, panorama(rng, kind))


def _free(stage: Stage, at: Array, radius: float) -> bool:
    """Whether a thing at (2,) metres touches nobody, nor stands between the camera and anybody."""
    eye, people = stage.camera.position[:2], stage.bodies[:, :2]
    if np.linalg.norm(people - at, axis=1).min() < radius + GAP or np.linalg.norm(eye - at) < radius + 0.3:
        return False
    along = people - eye
    where = np.clip(((at - eye) * along).sum(1) / np.maximum((along**2).sum(1), 1e-9), 0, 1)
    return bool(np.linalg.norm(eye + where[:, None] * along - at, axis=1).min() > radius)


def gaze(rng: np.random.Generator, camera: Camera, spread: float = 1.1) -> Array:
    """A random direction (3,) into the picture, or a little beside it, of length 1 along the axis."""
    way = np.array([*(rng.uniform(-spread, spread, 2) * (1.5, 2) / camera.focal), 1])
    return way @ camera.rotation


def _scatter(
    rng: np.random.Generator, stage: Stage, store: Store, kind: str, count: int, reach: tuple[float, float]
) -> list[Thing]:
    """Things on the ground, most of them behind the people as the camera sees it, at distances of `reach` metres behind them."""
    found, middle = [], stage.bodies.mean(0)
    ahead = stage.camera.rotation[2, :2] / np.linalg.norm(stage.camera.rotation[2, :2])
    away = float((middle[:2] - stage.camera.position[:2]) @ ahead)
    for _ in range(3 * count):
        if len(found) == count:
            break
        way = gaze(rng, stage.camera, 1.4)[:2]
        at = stage.camera.position[:2] + way / max(way @ ahead, 0.3) * (away + rng.uniform(*reach) ** 1.0)
        if rng.random() < 0.2:
            at = middle[:2] + rng.normal(0, max(2.0, reach[1] / 2), 2)
        thing, radius = _thing(rng, store, kind)
        if _free(stage, at, radius):
            found.append(moved(thing, rng.uniform(-np.pi, np.pi), (*at, 0)))
    return found


def _thing(rng: np.random.Generator, store: Store, kind: str) -> tuple[Thing, float]:
    """A random thing of a kind, and its radius in metres."""
    makers = (*MAKERS[kind], *CLUTTER[kind])
    return makers[rng.integers(len(makers))](rng, store.pick)


def _in_the_way(rng: np.random.Generator, stage: Stage, store: Store) -> list[Thing]:
    """One thing between the camera and the people, to one side."""
    eye, middle = stage.camera.position[:2], stage.bodies.mean(0)[:2]
    share, aside = rng.uniform(0.35, 0.7), rng.normal(0, 0.25)
    at = eye + share * (middle - eye)
    at = at + aside * np.array([-(middle - eye)[1], (middle - eye)[0]]) * share
    thing, radius = _thing(rng, store, "before")
    clear = np.linalg.norm(stage.bodies[:, :2] - at, axis=1).min() > radius + GAP and np.linalg.norm(eye - at) > radius + 0.3
    placed = moved(thing, rng.uniform(-np.pi, np.pi), (*at, 0))
    return [placed] if clear and _hidden(stage, placed) < MOST_HIDDEN else []


def _hidden(stage: Stage, thing: Thing) -> float:
    """What share of the people's outline lies within the thing's."""
    spans = []
    for points in (stage.bodies, np.concatenate([shape.points for shape in thing])):
        seen = stage.camera.view(points)
        flat = seen[seen[:, 2] > 0.1]
        at = np.clip(flat[:, :2] / flat[:, 2:], -1.5 / stage.camera.focal, 1.5 / stage.camera.focal)
        spans.append((at.min(0), at.max(0)) if len(at) else (np.zeros(2), np.zeros(2)))
    (low, high), (start, end) = spans
    both = np.clip(np.minimum(high, end) - np.maximum(low, start), 0, None)
    return float(both.prod() / max((high - low).prod(), 1e-9))


def _room(rng: np.random.Generator, stage: Stage, store: Store) -> list[Thing]:
    walls = room(
        rng, store, inside=np.concatenate([stage.bodies, stage.camera.position[None]]), gaze=lambda: gaze(rng, stage.camera)
    )
    return [walls, *_scatter(rng, stage, store, "indoors", int(rng.integers(4, 15)), (0.2, 3.5))]


def _ground(store: Store, kind: str, *, size: float = 80.0, bumps: Callable[[Array], Array] | None = None) -> Thing:
    count = 2 if bumps is None else 60
    x, y = np.meshgrid(np.linspace(-size, size, count), np.linspace(-size, size, count))
    flat = np.stack([x, y, 0 * x], -1).reshape(-1, 3)
    if bumps is not None:
        flat[:, 2] = bumps(flat[:, :2])
    index = np.arange(count * count).reshape(count, count)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return [Shape(flat, np.tile([0, 0, 1.0], (len(flat), 1)), flat[:, :2], faces, store.pick(kind))]


def _street(rng: np.random.Generator, stage: Stage, store: Store) -> list[Thing]:
    things = [_ground(store, str(rng.choice(["pavement", "pavement", "floor", "dark"])))]
    middle = stage.bodies.mean(0)
    near = float(np.linalg.norm(stage.bodies[:, :2] - middle[:2], axis=1).max() + np.linalg.norm(stage.camera.position - middle))
    ahead = np.arctan2(stage.camera.rotation[2, 1], stage.camera.rotation[2, 0])
    for number in range(int(rng.integers(4, 10))):
        angle = ahead + (rng.uniform(-0.7, 0.7) if number < 4 else rng.uniform(-np.pi, np.pi))
        away = (rng.uniform(2.5, 14) if number < 4 else near + rng.uniform(3, 20)) + 1.5
        w, h = rng.uniform(2, 8), rng.uniform(2.5, 14)
        front = (
            store.pick("facade", period=float(rng.uniform(3, 6)), most=3) if rng.random() < 0.7 else store.pick("wall", period=2.0)
        )
        house = box((-w, 0, 0), (w, 4, h), front)
        house.append(quad([(-0.5, -0.05, 0), (0.5, -0.05, 0), (0.5, -0.05, 2.1), (-0.5, -0.05, 2.1)], store.pick("wood")))
        if rng.random() < 0.5:
            sign = store.picture(draw.poster(rng))
            house.append(
                quad([(-w * 0.7, -0.1, 2.2), (w * 0.7, -0.1, 2.2), (w * 0.7, -0.1, 3), (-w * 0.7, -0.1, 3)], sign, fit=(1, 1))
            )
        at = middle[:2] + away * np.array([np.cos(angle), np.sin(angle)])
        if np.linalg.norm(at - stage.camera.position[:2]) > 3:
            things.append(moved(house, angle - np.pi / 2 + rng.normal(0, 0.25), (*at, 0)))
    return things + _scatter(rng, stage, store, "street", int(rng.integers(5, 16)), (0.3, 9))


def _country(rng: np.random.Generator, stage: Stage, store: Store) -> list[Thing]:
    middle, phase = stage.bodies.mean(0)[:2], rng.uniform(0, 6, 2)
    height, wave = rng.uniform(0, 1.5), rng.uniform(0.1, 0.4)
    flat = float(np.linalg.norm(stage.camera.position[:2] - middle)) + 3

    def bumps(at: Array) -> Array:
        away = np.clip((np.linalg.norm(at - middle, axis=1) - flat) / 10, 0, 1)
        return away * height * (np.sin(at[:, 0] * wave + phase[0]) + np.sin(at[:, 1] * wave + phase[1]))

    things = [_ground(store, str(rng.choice(["green", "green", "dark", "floor"])), bumps=bumps)]
    tufts = [leaves(rng, (*middle, 0), (4, 4, 0.06), 0.12, 600, store.pick("green"))] if rng.random() < 0.5 else []
    things.append([one for one in tufts if _free(stage, middle + 9, 0)])
    return things + _scatter(rng, stage, store, "country", int(rng.integers(6, 20)), (0.3, 14))


def _studio(rng: np.random.Generator, stage: Stage, store: Store) -> list[Thing]:
    """A paper roll: the floor bends up into the wall behind the people."""
    ahead = np.arctan2(stage.camera.rotation[2, 1], stage.camera.rotation[2, 0])
    tone = colour(rng, str(rng.choice(["pale", "any", "dark"])))
    paper = store.picture(tone * (1 + 0.03 * cloud(rng, 2, 5)[..., None]))
    bend = np.array([(-30.0, 0), (1.0, 0), *((1 + np.sin(a), 1 - np.cos(a)) for a in np.linspace(0.2, np.pi / 2, 6)), (2.0, 30)])
    x = np.array([-30.0, 30])
    points = np.stack([np.broadcast_to(x, (len(bend), 2)), bend[:, :1].repeat(2, 1), bend[:, 1:].repeat(2, 1)], -1).reshape(-1, 3)
    index = np.arange(2 * len(bend)).reshape(-1, 2)
    faces = np.concatenate(
        [np.stack([index[:-1, 0], index[:-1, 1], index[1:, 1]], 1), np.stack([index[:-1, 0], index[1:, 1], index[1:, 0]], 1)]
    )
    normals = turned(np.array([(1, 0), (1, 1)]), 0).normals[:1] * 0 + [0, -0.7, 0.7]
    roll = Shape(points, np.repeat(normals, len(points), 0), points[:, [0, 2]] * 0.2, faces, paper)
    reach = float((stage.bodies[:, :2] @ [np.cos(ahead), np.sin(ahead)]).max()) + rng.uniform(0.3, 2)
    at = np.array([np.cos(ahead), np.sin(ahead)]) * reach
    return [moved([roll], ahead - np.pi / 2, (*at, 0)), *_scatter(rng, stage, store, "indoors", int(rng.integers(0, 4)), (0.1, 1))]


def _heap(rng: np.random.Generator, stage: Stage, store: Store) -> list[Thing]:
    """Anything anywhere: boxes, balls and boards of all textures, for a network that must not trust backgrounds."""
    things = [_ground(store, "floor")]
    eye, middle = stage.camera.position, stage.bodies.mean(0)
    away = float(np.linalg.norm(stage.bodies - eye, axis=1).max())
    for _ in range(int(rng.integers(25, 70))):
        size = rng.uniform(0.1, 1.2, 3) * rng.uniform(0.3, 1.0)
        at = eye + gaze(rng, stage.camera, 1.3) * (away + 0.4 + float(size.max()) + rng.uniform(0, 4))
        if np.linalg.norm(stage.bodies - at, axis=1).min() < float(np.linalg.norm(size)) + 0.1 or at[2] < -1:
            continue
        kind = rng.integers(3)
        number = store.pick(str(rng.choice(["any", "poster", "cloth", "wood", "books"])))
        if kind == 0:
            thing = box(-size, size, number)
        elif kind == 1:
            thing = [leaves(rng, (0, 0, 0), size, 0.2, 80, number)]
        else:
            thing = box((-size[0], -0.02, -size[2]), (size[0], 0.02, size[2]), number)
        things.append(moved(thing, rng.uniform(-np.pi, np.pi), at))
    wall = away + 6
    centre = np.array([*(middle[:2] + stage.camera.rotation[2, :2] * wall), 0])
    turn = float(np.arctan2(stage.camera.rotation[2, 1], stage.camera.rotation[2, 0]) - np.pi / 2)
    things.append(moved([quad([(-20, 0, -3), (20, 0, -3), (20, 0, 12), (-20, 0, 12)], store.pick("wall"))], turn, centre))
    return things


_BUILD = {"room": _room, "street": _street, "country": _country, "studio": _studio, "heap": _heap}
