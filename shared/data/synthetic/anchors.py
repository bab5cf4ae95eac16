"""Named curves on the skin of the mean adult: where its eyes open, its lips meet, its jaw runs. Found once, by bake.py, with rays.

An anchor is three vertices and their weights, so it follows every identity, expression and pose. Curves of the left side are found,
those of the right are their mirror images. Each of these ends in `_left` or `_right`:

| curve | points |
|---|---|
| lash_upper, lash_lower, lid_upper, lid_lower, crease_upper | 9 from the inner to the outer corner of the eye |
| brow_upper, brow_lower | 5 from the nose to the temple |
| iris, pupil | the centre, then 8 around it: away from the nose, away and up, up, ... |
| nostril | inner, outer and upper corner; nose_wing: 1 |
| ear | 26, in the order of EAR |
| olecranon, cubital_fossa, acromion | 1: tip of the elbow, the pit before it, top of the shoulder |

and these run from the person's right to its left, or down: lip_upper_outer, lip_upper_inner, lip_lower_inner and lip_lower_outer (9
each), jaw (17, from ear to ear), nose_base (5), nose_bridge (5 from the root to the tip of the bridge), nose_tip, nose_bottom,
glabella, groove (below the lower lip) and chin (1 each).
"""

from typing import NamedTuple

import numpy as np

from shared.data.synthetic.regions import eyes
from shared.data.synthetic.rig import Rig
from shared.data.synthetic.subdivide import triangles

Array = np.ndarray
Curve = tuple[Array, Array]  # (n,3) vertices, (n,3) weights
CANTHUS = 0.0032  # metres from where the eyeball is seen to the inner corner of the eye
RINGS = {"iris": 0.47, "pupil": 0.20}  # radians from the axis of the eye
EAR = {  # picked by hand: vertices of the left ear and their weights
    "top_end_of_inferior_crus": ((12112, 12183, 12182), (0.44, 0.17, 0.4)),
    "top_end_of_superior_crus": ((12081, 12087, 12211), (0.91, 0.08, 0.01)),
    "start_of_antihelix": ((12299, 12084, 12088), (0.07, 0.11, 0.82)),
    "end_of_antihelix": ((12097, 12307, 12297), (0.16, 0.65, 0.19)),
    "midpoint_1_of_antihelix": ((12084, 12266, 12256), (0.36, 0.01, 0.63)),
    "midpoint_1_of_inferior_crus": ((12142, 12109, 12103), (0.33, 0.6, 0.07)),
    "midpoint_2_of_antihelix": ((12084, 12083, 12266), (0.07, 0.56, 0.37)),
    "midpoint_3_of_antihelix": ((12170, 12304, 12319), (0.35, 0.34, 0.31)),
    "point_1_of_inner_helix": ((12269, 12251, 12090), (0.0, 0.87, 0.13)),
    "point_2_of_inner_helix": ((12208, 12269, 12080), (0.08, 0.88, 0.05)),
    "point_3_of_inner_helix": ((12056, 12208, 12257), (0.15, 0.72, 0.13)),
    "point_4_of_inner_helix": ((12059, 12211, 12065), (0.43, 0.55, 0.01)),
    "point_5_of_inner_helix": ((12250, 12060, 12263), (0.05, 0.25, 0.7)),
    "point_6_of_inner_helix": ((12040, 12066, 12062), (0.06, 0.54, 0.4)),
    "point_7_of_inner_helix": ((12062, 12266, 12061), (0.48, 0.01, 0.51)),
    "highest_point_of_antitragus": ((12311, 12315, 12196), (0.43, 0.54, 0.04)),
    "bottom_point_of_tragus": ((12086, 12079, 12316), (0.6, 0.34, 0.07)),
    "protruding_point_of_tragus": ((12086, 12077, 12213), (0.03, 0.66, 0.31)),
    "top_point_of_tragus": ((12179, 12178, 12296), (0.33, 0.01, 0.66)),
    "start_point_of_crus_of_helix": ((12272, 12290, 12273), (0.51, 0.24, 0.25)),
    "deepest_point_of_concha": ((12295, 12262, 12240), (0.0, 0.5, 0.5)),
    "tip_of_ear_lobe": ((12019, 12027, 12049), (0.18, 0.17, 0.65)),
    "midpoint_between_22_15": ((12053, 12074, 12075), (0.36, 0.07, 0.57)),
    "bottom_connecting_point_of_ear_lobe": ((12325, 12328, 12013), (0.29, 0.34, 0.37)),
    "top_connecting_point_of_helix": ((12024, 12025, 12047), (0.9, 0.0, 0.1)),
    "point_8_of_inner_helix": ((12234, 12073, 12265), (0.68, 0.17, 0.15)),
}
NOSTRIL = {  # picked by hand, as above
    "inner": ((7112, 7149, 7148), (0.48, 0.02, 0.5)),
    "outer": ((7055, 7088, 7087), (0.1, 0.56, 0.34)),
    "upper": ((7125, 7089, 7109), (0.18, 0.81, 0.01)),
}
AHEAD = np.array([0.0, 1.0, 0.0])  # the way a ray goes that meets the face from the front


