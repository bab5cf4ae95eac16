"""The head: skull, nose, ears, hair, hats and glasses as solids, and the 238 points of the face on them.

Head space as in face.py; `Frame` carries it into the world.
"""

import tomllib
from pathlib import Path

import numpy as np

from shared.data.geometric.fabric import Texture, plain
from shared.data.geometric.face import EAR, FACE, Features, frontal, paint
from shared.data.geometric.shapes import Array, Cone, Ellipsoid, Keep, Paint, Solid, unit
from shared.data.geometric.skeleton import Frame, about

_VOCABULARY = tomllib.loads((Path(__file__).parent / "names.toml").read_text(encoding="utf-8"))
NAMES: dict[str, list[str]] = {"seg": _VOCABULARY["seg"], "keypoints": _VOCABULARY["joints"] + _VOCABULARY["face"]}
MIRROR: dict[str, str] = dict(_VOCABULARY["mirror"]) | {right: left for left, right in _VOCABULARY["mirror"]}
FACE_NAMES: list[str] = _VOCABULARY["face"]
APPAREL, HAIR = NAMES["seg"].index("Apparel"), NAMES["seg"].index("Hair")
SKULL = Ellipsoid((0.072, 0.112, 0.086))
CRANIUM = (np.array([0, 0.032, -0.026]), np.array([0.0775, 0.088, 0.1]))  # centre, radii
FORWARD = np.array([0.0, 0.0, 1.0])
EAR_RADII = (0.009, 0.033, 0.020)


def head(face: Features, skin: Texture, colours: dict[str, Array]) -> list[Solid]:
    """The bare head in head space: skull first, then cranium, nose, ears."""

    def painted(origin: Array) -> Paint:
        return lambda local: paint(local + origin.astype(local.dtype), skin(local), colours, face)

    def part(origin: tuple[float, float, float], radii: tuple[float, float, float], rotation: Array) -> Solid:
        return Solid(Ellipsoid(radii), rotation, np.array(origin, float), plain(FACE, skin))

    def nostrils(local: Array) -> tuple[Array, Array]:
        albedo = skin(local)
        albedo[(np.abs(np.abs(local[:, 0]) - 0.0066 * n) < 0.0036 * n) & (local[:, 1] < -0.0055 * n)] *= 0.3
        return np.full(len(local), FACE, np.uint8), albedo

    def concha(local: Array) -> tuple[Array, Array]:
        albedo = skin(local)
        albedo[np.hypot(local[:, 1] + 0.002, local[:, 2] - 0.002) < 0.010] *= 0.75
        rim = np.hypot(local[:, 1] / EAR_RADII[1], local[:, 2] / EAR_RADII[2])
        albedo[(rim > 0.55) & (rim < 0.72) & (local[:, 2] < 0.008)] *= 0.85
        return np.full(len(local), FACE, np.uint8), albedo

    n = face.nose
    cranium, level = CRANIUM, np.eye(3)
    tip = Solid(Ellipsoid((0.0125 * n, 0.0115, 0.0125)), level, np.array([0, -0.034, 0.0925]), nostrils)
    solids = [
        Solid(SKULL, level, np.zeros(3), painted(np.zeros(3))),
        Solid(Ellipsoid(tuple(cranium[1])), level, cranium[0], painted(cranium[0])),
        part((0, -0.014, 0.0825), (0.0112 * n, 0.035, 0.0135), about("x", -13)),
        tip,
        *(part((sign * 0.0118 * n, -0.0375, 0.0825), (0.0084 * n, 0.0075, 0.0095), level) for sign in (1, -1)),
    ]
    for sign in (1, -1):
        rotation = about("y", sign * -22) @ about("x", -8)
        solids.append(Solid(Ellipsoid(EAR_RADII), rotation, np.array([sign * 0.0765, -0.008, -0.008]), concha))
    return solids


def points(face: Features, solids: list[Solid]) -> tuple[Array, Array]:
    """The 238 points (238,3) on the surface of the bare head and the outward normals (238,3) there, head space."""
    ahead = {name: xy for name in FACE_NAMES if (xy := frontal(name, face)) is not None}
    placed = dict(zip(ahead, zip(*_from_front(solids[:-2], np.array(list(ahead.values()))))))
    placed |= {f"l_{name}": _on_ear(solids[-2], *disc) for name, disc in EAR.items()}
    for name in set(FACE_NAMES) - set(placed):
        place, normal = placed[MIRROR[name]]
        placed[name] = place * (-1, 1, 1), normal * (-1, 1, 1)
    return np.stack([placed[n][0] for n in FACE_NAMES]), np.stack([placed[n][1] for n in FACE_NAMES])


def _from_front(solids: list[Solid], xy: Array) -> tuple[Array, Array]:
    """The foremost surface points (N,3) behind xy (N,2), and the normals (N,3) there."""
    start = np.concatenate([xy, np.full((len(xy), 1), 0.5)], 1)
    ahead = np.tile([0, 0, -1.0], (len(xy), 1))
    reached = np.stack([s.shape.hit((start - s.origin) @ s.rotation, ahead @ s.rotation) for s in solids])
    places = start + ahead * reached.min(0)[:, None]
    normals = np.stack([s.normal(places) for s in solids])
    return places, normals[reached.argmin(0), np.arange(len(xy))]


def _on_ear(ear: Solid, forward: float, up: float) -> tuple[Array, Array]:
    """A point of the left ear's outer face, given on the disc of its outline."""
    outward = np.sqrt(max(1 - forward**2 - up**2, 0.0))
    local = np.array([outward, up, forward]) * EAR_RADII
    place = ear.rotation @ local + ear.origin
    return place, ear.normal(place[None])[0]


