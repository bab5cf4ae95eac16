"""Several views of one picture, large and small, for a pretraining that compares them (DINO, Caron et al. 2021)."""

from dataclasses import dataclass

import numpy as np

from shared.data.photometric import Photometric
from shared.data.view import Size, View


@dataclass(frozen=True)
class Crops:
    """Two large views of a picture, of the network's size, and several small ones; shares and numbers are Sapiens2's.

    Args:
        share: of what the plain view shows of the picture that is in a large one, drawn between the two.
        local: how many small ones.
        local_hw: (H,W) of a small one; 448 x 336 is to 1024 x 768 what DINO's 96 is to 224.
        local_share: of it that is in a small one.
        flip: probability of a mirror image, of each view.
        photometric: how colours change in the small ones; None: not at all.

    Raises:
        ValueError: a share that is none, or no small view.
    """

    share: tuple[float, float] = (0.5, 1.0)
    local: int = 4
    local_hw: Size = (448, 336)
    local_share: tuple[float, float] = (0.2, 0.7)
    flip: float = 0.5
    photometric: Photometric | None = None

    def __post_init__(self) -> None:
        for name in ("share", "local_share"):
            least, most = getattr(self, name)
            if not 0 < least <= most <= 1:
                raise ValueError(f"{name}={(least, most)} are no shares of a picture; give the least and the most, 0 < ... <= 1")
        if self.local < 1:
            raise ValueError(f"local={self.local} is too small; large views are compared with at least one small one")

    def large(self, view: View, picture_hw: Size, rng: np.random.Generator) -> View:
        """A large view of what the plain one shows of a picture of (H,W)."""
        return self._part(view, view.size, self.share, _shown(view, picture_hw), rng)

    def small(self, view: View, picture_hw: Size, rng: np.random.Generator) -> View:
        """A small one."""
        size = int(self.local_hw[0]), int(self.local_hw[1])
        return self._part(view, size, self.local_share, _shown(view, picture_hw), rng)

    def _part(self, view: View, size: Size, share: tuple[float, float], shown: np.ndarray, rng: np.random.Generator) -> View:
        """That share of what is shown, in the aspect of `size`, anywhere within it; less where so much would not fit."""
        (h, w), extent = size, shown[2:] - shown[:2]
        scale = max(np.sqrt(h * w / (rng.uniform(*share) * extent.prod())), *(np.array([w, h]) / extent))
        x, y = shown.reshape(2, 2).mean(0) + rng.uniform(-1, 1, 2) * (extent - np.array([w, h]) / scale) / 2
        flip = bool(rng.random() < self.flip)
        part = View.about((x, y), scale, size, flip=flip)
        linear = part.matrix[:, :2] @ view.matrix[:, :2]
        return View(np.c_[linear, part.to_view(view.matrix[:, 2])], size, view.flip != flip)


def _shown(view: View, picture_hw: Size) -> np.ndarray:
    """Where the picture lies in the view: x0 y0 x1 y1, outer edges, at least a pixel."""
    x, y = picture_hw[1] - 0.5, picture_hw[0] - 0.5
    corners = view.to_view(np.array([[-0.5, -0.5], [x, -0.5], [-0.5, y], [x, y]]))
    last = np.array(view.size[::-1]) - 0.5
    low = np.clip(corners.min(0), -0.5, last - 1)
    return np.r_[low, np.clip(corners.max(0), low + 1, last)]
