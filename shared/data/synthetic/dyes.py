"""Colours of skin, hair, eyes and cloth, and the patterns of cloth. All are linear albedo (3,), drawn from an rng."""

import numpy as np

from shared.data.synthetic.mesh import Material, material

Array = np.ndarray
SKIN = np.array(
    [(0.80, 0.60, 0.49), (0.72, 0.50, 0.38), (0.60, 0.39, 0.28), (0.45, 0.28, 0.19), (0.30, 0.18, 0.12), (0.17, 0.10, 0.075)]
)
HAIR = np.array(
    [(0.02, 0.015, 0.012), (0.05, 0.03, 0.02), (0.12, 0.06, 0.03), (0.28, 0.16, 0.07), (0.45, 0.32, 0.16), (0.25, 0.06, 0.02)]
)
GREY = np.array([(0.42, 0.41, 0.40), (0.62, 0.61, 0.60), (0.24, 0.23, 0.23)])
EYES = np.array([(0.20, 0.10, 0.05), (0.09, 0.05, 0.03), (0.25, 0.33, 0.40), (0.22, 0.27, 0.14)])
WARDROBE = np.array(
    [
        (0.02, 0.02, 0.022),  # black
        (0.78, 0.78, 0.76),  # white
        (0.12, 0.12, 0.13),
        (0.35, 0.35, 0.36),
        (0.025, 0.035, 0.09),  # navy
        (0.09, 0.15, 0.28),  # denim
        (0.42, 0.33, 0.20),  # khaki
        (0.12, 0.13, 0.06),  # olive
        (0.13, 0.07, 0.04),  # brown
        (0.17, 0.02, 0.035),  # burgundy
    ]
)
WORN = np.array([0.24, 0.2, 0.1, 0.09, 0.11, 0.08, 0.05, 0.04, 0.05, 0.04])  # how common each of them is
PATTERNS = {"plain": 0.5, "heather": 0.12, "stripe": 0.12, "upright": 0.05, "plaid": 0.08, "check": 0.05, "dots": 0.05}
PATTERNS |= {"camo": 0.03, "print": 0.05, "halves": 0.02}


def skin_colour(rng: np.random.Generator, tone: float) -> Array:
    """Skin from the palest (tone 0) to the darkest (1)."""
    lower, more = divmod(float(np.clip(tone, 0, 0.999)) * (len(SKIN) - 1), 1)
    return (SKIN[int(lower)] * (1 - more) + SKIN[int(lower) + 1] * more) * rng.uniform(0.93, 1.05)


def eye_colour(rng: np.random.Generator, tone: float) -> Array:
    """An iris; with dark skin it is brown."""
    return EYES[rng.integers(4 if tone < 0.45 else 2)] * rng.uniform(0.8, 1.2)


def hair_colour(rng: np.random.Generator, old: float, tone: float) -> Array:
    """Hair; with dark skin (tone 1) it is dark, with age (old 1) often grey."""
    usual = HAIR[rng.integers(3) if rng.random() < (0.45 if tone < 0.45 else 0.94) else rng.integers(len(HAIR))] * rng.uniform(
        0.7, 1.3
    )
    grey = GREY[rng.integers(len(GREY))] * rng.uniform(0.7, 1.3)
    return grey if rng.random() < 0.8 * old**2 else usual


def dye(rng: np.random.Generator) -> Array:
    """A linear albedo (3,) of cloth: mostly a usual one, otherwise any hue, dull or strong."""
    if rng.random() < 0.62:
        return np.clip(WARDROBE[rng.choice(len(WARDROBE), p=WORN)] * rng.uniform(0.7, 1.3), 0.01, 0.85)
    strength = rng.uniform(0.05, 0.55) if rng.random() < 0.6 else rng.uniform(0.55, 0.95)
    hue, value = rng.random(), rng.uniform(0.06, 0.75)
    wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (hue + np.array([0, 1 / 3, 2 / 3])))
    return value * (1 - strength * (1 - wheel)) * 0.95


def cloth(rng: np.random.Generator, colour: Array | None = None, pattern: str | None = None) -> Material:
    """A cloth in a random colour and pattern, unless they are given."""
    names = list(PATTERNS)
    drawn = str(rng.choice(names, p=np.array(list(PATTERNS.values())) / sum(PATTERNS.values())))
    first, second, shade = dye(rng), dye(rng), rng.uniform(0.65, 0.9)
    first, drawn = first if colour is None else colour, drawn if pattern is None else pattern
    return material(
        "cloth",
        colour=first,
        second=first * shade if drawn == "heather" else second,  # yarns of one dye
        pattern=drawn,
        period=float(np.exp(rng.uniform(np.log(0.012), np.log(0.1)))),
        angle=float(rng.choice([0, 0, 0, np.pi / 4, 0.6])),
        gloss=rng.uniform(0.005, 0.04),
        offset=rng.uniform(0, 9, 3),
        seed=int(rng.integers(1000)),
    )
