"""The sensor: from linear radiance to the bytes of a photo, with the faults of lenses, sensors and software."""

from typing import NamedTuple

import cv2
import numpy as np

from shared.data.synthetic.mesh import Array

BRIGHTEST = 0.85  # radiance that the bright parts of people may have in a picture of middle brightness
STEEPEST = 1.9  # how much the levels may stretch the tones of a flat picture
LONG = 512  # pixels of the longer side for which blurs are given; they grow with the picture


class Sensor(NamedTuple):
    """How a picture is taken; blurs in pixels of a picture whose longer side is LONG."""

    exposure: float  # brightness of the person, 0.2 is a middle one
    gains: Array  # (3,) white balance
    bokeh: float  # standard deviation by which what lies behind people is blurred
    blur: float  # standard deviation
    streak: tuple[float, float]  # length and angle of motion blur
    vignette: float  # share of light lost in the corners
    contrast: float
    levels: tuple[float, float, float]  # tones of the darkest and brightest hundredth, and how far a picture is brought there
    saturation: float
    noise: tuple[float, float]  # of the photons and of the electronics
    sharpening: float  # share of what is finer than a pixel or two that is added once more
    grain: int  # pixels over which the noise hangs together
    quality: int  # of a JPEG in between; 0 for none
    seed: int  # of the noise


def sensor(rng: np.random.Generator) -> Sensor:
    """A random camera phone, snapshot or portrait lens."""
    return Sensor(
        float(0.2 * np.exp(rng.normal(0, 0.28))),
        rng.normal(1, 0.05, 3),
        float(rng.uniform(0.5, 7)) if rng.random() < 0.3 else 0.0,
        float(rng.uniform(0.3, 0.6)) if rng.random() < 0.86 else float(rng.uniform(0.6, 1.5)),
        (float(rng.uniform(1, 5)) if rng.random() < 0.1 else 0.0, float(rng.uniform(0, np.pi))),
        float(rng.uniform(0, 0.35)),
        float(rng.uniform(0.9, 1.2)),
        (float(rng.uniform(0, 0.08)), float(rng.uniform(0.82, 1.01)), float(min(rng.uniform(0.3, 1.3), 1.0))),
        float(rng.uniform(0.75, 1.2)) if rng.random() < 0.94 else 0.0,
        (float(np.exp(rng.uniform(-7, -4.3))), float(np.exp(rng.uniform(-8, -5.3)))),
        float(rng.uniform(0, 1.0)) if rng.random() < 0.7 else 0.0,
        int(rng.integers(1, 3)),
        int(rng.integers(35, 96)) if rng.random() < 0.5 else 0,
        int(rng.integers(2**31)),
    )


def expose(people: Array, behind: Array, alpha: Array, how: Sensor) -> Array:
    """The photo (H,W,3) uint8 RGB.

    Args:
        people: (H,W,3) radiance of people times alpha.
        behind: (H,W,3) radiance of the rest times 1 - alpha.
        alpha: (H,W) share of each pixel that people cover.
        how: the camera.
    """
    scale = max(alpha.shape) / LONG
    picture = people + (_bokeh(behind, alpha, how.bokeh * scale) if how.bokeh else behind)
    picture *= _gain(people, behind, alpha, how.exposure) * np.float32(how.gains)
    if how.blur:
        picture = cv2.GaussianBlur(picture, (0, 0), how.blur * max(scale, 0.6))
    if how.streak[0] * scale > 1:
        picture = cv2.filter2D(picture, -1, _streak(how.streak[0] * scale, how.streak[1]))
    if how.vignette:
        picture *= _vignette(people.shape[:2], how.vignette)[..., None]
    rng, levels = np.random.default_rng(how.seed), _levels(picture, how)
    out = np.empty(picture.shape, np.uint8)
    for top in range(0, len(picture), 256):  # in strips, for the memory
        strip = slice(top, top + 256)
        out[strip] = _develop(picture[strip], how, levels, rng)
    if how.sharpening:
        out = cv2.addWeighted(out, 1 + how.sharpening, cv2.GaussianBlur(out, (0, 0), max(0.8, scale)), -how.sharpening, 0)
    if how.quality:  # of a large picture: a small one was shrunk after it was stored
        quality = round(100 - (100 - how.quality) * min(max(scale, 0.3), 1))
        coded = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        out = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR_RGB), np.uint8)
    return out


