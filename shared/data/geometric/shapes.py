"""Solids that a ray can meet exactly: ellipsoids and rounded cones, each with its own frame, paint and cut.

View space: x right, y up, z toward the viewer, metres, the camera at the origin. A ray is (x, y, -1), so its length is the depth.
Letters: N rays or points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

Array = np.ndarray
Paint = Callable[[Array], tuple[Array, Array]]  # local points (N,3) metres -> class ids (N,), albedo (N,3) in 0..1
Keep = Callable[[Array], Array]  # local points (N,3) metres -> bool (N,): what is left of a surface
NEAREST = 0.05  # metres; what is closer to the camera than this is not drawn


@dataclass(frozen=True)
class Ellipsoid:
    """Centred on its local origin, axes along the local axes."""

    radii: tuple[float, float, float]

    def hit(self, start: Array, direction: Array) -> Array:
        """How far along (N,3) rays the surface is entered: (N,), inf where it is missed."""
        scale = 1 / np.asarray(self.radii, start.dtype)
        return _enter_ball(start * scale, direction * scale, 1.0)

    def normal(self, points: Array) -> Array:
        """Outward unit normals (N,3) at points (N,3) of the surface."""
        return unit(points / np.asarray(self.radii, points.dtype) ** 2)

    def balls(self) -> list[tuple[Array, Array]]:
        """Ellipsoids whose hull contains the shape: (centre (3,), radii (3,)) each."""
        return [(np.zeros(3), np.asarray(self.radii, float))]


@dataclass(frozen=True)
class Cone:
    """Two balls and the cone that touches both: one at the local origin, the other `length` further down the local y axis."""

    length: float
    top: float  # radius at the origin
    end: float  # radius at (0, -length, 0)

    def hit(self, start: Array, direction: Array) -> Array:
        """How far along (N,3) rays the surface is entered: (N,), inf where it is missed."""
        length, slope = self.length, self.top - self.end
        axis = -length * start[:, 1]
        along = -length * direction[:, 1]
        square, mixed, away = _dots(start, direction)
        span = length**2 - slope**2  # positive unless one ball swallows the other
        distance = np.minimum(
            _enter(square, mixed, away - self.top**2),
            _enter(square, mixed - along, away - 2 * axis + length**2 - self.end**2),
        )
        if span <= 0:
            return distance
        a = span * square - along**2
        b = span * mixed - axis * along + along * slope * self.top
        c = span * away - axis**2 + 2 * axis * slope * self.top - length**2 * self.top**2
        root = b * b - a * c
        # This root is an entrance whether or not the ray is steeper than the cone: there the slope of the quadratic is negative.
        reach = (-np.sqrt(np.maximum(root, 0)) - b) / np.where(np.abs(a) < 1e-12, 1e-12, a)
        height = axis - self.top * slope + reach * along
        entering = (root > 0) & (height > 0) & (height < span) & (reach < distance)
        return np.where(entering, reach, distance)

    def normal(self, points: Array) -> Array:
        """Outward unit normals (N,3) at points (N,3) of the surface."""
        span = max(self.length**2 - (self.top - self.end) ** 2, 1e-12)
        height = np.clip(-self.length * points[:, 1] - self.top * (self.top - self.end), 0, span)
        outward = span * points
        outward[:, 1] += self.length * height
        return unit(outward)

    def balls(self) -> list[tuple[Array, Array]]:
        """Ellipsoids whose hull contains the shape: (centre (3,), radii (3,)) each."""
        return [(np.zeros(3), np.full(3, self.top)), (np.array([0, -self.length, 0]), np.full(3, self.end))]


@dataclass(frozen=True)
class Solid:
    """A shape somewhere in space, painted, possibly cut open by `keep`."""

    shape: Ellipsoid | Cone
    rotation: Array  # (3,3); columns are the local axes
    origin: Array  # (3,) metres
    paint: Paint
    keep: Keep | None = None
    squash: float = 1.0  # how deep the shape is along its local z, next to what it would be: trunks are not round

    def moved(self, rotation: Array, translation: Array) -> "Solid":
        """The same solid after x -> rotation @ x + translation."""
        return replace(self, rotation=rotation @ self.rotation, origin=rotation @ self.origin + translation)

    def local(self, points: Array) -> Array:
        """Points (N,3) of space in the frame of the solid, its squashing undone."""
        return (points - self.origin.astype(points.dtype)) @ self._inward(points.dtype)

    def reach(self, rays: Array) -> Array:
        """Depth (N,) in metres at which rays (N,3) from the camera enter the solid; inf where they do not."""
        middle = np.float32(-self.origin[2])  # start each ray beside the solid: float32 is exact enough for small numbers only
        start = self.local(rays * middle)
        direction = rays @ self._inward(rays.dtype)
        distance = self.shape.hit(start, direction)
        if self.keep is not None:
            met = np.flatnonzero(np.isfinite(distance))
            kept = self.keep(start[met] + distance[met, None] * direction[met])
            distance[met[~kept]] = np.inf
        depth = distance + middle
        depth[depth < NEAREST] = np.inf
        return depth

    def normal(self, points: Array) -> Array:
        """Outward unit normals (N,3) at points (N,3) of space."""
        return unit(self.shape.normal(self.local(points)) @ self._inward(points.dtype).T)

    def _inward(self, dtype: np.dtype) -> Array:
        """The linear part (3,3) of space -> local, for row vectors; its transpose carries normals back."""
        return (self.rotation / (1, 1, self.squash)).astype(dtype)

    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top of the picture of the solid on the plane at depth 1; infinite if it touches the camera plane."""
        lefts, bottoms, rights, tops = [], [], [], []
        for centre, radii in self.shape.balls():
            middle = (self.rotation @ centre + self.origin).tolist()
            axes = self.rotation * (radii * (1, 1, self.squash))
            spread = (axes @ axes.T).tolist()
            a = spread[2][2] - middle[2] ** 2
            if middle[2] >= 0 or a >= 0:
                return -np.inf, -np.inf, np.inf, np.inf
            for axis, lows, highs in ((0, lefts, rights), (1, bottoms, tops)):
                # Tangent planes (1, 0, x) touch the ellipsoid where a x^2 + 2 b x + c = 0: its dual quadric.
                b = spread[axis][2] - middle[axis] * middle[2]
                half = max(b * b - a * (spread[axis][axis] - middle[axis] ** 2), 0.0) ** 0.5
                lows.append((-b + half) / a)
                highs.append((-b - half) / a)
        return min(lefts), min(bottoms), max(rights), max(tops)


