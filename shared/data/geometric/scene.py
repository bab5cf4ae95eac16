"""Everything in the picture that is not the person: light, walls, floors, clutter, things in the way and the sensor."""

import cv2
import numpy as np

from shared.data.geometric import fabric
from shared.data.geometric.camera import Camera
from shared.data.geometric.shapes import Array, Cone, Ellipsoid, Solid, unit
from shared.data.geometric.skeleton import about


def backdrop(rng: np.random.Generator, camera: Camera, hw: tuple[int, int], *, feet: Array) -> Array:
    """A wall or a landscape, perhaps a floor, and clutter: (H,W,3) float32 in 0..1.

    Args:
        feet: (2,3) metres, world: where the floor is darkened.
    """
    wall_rng, floor_rng, clutter_rng, shade_rng = rng.spawn(4)
    picture = _wall(wall_rng, hw)
    _clutter(clutter_rng, picture)
    if floor_rng.random() < 0.6:
        _floor(floor_rng, camera, picture, feet)
    return np.clip(picture * (0.55 + 0.9 * _cloud(shade_rng, hw, 3)), 0, 1)


def _cloud(rng: np.random.Generator, hw: tuple[int, int], cells: int) -> Array:
    """Smooth noise (H,W,1) in 0..1 of about that many patches a side; the same pattern at every size."""
    grid = rng.random((cells + 2, cells + 2)).astype(np.float32)
    return np.clip(cv2.resize(grid, (hw[1], hw[0]), interpolation=cv2.INTER_CUBIC), 0, 1)[..., None]


def _wall(rng: np.random.Generator, hw: tuple[int, int]) -> Array:
    """Gradient, clouds, checks or stripes, with finer noise on top: (H,W,3)."""
    first, second = (fabric.colour(rng, (0, 0.8), (0.1, 0.95)).astype(np.float32) for _ in range(2))
    kind = rng.choice(["gradient", "cloud", "checks", "stripes", "fine"])
    angle, period, phase = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.3), rng.random()
    y = ((np.arange(hw[0], dtype=np.float32) + 0.5) / hw[0])[:, None, None]
    x = ((np.arange(hw[1], dtype=np.float32) + 0.5) / hw[1])[None, :, None]
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    cells = int(rng.integers(4, 16))
    noise, grain = _cloud(rng, hw, cells), _cloud(rng, hw, 48)
    if kind == "gradient":
        share = np.clip(along, 0, 1)
    elif kind == "checks":
        share = (((along / period + phase) % 1 < 0.5) ^ ((across / period) % 1 < 0.5)).astype(np.float32)
    elif kind == "stripes":
        share = ((along / period + phase) % 1 < 0.5).astype(np.float32)
    else:
        share = noise if kind == "cloud" else grain
    picture = first + (second - first) * share
    return picture * (0.85 + 0.15 * noise + 0.2 * (grain - 0.5))


def _floor(rng: np.random.Generator, camera: Camera, picture: Array, feet: Array) -> None:
    """Lay the ground plane y = 0 under the horizon, with a pattern and a soft shadow at the feet."""
    world = camera.rays(picture.shape[:2]).reshape(-1, 3) @ camera.rotation.astype(np.float32)
    down = np.flatnonzero(world[:, 1] < -1e-3)
    first, second = (fabric.colour(rng, (0, 0.6)).astype(np.float32) for _ in range(2))
    period, turned, kind = rng.uniform(0.25, 1.2), about("y", rng.uniform(0, 90)), rng.integers(3)
    light = rng.normal(0, 0.08, 2)
    if len(down) == 0 or camera.position[1] <= 0.05:
        return
    reach = np.minimum(np.float32(-camera.position[1]) / world[down, 1], 40)
    ground = camera.position.astype(np.float32) + world[down] * reach[:, None].astype(np.float32)
    p = ground @ (turned / period).astype(np.float32)
    fade = np.clip(1.5 - reach / 12, 0, 1)[:, None]  # a fine pattern far away would only alias
    odd = [((p[:, 0] % 1 < 0.5) ^ (p[:, 2] % 1 < 0.5)), p[:, 0] % 1 < 0.12, np.sin(7 * p[:, 0]) * np.sin(5 * p[:, 2]) > 0.3][kind]
    albedo = first + (second - first) * (odd[:, None] * fade + 0.3 * (1 - fade))
    for foot in feet:
        x, z = ground[:, 0] - np.float32(foot[0] + light[0]), ground[:, 2] - np.float32(foot[2] + light[1])
        albedo *= 1 - 0.5 * np.exp(-(x * x + z * z) * 20)[:, None]
    picture.reshape(-1, 3)[down] = albedo


