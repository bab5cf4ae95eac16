"""Named points of a body: COCO's 17, COCO-WholeBody's 133 and Sapiens' 308, as fixed mixtures of the rig's vertices.

All 388 different names of the three lists are defined; none of the 308 is unknown. They come from

- joints as COCO sees them, regressed from the skin (the 17 and the feet: anny's regressors);
- the cubes around the rig's joints (fingers, hand roots, neck);
- curves on the skin, see anchors.py (face, jaw, lips, lids, irises, nose, elbows, shoulders), found by rays;
- picks by hand (ears, nostrils), one side mirrored.

A point that a rig cannot give is NaN. Points inside the body (joints) and under hair or cloth count as visible although something
of the same person is before them: by no more than TOLERANCE, metres along the ray.
"""

import functools
import re
import tomllib
from pathlib import Path

import numpy as np
from scipy import sparse

from shared.data.synthetic.anchors import EAR, NOSTRIL
from shared.data.synthetic.rig import Rig

Array = np.ndarray
Mixture = list[tuple[str, float, float]]  # curve, place along it (between two of its points), share

_FILE = tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))
FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
JOINTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
COCO17: tuple[str, ...] = ("nose", *(f"{side}_{name}" for name in ("eye", "ear", *JOINTS) for side in ("left", "right")))
WHOLEBODY133: tuple[str, ...] = (
    COCO17
    + tuple(f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel"))
    + tuple(f"face-{i}" for i in range(68))
    + tuple(
        f"{side}_{name}"
        for side in ("left", "right")
        for name in ("hand_root", *(f"{finger}{i}" for finger in FINGERS for i in (1, 2, 3, 4)))
    )
)
SAPIENS308: tuple[str, ...] = tuple(_FILE["points"])
NAMES: tuple[str, ...] = SAPIENS308 + tuple(name for name in WHOLEBODY133 if name not in set(SAPIENS308))
MIRROR: dict[str, str] = {right: left for left, right in _FILE["mirror"]}

ALONG = {3: -0.75, 1: -0.5, 4: -0.25, 5: 0.25, 2: 0.5, 6: 0.75}  # midpoint number -> s of -1..1, on lids and lips
ALONG_BROW = {2: -0.5, 1: 0.0, 3: 0.5}
ENDS = {"inner_end": -1.0, "startpoint": -1.0, "centerpoint": 0.0, "outer_end": 1.0, "end": 1.0}
RING = ("3", "midpoint_1", "12", "midpoint_4", "9", "midpoint_3", "6", "midpoint_2")  # from outward on the left eye, then upward
MIDLINE: dict[str, Mixture] = {
    "center_of_glabella": [("glabella", 0, 1)],
    "center_of_nose_root": [("nose_bridge", 0, 1)],
    "midpoint_2_of_nose_bridge": [("nose_bridge", 1, 1)],
    "midpoint_1_of_nose_bridge": [("nose_bridge", 2, 1)],
    "midpoint_3_of_nose_bridge": [("nose_bridge", 3, 1)],
    "tip_of_nose_bridge": [("nose_bridge", 4, 1)],
    "tip_of_nose": [("nose_tip", 0, 1)],
    "bottom_center_of_nose": [("nose_bottom", 0, 1)],
    "center_of_labiomental_groove": [("groove", 0, 1)],
    "tip_of_chin": [("chin", 0, 1)],
    "center_of_cupid_bow": [("lip_upper_outer", 4, 1)],
    "center_of_upper_inner_lip": [("lip_upper_inner", 4, 1)],
    "center_of_lower_inner_lip": [("lip_lower_inner", 4, 1)],
    "center_of_lower_outer_lip": [("lip_lower_outer", 4, 1)],
}


def place(rig: Rig, points: Array) -> Array:
    """The points called NAMES, (K,3) float32 metres, of a body (V,3) at rest or posed; NaN where this rig has none."""
    mixed = mixture(rig)
    placed = (mixed @ points.astype(np.float64)).astype(np.float32)
    placed[np.diff(mixed.indptr) == 0] = np.nan
    return placed


@functools.cache
def mixture(rig: Rig) -> sparse.csr_matrix:
    """How the vertices make the points: (K,V), rows sum to 1, or are empty where this rig has no such point."""
    return sparse.csr_matrix(sparse.vstack([_row(rig, name) for name in NAMES]))


def _row(rig: Rig, name: str) -> sparse.csr_matrix:
    if name in rig.regressed:
        return sparse.csr_matrix(rig.regressor[rig.regressed.index(name)])
    vertices = len(rig.mean)
    if joint := _cube(name):
        first = rig.joints[joint]
        return sparse.csr_matrix((np.full(8, 1 / 8), (np.zeros(8, int), np.arange(first, first + 8))), (1, vertices))
    row = sparse.csr_matrix((1, vertices))
    for curve, along, share in _on_skin(name):
        if curve not in rig.anchors:
            return sparse.csr_matrix((1, vertices))
        places, weights = rig.anchors[curve]
        low, part = int(along), along - int(along)
        for index, much in ((low, 1 - part), (low + 1, part)):
            if much > 0:
                corner = (share * much * weights[index], (np.zeros(3, int), places[index].astype(int)))
                row = row + sparse.csr_matrix(corner, (1, vertices))
    return sparse.csr_matrix(row)


def _cube(name: str) -> str:
    """The rig's joint that a point is the middle of, or nothing."""
    if name == "neck":
        return "neck"
    match = re.fullmatch(rf"(left|right)_(?:(hand_root)|({'|'.join(FINGERS)})(?:([1-4])|_third_joint))", name)
    if not match:
        return ""
    side, root, finger, number = match.groups()
    return f"{side[0]}-hand" if root else f"{side[0]}-finger-{FINGERS.index(finger) + 1}-{number or 1}"


def _on_skin(name: str) -> Mixture:
    """What a point on the skin is made of."""
    if name in MIDLINE:
        return MIDLINE[name]
    if match := re.fullmatch(r"face-(\d+)", name):
        return _face68()[int(match[1])]
    if match := re.fullmatch(r"(left|right)_(olecranon|cubital_fossa|acromion)", name):
        return [(f"{match[2]}_{match[1]}", 0, 1)]
    left = MIRROR.get(name, name)
    found = _on_left(left)
    if left == name:
        return found
    curves = {"lip": lambda curve, along: (curve, 8 - along)}  # lips are one curve from the right to the left
    swapped = [curves.get(c[:3], lambda curve, along: (curve.replace("_left", "_right"), along))(c, a) for c, a, _ in found]
    return [(curve, along, share) for (curve, along), (_, _, share) in zip(swapped, found)]


def _on_left(name: str) -> Mixture:
    """What a point of the left half of the face is made of."""
    if match := re.fullmatch(r"l_(.+)_of_(upper|lower)_(lash|eyelid|crease)_line", name):
        line = {"lash": "lash", "eyelid": "lid", "crease": "crease"}[match[3]]
        return [(f"{line}_{match[2]}_left", 4 + 4 * _s(match[1], ALONG), 1)]
    if match := re.fullmatch(r"l_center_of_(iris|pupil)", name):
        return [(f"{match[1]}_left", 0, 1)]
    if match := re.fullmatch(r"l_border_of_(iris|pupil)_(.+)", name):
        return [(f"{match[1]}_left", 1 + RING.index(match[2]), 1)]
    if match := re.fullmatch(r"(?:(upper|lower)_)?(startpoint|end|midpoint_\d)_of_l_eyebrow", name):
        edges = [match[1]] if match[1] else ["upper", "lower"]
        return [(f"brow_{edge}_left", 2 + 2 * _s(match[2], ALONG_BROW), 1 / len(edges)) for edge in edges]
    if match := re.fullmatch(r"(midpoint_\d)_of_(upper|lower)_(outer|inner)_lip", name):
        return [(f"lip_{match[2]}_{match[3]}", 4 + 4 * _s(match[1], ALONG), 1)]
    if match := re.fullmatch(r"l_(outer|inner)_corner_of_mouth", name):
        return [(f"lip_upper_{match[1]}", 8, 0.5), (f"lip_lower_{match[1]}", 8, 0.5)]
    if name == "l_outer_corner_of_nose":
        return [("nose_wing_left", 0, 1)]
    if match := re.fullmatch(r"(.+)_corner_of_l_nostril", name):
        return [("nostril_left", list(NOSTRIL).index(match[1]), 1)]
    if name[2:] in EAR:
        return [("ear_left", list(EAR).index(name[2:]), 1)]
    raise ValueError(f"no rule says where the point {name!r} is")


def _s(where: str, midpoints: dict[int, float]) -> float:
    return ENDS[where] if where in ENDS else midpoints[int(where[-1])]


@functools.cache
def _face68() -> list[Mixture]:
    """The 68 points of the 300-W scheme: jaw, brows, nose, eyes, mouth, each from the person's right."""
    points: list[tuple[str, float]] = [("jaw", i) for i in range(17)]
    points += [("brow_upper_right", 4 - i) for i in range(5)] + [("brow_upper_left", i) for i in range(5)]
    points += [("nose_bridge", i * 4 / 3) for i in range(4)] + [("nose_base", i) for i in range(5)]
    upper, lower = (8, 16 / 3, 8 / 3, 0), (8 / 3, 16 / 3)
    points += [("lash_upper_right", i) for i in upper] + [("lash_lower_right", i) for i in lower]
    points += [("lash_upper_left", i) for i in reversed(upper)] + [("lash_lower_left", i) for i in reversed(lower)]
    points += [("lip_upper_outer", i) for i in (0, 1.5, 3, 4, 5, 6.5, 8)] + [("lip_lower_outer", i) for i in (6.5, 5, 4, 3, 1.5)]
    points += [("lip_upper_inner", i) for i in (0, 2.5, 4, 5.5, 8)] + [("lip_lower_inner", i) for i in (5.5, 4, 2.5)]
    return [[(curve, along, 1.0)] for curve, along in points]


_TOLERANCES = (  # metres, the first pattern that fits
    (r"left_eye|right_eye|nose", 0.03),  # COCO labels them through hair and glasses
    (r"left_ear|right_ear", 0.05),
    (r".*_(shoulder|hip)", 0.14),
    (r".*_knee", 0.11),
    (r".*_(elbow|ankle|heel)|neck", 0.09),
    (r".*_(wrist|hand_root)|.*_toe", 0.06),
    (rf"(left|right)_({'|'.join(FINGERS)}).*", 0.03),
    (r".*(olecranon|cubital_fossa|acromion)", 0.035),
    (r"[lr]_(" + "|".join(EAR) + ")", 0.015),
    (r".*", 0.012),
)


def _tolerance(name: str) -> float:
    return next(metres for pattern, metres in _TOLERANCES if re.fullmatch(pattern, name))


TOLERANCE = np.array([_tolerance(name) for name in NAMES], np.float32)  # (K,) metres
