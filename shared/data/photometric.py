"""Changes of colour, sharpness and noise: the image only, never the labels."""

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import cv2
import numpy as np

LEVELS = 2**16  # of a draw: the most unlikely grain is 4.3 standard deviations


@dataclass(frozen=True)
class Photometric:
    """Random changes of a uint8 RGB image; the first four ranges are those of the official fine-tuning configs.

    Args:
        brightness: added to all channels, up to this much either way, in levels of 0..255.
        contrast: factor 1 - contrast .. 1 + contrast.
        saturation: factor 1 - saturation .. 1 + saturation.
        hue: turned by up to this many OpenCV half-degrees.
        noise: standard deviation of Gaussian noise, levels, drawn from 0 to this.
        blur: standard deviation of a Gaussian blur, pixels, drawn from 0 to this.
        jpeg: lowest JPEG quality that the image may be passed through; 100 turns it off.
        probability: of each change by itself.
        shuffle: probability that red, green and blue change places (official configs for pose: 0.5).
        solarise: probability that all levels of the upper half are inverted (DINO: 0.2).
    """

    brightness: float = 32.0
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 18.0
    noise: float = 8.0
    blur: float = 1.0
    jpeg: int = 60
    probability: float = 0.5
    shuffle: float = 0.0
    solarise: float = 0.0

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(H,W,3) uint8 -> (H,W,3) uint8."""
        # Every number is drawn whether it is used or not: switching one change off leaves the others as they were.
        does = rng.random(7) < self.probability
        signed = rng.uniform(-1, 1, 4)
        strength = rng.random(3)
        seed = int(rng.integers(2**31))
        if does[0] or does[1]:
            add = self.brightness * signed[0] * does[0]
            factor = 1 + self.contrast * signed[1] * does[1]
            table = np.clip(np.arange(256) * factor + add, 0, 255).round().astype(np.uint8)
            image = cv2.LUT(np.ascontiguousarray(image), table)
        if does[2] or does[3]:
            image = self._colour(image, 1 + self.saturation * signed[2] * does[2], self.hue * signed[3] * does[3])
        if does[4] and self.blur * strength[0] > 0.1:
            image = cv2.GaussianBlur(image, (0, 0), self.blur * strength[0])
        if does[5] and self.noise > 0:
            image = grainy(image, self.noise * strength[1], np.random.default_rng(seed))
        if does[6] and self.jpeg < 100:
            quality = int(self.jpeg + strength[2] * (100 - self.jpeg))
            _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
            image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
        order = np.random.default_rng([seed, 1])
        if order.random() < self.shuffle:
            image = np.ascontiguousarray(image[..., order.permutation(3)])
        if np.random.default_rng([seed, 2]).random() < self.solarise:
            image = np.where(image < 128, image, 255 - image)
        return image

    @staticmethod
    def _colour(image: np.ndarray, saturation: float, hue: float) -> np.ndarray:
        hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)  # 0..360, 0..1, 0..1: in eight bits colours move by 4
        angle, share, value = cv2.split(hsv)
        angle += np.float32(2 * hue)
        angle -= np.float32(360) * (angle >= 360)
        angle += np.float32(360) * (angle < 0)
        share = np.clip(share * np.float32(saturation), 0, 1)
        return cv2.convertScaleAbs(cv2.cvtColor(cv2.merge([angle, share, value]), cv2.COLOR_HSV2RGB), alpha=255)


def grainy(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """(H,W,3) uint8 with Gaussian noise of that standard deviation, levels; from a table, as normal() is several times slower."""
    grains = np.rint(_normal() * deviation).astype(np.int16)  # as pictures have whole levels, noise may be rounded first
    drawn = grains.take(rng.integers(0, LEVELS, image.shape, np.uint16))
    return np.asarray(cv2.add(image, drawn, dtype=cv2.CV_8U))  # which keeps to 0..255


@cache
def _normal() -> np.ndarray:
    """(LEVELS,) values of the normal distribution, each as likely as any other."""
    of = NormalDist().inv_cdf
    return np.array([of((k + 0.5) / LEVELS) for k in range(LEVELS)])
