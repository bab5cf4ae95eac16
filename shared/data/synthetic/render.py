"""A scene seen by a camera: radiance with soft edges, and the exact truth at pixel centres.

The truth (depth, normals, parts, people, albedo) is what one ray through each pixel's centre meets; only radiance and alpha are
means over a pixel, its centre among them, so that nobody is where alpha is 0 and somebody is where it is 1. Shadows and dimmed
corners cost one ray each per pixel: neighbours look at different parts of the lamp and of the sky, and their answers are averaged
where they lie on one surface. Rows are drawn in chunks, which changes no value.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from shared.data.synthetic.camera import Camera
from shared.data.synthetic.light import HAIR, OTHER, PERIOD, SKIN, Light, pattern, shade, toward_lamp, toward_sky
from shared.data.synthetic.materials import surface
from shared.data.synthetic.mesh import EXTRA, NORMALS, REST, Array, Soup, dots, units
from shared.data.synthetic.rays import Hits, Rays, faces_at

CHUNK = 1 << 19  # rays at once; about 300 bytes each
OFFSETS = ((-0.31, -0.19), (0.19, -0.31), (0.31, 0.19), (-0.19, 0.31))  # where an edge pixel is sampled again
FEW = 2  # samples where nobody begins or ends
LOOKS = {"skin": SKIN, "hair": HAIR}


class World(NamedTuple):
    """Everything that light meets."""

    scene: Soup
    rays: Rays
    lamp: Light
    sky: Callable[[Array], Array]  # directions (N,3) -> radiance (N,3) of what is met where there is no triangle


class Maps(NamedTuple):
    """What a camera sees; background is part 0 and person -1."""

    people: Array  # (H,W,3) float32 radiance of people, times alpha
    behind: Array  # (H,W,3) float32 radiance of everything else, times 1 - alpha
    alpha: Array  # (H,W) float32 share of the pixel that people cover
    depth: Array  # (H,W) float32 metres along the axis, inf where nothing was met
    normal: Array  # (H,W,3) float32 camera space, x right, y up, z toward the viewer; NaN where nothing was met
    part: Array  # (H,W) uint8
    person: Array  # (H,W) int16
    albedo: Array  # (H,W,3) float32 linear, 0 where nothing was met


class _Seen(NamedTuple):
    """What N rays found."""

    direct: Array  # (N,3) radiance from the lamp if nothing stood between
    around: Array  # (N,3) radiance from everywhere else, dimmed by nothing
    normal: Array  # (N,3) world
    albedo: Array  # (N,3)
    facet: Array  # (N,3) of the flat face, toward the viewer


def render(world: World, camera: Camera, hw: tuple[int, int], *, chunk: int = CHUNK) -> Maps:
    """Draw a picture of hw pixels, at most `chunk` rays (and at least one row) at a time."""
    height, width = hw
    maps = _empty(hw)
    around = np.zeros((*hw, 3), np.float32)
    lit, dim = np.ones(hw, np.float32), np.ones(hw, np.float32)
    owner = np.full(hw, -1, np.int16)
    rows = max(1, chunk // width)
    for top in range(0, height, rows):
        part = slice(top, min(top + rows, height))
        row, column = (axis.ravel() for axis in np.mgrid[part, 0:width])
        ways = camera.rays(column, row, hw)
        hits = world.rays.first(camera.position, ways)
        met = hits.face >= 0
        seen = _look(world, camera, hw, ways[met], _only(hits, met))
        _store(maps, part, world.scene, camera, hits, met, seen)
        _put(maps.behind[part], met, seen.direct)
        if not met.all():
            maps.behind[part].reshape(-1, 3)[~met] = world.sky(ways[~met])
        _put(around[part], met, seen.around)
        points = np.float32(camera.position) + ways[met] * hits.depth[met, None] + seen.facet * np.float32(0.0015)
        for values, shares in zip((lit, dim), _shadows(world, points, seen, pattern(row[met], column[met]))):
            _put(values[part], met, shares)
        owner[part].reshape(-1)[met] = world.scene.owner[hits.face[met]]
    lit, dim = _smooth(lit, dim, depth=maps.depth)
    np.multiply(maps.behind, lit[..., None], out=maps.behind)
    np.multiply(around, dim[..., None], out=around)
    maps.behind[...] += around
    del around
    on = maps.person >= 0
    maps.people[on] = maps.behind[on]
    maps.behind[on] = 0
    maps.alpha[on] = 1
    _soften(world, camera, hw, maps, owner, (lit, dim), chunk)
    return maps


def radiance(seen: _Seen, lit: Array, dim: Array) -> Array:
    """(N,3) of N points of which shares lit (N,) and dim (N,) see the lamp and the sky."""
    return seen.direct * lit[:, None] + seen.around * dim[:, None]


def _empty(hw: tuple[int, int]) -> Maps:
    return Maps(
        np.zeros((*hw, 3), np.float32),
        np.zeros((*hw, 3), np.float32),
        np.zeros(hw, np.float32),
        np.full(hw, np.inf, np.float32),
        np.full((*hw, 3), np.nan, np.float32),
        np.zeros(hw, np.uint8),
        np.full(hw, -1, np.int16),
        np.zeros((*hw, 3), np.float32),
    )


def _only(hits: Hits, which: Array) -> Hits:
    return Hits(*(values[which] for values in hits))


def _put(rows: Array, which: Array, values: Array) -> None:
    """Write values (N,...) to the pixels `which` (R*W,) of rows (R,W,...), a view."""
    rows.reshape(-1, *rows.shape[2:])[which] = values


def _store(maps: Maps, rows: slice, scene: Soup, camera: Camera, hits: Hits, met: Array, seen: _Seen) -> None:
    face = hits.face[met]
    maps.depth[rows] = hits.depth.reshape(maps.depth[rows].shape)
    turned = seen.normal @ camera.rotation.T.astype(np.float32)
    _put(maps.normal[rows], met, turned * np.array([1, -1, -1], np.float32))
    _put(maps.part[rows], met, scene.part[face])
    _put(maps.person[rows], met, scene.person[face])
    _put(maps.albedo[rows], met, seen.albedo)


def _look(world: World, camera: Camera, hw: tuple[int, int], ways: Array, hits: Hits) -> _Seen:
    """What N rays of the camera along ways (N,3) see, given what they hit."""
    scene = world.scene
    owner = scene.owner[hits.face]
    found, facet = faces_at(scene, hits)
    toward = units(ways)
    facet *= np.where(dots(facet, toward) > 0, np.float32(-1), np.float32(1))
    looks = np.array([LOOKS.get(what.kind, OTHER) for what in scene.materials], np.uint8)[owner]
    normal = _oriented(found[:, NORMALS], np.where((looks == HAIR)[:, None], -toward, facet), toward)
    albedo, gloss = np.empty_like(normal), np.empty(len(normal), np.float32)
    glow = np.zeros((len(normal), 1), np.float32)
    footprint = hits.depth * np.float32(1 / camera.focal_px(hw))
    order = np.argsort(owner, kind="stable")
    for mine in np.split(order, np.flatnonzero(np.diff(owner[order])) + 1) if len(order) else ():
        at = found[mine]
        look = surface(scene.materials[owner[mine[0]]], at[:, REST], at[:, EXTRA], footprint[mine])
        albedo[mine], gloss[mine], glow[mine] = look
    direct, around = shade(world.lamp, albedo, gloss, normal, toward, looks)
    around += albedo * glow
    return _Seen(direct, around, normal, albedo, facet)


def _oriented(normal: Array, facet: Array, toward: Array) -> Array:
    """Smooth normals (N,3) made unit and turned to the side of the face that rays (N,3) see; none looks away."""
    normal = units(normal * np.where(dots(normal, facet) < 0, np.float32(-1), np.float32(1)))
    normal -= np.maximum(dots(normal, toward) + np.float32(1e-3), 0) * toward  # at outlines the mean of the corners may look away
    return units(normal)


def _shadows(world: World, points: Array, seen: _Seen, index: Array) -> tuple[Array, Array]:
    """Whether each point (N,3) sees the part number `index` (N,) of the lamp and of the sky: (N,), (N,) float32."""
    lit = np.zeros(len(points), np.float32)
    to_lamp = toward_lamp(world.lamp, index)
    faced = np.flatnonzero(dots(seen.facet, to_lamp)[:, 0] > 0)
    lit[faced] = ~world.rays.blocked(points[faced], to_lamp[faced])
    to_sky = toward_sky(seen.normal, index)
    to_sky -= 2 * np.minimum(dots(seen.facet, to_sky), 0) * seen.facet  # not into the flat face below a smooth normal
    shut = world.rays.blocked(points, to_sky, world.lamp.reach)
    return lit, 1 - np.float32(0.85) * shut


def _smooth(*values: Array, depth: Array) -> tuple[Array, ...]:
    """Means (H,W) over PERIOD x PERIOD pixels, half a pixel more on each side, over neighbours of about the same depth."""
    half = PERIOD // 2
    with np.errstate(invalid="ignore"):
        for axis in (0, 1):
            total, weight = [value.copy() for value in values], np.ones(depth.shape, np.float32)
            for step in range(1, half + 1):
                here, there = _shifted(step, axis)
                share = np.float32(0.5 if step == half else 1)
                near = (np.abs(depth[here] - depth[there]) < 0.015 * np.minimum(depth[here], 1e3)) * share
                for sums, value in zip(total, values):
                    sums[here] += near * value[there]
                    sums[there] += near * value[here]
                weight[here] += near
                weight[there] += near
            values = tuple(sums / weight for sums in total)
    return values


def _shifted(step: int, axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Two overlapping windows of a map, `step` pixels apart along an axis."""
    whole = (slice(None),) * axis
    return (*whole, slice(None, -step)), (*whole, slice(step, None))


