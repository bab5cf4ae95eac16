"""People's points as files: our own JSON, near to COCO's, and OpenPose's.

Letters: P people, K points.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from shared.formats import About
from shared.vocabulary import Vocabulary

SURE = 0.2  # points that count in the score of a person, as in the official Sapiens configs
OPENPOSE = {  # its key -> the group of points in skeletons/openpose137.toml
    "pose_keypoints_2d": "body",
    "face_keypoints_2d": "face",
    "hand_left_keypoints_2d": "left_hand",
    "hand_right_keypoints_2d": "right_hand",
}
EMPTY = ("pose_keypoints_3d", "face_keypoints_3d", "hand_left_keypoints_3d", "hand_right_keypoints_3d")


def score(points: np.ndarray, box_score: float = 1.0) -> float:
    """How sure it is that somebody is there: the mean of the sure points of (K,3) x y score, times the box's; 0 without any."""
    sure = points[points[:, 2] > SURE, 2]
    return float(sure.mean()) * box_score if sure.size else 0.0


def shared_points(words: Vocabulary, names: Sequence[str]) -> int:
    """How many points of a convention can be told from the points of these names."""
    known = np.c_[np.zeros((len(names), 2)), np.ones(len(names))]
    return int((words.rewrite(known, names)[:, 2] > 0).sum())


def listed(people: np.ndarray, words: Vocabulary, about: About | None, skeleton: str | None) -> dict[str, Any]:
    """All that is known, JSON-able: names of the points, size of the picture, and of each person points, score and box.

    Args:
        people: (P,K,3) x y px, score.
        words: the K points.
        about: the picture; boxes are written as COCO's `bbox`: x y of the corner, width, height, pixels counted from the corner.
        skeleton: what the convention is called, None: it has no name.
    """
    told: dict[str, Any] = {} if skeleton is None else {"skeleton": skeleton}
    told["keypoint_names"] = list(words.names)
    if about is not None:
        told["height"], told["width"] = about.hw
    told["people"] = [_person(points, about, p) for p, points in enumerate(people)]
    return told


def _person(points: np.ndarray, about: About | None, p: int) -> dict[str, Any]:
    person: dict[str, Any] = {"keypoints": points.round(3).tolist()}
    if about is None or about.boxes is None or about.scores is None:
        return person | {"score": round(score(points), 4)}
    (x0, y0, x1, y1), sure = about.boxes[p].astype(float), float(about.scores[p])
    box = [round(number, 2) for number in (x0 + 0.5, y0 + 0.5, x1 - x0, y1 - y0)]
    return person | {"score": round(score(points, sure), 4), "bbox": box, "bbox_score": round(sure, 4)}


def openpose(people: np.ndarray, words: Vocabulary) -> dict[str, Any]:
    """What OpenPose 1.3 writes of (P,137,3) x y px, score, the points of `openpose137`; one that is not known is 0 0 0."""
    rows = []
    for points in people:
        points = np.where(points[:, 2:] > 0, points, 0).round(3)
        row: dict[str, Any] = {"person_id": [-1]}
        row |= {key: points[list(words.groups[group])].ravel().tolist() for key, group in OPENPOSE.items()}
        rows.append(row | {key: [] for key in EMPTY})
    return {"version": 1.3, "people": rows}
