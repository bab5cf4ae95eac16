"""Cutting a triangle mesh exactly along the zero of a field, and closing the cut with a lip: how garments get their hems.

Everything is a sparse matrix from old vertices to new ones, so that whatever lives on the vertices is cut by one product.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from shared.data.synthetic.mesh import vertex_normals

Array = np.ndarray


class Cut(NamedTuple):
    """What is left of a mesh: `matrix @ values` moves (N, ...) vertex values over, `faces` (M,3) int64 index the new vertices."""

    matrix: sp.csr_matrix  # (K,N); rows sum to 1, at most two entries each
    faces: Array


def clip(faces: Array, field: Array) -> Cut:
    """The part of a mesh where a field, linear on every triangle, is positive.

    Neighbours share the vertices on the cut, so the border is watertight, and areas of both sides add up to the whole.

    Args:
        faces: (M,3) vertex indices.
        field: (N,) value at each vertex; the mesh is cut where it crosses zero.
    """
    field = np.asarray(field, np.float64)
    inside = field > 0
    corners = inside[faces].sum(1)
    mixed = faces[(corners == 1) | (corners == 2)]
    one = inside[mixed].sum(1) == 1  # one corner stays: a triangle; two stay: a quad
    alone = np.where(one, inside[mixed].argmax(1), (~inside[mixed]).argmax(1))
    row = np.arange(len(mixed))
    apex, right, left = (mixed[row, (alone + k) % 3] for k in range(3))
    edges = np.sort(np.concatenate([np.stack([apex, right], 1), np.stack([apex, left], 1)]), 1)
    count = len(field)
    keys, index = np.unique(edges[:, 0].astype(np.int64) * count + edges[:, 1], return_inverse=True)
    low, high = keys // count, keys % count
    share = field[low] / (field[low] - field[high])  # where between low and high the field is zero
    a, b = count + index[: len(mixed)], count + index[len(mixed) :]
    kept = np.concatenate(
        [
            faces[corners == 3],
            np.stack([apex, a, b], 1)[one],
            np.stack([a, right, left], 1)[~one],
            np.stack([a, left, b], 1)[~one],
        ]
    )
    used, kept = np.unique(kept, return_inverse=True)
    rows = sp.vstack([sp.identity(count, format="csr"), _between(low, high, share, count)]).tocsr()
    return Cut(sp.csr_matrix(rows[used]), kept.reshape(-1, 3))


def split(faces: Array, field: Array) -> Cut:
    """The whole mesh, with every triangle in which a field changes its sign cut in three along its zero.

    The old vertices keep their numbers, and the faces that stay whole come first.

    Args:
        faces: (M,3) vertex indices.
        field: (N,) value at each vertex, linear on every triangle.
    """
    field = np.asarray(field, np.float64)
    inside = field > 0
    corners = inside[faces].sum(1)
    crossed = (corners == 1) | (corners == 2)
    mixed, count = faces[crossed], len(field)
    alone = np.where(corners[crossed] == 1, inside[mixed].argmax(1), (~inside[mixed]).argmax(1))
    apex, right, left = (mixed[np.arange(len(mixed)), (alone + k) % 3] for k in range(3))
    edges = np.sort(np.concatenate([np.stack([apex, right], 1), np.stack([apex, left], 1)]), 1)
    keys, index = np.unique(edges[:, 0].astype(np.int64) * count + edges[:, 1], return_inverse=True)
    low, high = keys // count, keys % count
    a, b = count + index[: len(mixed)], count + index[len(mixed) :]
    parts = [faces[~crossed], *(np.stack(corner, 1) for corner in ((apex, a, b), (a, right, left), (a, left, b)))]
    between = _between(low, high, field[low] / (field[low] - field[high]), count)
    return Cut(sp.csr_matrix(sp.vstack([sp.identity(count, format="csr"), between])), np.concatenate(parts))


def _between(low: Array, high: Array, share: Array, count: int) -> sp.csr_matrix:
    """Rows (K,N) that pick the point at `share` of the way from vertex low to vertex high."""
    row = np.arange(len(low))
    data, where = np.r_[1 - share, share], (np.r_[row, row], np.r_[low, high])
    return sp.csr_matrix((data, where), (len(low), count))


def border(faces: Array) -> Array:
    """Edges (E,2) that belong to one triangle only, in that triangle's direction."""
    edges = np.stack([faces, np.roll(faces, -1, 1)], 2).reshape(-1, 2).astype(np.int64)
    size = int(faces.max(initial=0)) + 1
    low, high = edges.min(1), edges.max(1)
    _, first, count = np.unique(low * size + high, return_index=True, return_counts=True)
    return edges[first[count == 1]]


class Lip(NamedTuple):
    """A band that turns inward along a border: `source` (L,) names the vertex that each of its points was made from."""

    points: Array  # (L,3) metres
    normals: Array  # (L,3)
    faces: Array  # (2E,3) into these points
    source: Array  # (L,)


def lip(points: Array, normals: Array, faces: Array, depth: Array | float) -> Lip:
    """The inward lip of a mesh's borders: no gap is seen between a hem and what it surrounds.

    Args:
        points: (N,3) metres.
        normals: (N,3) outward.
        faces: (M,3) of the open mesh.
        depth: (N,) or one number, how far the lip reaches inward, metres.
    """
    edges = border(faces)
    source, index = np.unique(edges, return_inverse=True)
    if not len(source):
        return Lip(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3), np.int64), source)
    inward = normals[source] * np.broadcast_to(depth, len(points))[source][:, None]
    band = np.concatenate([points[source], points[source] - inward])
    start, stop = index.reshape(-1, 2).T
    n = len(source)
    closing = np.concatenate([np.stack([stop, start, start + n], 1), np.stack([stop, start + n, stop + n], 1)])
    return Lip(band, vertex_normals(band, closing), closing, np.r_[source, source])
