"""From depth and a camera to points and to where the surface faces, in numpy: what depth says about normals.

H W pixels. Points have the axes x right, y down, z forward; normals x right, y up, z toward the viewer (docs/conventions.md).
"""

import numpy as np

BROKEN = 0.05  # of the depth, per pixel: a steeper step is the edge of something, not its surface


def points(depth: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Depth (H,W) metres seen by a pinhole camera fx fy cx cy px -> points (H,W,3) metres; unknown depth stays unknown."""
    fx, fy, cx, cy = (float(value) for value in intrinsics)
    v, u = np.mgrid[: depth.shape[0], : depth.shape[1]]
    return np.stack([(u - cx) / fx * depth, (v - cy) / fy * depth, depth], -1)


def normals(depth: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Where the surface faces that depth describes: (H,W,3) float32 unit vectors, NaN where that cannot be said.

    From the differences of the points left and right, above and below. It cannot be said on the border of the picture, beside the
    unknown, where depth steps by more than 5 % from one pixel to the next, and without a camera.

    Args:
        depth: (H,W) metres; NaN, or 0 and less, unknown.
        intrinsics: fx fy cx cy px of this picture; NaN unknown.
    """
    found = np.full((*depth.shape, 3), np.nan, np.float32)
    if min(depth.shape) < 3 or not (np.isfinite(intrinsics).all() and (intrinsics[:2] > 0).all()):
        return found
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan).astype(np.float64)
    at = points(depth, intrinsics)
    across, down = at[1:-1, 2:] - at[1:-1, :-2], at[2:, 1:-1] - at[:-2, 1:-1]
    away = np.cross(across, down)  # z forward: away from the camera
    length = np.linalg.norm(away, axis=-1)
    here = depth[1:-1, 1:-1]
    beside = np.stack([depth[1:-1, 2:], depth[1:-1, :-2], depth[2:, 1:-1], depth[:-2, 1:-1]])
    with np.errstate(invalid="ignore"):
        whole = (np.abs(beside - here) <= BROKEN * here).all(0) & (length > 0)  # a comparison with NaN is False
    toward = np.where(whole[..., None], away * [-1, 1, 1], 0) / np.where(whole, length, 1)[..., None]
    found[1:-1, 1:-1] = np.where(whole[..., None], toward, np.nan)
    return found


def disagreement_deg(normal: np.ndarray, depth: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """By how many degrees normals (H,W,3) differ from those that depth implies: (H,W) float32, NaN where either is unknown.

    A check of data: normals with another sign or order of axes, or of another picture, differ by tens of degrees.
    """
    implied = normals(depth, intrinsics)
    cosine = (implied * normal).sum(-1) / np.maximum(np.linalg.norm(normal, axis=-1), 1e-6)
    return np.degrees(np.arccos(cosine.clip(-1, 1))).astype(np.float32)
