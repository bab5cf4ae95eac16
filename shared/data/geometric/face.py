"""The face as curves: one description from which the picture is painted, the classes are cut and the 238 points are read.

Head space: x to the person's left, y up, z where the nose points, metres for an average head, the origin between the ears.
Curves are functions of s in -1..1, which runs from the viewer's left to right as the midpoints in the names do.
"""

import functools
import re
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
FACE, LOWER_LIP, UPPER_LIP, LOWER_TEETH, UPPER_TEETH, TONGUE = 2, 23, 24, 25, 26, 27
RING = {"3": 0, "midpoint_1": 45, "12": 90, "midpoint_4": 135, "9": 180, "midpoint_3": 225, "6": 270, "midpoint_2": 315}
ALONG = {3: -0.75, 1: -0.5, 4: -0.25, 5: 0.25, 2: 0.5, 6: 0.75}  # midpoint number -> s, on eyes and lips
ALONG_BROW = {2: -0.5, 1: 0.0, 3: 0.5}


@dataclass(frozen=True)
class Features:
    """The proportions of a face and its expression; metres of an average head, symmetric."""

    eye_x: float = 0.032
    eye_y: float = 0.004
    eye_half: float = 0.0160
    eye_above: float = 0.0068
    eye_below: float = 0.0048
    slant: float = 0.0015  # how much higher the outer end of the eye lies
    iris: float = 0.0062
    pupil: float = 0.0028
    brow_y: float = 0.0265
    brow_thick: float = 0.0055
    mouth_y: float = -0.064
    mouth_half: float = 0.0260
    upper_lip: float = 0.0085
    lower_lip: float = 0.0105
    smile: float = 0.003
    gap: float = 0.0  # half the opening of the mouth
    nose: float = 1.0

    def lash(self, s: Array | float, *, upper: bool) -> Array:
        """Height y of the edge of the left eye at s."""
        arch = self.eye_above if upper else -self.eye_below
        return self.eye_y + arch * (1 - np.abs(s) ** 2.2) + self.slant * s

    def brow(self, s: Array | float) -> tuple[Array, Array]:
        """Lower and upper edge y of the left brow at s, which thins out toward the temple."""
        middle = self.brow_y + 0.006 * (1 - (np.asarray(s) - 0.2) ** 2)
        half = self.brow_thick * (0.62 - 0.48 * np.asarray(s)) * 0.6
        return middle - half, middle + half

    def brow_x(self, s: Array | float) -> Array:
        """x of the left brow at s."""
        return self.eye_x + 0.001 + (self.eye_half + 0.0055) * np.asarray(s)

    def lip(self, s: Array | float, edge: str) -> Array:
        """Height y at s of one of the four edges of the lips: upper/lower outer/inner."""
        s = np.asarray(s)
        bow = 1 - s**2
        height = {
            "upper_outer": (self.upper_lip + self.gap) * bow**0.8 * (1 - 0.22 * np.exp(-((s / 0.16) ** 2))),
            "upper_inner": self.gap * np.maximum(1 - (s / self.inner) ** 2, 0),
            "lower_inner": -self.gap * np.maximum(1 - (s / self.inner) ** 2, 0) * 1.2,
            "lower_outer": -(self.lower_lip + 1.2 * self.gap) * bow**0.7,
        }[edge]
        return self.mouth_y + self.smile * s**2 + height

    @property
    def inner(self) -> float:
        """s of the inner corners of the mouth."""
        return 0.86


def features(rng: np.random.Generator) -> Features:
    """A random face."""
    plain, near = Features(), lambda value, spread: value * rng.uniform(1 - spread, 1 + spread)
    return Features(
        eye_x=near(plain.eye_x, 0.05),
        eye_y=plain.eye_y + rng.uniform(-0.002, 0.002),
        eye_half=near(plain.eye_half, 0.08),
        eye_above=near(plain.eye_above, 0.2),
        eye_below=near(plain.eye_below, 0.2),
        slant=rng.uniform(-0.001, 0.003),
        iris=near(plain.iris, 0.06),
        pupil=near(plain.pupil, 0.2),
        brow_y=plain.brow_y + rng.uniform(-0.003, 0.004),
        brow_thick=near(plain.brow_thick, 0.35),
        mouth_y=plain.mouth_y + rng.uniform(-0.003, 0.002),
        mouth_half=near(plain.mouth_half, 0.13),
        upper_lip=near(plain.upper_lip, 0.25),
        lower_lip=near(plain.lower_lip, 0.25),
        smile=rng.uniform(-0.002, 0.007),
        gap=rng.uniform(0.004, 0.011) if rng.random() < 0.35 else 0.0,
        nose=near(plain.nose, 0.12),
    )


