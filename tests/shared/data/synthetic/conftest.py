"""Scenes of known shape, and people made of balls and tubes, who are quicker to make than the rig's."""

import numpy as np
import pytest

from shared.data.synthetic import faces
from shared.data.synthetic.camera import Camera
from shared.data.synthetic.furniture import Shape, ball, tube
from shared.data.synthetic.light import light
from shared.data.synthetic.mesh import Material, Piece, material, piece, soup
from shared.data.synthetic.people import Figure
from shared.data.synthetic.rays import Rays
from shared.data.synthetic.render import World

SKIN = material("skin", colour=(0.6, 0.4, 0.3))
AHEAD = np.array([0.0, -1.0, 0.0])


def _piece(shape: Shape, look: Material, part: str) -> Piece:
    return piece(shape.points, shape.faces, look, part, normals=shape.normals)


@pytest.fixture(scope="session")
def doll():
    """Draws a person of balls and tubes, as groups.Maker."""

    def make(rng: np.random.Generator, shot: str = "full") -> Figure:
        cloth = material("cloth", colour=rng.uniform(0.1, 0.8, 3), second=rng.uniform(0.1, 0.8, 3), pattern="plaid")
        pieces = [_piece(ball((0, 0, 1.6), (0.08, 0.1, 0.12), 0), SKIN, "Face_Neck")]
        pieces.append(_piece(ball((0, 0, 1.2), (0.2, 0.12, 0.32), 0), cloth, "Upper_Clothing"))
        for sign, side in ((1, "Left"), (-1, "Right")):
            pieces.append(_piece(tube((0.1 * sign, 0, 0), 0.06, 1.0, 0, top=0.09), cloth, "Lower_Clothing"))
            pieces.append(_piece(tube((0.25 * sign, 0, 0.7), 0.04, 0.75, 0), SKIN, f"{side}_Lower_Arm"))
        points = np.array([(0, -0.1, 1.6), (0.25, 0, 1.4), (-0.25, 0, 1.4), (np.nan,) * 3])
        everything = np.concatenate([one.points for one in pieces])
        frames = {
            "full": everything,
            "upper": everything[everything[:, 2] > 0.9],
            "face": pieces[0].points,
            "hand": pieces[-1].points,
        }
        ways: dict[str, np.ndarray] = dict.fromkeys(("full", "upper", "face", "hand", "group"), AHEAD)
        return Figure(pieces, [], points, np.full(4, 0.06), frames, ways, {}, np.c_[faces.AXES, (0, 0, 1.6)])

    return make


@pytest.fixture(scope="session")
def ahead():
    """A camera at the origin that looks along +y, the world's z up."""
    return Camera(np.array([(1.0, 0, 0), (0, 0, -1), (0, 1, 0)]), np.zeros(3), 5.0)


@pytest.fixture(scope="session")
def world(embree):
    """Makes a world of pieces, each with its owner."""

    def make(pieces: list[Piece], people: list[int]) -> World:
        scene = soup(pieces, people)
        lamp = light(np.random.default_rng(0), indoor=True)
        return World(scene, Rays(scene), lamp, lambda ways: np.full((len(ways), 3), 0.5, np.float32))

    return make


@pytest.fixture(scope="session")
def sphere():
    """A finely cut ball of radius 0.5 m, 3 m along +y, with exact normals."""
    around, up = 400, 200
    angle, height = np.linspace(0, 2 * np.pi, around), np.linspace(-np.pi / 2, np.pi / 2, up)
    grid = np.stack(
        [np.cos(height)[:, None] * np.cos(angle), np.cos(height)[:, None] * np.sin(angle), np.sin(height)[:, None] + 0 * angle], -1
    )
    index = np.arange(around * up).reshape(up, around)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    flat = grid.reshape(-1, 3)
    return piece(0.5 * flat + (0, 3, 0), faces, SKIN, "Face_Neck", normals=flat)


@pytest.fixture(scope="session")
def wall():
    """A plane 4 m along +y that leans and turns: 0.3 x + y + 0.2 z = 4."""
    corners = np.array([(x, 4 - 0.3 * x - 0.2 * z, z) for x, z in ((-3, -3), (3, -3), (3, 3), (-3, 3))])
    return piece(corners, np.array([(0, 1, 2), (0, 2, 3)]), material("plain", colour=(0.5, 0.5, 0.5)), 0)
