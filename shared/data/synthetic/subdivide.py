"""Catmull-Clark subdivision as sparse matrices: a fine mesh is a fixed linear map of the coarse one, for any pose and any field."""

from typing import Any

import numpy as np
from scipy import sparse

Array = np.ndarray
Matrix = Any  # scipy's sparse ones, whose arithmetic has no types


def catmull_clark(count: int, quads: Array) -> tuple[sparse.csr_matrix, Array]:
    """One step of Catmull-Clark; open edges follow the cubic B-spline of their boundary.

    Args:
        count: V, how many coarse vertices there are; those that no quad uses are dropped.
        quads: (Q,4) vertices of each face, in order around it.

    Returns:
        The map (N,V) from coarse to fine vertices (the old ones, then one per edge, then one per face), and fine quads (4Q,4).
    """
    if quads.ndim != 2 or quads.shape[1] != 4 or len(quads) == 0:
        raise ValueError(f"Catmull-Clark needs at least one face of four vertices, (Q,4); these faces are {quads.shape}")
    quads = quads.astype(np.int64)
    faces = len(quads)
    every = np.arange(faces)
    sides = np.sort(np.stack([quads, np.roll(quads, -1, 1)], -1).reshape(-1, 2), 1)
    keys, edge, uses = np.unique(sides[:, 0] * count + sides[:, 1], return_inverse=True, return_counts=True)
    ends, edge, edges = np.stack([keys // count, keys % count], 1), edge.reshape(faces, 4), len(keys)

    to_face = _sparse(0.25, np.repeat(every, 4), quads, (faces, count))
    to_middle = _sparse(0.5, np.repeat(np.arange(edges), 2), ends, (edges, count))
    open_edge = (uses != 2).astype(float)
    beside = _sparse(0.5, edge, np.repeat(every, 4), (edges, faces))  # the mean of the two faces of a closed edge
    closed = sparse.diags(1 - open_edge)
    to_edge = sparse.diags(open_edge) @ to_middle + closed @ (0.5 * to_middle + 0.5 * (beside @ to_face))

    fine = sparse.vstack([_moved(count, quads, ends, open_edge, to_face, to_middle), to_edge, to_face]).tocsr()
    centre = count + edges + every
    quarter = [np.stack([quads[:, k], count + edge[:, k], centre, count + edge[:, k - 1]], 1) for k in range(4)]
    kept, renamed = np.unique(np.concatenate(quarter), return_inverse=True)
    return fine[kept], renamed.reshape(-1, 4)


def _moved(count: int, quads: Array, ends: Array, open_edge: Array, to_face: Matrix, to_middle: Matrix) -> Matrix:
    """Where the coarse vertices go: (V,V). Inner ones by (F + 2R + (n-3)P)/n, rim ones half way to their middles."""
    by_face = _sparse(1.0, quads, np.repeat(np.arange(len(quads)), 4), (count, len(quads)))
    by_edge = _sparse(1.0, ends, np.repeat(np.arange(len(ends)), 2), (count, len(ends)))
    valence, spokes = _at_least_one(by_face), _at_least_one(by_edge)
    inner = (
        sparse.diags(1 / valence**2) @ by_face @ to_face
        + sparse.diags(2 / (valence * spokes)) @ by_edge @ to_middle
        + sparse.diags((valence - 3) / valence)
    )
    along = by_edge @ sparse.diags(open_edge)
    rim = sparse.diags(0.5 / _at_least_one(along)) @ along @ to_middle + 0.5 * sparse.identity(count)
    on_rim = np.zeros(count)
    on_rim[ends[open_edge > 0]] = 1
    return sparse.diags(1 - on_rim) @ inner + sparse.diags(on_rim) @ rim


def subdivided(count: int, quads: Array, levels: int) -> tuple[sparse.csr_matrix, Array]:
    """`levels` steps of Catmull-Clark: the map (N,V) from coarse vertices and the fine quads; with no step unused ones go."""
    kept, renamed = np.unique(quads, return_inverse=True)
    matrix: Matrix = sparse.identity(count, format="csr")
    matrix, fine = matrix[kept], renamed.reshape(-1, 4)
    for _ in range(levels):
        step, fine = catmull_clark(matrix.shape[0], fine)
        matrix = step @ matrix
    return matrix.astype(np.float32).tocsr(), fine.astype(np.int32)


def triangles(quads: Array) -> Array:
    """Two triangles for each quad, first all first halves: (2Q,3)."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _sparse(value: float, rows: Array, columns: Array, shape: tuple[int, int]) -> Matrix:
    return sparse.csr_matrix((np.full(rows.size, value), (rows.ravel(), columns.ravel())), shape)


def _at_least_one(matrix: Matrix) -> Array:
    return np.maximum(np.asarray(matrix.sum(1)).ravel(), 1)
