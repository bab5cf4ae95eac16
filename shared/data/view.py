"""A View maps a picture onto the network's input: one 2x3 matrix that every field obeys."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

Size = tuple[int, int]


@dataclass(frozen=True)
class View:
    """Source pixels -> view pixels. Ours are similarities; `stretch` and `corners`, for official weights, scale x and y apart.

    Args:
        matrix: (2,3) float64, source (x,y,1) -> view (x,y); pixel centres at integers.
        size: (H,W) of the view.
        flip: the view is a mirror image, so left and right change places.
    """

    matrix: np.ndarray
    size: Size
    flip: bool = False

    @classmethod
    def whole(cls, source_hw: Size, size: Size) -> "View":
        """The whole picture, aspect kept, centred; what remains of the view is unknown."""
        (h, w), (H, W) = source_hw, size
        return cls.about(((w - 1) / 2, (h - 1) / 2), min(H / h, W / w), size)

    @classmethod
    def box(cls, box: np.ndarray, size: Size, *, padding: float = 1.25) -> "View":
        """One person: the box (x0,y0,x1,y1 px) grown by `padding` and to the aspect of the view (Sapiens' factor is 1.25).

        Raises:
            ValueError: the box is not finite, or ends before it begins.
        """
        x0, y0, x1, y1 = _sound(box)
        w, h = max(x1 - x0, 1.0), max(y1 - y0, 1.0)  # a box without extent is one of a pixel
        return cls.about(((x0 + x1) / 2, (y0 + y1) / 2), min(size[0] / h, size[1] / w) / padding, size)

    @classmethod
    def about(cls, centre_xy: tuple[float, float], scale: float, size: Size, *, degrees: float = 0, flip: bool = False) -> "View":
        """`centre_xy` of the source goes to the middle of the view, scaled, turned (counter-clockwise as seen), mirrored last."""
        a = np.deg2rad(degrees)
        linear = scale * np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
        if flip:
            linear = np.diag([-1.0, 1.0]) @ linear
        middle = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
        return cls(np.c_[linear, middle - linear @ np.asarray(centre_xy, float)], size, flip)

    @classmethod
    def stretch(cls, source_hw: Size, size: Size, *, inside: tuple[int, int, int, int] | None = None) -> "View":
        """The whole picture onto a rectangle of the view, aspect ignored, areas on areas.

        Args:
            source_hw: (H,W) of the picture.
            size: (H,W) of the view.
            inside: top, left, height and width of the rectangle, pixels of the view; None: all of it.
        """
        top, left, height, width = inside or (0, 0, *size)
        x, y = width / source_hw[1], height / source_hw[0]
        return cls(np.array([[x, 0, left + x / 2 - 0.5], [0, y, top + y / 2 - 0.5]]), size)

    @classmethod
    def corners(cls, box: np.ndarray, size: Size, *, padding: float = 1.25) -> "View":
        """One person as UDP (Huang et al. 2020) has it: the corners of the grown box onto the centres of the corner pixels.

        The box (x0,y0,x1,y1 px) is grown by `padding`, then to the aspect of the view.

        Raises:
            ValueError: the box is not finite, or ends before it begins.
        """
        x0, y0, x1, y1 = _sound(box)
        w, h = padding * max(x1 - x0, 1.0), padding * max(y1 - y0, 1.0)
        aspect = size[1] / size[0]
        w, h = max(w, h * aspect), max(h, w / aspect)
        x, y = (size[1] - 1) / w, (size[0] - 1) / h
        return cls(np.array([[x, 0, x * (w - x0 - x1) / 2], [0, y, y * (h - y0 - y1) / 2]]), size)

    @property
    def scale(self) -> float:
        """View pixels per source pixel; the geometric mean where x and y differ."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    @property
    def inverse(self) -> np.ndarray:
        """(2,3) view -> source."""
        linear = np.linalg.inv(self.matrix[:, :2])
        return np.c_[linear, -linear @ self.matrix[:, 2]]

    def to_view(self, xy: np.ndarray) -> np.ndarray:
        """Source points (...,2) -> view points (...,2)."""
        return xy @ self.matrix[:, :2].T + self.matrix[:, 2]

    def to_source(self, xy: np.ndarray) -> np.ndarray:
        """View points (...,2) -> source points (...,2)."""
        return xy @ self.inverse[:, :2].T + self.inverse[:, 2]


def _sound(box: np.ndarray) -> tuple[float, ...]:
    x0, y0, x1, y1 = (float(v) for v in box)
    if not np.isfinite([x0, y0, x1, y1]).all():
        raise ValueError(f"the box {[x0, y0, x1, y1]} is not finite; give x0 y0 x1 y1 in pixels")
    if x1 < x0 or y1 < y0:
        raise ValueError(f"the box {[x0, y0, x1, y1]} ends before it begins; give x0 y0 x1 y1 in pixels, left and top first")
    return x0, y0, x1, y1


@dataclass(frozen=True)
class Jitter:
    """How far a training view may stray from the plain one.

    Args:
        scale: factor, drawn log-uniformly between the two.
        degrees: turned by up to this much either way.
        shift: moved by up to this share of the view's height and width.
        flip: probability of a mirror image.
        largest: no class, the background included, may fill more than this share of the labelled pixels of a view, or another view
            is drawn, ten in all (Sapiens' crops: 0.75); 1 takes the first. Data without parts are not looked at.
        turned: probability that the view is turned at all.
        moved: probability that it is moved at all.
        bell: draws are normal, cut off at one deviation, which is the limit, and it is the extent of what is seen that is drawn,
            about that of the plain view: Sapiens' configs for pose. Otherwise all within the limits is equally likely.
        fewest: so many of the known points stay in the view, or all where there are fewer, or another view is drawn, ten in all
            (Sapiens' configs draw another person: 8, for COCO's 17 points 3); 0 takes the first.
        even: the factor is drawn evenly between the two instead, as in Sapiens' configs for dense tasks.
    """

    scale: tuple[float, float] = (0.75, 1.5)
    degrees: float = 30.0
    shift: float = 0.1
    flip: float = 0.5
    largest: float = 1.0
    turned: float = 1.0
    moved: float = 1.0
    bell: bool = False
    fewest: int = 0
    even: bool = False

    def __call__(self, view: View, rng: np.random.Generator) -> View:
        """Another view of what `view` shows: same size, near its middle."""
        (H, W), middle = view.size, np.array([(view.size[1] - 1) / 2, (view.size[0] - 1) / 2])
        factor = self._factor(rng)
        degrees = float(self._strayed(rng.uniform(-self.degrees, self.degrees, 1), self.degrees)[0])
        moved = self._strayed(rng.uniform(-self.shift, self.shift, 2), self.shift)
        flip = bool(rng.random() < self.flip)
        if self.turned < 1 or self.moved < 1:  # who uses neither draws as before there were these
            does = rng.random(2) < (self.turned, self.moved)
            degrees, moved = degrees * does[0], moved * does[1]
        x, y = middle + moved * (W, H)
        turn = View.about((x, y), factor, view.size, degrees=degrees, flip=flip)
        linear = turn.matrix[:, :2] @ view.matrix[:, :2]
        return View(np.c_[linear, turn.to_view(view.matrix[:, 2])], view.size, view.flip != flip)

    def _factor(self, rng: np.random.Generator) -> float:
        if not self.bell:
            return float(rng.uniform(*self.scale) if self.even else np.exp(rng.uniform(*np.log(self.scale))))
        part = float(self._strayed(rng.uniform(-1, 1, 1), 1.0)[0])
        least, most = self.scale
        return 1 / (1 + part * (1 / least - 1 if part > 0 else 1 - 1 / most))

    def _strayed(self, even: np.ndarray, limit: float) -> np.ndarray:
        """Draws that are equally likely between -limit and limit, as they are or on a bell."""
        if not self.bell or limit == 0:
            return even
        whole = NormalDist()
        reach = whole.cdf(1) - 0.5
        return np.array([limit * whole.inv_cdf(0.5 + reach * float(draw) / limit) for draw in even])
