"""In which order public data sets write the points of a person, and what each is called here.

The names are those of `tasks/pose/skeletons/`, so that data and models meet by name.
"""

from typing import NamedTuple

LIMBS = tuple(f"{side}_{name}" for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in ("left", "right"))
COCO = ("nose", "left_eye", "right_eye", "left_ear", "right_ear", *LIMBS)
FEET = tuple(f"{side}_{name}" for side in ("left", "right") for name in ("big_toe", "small_toe", "heel"))
FACE = tuple(f"face-{i}" for i in range(68))
FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")


def _hand(side: str) -> tuple[str, ...]:
    return (f"{side}_hand_root", *(f"{side}_{finger}{i}" for finger in FINGERS for i in (1, 2, 3, 4)))


class Convention(NamedTuple):
    """How a data set writes one person."""

    about: str  # for the help text
    names: tuple[str, ...] | None  # of its points, in its order; None: its `categories` name them
    keys: tuple[str, ...] = ("keypoints",)  # of an annotation; their x, y, visibility are put end to end


CONVENTIONS = {
    "coco": Convention("COCO's 17 keypoints (person_keypoints_*.json)", COCO),
    "coco-wholebody": Convention(
        "COCO-WholeBody's 133 keypoints (coco_wholebody_*_v1.0.json)",
        (*COCO, *FEET, *FACE, *_hand("left"), *_hand("right")),
        ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts"),
    ),
    "crowdpose": Convention("CrowdPose's 14 keypoints", (*LIMBS, "top_of_head", "neck")),
    "ochuman": Convention("OCHuman's 17 keypoints, in its version in the form of COCO", COCO),
    "300w": Convention("300-W's 68 points of a face, in the form of COCO", FACE),
    "wflw": Convention("WFLW's 98 points of a face, in the form of COCO", tuple(f"wflw-{i}" for i in range(98))),
    "keypoints": Convention("any points that `categories` name, 308 for example", None),
}