class Hit(NamedTuple):
    """What rays meet; N of them."""

    face: Array  # (N,) index into Mesh.faces, -1 where nothing is met
    weights: Array  # (N,3) of the corners of that face
    points: Array  # (N,3) metres
    normals: Array  # (N,3) unit, of the faces


class Mesh:
    """The head of the mean adult, to be cast rays at."""

    def __init__(self, rig: Rig, *parts: str) -> None:
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError as error:
            raise ImportError("finding anchors needs `pip install embreex`; the rig that ships has them already") from error

        self.faces = np.concatenate([triangles(rig.quads[part]) for part in parts])
        self.part = np.repeat(np.arange(len(parts)), [2 * len(rig.quads[part]) for part in parts])
        self._scene = EmbreeScene()
        TriangleMesh(self._scene, rig.mean.astype(np.float32), self.faces.astype(np.int32))

    def cast(self, origins: Array, directions: Array) -> Hit:
        """Rays from origins (N,3) along directions (3,) or (N,3)."""
        rays = np.broadcast_to(directions, origins.shape).astype(np.float32)
        met = self._scene.run(np.ascontiguousarray(origins, np.float32), np.ascontiguousarray(rays), output=1)
        u, v, far = (met[key].astype(float)[:, None] for key in ("u", "v", "tfar"))
        normal = met["Ng"] / np.maximum(np.linalg.norm(met["Ng"], axis=1, keepdims=True), 1e-12)
        far = np.where(met["primID"][:, None] < 0, np.nan, far)
        return Hit(met["primID"], np.concatenate([1 - u - v, u, v], 1), origins + far * rays, normal)

    def front(self, xz: Array) -> Hit:
        """Rays from the front at x, z (N,2)."""
        return self.cast(np.stack([xz[:, 0], np.full(len(xz), -0.6), xz[:, 1]], 1), AHEAD)

    def curve(self, hit: Hit) -> Curve:
        """Anchors where rays met the mesh."""
        if (hit.face < 0).any():
            raise ValueError(
                f"{(hit.face < 0).sum()} of {len(hit.face)} points of a curve miss the head; the mesh is not as expected"
            )
        return self.faces[hit.face], hit.weights

    def on_front(self, x: Array, z: Array) -> Curve:
        """Anchors on the foremost surface at x and z (N,)."""
        return self.curve(self.front(np.stack(np.broadcast_arrays(x, z), 1).astype(float)))


def find(rig: Rig) -> dict[str, Curve]:
    """All curves, on the mean adult of this rig."""
    head = Mesh(rig, "body", "eye_left", "eye_right")
    wing_x, wing_z = _wing(rig, head)
    left = _eye(rig, head) | {"nose_wing": head.on_front(np.array([wing_x]), np.array([wing_z]))}
    left |= {"nostril": _picked(NOSTRIL), "ear": _picked(EAR)} | _arm(rig, head)
    mirror = mirrored(rig)
    curves = {f"{name}_left": curve for name, curve in left.items()}
    curves |= {f"{name}_right": (mirror[vertices], weights) for name, (vertices, weights) in left.items()}
    curves |= _midline(rig, head)
    halves = _lips(rig, head) | {"jaw": _jaw(rig, head), "nose_base": _nose_base(rig, head)}
    for name, (vertices, weights) in halves.items():  # from the middle to the left
        right = mirror[vertices][:0:-1], weights[:0:-1]
        curves[name] = np.concatenate([right[0], vertices]), np.concatenate([right[1], weights])
    return curves


def mirrored(rig: Rig) -> Array:
    """For each vertex (V,) of skin and eyes the one on the other side; -1 for others."""
    from scipy.spatial import KDTree

    other = np.full(len(rig.mean), -1)
    for part, twin in (("body", "body"), ("eye_left", "eye_right"), ("eye_right", "eye_left")):
        own, there = np.unique(rig.quads[part]), np.unique(rig.quads[twin])
        other[own] = there[KDTree(rig.mean[there]).query(rig.mean[own] * (-1, 1, 1))[1]]
    return other


