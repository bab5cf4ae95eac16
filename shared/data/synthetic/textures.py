"""Flat textures of rooms, streets and landscapes: small pictures that repeat, drawn at random, looked up without aliasing.

A drawing is (S,S,3) float32 linear albedo, S = SIDE, and joins its own other side unless it hangs on a wall.
"""

import colorsys
from typing import NamedTuple

import cv2
import numpy as np

from shared.data.synthetic.mesh import Array

SIDE = 256
HUES = ((0.085, 0.03, 1.0), (0.59, 0.04, 0.7), (0.25, 0.06, 0.6), (0.0, 0.03, 1.0), (0.0, 0.5, 0.4))  # mean, spread, strength
COMMON = (0.56, 0.17, 0.1, 0.07, 0.1)  # of each of HUES
ROW = 8192  # cv2.remap takes no more than 32767 columns


class Texture(NamedTuple):
    """A picture at several sizes."""

    levels: tuple[Array, ...]  # (S,S,3) float32, each a quarter of the side of the one before
    period: tuple[float, float]  # metres the picture covers along u and v


def texture(picture: Array, period: float | tuple[float, float]) -> Texture:
    """A Texture of a drawing (S,S,3) that covers so many metres."""
    levels = [np.clip(picture, 0.004, 0.95).astype(np.float32)]
    while levels[-1].shape[0] > 8:
        levels.append(np.asarray(cv2.resize(levels[-1], None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), np.float32))
    return Texture(tuple(levels), (period, period) if isinstance(period, (int, float)) else period)