def _edges(maps: Maps, owner: Array) -> Array:
    """How often each pixel (H,W) is to be sampled again: not at all, FEW times or, at outlines of people, as often as OFFSETS."""
    found = np.zeros(owner.shape, np.uint8)
    with np.errstate(invalid="ignore"):
        for axis in (0, 1):
            here, there = _shifted(1, axis)
            jump = owner[here] != owner[there]
            jump |= np.abs(maps.depth[here] - maps.depth[there]) > 0.02 * np.minimum(maps.depth[here], maps.depth[there])
            person = (maps.person[here] >= 0) & ~jump
            jump[person] |= ((maps.normal[here][person] - maps.normal[there][person]) ** 2).sum(-1) > 0.1
            count = np.where(maps.person[here] != maps.person[there], len(OFFSETS), FEW * jump).astype(np.uint8)
            np.maximum(found[here], count, out=found[here])
            np.maximum(found[there], count, out=found[there])
    return found


def _soften(
    world: World, camera: Camera, hw: tuple[int, int], maps: Maps, owner: Array, lights: tuple[Array, Array], chunk: int
) -> None:
    """Sample the pixels at edges again and replace their radiance and alpha by means."""
    samples = _edges(maps, owner).ravel()
    people, behind, alpha = maps.people.reshape(-1, 3), maps.behind.reshape(-1, 3), maps.alpha.reshape(-1)
    todo = [(OFFSETS[:: len(OFFSETS) // count], np.flatnonzero(samples == count)) for count in (FEW, len(OFFSETS))]
    for offsets, some in ((offsets, edge[start : start + chunk]) for offsets, edge in todo for start in range(0, len(edge), chunk)):
        row, column = some // hw[1], some % hw[1]
        on, off, covered = np.minimum(people[some], 4), np.minimum(behind[some], 4), alpha[some]  # of the centre
        for right, down in offsets:
            ways = camera.rays(column + right, row + down, hw)
            hits = world.rays.first(camera.position, ways)
            met = hits.face >= 0
            found = np.empty((len(some), 3), np.float32)
            like = _alike(maps.depth, row[met], column[met], hits.depth[met])
            seen = _look(world, camera, hw, ways[met], _only(hits, met))
            found[met] = radiance(seen, *(values.ravel()[like] for values in lights))
            found[~met] = world.sky(ways[~met])
            found = np.minimum(found, 4)
            mine = np.zeros(len(some), bool)
            mine[met] = world.scene.person[hits.face[met]] >= 0
            on[mine] += found[mine]
            off[~mine] += found[~mine]
            covered += mine
        rays = len(offsets) + 1
        people[some], behind[some], alpha[some] = on / rays, off / rays, covered / rays


def _alike(depth: Array, row: Array, column: Array, wanted: Array) -> Array:
    """Flat index (N,) of the pixel, among one and its four neighbours, whose depth is nearest to the wanted one (N,) metres."""
    best, where = np.full(len(row), np.inf, np.float32), row * depth.shape[1] + column
    for down, right in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)):
        near = np.clip(row + down, 0, depth.shape[0] - 1) * depth.shape[1] + np.clip(column + right, 0, depth.shape[1] - 1)
        gap = np.abs(depth.ravel()[near] - wanted)
        closer = gap < best
        best[closer], where[closer] = gap[closer], near[closer]
    return where
