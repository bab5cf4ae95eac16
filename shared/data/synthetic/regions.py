"""Fields on the vertices of the rig that follow from its bones and its mean shape: limbs, regions of skin, hairline, lips."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from shared.data.synthetic.rig import Rig

Array = np.ndarray
SIDES = (("Left", "L", "l", 1), ("Right", "R", "r", -1))  # name, end of its bones, start of its joints, sign of x
REGIONS = (
    "Face_Neck",
    "Torso",
    *(f"{s}_{part}" for s in ("Left", "Right") for part in ("Upper_Arm", "Lower_Arm", "Hand", "Upper_Leg", "Lower_Leg", "Foot")),
)
HAIRLINE = (  # metres from the eyes: backwards, upwards; from the brow over the temple and the ear to the nape
    (-0.03, 0.0, 0.055, 0.085, 0.10, 0.13, 0.20),
    (0.078, 0.075, 0.045, -0.005, -0.02, -0.055, -0.075),
)


def along(points: Array, start: Array, middle: Array, end: Array) -> Array:
    """How far points (N,3) are along two segments: 0 at the start, 1 at the middle, 2 at the end, linear beyond."""
    first, second = middle - start, end - middle
    return np.minimum((points - start) @ first / (first @ first), 1) + np.maximum((points - middle) @ second / (second @ second), 0)


def along_arms(rig: Rig) -> Array:
    """See Rig.limb_t."""
    fields = []
    for _, b, j, sign in SIDES:
        on_side = rig.mean[:, 0] * sign > 0
        bones = [f"{bone}.{b}" for bone in ("shoulder01", "upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist")]
        weight = rig.share(*bones) + rig.share("finger*", "metacarpal*") * on_side
        place = along(rig.mean, rig.joint(f"{j}-shoulder"), rig.joint(f"{j}-elbow"), rig.joint(f"{j}-hand"))
        fields.append(np.where(weight > 0.05, place, -1))
    return np.stack(fields)


def along_legs(rig: Rig) -> Array:
    """See Rig.limb_u."""
    fields = []
    for _, b, j, sign in SIDES:
        on_side = rig.mean[:, 0] * sign > 0
        bones = [f"{bone}.{b}" for bone in ("upperleg01", "upperleg02", "lowerleg01", "lowerleg02", "foot")]
        weight = rig.share(*bones) + rig.share("toe*") * on_side
        place = along(rig.mean, rig.joint(f"{j}-upper-leg"), rig.joint(f"{j}-knee"), rig.joint(f"{j}-ankle"))
        fields.append(np.where(weight > 0.02, place, -1))
    return np.stack(fields)


def shares(rig: Rig) -> Array:
    """See Rig.shares."""
    columns = {
        "Face_Neck": rig.share("head", "eye.L", "eye.R", "neck*"),
        "Torso": rig.share("root", "spine*", "pelvis*", "clavicle*"),
    }
    for side, b, _, sign in SIDES:
        on_side = rig.mean[:, 0] * sign > 0
        columns[f"{side}_Upper_Arm"] = rig.share(f"shoulder01.{b}", f"upperarm01.{b}", f"upperarm02.{b}")
        columns[f"{side}_Lower_Arm"] = rig.share(f"lowerarm01.{b}", f"lowerarm02.{b}")
        columns[f"{side}_Hand"] = rig.share(f"wrist.{b}") + rig.share("finger*", "metacarpal*") * on_side
        columns[f"{side}_Upper_Leg"] = rig.share(f"upperleg01.{b}", f"upperleg02.{b}")
        columns[f"{side}_Lower_Leg"] = rig.share(f"lowerleg01.{b}", f"lowerleg02.{b}")
        columns[f"{side}_Foot"] = rig.share(f"foot.{b}") + rig.share("toe*") * on_side
    return np.stack([columns[name] for name in REGIONS], 1).astype(np.float32)


def eyes(rig: Rig) -> Array:
    """The point (3,) between the mean adult's eyes."""
    return (rig.joint("l-eye") + rig.joint("r-eye")) / 2


def scalp(rig: Rig) -> Array:
    """See Rig.scalp."""
    x, y, z = (rig.mean - eyes(rig)).T
    over_temple = 0.03 * np.exp(-(((np.abs(x) - 0.062) / 0.014) ** 2)) * (y < 0.075)  # sideburns
    line = np.interp(y, *HAIRLINE) - over_temple
    return np.where(rig.shares[:, 0] > 0.5, z - line, -1)


def lower_lip(rig: Rig) -> Array:
    """See Rig.lower_lip."""
    edge = rig.curve("lip_upper_inner")
    below = rig.mean[:, 2] < np.interp(rig.mean[:, 0], edge[:, 0], edge[:, 2]) - 0.001
    in_front = (np.abs(rig.mean[:, 0]) < 0.05) & (rig.mean[:, 1] < eyes(rig)[1] + 0.06) & (rig.shares[:, 0] > 0.5)
    return (below & in_front).astype(np.float32)


def blush(rig: Rig) -> Array:
    """See Rig.blush."""
    middle = eyes(rig)
    x, y, z = (rig.mean - middle).T
    tip = rig.curve("nose_tip")[0] - middle
    on_face = (z > -0.14) & (y < 0.06) & (rig.shares[:, 0] > 0.5)
    red = rig.ears * 0.5
    for cx, cz, spread in ((0.036, -0.035, 0.022), (-0.036, -0.035, 0.022), (0.0, tip[2], 0.014)):
        red = np.maximum(red, on_face * np.exp(-((x - cx) ** 2 + (z - cz) ** 2) / (2 * spread**2)))
    return red.astype(np.float32)