def look_up(found: Texture, uv: Array, footprint: Array) -> Array:
    """Albedo (N,3) at uv (N,2) metres, where a pixel covers footprint (N,) metres."""
    texel = footprint * (found.levels[0].shape[0] / min(found.period))
    level = np.clip(np.log2(np.maximum(texel, 1e-6)) / 2 + 0.25, 0, len(found.levels) - 1).astype(np.int64)
    scaled = np.mod(uv / np.asarray(found.period, np.float32), 1).astype(np.float32)
    out = np.empty((len(uv), 3), np.float32)
    for number in np.unique(level):
        mine = np.flatnonzero(level == number)
        picture = found.levels[number]
        rows = -(-len(mine) // ROW)
        grid = np.zeros((2, rows * ROW if rows > 1 else len(mine)), np.float32)
        grid[:, : len(mine)] = scaled[mine].T * picture.shape[0] - 0.5
        grid = grid.reshape(2, rows, -1)
        drawn = cv2.remap(picture, grid[0], grid[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        out[mine] = drawn.reshape(-1, 3)[: len(mine)]
    return out


def cloud(rng: np.random.Generator, cells: int | tuple[int, int] = 4, octaves: int = 4, side: int = SIDE) -> Array:
    """Soft noise (S,S) float32 that repeats, about -1..1; cells (down, across) of the coarsest octave."""
    total, down_across = np.zeros((side, side), np.float32), np.array([cells, cells] if isinstance(cells, int) else cells)
    for octave in range(octaves):
        count = np.minimum(down_across * 2**octave, side)
        grid = rng.uniform(-1, 1, count).astype(np.float32)
        wide = cv2.copyMakeBorder(grid, 1, 1, 1, 1, cv2.BORDER_WRAP)
        step = side / count
        drawn = cv2.resize(wide, None, fx=float(step[1]), fy=float(step[0]), interpolation=cv2.INTER_LINEAR)
        top, left = (round(s / 2) for s in step)
        total += 0.55**octave * drawn[top : top + side, left : left + side]
    return total * 0.7


def colour(rng: np.random.Generator, kind: str = "any") -> Array:
    """A linear albedo (3,): any, pale (walls), wood (also near skin), dark, green or vivid.

    What people build is mostly grey, cream and brown, sometimes dull blue or green, and now and then a thing is of a strong colour.
    """
    hue, share = _hue(rng)
    saturation, value = share * rng.random() ** 1.6 * 0.6, rng.uniform(0.05, 0.9)
    if rng.random() < 0.07 or kind == "vivid":
        hue, saturation, value = rng.random(), rng.uniform(0.45, 0.9), rng.uniform(0.25, 0.85)
    if kind == "pale":
        saturation, value = min(saturation, 0.6) * 0.4, rng.uniform(0.5, 0.95)
    elif kind == "wood":
        hue, saturation, value = rng.uniform(0.03, 0.11), rng.uniform(0.2, 0.7), rng.uniform(0.08, 0.8)
    elif kind == "dark":
        saturation, value = min(saturation, 0.6) * 0.6, rng.uniform(0.03, 0.25)
    elif kind == "green":
        hue, saturation, value = rng.normal(0.215, 0.035), rng.uniform(0.2, 0.65), rng.uniform(0.1, 0.45)
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32) ** 1.5


def _hue(rng: np.random.Generator) -> tuple[float, float]:
    """A hue as it is found indoors and in towns, 0..1 from red, and how strong it may be."""
    middle, spread, share = HUES[int(rng.choice(len(HUES), p=COMMON))]
    return float(rng.normal(middle, spread)), share


def _mixed(first: Array, second: Array, share: Array) -> Array:
    return first + np.clip(share, 0, 1)[..., None] * (second - first)


def _grid() -> tuple[Array, Array]:
    """Coordinates (S,S) x, y in 0..1."""
    at = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE
    return np.broadcast_to(at, (SIDE, SIDE)), np.broadcast_to(at[:, None], (SIDE, SIDE))


def plaster(rng: np.random.Generator) -> Array:
    """A painted wall."""
    base = colour(rng, str(rng.choice(["pale", "pale", "any", "wood"])))
    return base * (1 + rng.uniform(0.02, 0.12) * cloud(rng, 2, 6)[..., None])


def mottled(rng: np.random.Generator) -> Array:
    """Two kindred colours in clouds: stone, carpet, earth, rust."""
    share = cloud(rng, int(rng.integers(2, 9)), 6) * rng.uniform(0.6, 2) + 0.5
    first = colour(rng)
    return _mixed(first, first + rng.uniform(0, 0.6) * (colour(rng) - first), share)


def planks(rng: np.random.Generator) -> Array:
    """A wooden floor or wall."""
    x, y = _grid()
    count = int(rng.integers(4, 10))
    board = np.minimum((x * count).astype(int), count - 1)
    tone = rng.uniform(0.75, 1.2, (count, 3))[board, np.minimum((y * 3).astype(int), 2)]
    grain = cloud(rng, (4, 64), 3)
    seam = np.where((x * count) % 1 < 0.05, 0.5, 1.0)
    return colour(rng, "wood") * (tone * seam * (1 + 0.18 * grain))[..., None]


def bricks(rng: np.random.Generator) -> Array:
    """A brick wall or a tiled one."""
    x, y = _grid()
    rows = int(rng.integers(4, 13)) * 2
    shifted = x * rows / 2 + 0.5 * ((y * rows).astype(int) % 2) * (rng.random() < 0.6)
    joint = ((y * rows) % 1 < 0.12) | (shifted % 1 < 0.06)
    tone = rng.uniform(0.7, 1.2, (rows, rows))[(y * rows).astype(int) % rows, shifted.astype(int) % rows]
    brick = colour(rng, str(rng.choice(["wood", "any", "pale"]))) * (tone * (1 + 0.15 * cloud(rng, 8, 4)))[..., None]
    return np.where(joint[..., None], colour(rng, "pale") * 0.7, brick)


def wallpaper(rng: np.random.Generator) -> Array:
    """Stripes, dots, checks or a wavy print, also of cloth that hangs somewhere."""
    x, y = _grid()
    count = int(rng.integers(3, 14))
    phase = 2 * np.pi * count
    kind = rng.integers(5)
    share = (
        (np.sin(phase * x) > rng.uniform(-0.5, 0.7)).astype(np.float32),
        (np.sin(phase * x) * np.sin(phase * y) > 0.4).astype(np.float32),
        0.5 * (np.sin(phase * x) > 0.3) + 0.5 * (np.sin(phase * y) > 0.3),
        (np.sin(phase * x + 3 * np.sin(4 * np.pi * y)) * np.cos(phase * y) > 0.2).astype(np.float32),
        (np.sin(phase * y) > rng.uniform(-0.5, 0.7)).astype(np.float32),
    )[kind]
    return _mixed(colour(rng, str(rng.choice(["pale", "any"]))), colour(rng), share) * (1 + 0.06 * cloud(rng, 16, 4)[..., None])


def foliage(rng: np.random.Generator) -> Array:
    """Grass, leaves or a hedge."""
    share = cloud(rng, int(rng.integers(6, 24)), 5) * 1.4 + 0.5
    return _mixed(colour(rng, "green") * 0.4, colour(rng, str(rng.choice(["green", "green", "wood"]))), share)


def asphalt(rng: np.random.Generator) -> Array:
    """A road, a pavement or concrete."""
    grey = rng.uniform(0.05, 0.4) * (1 + 0.1 * rng.uniform(-1, 1, 3))
    picture = grey * (1 + 0.18 * cloud(rng, 3, 4) + 0.25 * rng.uniform(-1, 1, (SIDE, SIDE)))[..., None]
    if rng.random() < 0.5:
        x, y = _grid()
        count = int(rng.integers(1, 5))
        picture[((x * count) % 1 < 0.02) | ((y * count) % 1 < 0.02)] *= 0.5
    return picture


def facade(rng: np.random.Generator) -> Array:
    """The front of a house: rows of windows, some lit, some with curtains, over a wall."""
    picture = (plaster(rng), bricks(rng))[rng.integers(2)].astype(np.float32)
    columns, rows = int(rng.integers(2, 5)), int(rng.integers(2, 4))
    frame, glass = colour(rng, "pale"), colour(rng, "dark")
    wide, high = rng.uniform(0.4, 0.75), rng.uniform(0.45, 0.8)
    for row in range(rows):
        for column in range(columns):
            width, height = SIDE / columns, SIDE / rows
            x0, y0 = int((column + (1 - wide) / 2) * width), int((row + (1 - high) / 2) * height)
            x1, y1 = int(x0 + wide * width), int(y0 + high * height)
            picture[y0 - 3 : y1 + 3, x0 - 3 : x1 + 3] = frame
            sheen = np.linspace(0.6, 1.8, y1 - y0)[:, None, None] * rng.uniform(0.5, 3)
            picture[y0:y1, x0:x1] = glass * sheen
            if rng.random() < 0.4:
                picture[y0 : (y0 + y1) // 2, x0:x1] = colour(rng, "pale")
            picture[y0:y1, (x0 + x1) // 2 - 2 : (x0 + x1) // 2 + 2] = frame
    return picture


def books(rng: np.random.Generator) -> Array:
    """The contents of a shelf: backs of books, boxes and gaps on a few boards."""
    picture = np.full((SIDE, SIDE, 3), 0.02, np.float32) + colour(rng, "wood") * 0.15
    rows = int(rng.integers(2, 6))
    board = colour(rng, "wood")
    for row in range(rows):
        y0, y1 = row * SIDE // rows, (row + 1) * SIDE // rows
        x = 0
        while x < SIDE:
            width, top = int(rng.integers(4, 22)), int((y1 - y0) * rng.uniform(0.1, 0.4))
            if rng.random() < 0.88:
                back = colour(rng, str(rng.choice(["any", "any", "vivid", "dark", "pale", "wood"])))
                picture[y0 + top : y1, x : x + width] = back * rng.uniform(0.8, 1.1, (1, len(range(x, min(x + width, SIDE))), 1))
                if width > 7:
                    picture[y0 + top + 6 : y0 + top + 12, x + 2 : x + width - 2] = colour(rng)
            x += width + 1
        picture[y1 - 5 : y1] = board
    return picture


def poster(rng: np.random.Generator) -> Array:
    """A picture on a wall: a landscape, shapes, or print; some blobs have the colours of skin and hair."""
    _, y = _grid()
    picture = _mixed(colour(rng), colour(rng), y + 0.4 * cloud(rng, 3, 5)).astype(np.float32)
    for _ in range(int(rng.integers(3, 14))):
        paint = tuple(float(v) for v in colour(rng, str(rng.choice(["any", "any", "vivid", "wood", "dark", "pale"]))))
        at, size = tuple(int(v) for v in rng.integers(0, SIDE, 2)), tuple(int(v) for v in rng.integers(6, 80, 2))
        kind = rng.integers(4)
        if kind == 0:
            cv2.ellipse(picture, at, size, float(rng.uniform(0, 180)), 0, 360, paint, -1)
        elif kind == 1:
            cv2.rectangle(picture, at, (at[0] + size[0], at[1] + size[1]), paint, -1)
        elif kind == 2:
            cv2.fillPoly(picture, [rng.integers(0, SIDE, (3, 2)).astype(np.int32)], paint)
        else:
            for line in range(int(rng.integers(2, 9))):
                end = (at[0] + int(rng.integers(20, 120)), at[1] + 9 * line)
                cv2.line(picture, (at[0], at[1] + 9 * line), end, paint, int(rng.integers(1, 5)))
    border = int(rng.integers(0, 14))
    if border:
        cv2.rectangle(picture, (0, 0), (SIDE - 1, SIDE - 1), tuple(float(v) for v in colour(rng)), border)
    return picture * (1 + 0.05 * cloud(rng, 32, 3)[..., None])


FLOORS = (planks, bricks, mottled, wallpaper, asphalt, plaster)
WALLS = (plaster, plaster, wallpaper, bricks, planks, mottled)
THINGS = (plaster, mottled, planks, wallpaper, foliage, books, poster)
