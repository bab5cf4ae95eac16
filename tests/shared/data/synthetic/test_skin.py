"""Bare skin: its classes meet along smooth curves, and cutting it there changes nothing else."""

import numpy as np
import pytest

from shared.data.synthetic.looks import look
from shared.data.synthetic.mesh import PART, Piece, vertex_normals
from shared.data.synthetic.rig import Rig
from shared.data.synthetic.skin import skin

RIG = Rig.load()


@pytest.fixture(scope="module")
def body() -> Piece:
    """The bare parts of the mean adult, in the rest pose."""
    return skin(RIG, RIG.pose(RIG.mean, RIG.heads_mean, {}), look(np.random.default_rng(0)))[0]


def meeting(body: Piece, first: str, second: str) -> np.ndarray:
    """Edges (E,2) where two classes meet."""
    found = []
    for name in (first, second):
        faces = body.faces[body.part == PART[name]]
        found.append({tuple(edge) for edge in np.sort(np.stack([faces, np.roll(faces, -1, 1)], 2).reshape(-1, 2), 1).tolist()})
    return np.array(sorted(found[0] & found[1])).reshape(-1, 2)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Left_Hand", "Left_Lower_Arm"),
        ("Torso", "Left_Upper_Arm"),
        ("Right_Foot", "Right_Lower_Leg"),
        ("Face_Neck", "Torso"),
        ("Upper_Lip", "Face_Neck"),
        ("Lower_Lip", "Face_Neck"),
    ],
)
def test_classes_meet_along_curves_not_along_the_sides_of_triangles(body, first, second):
    ways: dict[int, list[np.ndarray]] = {}
    for a, b in meeting(body, first, second):
        if (length := np.linalg.norm(way := body.points[b] - body.points[a])) > 1e-5:
            ways.setdefault(a, []).append(way / length)
            ways.setdefault(b, []).append(-way / length)
    turns = [-(pair[0] @ pair[1]) for pair in ways.values() if len(pair) == 2]
    assert len(turns) > 15
    assert np.degrees(np.arccos(np.clip(turns, -1, 1))).mean() < 20


def test_left_and_right_are_on_their_sides(body):
    middle = body.rest[body.faces, 0].mean(1)
    for limb in ("Hand", "Lower_Arm", "Foot", "Lower_Leg"):
        assert middle[body.part == PART[f"Left_{limb}"]].min() > 0
        assert middle[body.part == PART[f"Right_{limb}"]].max() < 0


def test_borders_are_points_of_the_same_surface(body):
    facing = (vertex_normals(body.points, body.faces) * body.normals).sum(1)
    assert np.isfinite(body.points).all()
    assert np.percentile(facing, 2) > 0.8
    assert np.linalg.norm(body.normals, axis=1).min() > 0.5