def _clutter(rng: np.random.Generator, picture: Array) -> None:
    """Draw polygons, bars, ovals and limb-like strokes, some in the colours of skin."""
    h, w = picture.shape[:2]
    for _ in range(int(rng.choice([0, 3, 8, 16], p=[0.2, 0.3, 0.3, 0.2]))):
        paint = fabric.skin_tone(rng) if rng.random() < 0.25 else fabric.colour(rng)
        kind, centre, size, angle = rng.integers(4), rng.uniform(-0.1, 1.1, 2), rng.uniform(0.03, 0.3), rng.uniform(0, 360)
        ends = rng.uniform(-1, 1, (5, 2)) * size + centre
        pixels = np.round((ends * (w, h) - 0.5) * 16).astype(np.int32)
        tint = tuple(float(v) for v in paint * rng.uniform(0.4, 1.1))
        thick = max(1, round(min(h, w) * size * rng.uniform(0.05, 0.5)))
        middle = tuple(int(v) for v in np.round((centre * (w, h) - 0.5) * 16))
        axes = (int(size * w * 8) + 1, int(size * h * rng.uniform(3, 12)) + 1)
        if kind == 0:
            cv2.fillPoly(picture, [pixels], tint, lineType=cv2.LINE_AA, shift=4)
        elif kind == 1:
            cv2.polylines(picture, [pixels[:3]], False, tint, thick, cv2.LINE_AA, 4)
        elif kind == 2:
            cv2.ellipse(picture, middle, axes, angle, 0, 360, tint, -1, cv2.LINE_AA, 4)
        else:
            cv2.fillPoly(picture, [cv2.boxPoints(((pixels[0] / 1).tolist(), axes, angle)).astype(np.int32)], tint, cv2.LINE_AA, 4)


def obstacle(rng: np.random.Generator, view: Array) -> Solid:
    """Something between the camera and a person of whom points (N,3) are given in view space."""
    target = view[rng.integers(len(view))] + rng.normal(0, 0.06, 3)
    share = rng.uniform(0.45, 0.75)
    size = float(np.ptp(view[:, :2], axis=0).max()) * share * rng.uniform(0.05, 0.15)
    painted = fabric.plain(0, fabric.woven(rng))
    rotation = about("z", rng.uniform(0, 180)) @ about("x", rng.uniform(-40, 40))
    if rng.random() < 0.5:
        return Solid(Ellipsoid(tuple(size * rng.uniform(0.7, 1.6, 3))), rotation, target * share, painted)
    length = size * rng.uniform(2, 8)
    middle = target * share + rotation[:, 1] * length / 2
    return Solid(Cone(length, size * 0.6, size * rng.uniform(0.3, 0.6)), rotation, middle, painted)


def shade(albedo: Array, normal: Array, toward: Array, rng: np.random.Generator) -> Array:
    """Lit colours (N,3) of surfaces: ambient from above, one lamp, a slight gloss.

    Args:
        normal: (N,3) unit normals, view space.
        toward: (N,3) unit vectors to the camera.
    """
    lamp = unit(np.array([rng.normal(0, 0.9), rng.uniform(-0.1, 1.2), rng.uniform(0.1, 1.3)])).astype(np.float32)
    ambient, power, gloss = rng.uniform(0.4, 0.75), rng.uniform(0.5, 1.0), rng.uniform(0, 0.12)
    tint = np.array([1 + rng.normal(0, 0.06), 1, 1 + rng.normal(0, 0.06)])
    wrapped = np.clip((normal @ lamp + 0.15) / 1.15, 0, None)
    shiny = np.clip((normal * unit(lamp + toward)).sum(1), 0, None) ** 24
    sky = ambient * (0.8 + 0.2 * normal[:, 1])
    rim = 0.75 + 0.25 * np.clip((normal * toward).sum(1), 0, 1)  # crevices and edges receive less
    return (albedo * (sky + power * wrapped)[:, None] * tint * rim[:, None] + gloss * shiny[:, None]).astype(np.float32)


def expose(picture: Array, rng: np.random.Generator) -> Array:
    """What a camera makes of it: exposure, softness, noise: (H,W,3) uint8."""
    gain, gamma, noise, soft = rng.uniform(0.8, 1.15), rng.uniform(0.65, 1.0), rng.uniform(0.004, 0.03), rng.uniform(0.35, 0.8)
    balance = rng.normal(1, 0.05, 3)
    picture = cv2.GaussianBlur(picture, (0, 0), soft)
    picture = np.clip(picture * (gain * balance).astype(np.float32), 0, 1) ** np.float32(gamma)
    picture = picture + rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(noise)
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
