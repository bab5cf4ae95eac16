"""Options that change nothing in a run although they were given: each is told in a sentence, before the work begins."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.data.photo import Found
from shared.exported import Exported
from shared.formats import Ask
from shared.infer.modes import composable
from shared.infer.predictor import Predictor
from shared.infer.preset import preset_of
from shared.infer.video import is_video

PHOTOS = "it is for photos, and there are only videos among the inputs"
VIDEOS = "it is for videos, and there is none among the inputs"
CLOSE = "it is for parts, relative depth and normals by the default preset, which this run does not answer"
UNSAID = "it looks closely at those whom --people says; add --people detect, or a file of boxes"


def idle(given: Mapping[str, Any], predictor: Predictor, ask: Ask, photos: Sequence[Found]) -> list[str]:
    """A sentence for each option without effect; what cannot go together at all is refused elsewhere.

    Args:
        given: the options that stand on the command line, by name (`options.given`).
        predictor: who answers.
        ask: the formats.
        photos: what is answered, videos too.
    """
    tasks, mode, nobody = predictor.tasks, predictor.mode, given.get("people", "whole") == "whole"
    films, stills = (any(is_video(found.path) == video for found in photos) for video in (True, False))
    points = any(task.answers == "points" for task in tasks)
    close = any(composable(task, predictor.presets[task.name]) for task in tasks)
    clouds = [task for task in tasks if ask.formats & set(task.by_focal)]
    works = {  # name -> whether it changes anything, and why not
        "people": (
            nobody or points or (close and mode != "tiles"),
            "it is for pose and close views of people; this run has neither",
        ),
        "mode": (mode in ("whole", "tiles") or (close and not nobody), UNSAID if close else CLOSE),
        "zoom": (mode == "tiles", "it is for --mode tiles"),
        "flip": (not _flipped(given, predictor), "the official preset averages with the mirror image anyway"),
        "focal": (clouds or any(task.canonical for task in tasks), "it is for metric depth, and for --formats ply of depth"),
        "precision": (
            not isinstance(predictor.model, Exported) or predictor.model.lowered,
            "an exported model computes in the precision that it was written in; with openvino installed bf16 is another matter",
        ),
        "span": (any(task.relative for task in clouds), "it is for --formats ply of relative depth"),
        "smooth": (films and points, "it is for the points of pose, which this run does not answer" if films else VIDEOS),
        "smooth_maps": (films, VIDEOS),
        **dict.fromkeys(("workers", "shards_out", "per_shard", "gallery"), (stills, PHOTOS)),
    }
    return [
        f"{_said(name, given[name])} changes nothing here: {why}"
        for name, (does, why) in works.items()
        if name in given and not does
    ]


def _flipped(given: Mapping[str, Any], predictor: Predictor) -> bool:
    """Whether the preset itself shows every task the mirror image, too."""
    preset, family = given.get("preset", "default"), predictor.model.backbone.size.family
    return all(preset_of(preset, task, family)[0].look.flip for task in predictor.tasks)


def _said(name: str, value: Any) -> str:
    """An option as it was written."""
    option = f"--{'no-' if value is False else ''}{name.replace('_', '-')}"
    return option if isinstance(value, bool) else f"{option} {value:g}" if isinstance(value, float) else f"{option} {value}"
