"""What a sample records beside its maps: how the picture was made, and of every person in it body, face, head, box and points.

All of it is numbers, text, lists and tables, as JSON holds them; docs/data.md describes it, shared/data/facts.py reads it back.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.data.synthetic import faces
from shared.data.synthetic.camera import Camera
from shared.data.synthetic.light import Light
from shared.data.synthetic.mesh import Array
from shared.data.synthetic.people import Figure
from shared.data.synthetic.picture import Sensor

DIGITS = 5  # after the point: 10 micrometres, 0.04 px of a face that fills a picture of 4K


def scene(*, seed: object, shot: str, backdrop: str, camera: Camera, lamp: Light, sensor: Sensor) -> dict[str, Any]:
    """How a picture was made; camera, light and sensor under the names of their classes' fields."""
    return plain(
        {
            "seed": seed,
            "shot": shot,
            "backdrop": backdrop,
            "camera": {"rotation": camera.rotation, "position": camera.position, "focal": camera.focal},
            "light": lamp,
            "sensor": sensor,
        }
    )


def person(one: Figure, camera: Camera, *, points: Array, visible: Array, box: Array) -> dict[str, Any]:
    """One person of the picture.

    Args:
        one: who was drawn, in the world.
        camera: what sees them.
        points: (K,3) metres in camera space, NaN where undefined.
        visible: (K,) 0 or 1.
        box: (4,) x0 y0 x1 y1 px, NaN where nothing of the person is seen.
    """
    turned = faces.seen(one.head, camera)
    yaw, pitch, roll = faces.angles(turned[:, :3])
    pose = {"rotation": turned[:, :3], "position": turned[:, 3], "yaw": yaw, "pitch": pitch, "roll": roll}
    return plain({**one.facts, "head": pose, "box": box, "points": points, "visible": visible.astype(int)})


def plain(value: Any) -> Any:
    """The same as JSON holds it: numbers rounded to DIGITS, None for what is no finite number."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if names := getattr(value, "_fields", None):
        value = dict(zip(names, value))
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0 if np.isfinite(value) else None  # + 0.0 makes of -0.0 a 0.0
    return value