def hairdo(rng: np.random.Generator, hair: Texture, hat: Texture) -> list[Solid]:
    """Hair and, at times, a hat or glasses around the head, in head space."""
    style = rng.choice(
        ["bald", "short", "thick", "bob", "long", "bun", "tail", "hat", "hood"],
        p=[0.06, 0.24, 0.13, 0.1, 0.13, 0.1, 0.1, 0.09, 0.05],
    )
    hairy, woven, level = plain(HAIR, hair), plain(APPAREL, hat), np.eye(3)
    line, slant, wave = rng.uniform(0.012, 0.026), rng.uniform(0.42, 0.55), rng.uniform(0, 0.006)
    part = rng.uniform(-0.03, 0.03)
    low = {"bob": -0.075, "long": -0.1}.get(str(style), -0.05)

    def keep(local: Array) -> Array:
        x, y, z = (local + CRANIUM[0].astype(local.dtype)).T
        above = y > line + slant * z + wave * np.cos((x - part) * 70) * (z > 0)
        return above & (y > low) | (y > 0.075) if style not in ("bob", "long") else above | (z < -0.01) & (y > low)

    def cap(thickness: float, paint_with: Paint, kept: Keep) -> Solid:
        return Solid(Ellipsoid(tuple(CRANIUM[1] + thickness * np.array([0.6, 1, 1]))), level, CRANIUM[0], paint_with, kept)

    def ball(origin: tuple[float, float, float], radii: tuple[float, float, float], paint_with: Paint) -> Solid:
        return Solid(Ellipsoid(radii), level, np.array(origin), paint_with)

    thickness = {"short": 0.006, "thick": 0.022, "bob": 0.017, "long": 0.012, "hat": 0.005}.get(str(style), 0.009)
    solids = [] if style in ("bald", "hood") else [cap(thickness, hairy, keep)]
    if style == "long":
        length = rng.uniform(0.16, 0.28)
        solids.append(Solid(Cone(length, 0.078, 0.05), about("x", 8), np.array([0, 0.01, -0.05]), hairy))
    elif style == "bun":
        solids.append(ball((0, rng.uniform(0.06, 0.13), -0.1), (0.042, 0.04, 0.04), hairy))
    elif style == "tail":
        solids.append(
            Solid(Cone(rng.uniform(0.16, 0.26), 0.03, 0.014), about("x", rng.uniform(8, 22)), np.array([0, 0.06, -0.135]), hairy)
        )
    elif style == "hat":
        brim = rng.uniform(0.1, 0.16) if rng.random() < 0.5 else 0.0
        solids.append(cap(0.016, woven, lambda local: local[:, 1] > 0.026 + 0.12 * local[:, 2]))
        front = (0, 0.066, 0.075) if not brim else (0, 0.066, -0.02)
        solids.append(ball(front, (0.066, 0.006, 0.06) if not brim else (brim, 0.006, brim * 1.1), woven))
    elif style == "hood":
        solids.append(cap(0.014, woven, lambda local: (local[:, 1] > 0.03 + 0.2 * local[:, 2]) | (local[:, 2] < 0.045)))
    return solids


def lenses(frame_colour: Texture) -> list[Solid]:
    """Dark glasses in head space: two flat ellipsoids and two temples."""
    worn = plain(APPAREL, frame_colour)
    solids = []
    for sign in (1, -1):
        turned = about("y", sign * 14)
        solids.append(Solid(Ellipsoid((0.026, 0.019, 0.004)), turned, np.array([sign * 0.033, 0.0, 0.089]), worn))
        ends = np.array([sign * 0.058, 0.006, 0.083]), np.array([sign * 0.081, 0.006, -0.005])
        solids.append(between(ends[0], ends[1], 0.0028, 0.0028, worn))
    return solids


def between(
    top: Array,
    end: Array,
    top_radius: float,
    end_radius: float,
    painted: Paint,
    *,
    front: Array = FORWARD,
    keep: Keep | None = None,
    squash: float = 1.0,
) -> Solid:
    """A rounded cone from one point to another; `front` (3,) is where its local z points, as far as it can."""
    y = unit(top - end)
    x = unit(_cross(y, front if abs(y @ front) < 0.95 else front[[1, 2, 0]]))
    shape = Cone(float(np.linalg.norm(end - top)), top_radius, end_radius)
    return Solid(shape, np.stack([x, y, _cross(x, y)], 1), top, painted, keep, squash)


def _cross(a: Array, b: Array) -> Array:
    """The cross product of two (3,); numpy's own is ten times slower on so little."""
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def carried(solids: list[Solid], frame: Frame, scale: float) -> list[Solid]:
    """Solids of head space in the world, grown by `scale` about the origin of the head."""
    rotation, origin = frame
    return [_grown(solid, scale).moved(rotation, origin) for solid in solids]


def _grown(solid: Solid, scale: float) -> Solid:
    shape = solid.shape
    if isinstance(shape, Cone):
        bigger: Cone | Ellipsoid = Cone(shape.length * scale, shape.top * scale, shape.end * scale)
    else:
        a, b, c = shape.radii
        bigger = Ellipsoid((a * scale, b * scale, c * scale))
    inverse = np.float32(1 / scale)
    keep = solid.keep
    return Solid(
        bigger,
        solid.rotation,
        solid.origin * scale,
        lambda local: solid.paint(local * inverse),
        None if keep is None else lambda local: keep(local * inverse),
    )