def _gain(people: Array, behind: Array, alpha: Array, wanted: float) -> np.float32:
    """What brings the people, or an empty picture, to the wanted brightness."""
    step = max(1, alpha.size // 100_000)
    on = alpha.ravel()[::step] > 0.5
    bright = people.reshape(-1, 3)[::step][on] if on.any() else behind.reshape(-1, 3)[::step]
    middle, bright = np.percentile(bright.max(1), (60, 96))
    return np.float32(min((wanted / max(middle, 0.02)) ** 0.85, BRIGHTEST * (wanted / 0.2) ** 0.5 / max(bright, 0.02)))


def _bokeh(behind: Array, alpha: Array, spread: float) -> Array:
    """What lies behind, blurred without what stands before it."""
    small = max(1, int(spread / 2))
    h, w = (max(1, -(-n // small)) for n in alpha.shape)
    shrunk = cv2.resize(behind, (w, h), interpolation=cv2.INTER_AREA)
    weight = cv2.resize(1 - alpha, (w, h), interpolation=cv2.INTER_AREA)
    shrunk, weight = (cv2.GaussianBlur(values, (0, 0), spread / small) for values in (shrunk, weight))
    soft = shrunk / np.maximum(weight, 1e-4)[..., None]
    return cv2.resize(soft, alpha.shape[::-1], interpolation=cv2.INTER_LINEAR) * (1 - alpha)[..., None]


def _streak(length: float, angle: float) -> Array:
    """A kernel that smears along a line."""
    half = int(np.ceil(length / 2))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kernel = np.clip(1 - np.abs(across), 0, 1) * np.clip(length / 2 + 0.5 - np.abs(along), 0, 1)
    return (kernel / kernel.sum()).astype(np.float32)


def _vignette(hw: tuple[int, int], loss: float) -> Array:
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in hw)
    return 1 - np.float32(loss / 2) * (y[:, None] ** 2 + x[None] ** 2)


def _film(linear: Array) -> Array:
    """Narkowicz' fit of the ACES film curve."""
    x = np.clip(linear, 0, None) * np.float32(0.85)
    return x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)


def _levels(linear: Array, how: Sensor) -> tuple[np.float32, np.float32]:
    """Slope and offset of tones that bring the darkest and the brightest hundredth of a picture (H,W,3) near what is wanted."""
    step = max(1, linear.shape[0] * linear.shape[1] // 20_000)
    tones = (_film(linear.reshape(-1, 3)[::step]) ** (1 / 2.2)).mean(1)
    dark, bright = np.percentile(tones, (1, 99))
    low, high, share = how.levels
    slope = 1 + share * (min((high - low) / max(bright - dark, 0.05), STEEPEST) - 1)
    middle = (dark + bright) / 2
    return np.float32(slope), np.float32(middle + share * ((low + high) / 2 - middle) - slope * middle)


def _develop(linear: Array, how: Sensor, levels: tuple[np.float32, np.float32], rng: np.random.Generator) -> Array:
    """Noise, tone curve, levels (slope, offset), colours and bytes of rows (R,W,3)."""
    h, w = linear.shape[:2]
    grains = rng.standard_normal((-(-h // how.grain), -(-w // how.grain), 3), np.float32)
    if how.grain > 1:
        grains = cv2.resize(grains, (w, h), interpolation=cv2.INTER_LINEAR) * 1.4
    x = _film(linear)
    x += grains * (how.noise[0] * np.sqrt(x) + how.noise[1])
    x = np.clip(x, 0, 1) ** np.float32(1 / 2.2) * levels[0] + levels[1]
    grey = x @ np.array([0.299, 0.587, 0.114], np.float32)
    x = grey[..., None] + (x - grey[..., None]) * np.float32(how.saturation)
    x = np.float32(0.45) + (x - np.float32(0.45)) * np.float32(how.contrast)
    return (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)
