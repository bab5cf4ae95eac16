"""Where each garment covers the body, as fields on a mesh's vertices: metres inside its border, negative outside.

Fields are functions of the mean adult's rest pose and of the Look only: what is covered does not depend on body, pose or size.
N vertices of the mesh that is asked about.
"""

import functools
from typing import NamedTuple

import numpy as np

from shared.data.synthetic.looks import WAIST, Bottom, Feet, Jacket, Look, Top
from shared.data.synthetic.regions import eyes
from shared.data.synthetic.rig import Rig

Array = np.ndarray
FAR = 9.0  # metres; "does not end here"
ARM, LEG = 0.26, 0.42  # metres from shoulder to elbow and from hip to knee, which make limb coordinates into lengths
TUCK = 0.08  # metres that a tucked top goes on below the waist


class Places(NamedTuple):
    """The mean adult as tailors see it."""

    xyz: Array  # (3,N) metres
    arm: Array  # (N,) along the arm, -1 off it
    leg: Array
    neck: float  # height of the base of the neck, metres
    hip: float  # height of the hip joints
    middle: float  # y of the spine


@functools.cache
def places(rig: Rig, part: str | None = None, levels: int | None = None) -> Places:
    """The Places of a part's vertices, subdivided `levels` times, or of all the rig's vertices; made once."""
    fields = rig.mean, rig.limb_t.max(0), rig.limb_u.max(0)
    xyz, arm, leg = fields if part is None else (rig.part(part, levels).matrix @ field for field in fields)
    return Places(xyz.T, arm, leg, rig.joint("neck")[2], rig.joint("l-upper-leg")[2], rig.joint("spine-2")[1])


def _collar(at: Places) -> Array:
    """(N,) metres below the upper end of the shell that clothes are cut from, which is higher in the nape."""
    return at.neck + 0.006 + 0.4 * (at.xyz[1] + 0.09) - at.xyz[2]


def top_field(at: Places, top: Top) -> Array:
    """(N,) a shirt from its collar to its hem and along the arms to the end of its sleeves."""
    x, y, z = at.xyz
    front = 1 / (1 + np.exp(60 * (y + 0.02)))
    collar = np.minimum(at.neck + top.collar - top.neck_drop * np.exp(-((x / top.neck_width) ** 2)) * front - z, _collar(at))
    hem = z - (at.hip + (WAIST - TUCK if top.tucked else top.hem))
    sleeve = (top.sleeve - at.arm) * ARM
    trunk = np.minimum(hem, np.where(at.arm > -0.5, sleeve, FAR))
    return np.minimum(collar, np.where(at.arm > 0, sleeve, trunk))


def bottom_field(at: Places, bottom: Bottom) -> Array:
    """(N,) trousers, shorts or the lining of a skirt, from the waist down."""
    waist = at.hip + WAIST - at.xyz[2]
    both = np.minimum(waist, np.where(at.leg > -0.5, (bottom.leg - at.leg) * LEG, FAR))
    return np.where(at.arm > 0.3, -1.0, both)


def jacket_field(at: Places, jacket: Jacket) -> Array:
    """(N,) a jacket: wide at the neck, open in front from top to bottom."""
    x, y, z = at.xyz
    gap = jacket.opening * (1 + 0.6 * np.clip((at.hip + 0.2 - z) / 0.3, -0.5, 1))
    opened = np.maximum(np.abs(x) - gap, (y - at.middle + 0.03) * 2) if jacket.opening else np.full_like(x, FAR)
    collar = at.neck + 0.02 - 0.05 * np.exp(-((x / 0.07) ** 2)) / (1 + np.exp(60 * (y + 0.02))) - z
    collar = np.minimum(collar, _collar(at))
    sleeve = (jacket.sleeve - at.arm) * ARM
    trunk = np.minimum(np.minimum(z - (at.hip + jacket.hem), collar), opened)
    return np.where(at.arm > 0, np.minimum(sleeve, collar), np.minimum(trunk, np.where(at.arm > -0.5, sleeve, FAR)))


def sock_field(at: Places, feet: Feet) -> Array:
    """(N,) both socks."""
    return np.where(at.leg > -0.5, (at.leg - feet.sock) * LEG, -1.0)


def shoe_field(at: Places, feet: Feet) -> Array:
    """(N,) both shoes."""
    return np.where(at.leg > -0.5, (at.leg - feet.shoe) * LEG, -1.0)


def skirt_field(at: Places, bottom: Bottom) -> Array:
    """(N,) for the vertices of the rig's skirt: from the waist down to its length."""
    below = at.hip + WAIST - at.xyz[2]
    return np.minimum(below, bottom.skirt - below)


def strap_field(at: Places, bag: str) -> Array:
    """(N,) the straps of a backpack over both shoulders, or of a bag from the left shoulder to the right hip."""
    x, y, z = at.xyz
    if bag == "backpack":
        end = at.neck - 0.25
        down = np.minimum(0.02 - np.abs(np.abs(x) - 0.088), z - end + 0.013)
        round_side = np.minimum(np.minimum(0.013 - np.abs(z - end), np.abs(x) - 0.07), 0.08 - y)
        field = np.maximum(down, round_side)
    else:
        slope = np.array([0.17, at.neck - 0.02 - at.hip - 0.05])
        normal = np.array([slope[1], -slope[0]]) / np.linalg.norm(slope)
        across = (x - 0.07) * normal[0] + (z - at.neck + 0.02) * normal[1]
        field = np.minimum(0.016 - np.abs(across), z - at.hip)
    return np.where(at.arm > 0.12, -1.0, np.minimum(field, at.neck + 0.03 - z))


def hat_field(rig: Rig) -> Array:
    """(V,) the part of the head that a hat covers, from above the brows to the nape."""
    _, y, z = (rig.mean - eyes(rig)).T
    edge = np.interp(y, [-0.03, 0.05, 0.10, 0.18], [0.062, 0.045, 0.022, 0.008])
    return np.where((rig.shares[:, 0] > 0.5) & (rig.ears < 0.3), z - edge, -0.02)


def covered(at: Places, look: Look) -> Array:
    """(N,) metres inside the border of all that is worn close to the body; the skin is cut away where this is positive enough."""
    worn = np.maximum(top_field(at, look.top), bottom_field(at, look.bottom))
    if look.jacket is not None:
        worn = np.maximum(worn, jacket_field(at, look.jacket))
    return np.maximum(np.maximum(worn, sock_field(at, look.feet)), shoe_field(at, look.feet))