MIDLINE = {  # y of what lies on the plane of symmetry
    "center_of_glabella": 0.026,
    "center_of_nose_root": 0.010,
    "midpoint_2_of_nose_bridge": 0.001,
    "midpoint_1_of_nose_bridge": -0.009,
    "midpoint_3_of_nose_bridge": -0.018,
    "tip_of_nose_bridge": -0.026,
    "tip_of_nose": -0.035,
    "bottom_center_of_nose": -0.0432,
    "center_of_labiomental_groove": -0.0855,
    "tip_of_chin": -0.101,
}
NOSE = {  # x and y on the left
    "outer_corner": (0.0182, -0.038),
    "inner_corner_of_nostril": (0.0035, -0.0415),
    "outer_corner_of_nostril": (0.0098, -0.0412),
    "upper_corner_of_nostril": (0.0066, -0.0392),
}
EAR = {  # toward the face and up, on the disc that is the ear seen from the side
    "top_end_of_inferior_crus": (0.35, 0.38),
    "top_end_of_superior_crus": (0.12, 0.60),
    "start_of_antihelix": (-0.14, 0.30),
    "end_of_antihelix": (-0.08, -0.44),
    "midpoint_1_of_antihelix": (-0.30, 0.10),
    "midpoint_1_of_inferior_crus": (0.12, 0.36),
    "midpoint_2_of_antihelix": (-0.34, -0.10),
    "midpoint_3_of_antihelix": (-0.26, -0.30),
    "highest_point_of_antitragus": (0.12, -0.46),
    "bottom_point_of_tragus": (0.46, -0.32),
    "protruding_point_of_tragus": (0.42, -0.16),
    "top_point_of_tragus": (0.50, 0.02),
    "start_point_of_crus_of_helix": (0.24, 0.06),
    "deepest_point_of_concha": (0.08, -0.14),
    "tip_of_ear_lobe": (0.10, -0.92),
    "midpoint_between_22_15": (-0.30, -0.70),
    "bottom_connecting_point_of_ear_lobe": (0.48, -0.74),
    "top_connecting_point_of_helix": (0.66, 0.46),
} | {
    f"point_{n}_of_inner_helix": (0.72 * np.cos(np.radians(a)), 0.72 * np.sin(np.radians(a)))
    for n, a in zip(range(1, 9), np.linspace(42, 232, 8))
}


READINGS = {  # what a name may mean
    "lid": r"l_(.+)_of_(upper|lower)_(lash|eyelid|crease)_line",
    "ring": r"l_(center|border)_of_(iris|pupil)(?:_(.+))?",
    "brow": r"(?:(upper|lower)_)?(startpoint|end|midpoint_\d)_of_l_eyebrow",
    "lip": r"midpoint_(\d)_of_(upper|lower)_(outer|inner)_lip",
    "corner": r"l_(outer|inner)_corner_of_mouth",
    "bow": r"center_of_(cupid_bow|lower_outer_lip|upper_inner_lip|lower_inner_lip)",
    "nose": r"l_(outer_corner)_of_nose|(.+_corner_of)_l_(nostril)",
}


@functools.cache
def _read(name: str) -> tuple[str, tuple[str, ...]]:
    for kind, pattern in READINGS.items():
        if match := re.fullmatch(pattern, name):
            return kind, match.groups("")
    return "", ()


def frontal(name: str, face: Features) -> tuple[float, float] | None:
    """(x, y) of a point of the left half or the middle of the face, seen from the front; None if it lies on an ear."""
    if name in MIDLINE:
        return 0.0, MIDLINE[name]
    kind, words = _read(name)
    if kind == "lid":
        where, half, line = words
        s = _along(where, ALONG)
        away = {"lash": 0.0, "eyelid": 0.0014, "crease": 0.0045}[line] * (1 if half == "upper" else -1)
        return face.eye_x + face.eye_half * s, float(face.lash(s, upper=half == "upper")) + away
    if kind == "ring":
        radius = getattr(face, words[1]) if words[0] == "border" else 0.0
        angle = np.radians(RING[words[2]]) if words[2] else 0.0
        return face.eye_x + radius * np.cos(angle), eye_middle(face) + radius * np.sin(angle)
    if kind == "brow":
        s = _along(words[1], ALONG_BROW)
        low, high = face.brow(s)
        return float(face.brow_x(s)), float({"upper": high, "lower": low, "": (low + high) / 2}[words[0]])
    if kind == "lip":
        s = ALONG[int(words[0])] * (face.inner if words[2] == "inner" else 1)
        return face.mouth_half * s, float(face.lip(s, f"{words[1]}_{words[2]}"))
    if kind == "corner":
        s = 1.0 if words[0] == "outer" else face.inner
        return face.mouth_half * s, float(face.lip(s, f"upper_{words[0]}"))
    if kind == "bow":
        return 0.0, float(face.lip(0.0, {"cupid_bow": "upper_outer"}.get(words[0], words[0].removesuffix("_lip"))))
    if kind == "nose":
        x, y = NOSE["_".join(filter(None, words))]
        return x * face.nose, y
    return None


