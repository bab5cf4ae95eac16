"""What a person wears besides clothes: hats, glasses and bags. Fitted to the body, moved by the bone they sit on."""

from collections.abc import Callable

import numpy as np

from shared.data.synthetic.cuts import hat_field
from shared.data.synthetic.drape import ramp, waves
from shared.data.synthetic.hair import STYLES
from shared.data.synthetic.hems import border, clip, lip
from shared.data.synthetic.looks import Look
from shared.data.synthetic.mesh import Piece, piece, vertex_normals
from shared.data.synthetic.rig import Posed, Rig

Array = np.ndarray
HAT_OVER_HAIR = 0.35  # how much of its thickness hair keeps below a hat, as in hair.py
EAR_TOP = 24  # of the curve of an ear: where the helix meets the head


def accessories(rig: Rig, rest: Array, posed: Posed, look: Look, rng: np.random.Generator) -> list[Piece]:
    """The pieces of hat, glasses and bag, if there are any. The straps of bags are cut by garments.py, as cloth.

    Args:
        rig: the rig.
        rest: (V,3) the body in rest pose, metres.
        posed: the body in the world.
        look: what is worn.
        rng: for shapes.
    """
    hats, glasses, bags = rng.spawn(3)
    pieces = []
    if look.extras.hat:
        pieces.extend(_hat(rig, rest, posed, look, hats))
    if look.extras.glasses:
        pieces.extend(_glasses(rig, rest, posed, look, glasses))
    if look.extras.bag:
        pieces.append(_bag(rig, rest, posed, look, bags))
    return pieces


def _hat(rig: Rig, rest: Array, posed: Posed, look: Look, rng: np.random.Generator) -> list[Piece]:
    kind, paint, head = look.extras.hat, look.extras.cloth, posed.bones[rig.bone("head")]
    part = rig.part("body")
    field = np.asarray(part.matrix @ hat_field(rig))
    cut = clip(part.faces[(field[part.faces] > 0).any(1)], field)
    inside, where = cut.matrix @ field, cut.matrix @ (part.matrix @ rig.mean)
    points = cut.matrix @ (part.matrix @ posed.points)
    ways = vertex_normals(points, cut.faces)
    under = 0.003 if look.hair.style == "bald" else STYLES[look.hair.style].cap * look.hair.volume * HAT_OVER_HAIR * 1.3
    high = ramp(inside, 0.0, 0.09)
    shape = 0.010 * high + 0.0015 * waves(where, rng, 0.06) if kind == "beanie" else 0.022 * high
    turn_up = 0.006 * ramp(-inside, -0.045, -0.041) if kind == "beanie" else 0.0
    lifted = points + ways * (under + 0.006 + shape + turn_up)[:, None]
    band = lip(lifted, ways, cut.faces, under + 0.012)
    crown = piece(
        np.concatenate([lifted, band.points]),
        np.concatenate([cut.faces, band.faces + len(lifted)]),
        paint,
        "Apparel",
        normals=np.concatenate([vertex_normals(lifted, cut.faces), band.normals]),
        rest=np.concatenate([where, where[band.source]]),
    )
    if kind == "beanie":
        return [crown]
    rim = (lifted[np.unique(border(cut.faces))] - head[:, 3]) @ head[:, :3]
    middle = rim[:, :2].mean(0)
    angle = np.arctan2(rim[:, 0] - middle[0], middle[1] - rim[:, 1])  # 0 in front
    order = np.argsort(angle)
    edge = lambda a: np.stack([np.interp(a, angle[order], rim[order, k], period=2 * np.pi) for k in range(3)], 1)  # noqa: E731
    if kind == "cap":
        across = np.linspace(-1.15, 1.15, 33)
        reach = 0.075 * rng.uniform(0.85, 1.2) * np.cos(across / 1.15 * np.pi / 2) ** 0.6
        outward = np.stack([0.15 * np.sin(across), -np.ones(33), -0.18 - 0.25 * np.abs(across)], 1)
    else:
        across = np.linspace(-np.pi, np.pi, 65)
        reach = np.full(65, rng.uniform(0.05, 0.095))
        droop = rng.uniform(-0.35, 0.1) + rng.uniform(0, 0.25) * np.cos(2 * across)
        outward = np.stack([np.sin(across), -np.cos(across), droop], 1)
    start = edge(across) - outward * 0.006
    start[:, 2] += 0.004
    sheet = start[:, None] + outward[:, None] * (reach[:, None] * np.linspace(0, 1, 9))[..., None]
    points = sheet.reshape(-1, 3) @ head[:, :3].T + head[:, 3]
    return [crown, piece(points, _grid(len(across), 9), paint, "Apparel", rest=sheet.reshape(-1, 3))]


