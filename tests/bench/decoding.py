"""The official decoding of heatmaps in numpy and OpenCV, map by map, as the specification tells it; nothing of ours is in it."""

import cv2
import numpy as np

EPSILON = float(np.finfo(np.float32).eps)


def reference(heatmaps: np.ndarray, *, blur: int = 11) -> np.ndarray:
    """(B,K,h,w) float32 -> (B,K,3): x, y of the peak in heatmap pixels, raw maximum; (-1, -1) where that is not positive."""
    people, count, _, width = heatmaps.shape
    found = np.full((people, count, 3), -1.0)
    for b in range(people):
        for k in range(count):
            raw = heatmaps[b, k]
            y, x = divmod(int(raw.argmax()), width)
            found[b, k, 2] = raw[y, x]
            if raw[y, x] > 0:
                found[b, k, :2] = _newton(_logarithm(raw, blur), x, y)
    return found


def _logarithm(raw: np.ndarray, blur: int) -> np.ndarray:
    """Of the blurred map, scaled to the height of the raw one, with its edge repeated once all around: (h + 2, w + 2)."""
    border = blur // 2
    padded = cv2.copyMakeBorder(raw, border, border, border, border, cv2.BORDER_CONSTANT, value=0)
    smooth = cv2.GaussianBlur(padded, (blur, blur), 0)[border:-border, border:-border]
    smooth = smooth * (raw.max() / smooth.max())
    return np.pad(np.log(np.clip(smooth, 1e-3, 50)), 1, mode="edge")


def _newton(log: np.ndarray, x: int, y: int) -> np.ndarray:
    """One step from the pixel (x, y) towards the top of the parabola through its neighbours."""
    cell = log[y : y + 3, x : x + 3].astype(np.float64)  # (x, y) lies at (x + 1, y + 1) of the padded map
    dx, dy = (cell[1, 2] - cell[1, 0]) / 2, (cell[2, 1] - cell[0, 1]) / 2
    dxx, dyy = cell[1, 2] - 2 * cell[1, 1] + cell[1, 0], cell[2, 1] - 2 * cell[1, 1] + cell[0, 1]
    across = cell[2, 2] - cell[2, 1] - cell[1, 2] + 2 * cell[1, 1] - cell[1, 0] - cell[0, 1] + cell[0, 0]
    hessian = np.array([[dxx, across / 2], [across / 2, dyy]]) + EPSILON * np.eye(2)
    return np.array([x, y]) - np.linalg.solve(hessian, [dx, dy])
