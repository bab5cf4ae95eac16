"""Strands: polylines that grow, hang and slide off the body, and the ribbons that make them seen."""

from typing import NamedTuple

import numpy as np

from shared.data.synthetic.mesh import Material, Piece, piece
from shared.data.synthetic.rig import Posed, Rig

Array = np.ndarray


class Solid(NamedTuple):
    """An ellipsoid that hair does not enter."""

    centre: Array  # (3,) world metres
    frame: Array  # (3,3) world -> its axes, each divided by its half length: inside where the result is shorter than 1

    def pushed(self, points: Array) -> tuple[Array, Array]:
        """Points (N,3) moved out of it along rays from its centre, and which (N,) were inside."""
        local = (points - self.centre) @ self.frame.T
        reach = np.linalg.norm(local, axis=1)
        inside = reach < 1
        scale = np.where(inside, 1 / np.maximum(reach, 1e-6), 1)
        return self.centre + (points - self.centre) * scale[:, None], inside


def solid(centre: Array, axis: Array, along: float, across: float) -> Solid:
    """A round ellipsoid of these half lengths (metres) along an axis (3,) and across it."""
    axis = axis / np.linalg.norm(axis)
    frame = np.eye(3) / across + np.outer(axis, axis) * (1 / along - 1 / across)
    return Solid(centre, frame)


def bodies(rig: Rig, rest: Array, posed: Posed, spare: float) -> list[Solid]:
    """Skull, jaw, neck, shoulders and chest of a posed person, each `spare` metres thicker than it is."""
    head = posed.bones[rig.bone("head")]
    eye = (rig.joint("l-eye", rest) + rig.joint("r-eye", rest)) / 2
    onto = rig.scalp > 0
    low, high = rest[onto].min(0), rest[onto].max(0)
    half = 0.97 * (high - low) / 2 + spare
    middle = (low + high) / 2
    half[2] = 0.97 * (high[2] - middle[2]) + spare
    solids = [Solid(head[:, :3] @ middle + head[:, 3], np.diag(1 / half) @ head[:, :3].T)]
    jaw = head[:, :3] @ (eye + np.array([0, 0.045, -0.055])) + head[:, 3]
    solids.append(solid(jaw, head[:, 2], 0.095, 0.066 + spare))
    at = lambda name: rig.joint(name, posed.points)  # noqa: E731
    neck, top, chest = at("neck"), at("head"), at("spine-1")
    up = top - neck
    solids.append(solid(neck + 0.3 * up, up, 0.13, 0.062 + spare))
    for side in "lr":
        shoulder = at(f"{side}-shoulder")
        way = shoulder - neck
        solids.append(
            solid(neck + 0.55 * way - 0.02 * up / np.linalg.norm(up), way, 0.62 * float(np.linalg.norm(way)), 0.062 + spare)
        )
    spine = posed.bones[rig.bone("spine01")][:, :3]
    scale = np.linalg.norm(at("l-shoulder") - at("r-shoulder")) / 0.325
    half = np.array([0.185, 0.135, 0.22]) * scale + spare + 0.01
    solids.append(Solid(chest - spine[:, 2] * 0.03 - spine[:, 1] * 0.02, np.diag(1 / half) @ spine.T))
    return solids


def grow(
    roots: Array,
    ways: Array,
    lengths: Array,
    steps: int,
    *,
    solids: list[Solid],
    gravity: float,
    curls: Array | None = None,
    aside: tuple[Array, Array] | None = None,
) -> Array:
    """Let strands grow: (N, steps + 1, 3) world metres.

    Args:
        roots: (N,3) world metres.
        ways: (N,3) unit, how each sets out.
        lengths: (N,) metres.
        steps: how many pieces a strand has.
        solids: what they slide off.
        gravity: how much of the way turns down in each step.
        curls: (steps,N,3) what is added to the way in each step.
        aside: head (3,4) and eyes (3,) in its rest frame; strands then keep off the face.
    """
    points, way, stride = [roots], ways, (lengths / steps)[:, None]
    for step in range(steps):
        new = points[-1] + way * stride
        for one in solids:
            new, _ = one.pushed(new)
        if aside is not None:
            new = _off_face(new, *aside)
        gone = new - points[-1]
        length = np.linalg.norm(gone, axis=1, keepdims=True)
        new = points[-1] + gone * np.minimum(1.3 * stride / np.maximum(length, 1e-9), 1.0)
        points.append(new)
        way = gone / np.maximum(length, 1e-9) + np.array([0, 0, -gravity])
        if curls is not None:
            way = way + curls[step]
        way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
    return np.stack(points, 1)


