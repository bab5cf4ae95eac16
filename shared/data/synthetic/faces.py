"""Where a head is and where it looks: its frame, its rotation against the camera, and the three angles that people print.

The frame of a head: x to the person's left, y down, z backward, into the head; its origin lies in the middle between the centres of
the eyeballs, and its axes are those of the rig at rest, who holds the head upright and looks straight ahead. With the camera's axes
(x right, y down, z forward) a head that faces the camera has the identity as its rotation.

The rotation R, head -> camera, is the truth. The angles are read from it so that they mean what they mean in 300W-LP and AFLW2000,
and in BIWI as Hopenet reads it:

    R = Rx(-pitch) Ry(yaw) Rz(roll)       right-handed elementary rotations about the camera's axes, degrees

| angle | positive |
|---|---|
| yaw | turned to the person's right: the face looks at the picture's left edge |
| pitch | looking up |
| roll | tilted to the person's left shoulder: clockwise as the viewer sees it |

The matrix Rz(roll) Ry(yaw) Rx(pitch) that papers build of the same numbers is F transpose(R) F with F = diag(1,-1,-1). Yaw lies
within 90 degrees, so that who turns away has a pitch and a roll near 180: compare rotations, not angles. All is against the camera
of the whole picture, not against the ray to the head: a crop has another camera.
"""

import numpy as np

from shared.data.synthetic.camera import Camera
from shared.data.synthetic.mesh import Array
from shared.data.synthetic.rig import Posed, Rig

AXES = np.array([(1.0, 0, 0), (0, 0, 1), (0, -1, 0)])  # head -> rest space of the rig, where z is up and people face -y
LOCKED = 1e-6  # cosine of a yaw at which pitch and roll turn about one axis


def head(rig: Rig, posed: Posed) -> Array:
    """The frame of a posed body's head in the world: (3,4), rotation head -> world and the origin, metres."""
    middle = (rig.joint("l-eye", posed.points) + rig.joint("r-eye", posed.points)) / 2
    return np.c_[posed.bones[rig.bone("head")][:, :3] @ AXES, middle]


def seen(frame: Array, camera: Camera) -> Array:
    """The frame (3,4) of a head, world -> camera space."""
    return np.c_[camera.rotation @ frame[:, :3], camera.view(frame[None, :, 3])[0]]


def angles(rotation: Array) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees of a rotation (3,3) head -> camera. Where yaw is 90 degrees either way, roll counts as 0."""
    level = float(np.hypot(rotation[0, 0], rotation[0, 1]))
    yaw = np.arctan2(rotation[0, 2], level)
    if level < LOCKED:
        pitch, roll = -np.arctan2(rotation[2, 1], rotation[1, 1]), 0.0
    else:
        pitch, roll = np.arctan2(rotation[1, 2], rotation[2, 2]), -np.arctan2(rotation[0, 1], rotation[0, 0])
    yaw, pitch, roll = np.degrees((yaw, pitch, roll))
    return float(yaw), float(pitch), float(roll)


def rotation(yaw: float, pitch: float, roll: float) -> Array:
    """(3,3) head -> camera, from degrees."""
    (sy, sp, sr), (cy, cp, cr) = np.sin(np.radians((yaw, pitch, roll))), np.cos(np.radians((yaw, pitch, roll)))
    about_x = np.array([(1, 0, 0), (0, cp, sp), (0, -sp, cp)])
    about_y = np.array([(cy, 0, sy), (0, 1, 0), (-sy, 0, cy)])
    about_z = np.array([(cr, -sr, 0), (sr, cr, 0), (0, 0, 1)])
    return about_x @ about_y @ about_z