def unit(vectors: Array) -> Array:
    """Vectors (...,3) at length one."""
    length = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
    return vectors / np.maximum(length, 1e-12)[..., None]


def first_hits(solids: Sequence[Solid], rays: Array) -> tuple[Array, Array]:
    """What loose rays (N,3) meet first: index of the solid (N,), -1 for nothing, and depth (N,) in metres, inf for nothing."""
    index, depth = np.full(len(rays), -1, np.int16), np.full(len(rays), np.inf, np.float32)
    for number, solid in enumerate(solids):
        reached = solid.reach(rays)
        nearer = reached < depth
        index[nearer], depth[nearer] = number, reached[nearer]
    return index, depth


def cast(solids: Sequence[Solid], rays: Array) -> tuple[Array, Array]:
    """What the rays (H,W,3) of a picture meet first: index (H,W), -1 for nothing, and depth (H,W) metres, inf for nothing."""
    hw = rays.shape[:2]
    index, depth = np.full(hw, -1, np.int16), np.full(hw, np.inf, np.float32)
    x, y = rays[0, :, 0], rays[:, 0, 1]  # x ascends, y descends
    for number, solid in enumerate(solids):
        left, bottom, right, top = solid.bounds()
        columns = slice(*np.searchsorted(x, [left, right], side="left"))
        rows = slice(*np.searchsorted(-y, [-top, -bottom], side="left"))
        window = rays[rows, columns]
        if window.size == 0:
            continue
        reached = solid.reach(window.reshape(-1, 3)).reshape(window.shape[:2])
        near, owner = depth[rows, columns], index[rows, columns]
        nearer = reached < near
        near[nearer], owner[nearer] = reached[nearer], number
    return index, depth


def _dots(start: Array, direction: Array) -> tuple[Array, Array, Array]:
    """direction.direction, start.direction and start.start of (N,3) rays."""
    return (
        np.einsum("ij,ij->i", direction, direction),
        np.einsum("ij,ij->i", start, direction),
        np.einsum("ij,ij->i", start, start),
    )


def _enter(a: Array, b: Array, c: Array) -> Array:
    """The smaller root of a x^2 + 2 b x + c = 0 (N,), inf where there is none."""
    root = b * b - a * c
    return np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.float32(np.inf))


def _enter_ball(start: Array, direction: Array, radius: float) -> Array:
    a, b, c = _dots(start, direction)
    return _enter(a, b, c - radius**2)
