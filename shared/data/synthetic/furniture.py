"""Things that stand around: built of boxes, tubes, balls, leaves and hanging sheets, each covered with a flat texture.

A Shape is drawn about the origin, on the ground z = 0, its front toward -y.
"""

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from shared.data.synthetic.mesh import Array, Piece, Point, cross, material, piece, units, vertex_normals
from shared.data.synthetic.textures import Texture


class Shape(NamedTuple):
    """Triangles of one texture."""

    points: Array  # (N,3) metres
    normals: Array  # (N,3)
    uv: Array  # (N,2) metres
    faces: Array  # (M,3)
    texture: int  # which of the scene's


Thing = list[Shape]


def moved(thing: Thing, turn: float, at: Point) -> Thing:
    """The thing turned about z by radians and carried to a place (3,)."""
    rotation = about_z(turn)
    return [one._replace(points=one.points @ rotation.T + np.asarray(at), normals=one.normals @ rotation.T) for one in thing]


def about_z(radians: float) -> Array:
    """Rotation (3,3) about the vertical."""
    c, s = np.cos(radians), np.sin(radians)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def pieces(things: Sequence[Thing], textures: Sequence[Texture], *, gloss: Array, glow: Array) -> list[Piece]:
    """One Piece for each texture in use; gloss and glow (T,) by texture."""
    shapes = [shape for thing in things for shape in thing]
    found = []
    for number in sorted({shape.texture for shape in shapes}):
        mine = [shape for shape in shapes if shape.texture == number]
        starts = np.cumsum([0, *(len(shape.points) for shape in mine)])
        uv = np.concatenate([shape.uv for shape in mine])
        found.append(
            piece(
                np.concatenate([shape.points for shape in mine]),
                np.concatenate([shape.faces + start for shape, start in zip(mine, starts)]),
                material("ground", texture=textures[number], gloss=float(gloss[number]), glow=float(glow[number])),
                0,
                normals=np.concatenate([shape.normals for shape in mine]),
                rest=np.c_[uv, np.zeros(len(uv))],
            )
        )
    return found


def quad(corners: Array | Sequence[Point], texture: int, *, fit: tuple[float, float] | None = None) -> Shape:
    """A flat face through corners (4,3), counter-clockwise from the lower left; `fit` is its size for the texture."""
    corners = np.asarray(corners, float)
    width, height = np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[3] - corners[0])
    u, v = (width, height) if fit is None else fit
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    across = units(cross(corners[1:2] - corners[:1], corners[3:] - corners[:1]))
    return Shape(corners, np.repeat(across, 4, 0), np.array([(0, v), (u, v), (u, 0), (0, 0)]), faces, texture)


_SIDES = np.array([(0, 1, 5, 4), (1, 3, 7, 5), (3, 2, 6, 7), (2, 0, 4, 6), (4, 5, 7, 6), (2, 3, 1, 0)])


def box(low: Point, high: Point, texture: int, *, front: int | None = None) -> Thing:
    """A box between two corners; another texture may cover its front."""
    corner = np.array([(x, y, z) for z in (0, 1) for y in (0, 1) for x in (0, 1)])
    corner = np.asarray(low) + corner * (np.asarray(high, float) - low)
    return [quad(corner[side], front if front is not None and n == 0 else texture) for n, side in enumerate(_SIDES)]


def turned(outline: Array, texture: int, *, around: int = 14) -> Shape:
    """A body of revolution about z with an outline (K,2) of radius and height, from the bottom up."""
    angle = np.linspace(0, 2 * np.pi, around + 1)
    radius, height = np.asarray(outline, float).T
    points = np.stack(
        [
            radius[:, None] * np.cos(angle),
            radius[:, None] * np.sin(angle),
            np.broadcast_to(height[:, None], (len(height), around + 1)),
        ],
        -1,
    )
    index = np.arange(points[..., 0].size).reshape(points.shape[:2])
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    flat = points.reshape(-1, 3)
    along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(outline, axis=0), axis=1))]
    uv = np.stack(np.broadcast_arrays(angle[None] * max(radius.max(), 0.02), along[:, None]), -1).reshape(-1, 2)
    return Shape(flat, vertex_normals(flat, faces), uv, faces, texture)


def tube(low: Point, radius: float, height: float, texture: int, *, top: float | None = None) -> Shape:
    """An upright pole or a cone frustum, closed at the top."""
    top = radius if top is None else top
    shape = turned(np.array([(radius, 0), (top, height), (0, height)]), texture, around=10)
    return shape._replace(points=shape.points + np.asarray(low))


