"""What a network takes for people and their clothes: bars as thin as limbs, and cloth that nobody wears."""

from collections.abc import Callable
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from shared.data.synthetic.furniture import Shape, Thing, ball, box, moved, sheet
from shared.data.synthetic.mesh import Array, cross, units


def bar(start: Array, end: Array, radius: float, texture: int) -> Shape:
    """A straight bar of four sides between two points (3,)."""
    way = units((end - start)[None])[0]
    first = units(cross(way[None], np.array([[0.3, 0.9, 0.31]])))[0]
    second = np.cross(way, first)
    ring = np.stack([first, second, -first, -second])
    points = np.concatenate([start + radius * ring, end + radius * ring])
    a = np.arange(4)
    b = (a + 1) % 4
    faces = np.concatenate([np.stack([a, b, b + 4], 1), np.stack([a, b + 4, a + 4], 1)])
    return Shape(points, np.tile(ring, (2, 1)), points[:, [0, 2]], faces, texture)


def fence(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    """Rails and upright bars: a railing, a barrier, a garden fence."""
    w, h, t, gap = (
        rng.uniform(0.5, 1.5),
        rng.uniform(0.6, 1.4),
        pick(str(rng.choice(["dark", "wood", "any"]))),
        rng.uniform(0.08, 0.3),
    )
    thick = gap * rng.uniform(0.1, 0.4)
    thing = box((-w, -0.015, 0.09), (w, 0.015, 0.12), t) + box((-w, -0.015, h - 0.03), (w, 0.015, h), t)
    for x in np.arange(-w, w + 0.01, gap):
        thing += box((x - thick / 2, -0.01, 0), (x + thick / 2, 0.01, h), t)
    return thing, w


def bicycle(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    """Two wheels and a frame of bars, as far as that is seen from a few metres."""
    frame, tyre, thing = pick("any"), pick("dark"), []
    angle = np.linspace(0, 2 * np.pi, 13)
    for x in (-0.5, 0.5):
        rim = np.stack([x + 0.33 * np.cos(angle), 0 * angle, 0.34 + 0.33 * np.sin(angle)], 1)
        thing += [bar(a, b, 0.02, tyre) for a, b in pairwise(rim)]
    saddle, pedals, fork = (-0.15, 0.0, 0.85), (-0.08, 0.0, 0.32), (0.36, 0.0, 0.82)
    for a, b in ((pedals, saddle), (pedals, fork), (saddle, fork), ((-0.5, 0, 0.34), saddle), ((-0.5, 0, 0.34), pedals)):
        thing.append(bar(np.array(a), np.array(b), 0.018, frame))
    thing += [bar(np.array((0.5, 0, 0.34)), np.array((0.33, 0, 1.0)), 0.018, frame)]
    thing += [bar(np.array((0.33, -0.28, 1.0)), np.array((0.33, 0.28, 1.0)), 0.015, tyre)]
    return [*thing, *box((-0.27, -0.07, 0.85), (-0.03, 0.07, 0.9), tyre)], 0.85


def washing(rng: np.random.Generator, pick: Callable[[str], int]) -> tuple[Thing, float]:
    """Clothes that lie about, on a stool or on the floor."""
    h, s = rng.uniform(0.0, 0.6) * (rng.random() < 0.6), rng.uniform(0.15, 0.3)
    thing = box((-s, -s, 0), (s, s, h), pick("wood")) if h > 0.1 else []
    for _ in range(int(rng.integers(2, 5))):
        size = s * rng.uniform(0.4, 0.9, 3) * (1, 1, 0.45)
        thing.append(ball((*rng.uniform(-0.4, 0.4, 2) * s, h + 0.6 * size[2]), size, pick("cloth")))
    cloth = sheet(rng, 1.4 * s, rng.uniform(0.15, 0.4) + h / 2, pick("cloth"))
    return thing + moved([cloth], 0.0, (0, -s - 0.02, max(h - float(np.ptp(cloth.points[:, 2])), 0.01))), 1.6 * s


CLUTTER = MappingProxyType(  # as furniture.MAKERS
    {
        "indoors": (washing, washing, fence),
        "street": (fence, bicycle, fence, bicycle),
        "country": (fence, bicycle),
        "before": (fence, bicycle, washing),
    }
)
