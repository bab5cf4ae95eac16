"""People made of geometry: a first source of samples whose picture, parts, depth, normals and keypoints agree exactly."""

from shared.data.geometric.head import NAMES
from shared.data.geometric.portrait import person, samples

__all__ = ["NAMES", "person", "samples"]