def _along(where: str, midpoints: dict[int, float]) -> float:
    """s of the end, centre or numbered midpoint of a curve over the left eye."""
    ends = {"inner_end": -1.0, "startpoint": -1.0, "centerpoint": 0.0, "outer_end": 1.0, "end": 1.0}
    return ends[where] if where in ends else midpoints[int(where[-1])]


def eye_middle(face: Features) -> float:
    """y of the middle of iris and pupil."""
    return face.eye_y + 0.3 * (face.eye_above - face.eye_below)


def paint(points: Array, skin: Array, look: dict[str, Array], face: Features) -> tuple[Array, Array]:
    """Classes (N,) and albedo (N,3) at points (N,3) of the skin of the face, metres of an average head.

    Args:
        skin: (N,3) albedo without any feature.
        look: albedo (3,) of "iris", "brow", "lips" and (0-d) the strength 0..1 of "beard" and "shadow" on the lids.
    """
    x, y = np.abs(points[:, 0]), points[:, 1]  # the left half stands for both
    front = points[:, 2] > 0.01
    albedo, classes = skin.copy(), np.full(len(points), FACE, np.uint8)
    beard = front & (y < -0.035 - 0.25 * np.maximum(0.05 - x, 0)) | front & (x < 0.03) & (np.abs(y + 0.051) < 0.004)
    albedo[beard] += float(look["beard"]) * (look["brow"] - albedo[beard])
    _paint_eyes(x, y, front, albedo, look, face)
    s = x / face.mouth_half
    on = front & (s < 1)
    edges = {edge: face.lip(np.minimum(s, 1), edge) for edge in ("upper_outer", "upper_inner", "lower_inner", "lower_outer")}
    upper = on & (y <= edges["upper_outer"]) & (y >= edges["upper_inner"])
    lower = on & (y < edges["lower_inner"]) & (y >= edges["lower_outer"])
    inside = on & (y < edges["upper_inner"]) & (y >= edges["lower_inner"])
    albedo[upper], classes[upper] = look["lips"] * 0.88, UPPER_LIP
    albedo[lower], classes[lower] = look["lips"], LOWER_LIP
    albedo[on & (np.abs(y - edges["upper_inner"]) < 0.0009)] *= 0.45  # the line between the lips
    share = (y - edges["lower_inner"]) / np.maximum(edges["upper_inner"] - edges["lower_inner"], 1e-6)
    for part, class_id, colour in (
        (inside & (share > 0.55), UPPER_TEETH, (0.9, 0.88, 0.82)),
        (inside & (share <= 0.55), TONGUE, (0.55, 0.22, 0.22)),
        (inside & (share < 0.18), LOWER_TEETH, (0.8, 0.78, 0.7)),
    ):
        albedo[part], classes[part] = colour, class_id
    return classes, albedo


def _paint_eyes(x: Array, y: Array, front: Array, albedo: Array, look: dict[str, Array], face: Features) -> None:
    """Paint the left eye and brow onto albedo (N,3) in place."""
    s = np.clip((x - face.eye_x) / face.eye_half, -1, 1)
    across = front & (np.abs(x - face.eye_x) < face.eye_half)
    top, bottom = face.lash(s, upper=True), face.lash(s, upper=False)
    albedo[across & (y > top) & (y < top + 0.0045)] *= 1 - 0.45 * float(look["shadow"])
    opening = across & (y < top) & (y > bottom)
    radius = np.hypot(x - face.eye_x, y - eye_middle(face))
    albedo[opening] = (0.86, 0.85, 0.83)
    albedo[opening & (radius < face.iris)] = look["iris"]
    albedo[opening & (radius < face.pupil)] = 0.02
    albedo[across & (np.abs(y - top) < 0.0013)] = 0.06
    albedo[across & (np.abs(y - bottom) < 0.0006)] *= 0.5
    t = np.clip((x - face.eye_x - 0.001) / (face.eye_half + 0.0055), -1, 1)
    low, high = face.brow(t)
    albedo[front & (np.abs(t) < 1) & (y > low) & (y < high)] = look["brow"]
