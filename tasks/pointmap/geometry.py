"""From depth and a camera to points and surfaces. Camera axes: x right, y down, z forward, metres."""

from typing import NamedTuple

import torch
from torch import Tensor

from shared.dense.canonical import canonical_scale
from shared.dense.distance import seen


class Truth(NamedTuple):
    """What is known of a batch."""

    points: Tensor  # (B,3,H,W) metres, 0 where unknown
    known: Tensor  # (B,H,W)
    intrinsics: Tensor  # (B,4) fx fy cx cy px; 1 where unknown
    seen_by: Tensor  # (B,), whether the camera is known
    scale: Tensor  # (B,) what metres are multiplied by (shared/dense/canonical.py); 1 where unknown


def truth(depth: Tensor, intrinsics: Tensor) -> Truth:
    """From depth (B,H,W) and intrinsics (B,4), NaN where unknown, everything finite."""
    scale, seen_by = canonical_scale(intrinsics, depth.shape[-1])
    intrinsics = torch.where(seen_by[:, None], intrinsics, 1)
    known = seen(depth) & seen_by[:, None, None]
    points = unproject(torch.where(known, depth, 0), intrinsics)
    return Truth(points, known, intrinsics, seen_by, scale)


def unproject(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Depth (B,H,W) metres seen by pinhole cameras (B,4) fx fy cx cy px -> points (B,3,H,W) metres; unknown stays NaN."""
    x, y = rays(intrinsics, (depth.shape[-2], depth.shape[-1]))
    return torch.stack([x * depth, y * depth, depth], 1)


def rays(intrinsics: Tensor, hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where the pixels' rays meet the plane z = 1: x (B,1,w) and y (B,h,1)."""
    fx, fy, cx, cy = (value[:, None, None] for value in intrinsics.unbind(1))
    y, x = (torch.arange(n, device=intrinsics.device, dtype=intrinsics.dtype) for n in hw)
    return (x - cx) / fx, (y[:, None] - cy) / fy


def surfaces(points: Tensor) -> Tensor:
    """Where the surface between a pixel, the one right of it and the one below faces: (B,3,H,W) -> (B,3,H-1,W-1), not unit.

    Its length is the area in square centimetres; a surface that faces the camera points away from it (z forward).
    """
    here = points[..., :-1, :-1]
    right, below = 100 * (points[..., :-1, 1:] - here), 100 * (points[..., 1:, :-1] - here)
    return torch.linalg.cross(right, below, dim=1)
