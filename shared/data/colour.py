"""Colours as light adds them and as files hold them."""

import numpy as np


def srgb(linear: np.ndarray) -> np.ndarray:
    """Linear values 0..1 of any shape as sRGB encodes them (IEC 61966-2-1): uint8."""
    clear = np.clip(linear, 0, 1)
    coded = np.where(clear <= 0.0031308, 12.92 * clear, 1.055 * clear ** (1 / 2.4) - 0.055)
    return np.rint(255 * coded).astype(np.uint8)
