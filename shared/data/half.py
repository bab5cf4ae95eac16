"""Half a body: some training views show only what lies above the hips of a person, or what lies below."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.data.view import View

UPPER, LOWER = "upper_body", "lower_body"  # groups of a vocabulary
FEWEST = {UPPER: 2, LOWER: 3}  # known points without which there is no such half; as in Sapiens' configs


@dataclass(frozen=True)
class HalfBody:
    """Puts the view around one half of a person, where enough of its points are known; the numbers are those of Sapiens' configs.

    Which points are of which half is said by the groups `upper_body` and `lower_body` of the vocabulary; under a table without
    them, such as those of faces, views stay as they are.

    Args:
        probability: of a view of one half.
        least: known points of the whole person without which the view stays.
        upper: probability that it is the upper half, where there are both.
        padding: by how much the box around the points is grown.
    """

    probability: float = 0.3
    least: int = 9
    upper: float = 0.7
    padding: float = 1.5

    def __call__(self, plain: View, points: np.ndarray, groups: Mapping[str, Sequence[int]], rng: np.random.Generator) -> View:
        """A view of one half, or `plain`.

        Args:
            plain: of the whole person.
            points: (K,3) x px, y px, visibility, of the picture.
            groups: name -> ids of points.
            rng: two numbers are drawn of it, whatever they are used for.
        """
        does, up = rng.random(2) < (self.probability, self.upper)
        known = (points[:, 2] > 0) & np.isfinite(points).all(1)
        if not does or known.sum() < self.least:
            return plain
        halves = {name: points[[k for k in groups.get(name, ()) if known[k]], :2].astype(float) for name in (UPPER, LOWER)}
        there = [name for name in (UPPER, LOWER) if len(halves[name]) >= FEWEST[name]]
        if not there:
            return plain
        xy = halves[there[0] if up else there[-1]]
        reach = (xy.max(0) - xy.min(0)) / 2
        middle = xy.mean(0)  # officially the points' mean, not the middle of their box
        return View.box(np.r_[middle - reach, middle + reach], plain.size, padding=self.padding)