def _eye(rig: Rig, head: Mesh) -> dict[str, Curve]:
    """The opening of the left eye as seen from the front, what lies around it, and rings on the eyeball."""
    middle = rig.joint("l-eye")[[0, 2]]
    angles, radii = np.linspace(0, 2 * np.pi, 72, endpoint=False), np.linspace(0.001, 0.026, 200)
    spokes = np.stack([np.cos(angles), np.sin(angles)], 1)
    seen = head.front((middle + spokes[:, None] * radii[None, :, None]).reshape(-1, 2))
    on_ball = (head.part[seen.face] == 1).reshape(len(angles), len(radii)) & (seen.face >= 0).reshape(len(angles), -1)
    rim = middle + spokes * np.array([radii[np.flatnonzero(row).max(initial=0)] for row in on_ball])[:, None]
    inner, outer = rim[rim[:, 0].argmin()], rim[rim[:, 0].argmax()]
    upper = rim[:, 1] >= np.interp(rim[:, 0], [inner[0], outer[0]], [inner[1], outer[1]])
    x = np.linspace(inner[0] - CANTHUS, outer[0], 9)

    def edge(chosen: Array) -> Array:
        order = np.argsort(rim[chosen, 0])
        z = np.interp(x, rim[chosen, 0][order], rim[chosen, 1][order])
        z[[0, -1]] = inner[1], outer[1]
        return z

    arch = np.sin(np.pi * np.linspace(0, 1, 9))
    top, bottom, margin = edge(upper), edge(~upper), 0.0012
    curves = {
        "lash_upper": head.on_front(x, top + margin * (0.4 + arch)),
        "lash_lower": head.on_front(x, bottom - margin * (0.4 + arch)),
        "lid_upper": head.on_front(x, top + 0.003 * arch + margin),
        "lid_lower": head.on_front(x, bottom - 0.003 * arch - margin),
        "crease_upper": head.on_front(x, top + 0.0065 * arch + margin),
    }
    bx, bz = middle[0] + np.linspace(-0.020, 0.030, 5), middle[1] + np.array([0.0150, 0.0180, 0.0200, 0.0194, 0.0140])
    curves["brow_lower"] = head.on_front(bx, bz)
    curves["brow_upper"] = head.on_front(bx, bz + np.array([0.0065, 0.0064, 0.0055, 0.0039, 0.0012]))
    ball = Mesh(rig, "eye_left")
    points = rig.mean[np.unique(rig.quads["eye_left"])]
    centre = points.mean(0)
    radius = np.linalg.norm(points - centre, axis=1).max()
    around = np.arange(8) * np.pi / 4
    for name, angle in RINGS.items():
        ring = radius * np.sin(angle) * np.stack([np.cos(around), np.sin(around)], 1)
        curves[name] = ball.curve(ball.front(centre[[0, 2]] + np.concatenate([[[0, 0]], ring])))
    return curves


def _lips(rig: Rig, head: Mesh) -> dict[str, Curve]:
    """Left halves of the lips' borders: outer ones from the painted mask, the line between as the deepest place in it."""
    red = rig.mean[rig.lips > 0.5]
    reach = np.abs(red[:, 0]).max()
    x, z = np.linspace(0, reach, 31), np.linspace(red[:, 2].min() - 0.004, red[:, 2].max() + 0.004, 160)
    seen = head.front(np.stack(np.meshgrid(x, z, indexing="ij"), -1).reshape(-1, 2))
    painted = (rig.lips[head.faces[seen.face]] * seen.weights).sum(1).reshape(len(x), len(z)) > 0.5
    depth = seen.points[:, 1].reshape(len(x), len(z))
    there = np.flatnonzero(painted.sum(1) >= 3)
    rows = [np.flatnonzero(painted[i]) for i in there]
    top, bottom = np.array([z[row[-1]] for row in rows]), np.array([z[row[0]] for row in rows])
    between = np.array([z[row[1:-1][depth[i, row[1:-1]].argmax()]] for i, row in zip(there, rows)])
    between = np.convolve(np.pad(between, 2, "edge"), np.ones(5) / 5, "valid")
    along = np.linspace(0, 1, 5)

    def at(where: Array, values: Array) -> Array:
        return np.interp(where, x[there], values)

    outer, inner, closing = along * reach * 0.97, along * reach * 0.86, 1 - along**4
    return {
        "lip_upper_outer": head.on_front(outer, at(outer, between) + (at(outer, top) - at(outer, between)) * closing),
        "lip_lower_outer": head.on_front(outer, at(outer, between) + (at(outer, bottom) - at(outer, between)) * closing),
        "lip_upper_inner": head.on_front(inner, at(inner, between) + 0.0012),
        "lip_lower_inner": head.on_front(inner, at(inner, between) - 0.0012),
    }