def _glasses(rig: Rig, rest: Array, posed: Posed, look: Look, rng: np.random.Generator) -> list[Piece]:
    kind, head = look.extras.glasses, posed.bones[rig.bone("head")]
    thick = rng.uniform(0.0011, 0.0026)
    square = 2.0 if kind == "round" else rng.uniform(2.6, 4.5)
    wide, tall = rng.uniform(0.022, 0.027), rng.uniform(0.8, 1.0) if kind == "round" else rng.uniform(0.66, 0.85)
    lashes = np.concatenate([rig.curve(f"lash_upper_{side}", rest) for side in ("left", "right")])
    front = lashes[:, 1].min() - 0.009
    eyes = {side: rig.joint(f"{side[0]}-eye", rest) for side in ("left", "right")}
    apart = abs(eyes["left"][0] - eyes["right"][0])
    wide = min(wide, apart / 2 - 0.006)
    place = lambda points: points @ head[:, :3].T + head[:, 3]  # noqa: E731
    pieces, turn = [], np.linspace(0, 2 * np.pi, 33)[:-1]
    cos, sin = (np.sign(f) * np.abs(f) ** (2 / square) for f in (np.cos(turn), np.sin(turn)))
    for side, sign in (("left", 1), ("right", -1)):
        x, z = cos * wide, sin * wide * tall
        bent = 3.0 * (np.abs(eyes[side][0] + x) - 0.01).clip(0) ** 2  # faces curve back
        rim = np.stack([eyes[side][0] + sign * x, front + bent, eyes[side][2] + z - 0.002], 1)
        pieces.append(_tube(place(rim), thick, look, closed=True))
        if kind == "sun":
            disc = np.concatenate([rim, rim.mean(0, keepdims=True)])
            fan = np.stack([np.arange(32), (np.arange(32) + 1) % 32, np.full(32, 32)], 1)
            pieces.append(piece(place(disc), fan, look.extras.lens, "Eyeglass"))
        outer = rim[np.argmax(rim[:, 0] * sign)]
        ear = rig.curve(f"ear_{side}", rest)[EAR_TOP] + [sign * 0.006, 0, 0.006]
        up, hinge = np.array([0, 0, 0.004]), outer + np.array([sign * 0.004, 0.006, 0.006])
        half = (hinge + ear) / 2 + np.array([sign * 0.002, 0, 0])
        temple = np.stack([outer + up, hinge, half, ear, ear + np.array([0, 0.012, -0.012])])
        pieces.append(_tube(place(temple), thick, look))
    inner = eyes["left"][0] - wide, eyes["right"][0] + wide
    x = np.linspace(inner[0], inner[1], 7)
    arch = 0.003 * np.cos(np.linspace(-np.pi / 2, np.pi / 2, 7))
    nose = np.stack([x, front - 0.002 - arch, np.full(7, eyes["left"][2] + 0.002) + arch], 1)
    return [*pieces, _tube(place(nose), thick, look)]


def _bag(rig: Rig, rest: Array, posed: Posed, look: Look, rng: np.random.Generator) -> Piece:
    body = rest[np.unique(rig.quads["tights"])]
    trunk = body[np.abs(body[:, 0]) < 0.2]
    cloth = 0.02 + look.top.ease + (0.0 if look.jacket is None else look.jacket.ease)
    scale = rest[np.unique(rig.quads["body"]), 2].max() / 1.7
    if look.extras.bag == "backpack":
        bone, half = "spine02", np.array([rng.uniform(0.12, 0.16), rng.uniform(0.06, 0.1), rng.uniform(0.17, 0.23)]) * scale
        chest = rig.joint("spine-1", rest)
        back = trunk[np.abs(trunk[:, 2] - chest[2]) < 0.1, 1].max()
        middle = np.array([0, back + half[1] + cloth, chest[2] - 0.04])
    else:
        bone, half = "root", np.array([rng.uniform(0.04, 0.06), rng.uniform(0.1, 0.16), rng.uniform(0.09, 0.14)]) * scale
        hip = rig.joint("r-upper-leg", rest)
        side = body[(np.abs(body[:, 2] - hip[2]) < 0.06) & (body[:, 0] > -0.3), 0].min()
        middle = np.array([side - half[0] - cloth - 0.01, hip[1], hip[2] - 0.02])
    ball, faces = _box(rng.uniform(3.0, 5.0))
    local = ball * half
    sag = 1 + 0.03 * waves(local, rng, 0.12)
    matrix = posed.bones[rig.bone(bone)]
    points = (local * sag[:, None] + middle) @ matrix[:, :3].T + matrix[:, 3]
    return piece(points, faces, look.extras.leather, "Apparel", rest=local + middle)


def _box(power: float, rows: int = 24, columns: int = 40) -> tuple[Array, Array]:
    """A rounded box of half lengths 1: points (N,3) and outward faces (M,3); the higher the power, the sharper its edges."""
    polar, around = np.mgrid[0 : np.pi : 1j * rows, 0 : 2 * np.pi : 1j * columns]
    way = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], 2).reshape(-1, 3)
    reach = (np.abs(way) ** power).sum(1) ** (-1 / power)
    return way * reach[:, None], _grid(rows, columns)


def _grid(rows: int, columns: int) -> Array:
    """Faces (M,3) of a sheet of rows x columns points."""
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    return np.concatenate([np.stack([a, a + columns, a + 1], 1), np.stack([a + 1, a + columns, a + columns + 1], 1)])


def _tube(path: Array, radius: float, look: Look, *, closed: bool = False, sides: int = 6) -> Piece:
    """A bent wire along points (K,3)."""
    following: Callable[[Array], Array] = lambda p: np.roll(p, -1, 0) - np.roll(p, 1, 0)  # noqa: E731
    along = following(path) if closed else np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    spread = path - path.mean(0)
    flat = np.linalg.svd(spread)[2][2]  # across the plane the wire lies in, roughly
    first = np.cross(along, flat)
    first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-9)
    second = np.cross(along, first)
    turn = np.linspace(0, 2 * np.pi, sides + 1)[:-1]
    ring = np.cos(turn)[:, None] * first[:, None] + np.sin(turn)[:, None] * second[:, None]  # (K,sides,3)
    k, count = len(path), len(path) if closed else len(path) - 1
    i, j = (a.ravel() for a in np.meshgrid(np.arange(count), np.arange(sides), indexing="ij"))
    a, b = i * sides + j, i * sides + (j + 1) % sides
    c, d = (i + 1) % k * sides + j, (i + 1) % k * sides + (j + 1) % sides
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    points = (path[:, None] + radius * ring).reshape(-1, 3)
    return piece(points, faces, look.extras.frame, "Eyeglass", normals=ring.reshape(-1, 3))