def ball(middle: Point, radius: Point | float, texture: int) -> Shape:
    """A ball or an egg."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 9)
    shape = turned(np.stack([np.cos(angle), np.sin(angle)], 1), texture)
    return shape._replace(points=shape.points * radius + np.asarray(middle), uv=shape.uv * np.mean(radius))


def sheet(rng: np.random.Generator, width: float, height: float, texture: int) -> Shape:
    """Cloth that hangs from a line at its upper edge: a curtain, a towel, a coat."""
    across, down = 25, 6
    x, z = np.meshgrid(np.linspace(-width / 2, width / 2, across), np.linspace(0, height, down))
    wave = rng.uniform(0.01, 0.05) * np.sin(x * rng.uniform(15, 45) + rng.uniform(0, 6)) * (0.4 + 0.6 * (1 - z / height))
    points = np.stack([x, wave + 0.02 * np.sin(5 * x), z], -1)
    index = np.arange(across * down).reshape(down, across)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    flat = points.reshape(-1, 3)
    return Shape(flat, vertex_normals(flat, faces), flat[:, [0, 2]], faces, texture)


def leaves(rng: np.random.Generator, middle: Point, radius: Point, size: float, count: int, texture: int) -> Shape:
    """Leaves in a ball or an egg."""
    way = rng.normal(size=(count, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    at = np.asarray(middle) + way * rng.uniform(0.45, 1, (count, 1)) * radius
    first = rng.normal((0, 0, -0.3), 1, (count, 3))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(first, rng.normal(size=(count, 3)))
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    first, second = first * size * rng.uniform(0.6, 1.4, (count, 1)), second * size * 0.3
    points = np.stack([at, at + 0.5 * first + second, at + first, at + 0.5 * first - second], 1).reshape(-1, 3)
    base = 4 * np.arange(count)[:, None]
    faces = np.concatenate([base + np.array([0, 1, 2]), base + np.array([0, 2, 3])])
    uv = np.tile([(0, 0), (size, 0.3 * size), (2 * size, 0), (size, -0.3 * size)], (count, 1)) + rng.uniform(
        0, 1, (count, 2)
    ).repeat(4, 0)
    normals = 0.6 * way + vertex_normals(points, faces)[::4] * 0.4
    return Shape(points, np.repeat(normals, 4, 0), uv, faces, texture)


Maker = Callable[[np.random.Generator, Callable[[str], int]], tuple[Thing, float]]  # rng, pick a texture by kind -> thing, radius


def _table(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    w, d, h, t = rng.uniform(0.3, 0.9), rng.uniform(0.25, 0.5), rng.uniform(0.4, 1.05), pick("wood")
    thing = box((-w, -d, h - 0.04), (w, d, h), t)
    for x in (-w + 0.04, w - 0.04):
        for y in (-d + 0.04, d - 0.04):
            thing.append(tube((x, y, 0), 0.025, h - 0.04, t))
    for _ in range(int(rng.integers(1, 7))):  # what stands on it
        x, y, s = rng.uniform(-w + 0.1, w - 0.1), rng.uniform(-d + 0.1, d - 0.1), rng.uniform(0.04, 0.14)
        kind = rng.integers(4)
        if kind == 0:
            thing += box((x - s, y - s, h), (x + s, y + s, h + s * rng.uniform(0.3, 3)), pick("any"))
        elif kind == 1:
            thing.append(ball((x, y, h + s), s, pick("any")))
        elif kind == 2:
            profile = np.array([(0.0, 0), (0.5, 0.02), (0.6, 0.8), (0.25, 1.3), (0.2, 2), (0, 2)]) * s
            vase = turned(profile, pick("any"))
            thing.append(vase._replace(points=vase.points + np.array([x, y, h])))
        else:
            thing.append(leaves(rng, (x, y, h + 1.5 * s), (s, s, 1.5 * s), s, 40, pick("green")))
    return thing, max(w, d)


def _chair(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    w, h, back, t, soft = 0.22, rng.uniform(0.4, 0.5), rng.uniform(0.75, 1.1), pick("wood"), pick("cloth")
    thing = box((-w, -w, h - 0.06), (w, w, h), soft) + box((-w, w - 0.04, h + 0.12), (w, w, back), soft)
    return thing + [
        tube((x, y, 0), 0.018, h if y < 0 else back, t) for x in (-w + 0.02, w - 0.02) for y in (-w + 0.02, w - 0.02)
    ], 0.33


def _sofa(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    w, t = rng.uniform(0.45, 1.1), pick("cloth")
    thing = box((-w, -0.4, 0.1), (w, 0.4, 0.42), t) + box((-w, 0.2, 0.42), (w, 0.45, 0.85), t)
    thing += box((-w - 0.18, -0.4, 0.1), (-w, 0.4, 0.6), t) + box((w, -0.4, 0.1), (w + 0.18, 0.4, 0.6), t)
    for x in rng.uniform(-w + 0.1, w - 0.1, 2):
        thing.append(ball((x, 0.12, 0.58), (0.2, 0.08, 0.18), pick("any")))
    return thing, w + 0.2


def _shelf(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    w, h = rng.uniform(0.3, 0.9), rng.uniform(0.8, 2.3)
    return box((-w, -0.17, 0), (w, 0.17, h), pick("wood"), front=pick("books")), w


def _cupboard(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    w, d, h, t = rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.35), rng.uniform(0.6, 2.1), pick("any")
    thing = box((-w, -d, 0), (w, d, h), t, front=pick("any") if rng.random() < 0.4 else None)
    for x in (-0.05, 0.05):
        thing.append(tube((x, -d - 0.02, 0.5 * h), 0.01, 0.12, pick("any")))
    return thing, w


def _lamp(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    h, r = rng.uniform(1.2, 1.8), rng.uniform(0.12, 0.25)
    return [
        tube((0, 0, 0), 0.14, 0.03, pick("any")),
        tube((0, 0, 0), 0.012, h, pick("wood")),
        tube((0, 0, h - 0.1), r, 0.28, pick("glow"), top=r * 0.6),
    ], 0.25


def _plant(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    r, h = rng.uniform(0.1, 0.2), rng.uniform(0.2, 0.45)
    s = rng.uniform(0.2, 0.5)
    crown = leaves(rng, (0, 0, h + s), (s * 0.8, s * 0.8, s), rng.uniform(0.08, 0.25), 160, pick("green"))
    return [tube((0, 0, 0), r * 0.7, h, pick("any"), top=r), tube((0, 0, h), 0.02, s, pick("wood")), crown], s


def _cartons(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    thing, z = [], 0.0
    for _ in range(int(rng.integers(1, 5))):
        w, d, h = rng.uniform(0.12, 0.4, 3)
        thing += moved(box((-w, -d, 0), (w, d, h), pick("any")), rng.uniform(-0.3, 0.3), (0, 0, z))
        z += h
    return thing, 0.45


def _rack(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    h = rng.uniform(1.4, 1.9)
    thing: Thing = [tube((x, 0, 0), 0.015, h, pick("wood")) for x in (-0.6, 0.6)]
    for x in rng.uniform(-0.5, 0.5, int(rng.integers(2, 7))):
        cloth = sheet(rng, rng.uniform(0.3, 0.5), rng.uniform(0.5, 1.1), pick("cloth"))
        high = h - float(np.ptp(cloth.points[:, 2]))
        thing += moved([cloth], rng.uniform(-1.2, 1.2), (x, rng.uniform(-0.1, 0.1), high))
    return thing, 0.7


def _balls(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    r = rng.uniform(0.08, 0.45)
    return [ball((0, 0, r), (r, r * rng.uniform(0.7, 1.2), r), pick("any"))], r


def _pole(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    h = rng.uniform(1.5, 5)
    thing: Thing = [tube((0, 0, 0), rng.uniform(0.02, 0.12), h, pick("any"))]
    if rng.random() < 0.6:
        w, s = rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.4)
        thing += box((-w, -0.03, h - s), (w, 0.03, h + s), pick("poster"))
    return thing, 0.3


def _tree(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    h, r = rng.uniform(1.2, 3.2), rng.uniform(0.7, 2.2)
    crown = [
        leaves(rng, rng.normal((0, 0, h + 0.6 * r), 0.35 * r), (r, r, 0.8 * r), rng.uniform(0.1, 0.25), 380, pick("green"))
        for _ in range(2)
    ]
    return [tube((0, 0, 0), rng.uniform(0.06, 0.25), h + 0.5 * r, pick("wood"), top=0.04), *crown], 0.4


def _bush(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    r = rng.uniform(0.3, 1.0)
    inner = ball((0, 0, 0.5 * r), (0.8 * r, 0.8 * r, 0.6 * r), pick("green"))
    return [inner, leaves(rng, (0, 0, 0.5 * r), (r, r, 0.8 * r), rng.uniform(0.08, 0.2), 300, pick("green"))], r


def _car(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    t, glass, tyre = pick("any"), pick("dark"), pick("dark")
    thing = box((-2.0, -0.8, 0.3), (2.0, 0.8, 0.85), t) + box((-1.1, -0.7, 0.85), (1.2, 0.7, 1.35), glass)
    thing += box((-1.0, -0.65, 1.35), (1.1, 0.65, 1.42), t)
    return thing + [ball((x, y, 0.3), (0.32, 0.1, 0.32), tyre) for x in (-1.3, 1.3) for y in (-0.8, 0.8)], 2.1


def _rock(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    r = rng.uniform(0.15, 0.9)
    shape = ball((0, 0, 0.3 * r), (r, r * rng.uniform(0.6, 1.3), r * rng.uniform(0.5, 1)), pick("any"))
    return [shape], r


TWICE: tuple[Maker, ...] = (_table, _chair, _shelf, _plant, _rack)
INDOORS: tuple[Maker, ...] = (*TWICE, *TWICE, _sofa, _cupboard, _lamp, _cartons, _balls)
STREET: tuple[Maker, ...] = (_car, _car, _tree, _pole, _pole, _bush, _cartons, _chair, _plant, _rack)
COUNTRY: tuple[Maker, ...] = (_tree, _tree, _bush, _bush, _rock, _pole, _table)
BEFORE: tuple[Maker, ...] = (_table, _chair, _plant, _balls, _cartons, _pole, _bush)  # what may stand in the way
MAKERS = MappingProxyType({"indoors": INDOORS, "street": STREET, "country": COUNTRY, "before": BEFORE})
