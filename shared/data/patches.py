"""Labels of patches: what most of the pixels are that one token of a backbone stands for.

Letters: H W pixels, h w patches; the last ones of a picture that is no multiple of the stride are partly beyond it, and unknown
there.
"""

import numpy as np

from shared.data.fields import FIELDS, Sample

LABELS = ("seg", "depth", "normal")  # the fields of which patches have labels
UNKNOWN = int(FIELDS["seg"].unknown)
NOBODY = 0  # the class of `seg` that is no person


def labelled(sample: Sample, stride: int) -> Sample:
    """Those of LABELS that the sample holds, by patch; a patch of which less than half is known is unknown.

    Args:
        sample: maps (H,W), as the network's view sees them.
        stride: pixels from one patch to the next.

    Returns:
        `seg` (h,w) uint8, the most frequent class, of equal ones the first; 255 unknown. On people, wherever `seg` knows of others:
        `depth` (h,w) float32, the mean logarithm of metres, less that of the picture, so that neither the camera's distance nor its
        lens counts; `normal` (h,w,3) float32, the mean direction, unit vectors. NaN unknown.
    """
    found: Sample = {}
    seg = sample.get("seg")
    if seg is not None:
        found["seg"] = majority(seg, stride)
    if "depth" in sample:
        depth = sample["depth"]
        logs = np.log(np.where(depth > 0, depth, np.nan), dtype=np.float64)[..., None]
        means = _means(_of_people(logs, seg), stride)[..., 0]
        found["depth"] = (means - (means[np.isfinite(means)].mean() if np.isfinite(means).any() else 0)).astype(np.float32)
    if "normal" in sample:
        means = _means(_of_people(sample["normal"].astype(np.float64), seg), stride)
        length = np.linalg.norm(means, axis=-1, keepdims=True)
        found["normal"] = (means / np.where(length > 1e-6, length, np.nan)).astype(np.float32)
    return found


def majority(labels: np.ndarray, stride: int) -> np.ndarray:
    """Classes (H,W) uint8 -> the most frequent one of each patch (h,w) uint8; 255 where it is, and where half is unknown."""
    cells = _cells(labels[..., None], stride, UNKNOWN)[..., 0]  # (h,w,stride^2)
    h, w, n = cells.shape
    place = np.repeat(np.arange(h * w) * 256, n) + cells.reshape(-1)
    counts = np.bincount(place, minlength=h * w * 256).reshape(h, w, 256)
    enough = 2 * (n - counts[..., UNKNOWN]) >= n
    return np.where(enough, counts[..., :UNKNOWN].argmax(-1), UNKNOWN).astype(np.uint8)


def _of_people(values: np.ndarray, seg: np.ndarray | None) -> np.ndarray:
    """Values (H,W,C), NaN where there is nobody."""
    return values if seg is None else np.where((seg == NOBODY)[..., None], np.nan, values)


def _means(values: np.ndarray, stride: int) -> np.ndarray:
    """(H,W,C) -> means over what is finite (h,w,C), NaN where half is not."""
    cells = _cells(values, stride, np.nan)
    known = np.isfinite(cells).all(-1, keepdims=True)
    count = known.sum(2)
    total = np.where(known, cells, 0).sum(2)
    return np.where(2 * count >= stride**2, total / np.maximum(count, 1), np.nan)


def _cells(values: np.ndarray, stride: int, unknown: float) -> np.ndarray:
    """(H,W,C) -> (h,w,stride^2,C)."""
    H, W, C = values.shape
    values = np.pad(values, ((0, -H % stride), (0, -W % stride), (0, 0)), constant_values=unknown)
    h, w = values.shape[0] // stride, values.shape[1] // stride
    return values.reshape(h, stride, w, stride, C).swapaxes(1, 2).reshape(h, w, stride**2, C)
