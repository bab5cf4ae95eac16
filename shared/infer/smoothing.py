"""Points that hold still when the person does: the One-Euro filter (Casiez, Roussel and Vogel, CHI 2012), for people of any size.

A point's speed is measured in sizes of its person per second, so near and far people, 720p and 4K, are smoothed alike. K points.
"""

from math import pi

import numpy as np

# At 25 frames a second a still person's points move 0.15 to 0.37 times as much from frame to frame as before (noise of 0.1 to 0.6 %
# of the size); who starts to walk at one size a second is at most 1.1 % of the size behind, a hand that waves twice a second over
# 0.4 sizes 3.1 %. tests/shared/infer/test_smoothing.py holds it to that.
MIN_CUTOFF_HZ = 0.5
BETA = 20.0  # Hz per size a second: at a steady speed of whatever height a point lags by less than size / (2 pi BETA), 0.8 %
SPEED_CUTOFF_HZ = 4.0  # the paper has 1, which would average a hand that waves twice a second to a hand at rest (7.3 % behind)
TRUSTED = 0.3  # the score from which poses are drawn
FORGET_S = 0.5  # a point unseen for longer begins anew


class OneEuro:
    """The filter of one person, with a clock for each point.

    A point whose score is low, or that is not finite, comes out as it went in and leaves no trace: a wild one pulls nothing along.

    Args:
        min_cutoff_hz: of the low-pass on a point at rest; lower is calmer.
        beta: how many Hz the cutoff rises for each size a second; higher lags less.
        speed_cutoff_hz: of the low-pass on the speed itself.
        trusted: the score from which a point counts.
    """

    def __init__(
        self,
        *,
        min_cutoff_hz: float = MIN_CUTOFF_HZ,
        beta: float = BETA,
        speed_cutoff_hz: float = SPEED_CUTOFF_HZ,
        trusted: float = TRUSTED,
    ) -> None:
        self.min_cutoff_hz, self.beta, self.speed_cutoff_hz, self.trusted = min_cutoff_hz, beta, speed_cutoff_hz, trusted
        self._xy = np.empty((0, 2))  # (K,2) px, as last given out
        self._speed = np.empty((0, 2))  # (K,2) sizes per second
        self._when = np.empty(0)  # (K,) seconds, minus infinity where never seen

    def __call__(self, points: np.ndarray, *, seconds: float, size_px: float) -> np.ndarray:
        """The points of the next frame, smoothed: (K,3) x px, y px, score -> the same.

        Args:
            points: (K,3).
            seconds: of this frame, later than that of the one before.
            size_px: of the person: the longer side of their box.
        """
        if len(self._when) != len(points):
            self._xy, self._speed, self._when = points[:, :2] * 0.0, points[:, :2] * 0.0, np.full(len(points), -np.inf)
        past = seconds - self._when
        seen = np.isfinite(points).all(1) & (points[:, 2] >= self.trusted) & (past > 0)
        known, new = seen & (past <= FORGET_S), seen & (past > FORGET_S)
        step = past[known, None]
        moved = points[known, :2] - self._xy[known]
        speed = self._speed[known]
        speed += _share(np.full(1, self.speed_cutoff_hz), step) * (moved / step / max(size_px, 1.0) - speed)
        # One cutoff for x and y: how a point is smoothed does not depend on how the camera is held.
        cutoff = self.min_cutoff_hz + self.beta * np.linalg.norm(speed, axis=1, keepdims=True)
        self._xy[known] += _share(cutoff, step) * moved
        self._xy[new], self._speed[new], self._speed[known] = points[new, :2], 0, speed
        self._when[seen] = seconds
        return np.concatenate([np.where(seen[:, None], self._xy, points[:, :2]), points[:, 2:]], 1).astype(points.dtype)


def _share(cutoff_hz: np.ndarray, step_s: np.ndarray) -> np.ndarray:
    """The paper's alpha: how much of a new value a low-pass takes."""
    return 1 / (1 + 1 / (2 * pi * cutoff_hz * step_s))
