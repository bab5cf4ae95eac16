"""The canonical camera: one network for pictures of all focal lengths (Yin et al., Metric3D, ICCV 2023).

A longer lens makes what is far look near, so metres cannot be read from pixels alone. Metres times s can: s is the width of the
network's frame over the focal length in its pixels, and the canonical camera one whose focal length is that width (Metric3D's label
transform d f_c / f with f_c the width; Sapiens2's pointmaps do the same with s = 768 / f). docs/decisions/0014 says why labels.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

USUAL_VIEW_DEG = 75.0  # across the diagonal, a 28 mm lens on 35 mm film: taken where no focal length is known


def canonical_scale(intrinsics: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """What metres are multiplied by: (B,) s, 1 where the camera is unknown, and (B,) whether it is known.

    Args:
        intrinsics: (B,4) fx fy cx cy, pixels of the network's frame; NaN, or focal lengths of 0 and less, unknown.
        width: of that frame, pixels.
    """
    known = intrinsics.isfinite().all(1) & (intrinsics[:, :2] > 0).all(1)
    return torch.where(known, width / torch.where(known, intrinsics[:, 0], 1), 1), known


def metres_per_canonical(hw: tuple[int, int], width: float, *, focal_px: float | None = None) -> float:
    """The factor on the way back, 1 / s in terms of the picture.

    Args:
        hw: height and width of the picture.
        width: of the network's frame, in pixels of the picture.
        focal_px: of the picture; None: the usual one.

    Raises:
        ValueError: it is not a length.
    """
    if focal_px is not None and not 0 < focal_px < math.inf:
        raise ValueError(f"a focal length is a positive number of pixels, and this is {focal_px:g}; give the picture's, or None")
    return (usual_focal_px(hw) if focal_px is None else focal_px) / width


def usual_focal_px(hw: tuple[int, int]) -> float:
    """The focal length, in pixels, of a lens that sees 75 degrees across the diagonal of a picture: 0.65 diagonals."""
    return math.hypot(*hw) / 2 / math.tan(math.radians(USUAL_VIEW_DEG / 2))


def focal_of(truth: Mapping[str, Tensor]) -> float | None:
    """The focal length of one picture, fx in pixels, from its `intrinsics` (4,); None where there are none."""
    camera = truth.get("intrinsics")
    known = camera is not None and bool(camera.isfinite().all() and (camera[:2] > 0).all())
    return float(camera[0]) if camera is not None and known else None
