"""The textures of one scene: a few of each kind, drawn when first asked for."""

import numpy as np

from shared.data.synthetic import textures as draw
from shared.data.synthetic.mesh import Array
from shared.data.synthetic.textures import texture

PICK = {
    "wood": (draw.planks, draw.plaster),
    "cloth": (draw.wallpaper, draw.mottled, draw.plaster),
    "books": (draw.books,),
    "poster": (draw.poster,),
    "green": (draw.foliage,),
    "dark": (draw.asphalt, draw.plaster),
    "glow": (draw.plaster,),
    "any": draw.THINGS,
    "facade": (draw.facade,),
    "floor": draw.FLOORS,
    "wall": draw.WALLS,
    "pavement": (draw.asphalt, draw.asphalt, draw.bricks, draw.mottled),
}


class Store:
    """The textures, and for each how it shines and glows."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.textures, self.gloss, self.glow = rng, [], [], []
        self.kinds: dict[str, list[int]] = {}

    def pick(self, kind: str, *, period: float | None = None, most: int = 2) -> int:
        """Number of a random texture of a kind; at most `most` different ones are drawn."""
        have = self.kinds.setdefault(kind, [])
        if len(have) < (5 if kind == "any" else most):
            makers = PICK[kind]
            picture = makers[self.rng.integers(len(makers))](self.rng)
            self.textures.append(texture(picture, period or float(self.rng.uniform(0.5, 2.0))))
            self.gloss.append(self.rng.uniform(0, 0.3) if self.rng.random() < 0.4 else 0.02)
            self.glow.append(self.rng.uniform(0.8, 2.5) if kind == "glow" else 0.0)
            have.append(len(self.textures) - 1)
            return have[-1]
        return int(self.rng.choice(have))

    def picture(self, picture: Array, glow: float = 0.0) -> int:
        """Number of a texture that covers exactly one metre by one."""
        self.textures.append(texture(picture, 1.0))
        self.gloss.append(0.05)
        self.glow.append(glow)
        return len(self.textures) - 1
