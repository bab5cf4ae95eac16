"""Realistic people: rendered pictures whose parts, depth, normals and keypoints agree exactly."""

from shared.data.synthetic.keypoints import NAMES as _POINTS
from shared.data.synthetic.mesh import PARTS
from shared.data.synthetic.portrait import person, samples

NAMES = {"seg": list(PARTS), "keypoints": list(_POINTS)}

__all__ = ["NAMES", "person", "samples"]