class Profile(NamedTuple):
    """Heights z (metres) of what lies on the plane of symmetry."""

    root: float
    tip: float
    bottom: float
    groove: float
    chin: float


def _profile(rig: Rig, head: Mesh) -> Profile:
    middle = eyes(rig)[2]
    z = np.linspace(middle + 0.012, middle - 0.16, 700)
    y = head.front(np.stack([np.zeros_like(z), z], 1)).points[:, 1]
    red = rig.mean[(rig.lips > 0.5) & (np.abs(rig.mean[:, 0]) < 0.004)][:, 2]
    above = z > red.max() + 0.001
    tip = int(np.where(above, y, np.inf).argmin())
    root = int(np.where(np.arange(len(z)) < tip, y, -np.inf).argmax())
    under = np.flatnonzero(above & (np.arange(len(z)) > tip))
    bottom = under[np.diff(y[under]).argmax() + 1]  # where the nose ends and the lip begins
    near = np.flatnonzero((z < red.min() - 0.002) & (z > red.min() - 0.014))
    groove = near[y[near].argmax()]
    turning = (np.diff(y, append=y[-1]) > z[0] - z[1]) & (np.arange(len(z)) > groove + 20)  # steeper than 45 degrees
    chin = int(turning.argmax())
    return Profile(z[root], z[tip], z[bottom], z[groove], z[chin])


def _midline(rig: Rig, head: Mesh) -> dict[str, Curve]:
    line = _profile(rig, head)
    bridge = np.linspace(line.root, line.tip + 0.2 * (line.root - line.tip), 5)
    places = {"nose_bridge": bridge, "nose_tip": [line.tip], "nose_bottom": [line.bottom], "groove": [line.groove]}
    places |= {"chin": [line.chin], "glabella": [eyes(rig)[2] + 0.022]}
    return {name: head.on_front(np.zeros(len(z)), np.array(z)) for name, z in places.items()}


def _wing(rig: Rig, head: Mesh) -> tuple[float, float]:
    """x and z of the left wing of the nose, where the surface falls back to the cheek."""
    z = _profile(rig, head).tip - 0.004
    x = np.linspace(0.012, 0.035, 120)
    y = head.front(np.stack([x, np.full_like(x, z)], 1)).points[:, 1]
    return float(x[np.diff(y).argmax()]), z


def _nose_base(rig: Rig, head: Mesh) -> Curve:
    """The left half of the five points below the nose."""
    reach, _ = _wing(rig, head)
    share = np.array([0, 0.5, 1])
    return head.on_front(share * reach * 0.9, _profile(rig, head).bottom - 0.001 + 0.0035 * share**1.5)


def _jaw(rig: Rig, head: Mesh) -> Curve:
    """From the chin to just before the left ear: rays from all around at a point inside the mouth."""
    share = np.linspace(0, 1, 9)
    knots = [0, 0.25, 0.5, 0.75, 1]
    azimuth = np.radians(np.interp(share, knots, [0, 30, 62, 90, 96]))  # degrees from the front, as measured on the mean adult
    height = np.radians(np.interp(share, knots, [-43, -42, -38, -20, 20]))
    way = np.stack([np.sin(azimuth) * np.cos(height), -np.cos(azimuth) * np.cos(height), np.sin(height)], 1)
    inside = eyes(rig) + np.array([0, 0.045, -0.05])
    return head.curve(head.cast(inside + 0.3 * way, -way))


def _arm(rig: Rig, skin: Mesh) -> dict[str, Curve]:
    """The tip of the left elbow, the pit before it, and the top of the shoulder."""
    shoulder, elbow, wrist = (rig.joint(f"l-{name}") for name in ("shoulder", "elbow", "hand"))
    upper, lower = _unit(elbow - shoulder), _unit(wrist - elbow)
    ways = {"olecranon": upper - lower, "cubital_fossa": lower - upper, "acromion": np.array([0, 0, 1.0])}
    starts = {"olecranon": elbow, "cubital_fossa": elbow, "acromion": shoulder}
    return {name: skin.curve(skin.cast((starts[name] + 0.15 * _unit(way))[None], -_unit(way))) for name, way in ways.items()}


def _unit(vector: Array) -> Array:
    return vector / np.linalg.norm(vector)


def _picked(table: dict[str, tuple[tuple[int, int, int], tuple[float, float, float]]]) -> Curve:
    vertices, weights = (np.array(column) for column in zip(*table.values()))
    return vertices, weights / weights.sum(1, keepdims=True)