def comb(roots: Array, ways: Array, lengths: Array, heights: Array, points: Array, normals: Array) -> Array:
    """Let strands run along a surface: (N, K + 1, 3) world metres.

    Args:
        roots: (N,3) world metres.
        ways: (N,3) unit, how each sets out.
        lengths: (N,) metres.
        heights: (N,K) metres above the surface, for each of K steps.
        points: (S,3) dense points of the surface.
        normals: (S,3) unit, outward.
    """
    from scipy.spatial import KDTree

    tree, lines, way = KDTree(points), [roots], ways
    steps = heights.shape[1]
    stride = (lengths / steps)[:, None]
    for step in range(steps):
        new = lines[-1] + way * stride
        near = tree.query(new)[1]
        above = ((new - points[near]) * normals[near]).sum(1)
        new = new + normals[near] * (heights[:, step] - above)[:, None]
        way = new - lines[-1]
        way = way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
        lines.append(new)
    return np.stack(lines, 1)


def _off_face(points: Array, head: Array, eyes: Array) -> Array:
    local = (points - head[:, 3]) @ head[:, :3] - eyes
    x, y, z = local.T
    # In front of a face that is widest at the cheeks: to the side, and back behind its border.
    wide = 0.067 - 0.02 * np.clip((-z - 0.05) / 0.07, 0, 1)
    before = (y < 0.028) & (z < 0.045) & (z > -0.16) & (np.abs(x) < wide)
    local[:, 0] += np.where(before, np.sign(x) * np.minimum(wide - np.abs(x), 0.014), 0)
    local[:, 1] += np.where(before, 0.008, 0)
    return (local + eyes) @ head[:, :3].T + head[:, 3]


def ribbons(lines: Array, outward: Array, width: Array | float, part: str, paint: Material, bright: Array) -> Piece:
    """Strands as flat bands that lie on the surface they grow from.

    Args:
        lines: (N,K,3) world metres.
        outward: (N,K,3) away from that surface, any length.
        width: metres at the root, one number or (N,); bands taper to a quarter.
        part: their class.
        paint: a hair Material.
        bright: (N,) brightness of each.
    """
    count, knots, _ = lines.shape
    along = np.linspace(0, 1, knots)
    way = np.gradient(lines, axis=1)
    way /= np.maximum(np.linalg.norm(way, axis=2, keepdims=True), 1e-9)
    side = np.cross(way, outward)
    side /= np.maximum(np.linalg.norm(side, axis=2, keepdims=True), 1e-9)
    half = np.broadcast_to(width, count)[:, None] * (1 - 0.75 * along**2) / 2
    points = np.stack([lines - side * half[..., None], lines + side * half[..., None]], 2).reshape(-1, 3)
    normals = np.cross(side, way)  # of the band itself, so that normals are the slope of depth
    start = 2 * (np.arange(count)[:, None] * knots + np.arange(knots - 1)).ravel()
    faces = np.concatenate([np.stack([start, start + 1, start + 2], 1), np.stack([start + 1, start + 3, start + 2], 1)])
    extra = np.stack([np.repeat(bright, 2 * knots), np.tile(np.repeat(along, 2), count)], 1)
    return piece(points, faces, paint, part, normals=np.repeat(normals.reshape(-1, 3), 2, 0), extra=extra)
