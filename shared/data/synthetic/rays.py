"""Rays against the triangles of a scene, on the CPU, by Embree."""

from typing import NamedTuple

import numpy as np

from shared.data.synthetic.mesh import POINTS, Array, Soup, cross, units

MISSING = (
    "people made of geometry are drawn by Embree, and its package embreex cannot be imported; install it with "
    "`pip install embreex` (wheels exist for Linux x86_64 and Windows; elsewhere render on such a machine and copy the shards: "
    "shards that were made before work without it)"
)


class Hits(NamedTuple):
    """What N rays meet first."""

    face: Array  # (N,) int32, -1 for nothing
    depth: Array  # (N,) float32 in lengths of the direction, inf for nothing
    weights: Array  # (N,3) float32 of the face's corners


class Rays:
    """A scene ready to be met; triangles count from both sides."""

    def __init__(self, scene: Soup) -> None:
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError as error:
            raise ImportError(MISSING) from error
        self._scene = EmbreeScene()
        TriangleMesh(self._scene, np.ascontiguousarray(scene.vertices[:, POINTS]), scene.faces)

    def first(self, origin: Array, directions: Array) -> Hits:
        """What rays from origin (3,) along directions (N,3) meet; with directions of z-length 1, depth is z-depth."""
        starts = np.broadcast_to(np.asarray(origin, np.float32), directions.shape).copy()
        met = self._scene.run(starts, np.ascontiguousarray(directions, np.float32), output=1)
        u, v, face = met["u"], met["v"], met["primID"]
        return Hits(face, np.where(face >= 0, met["tfar"], np.float32(np.inf)), np.stack([1 - u - v, u, v], 1))

    def blocked(self, origins: Array, directions: Array, reach: float = 1e4) -> Array:
        """Whether anything lies within reach along rays (N,3), (N,3): (N,) bool."""
        starts, ways = (np.ascontiguousarray(values, np.float32) for values in (origins, directions))
        return self._scene.run(starts, ways, dists=np.full(len(starts), reach, np.float32), query="OCCLUDED") >= 0


def faces_at(scene: Soup, hits: Hits) -> tuple[Array, Array]:
    """Vertices (N,14) interpolated where rays met the scene, and the unit normals (N,3) of its flat faces; all have met it."""
    corners = scene.faces[hits.face]
    first, second, third = (scene.vertices[corners[:, corner]] for corner in range(3))
    facet = units(cross(second[:, POINTS] - first[:, POINTS], third[:, POINTS] - first[:, POINTS]))
    first *= hits.weights[:, :1]
    second *= hits.weights[:, 1:2]
    third *= hits.weights[:, 2:]
    first += second
    first += third
    return first, facet
