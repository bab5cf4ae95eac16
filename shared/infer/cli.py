"""The command of `tasks/*/infer.py`: photos and videos in, answers and pictures of them out; a bad one is named and skipped."""

import argparse
import logging
import sys
from collections.abc import Sequence
from math import inf, nan
from pathlib import Path

import cv2
import torch

from shared.data.photo import PHOTO_SUFFIXES, Found, find_photos
from shared.dense.canonical import USUAL_VIEW_DEG
from shared.formats import Ask
from shared.infer.detector import SCORE, TORCHVISION, USUAL, Detector
from shared.infer.modes import MODES, ZOOM
from shared.infer.people import Finder, Given, whole
from shared.infer.predictor import BATCH, Predictor
from shared.infer.run import run
from shared.infer.video import VIDEO_SUFFIXES
from shared.infer.writer import exr_is_there
from shared.task import Task

log = logging.getLogger(__name__)


def infer(only: type[Task] | None = None) -> None:
    """Read the command line, answer, exit: 0 all done, 1 some pictures failed, 2 nothing could start."""
    what = only.name if only else "joint"
    parser = argparse.ArgumentParser(
        description=f"Answer {only.name if only else 'all tasks of a model, in one pass of its backbone,'} for photos and videos.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"""examples:
  python tasks/{what}/infer.py photo.jpg clip.mp4
  python tasks/{what}/infer.py photo.jpg --checkpoint runs/{what}/model.safetensors --out found
  python tasks/{what}/infer.py holiday/ more.txt 'scans/*.png' --checkpoint model.safetensors --out answers --device cuda""",
    )
    parser.add_argument("input", nargs="+", help="photos, videos, folders (searched in depth), globs, or .txt lists")
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="model.safetensors of a run, or an official file (default: the built-in model)"
    )
    parser.add_argument(
        "--out", default="answers", type=Path, metavar="DIR", help="made where it is missing (default: %(default)s)"
    )
    if only is None:
        parser.add_argument("--tasks", metavar="A,B", help="answer these only, for example seg,depth (default: all of the model)")
    parser.add_argument(
        "--people",
        default="whole",
        metavar="WHO",
        help="whom pose looks at: whole (the photo is one person), detect, or BOXES.json, {photo name: [[x0, y0, x1, y1], ...]} in "
        "pixels (default: %(default)s)",
    )
    parser.add_argument(
        "--detector",
        metavar="NAME|PATH",
        help=f"with --people detect: {', '.join(TORCHVISION)}, their weights, or a folder of transformers (default: {USUAL})",
    )
    parser.add_argument(
        "--people-score", type=float, metavar="S", help=f"with --people detect: who is less sure is nobody ({SCORE})"
    )
    parser.add_argument(
        "--batch", type=int, default=BATCH, metavar="N", help="people in the network at once (default: %(default)s)"
    )
    parser.add_argument(
        "--mode",
        default="whole",
        choices=MODES,
        help="how maps are looked at besides as a whole: people (a close view of each that --people says), tiles (all over), "
        "auto (people where boxes are known; default: %(default)s)",
    )
    parser.add_argument(
        "--zoom", type=float, default=ZOOM, metavar="X", help="of tiles, against the whole view (default: %(default)s)"
    )
    parser.add_argument("--size", metavar="HxW", help="input of the network in pixels (default: as trained)")
    parser.add_argument(
        "--preset",
        default="default",
        metavar="NAME",
        help="default, or official: see and answer as the official code of the model does",
    )
    parser.add_argument("--flip", action="store_true", help="average with the answers for the mirror image; takes twice as long")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    parser.add_argument("--precision", default="auto", metavar="KIND", help="fp32 or bf16 (auto: bf16 on GPUs that have it)")
    parser.add_argument("--compile", action="store_true", help="compile the network first: pays from a few dozen photos on")
    parser.add_argument("--formats", default="", metavar="A,B", help="files to write instead of the usual ones: " + _formats(only))
    parser.add_argument(
        "--focal",
        type=float,
        metavar="PX",
        help="focal length in pixels of the photos: for metric depth, and for a cloud from depth",
    )
    parser.add_argument(
        "--span",
        default="2,3",
        metavar="NEAR,FAR",
        help="metres at which a cloud of relative depth puts the nearest and the farthest (default: %(default)s; a guess)",
    )
    parser.add_argument("--no-render", action="store_true", help="write answers only, no pictures of them")
    parser.add_argument(
        "--smooth",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="points in videos hold still when the person does (default); --no-smooth leaves each frame as it was found",
    )
    arguments = parser.parse_intermixed_args()  # settings may stand before and after options
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        chosen = [only.name] if only else (arguments.tasks.split(",") if arguments.tasks else None)
        size = _size(arguments.size) if arguments.size else None
        ask = Ask(frozenset(filter(None, arguments.formats.split(","))), arguments.focal, _span(arguments.span))
        photos = find_photos(arguments.input, suffixes=PHOTO_SUFFIXES | VIDEO_SUFFIXES)
        predictor = Predictor.load(
            arguments.checkpoint,
            device=arguments.device,
            size=size,
            only=chosen,
            preset=arguments.preset,
            flip=arguments.flip,
            precision=arguments.precision,
            formats=ask.formats,
            batch=arguments.batch,
            mode=arguments.mode,
            zoom=arguments.zoom,
            focal_px=ask.focal_px,
            compiled=arguments.compile,
        )
        _check(ask, predictor.tasks)
        finder = _finder(arguments, predictor, photos)
        if predictor.device.type == "cpu":
            cv2.setNumThreads(torch.get_num_threads())
        arguments.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")
    failed = run(predictor, photos, arguments.out, finder=finder, ask=ask, render=not arguments.no_render, smooth=arguments.smooth)
    sys.exit(1 if failed else 0)


def _finder(arguments: argparse.Namespace, predictor: Predictor, photos: Sequence[Found]) -> Finder:
    """Who says who is looked at."""
    who, options = arguments.people, {"what": arguments.detector, "score": arguments.people_score}
    options = {name: value for name, value in options.items() if value is not None}
    if options and who != "detect":
        raise ValueError("--detector and --people-score are for --people detect; add it, or leave them out")
    if who == "whole":
        return whole
    if predictor.mode == "whole" and not any(task.answers == "points" for task in predictor.tasks):
        raise ValueError("--people is for pose, and this run does not answer pose; leave it out, or add --mode people")
    if who == "detect":
        return Detector.load(**options, device=predictor.device)
    given = Given.read(Path(who))
    names = {key.partition("/")[0] for key in given.table}  # of frames: clip.mp4/000123
    if not any(found.path.name in names for found in photos):
        raise ValueError(f"{who} names none of these photos; its keys are file names like {photos[0].path.name}")
    return given


def _formats(only: type[Task] | None) -> str:
    """The formats of a task, for the help."""
    return ", ".join(only.formats) if only and only.formats else "of each task those that it has, see docs/inference.md"


def _check(ask: Ask, tasks: Sequence[Task]) -> None:
    """Refuse formats that nothing here has, and those that cannot be made, before anything is answered."""
    known = list(dict.fromkeys(form for task in tasks for form in task.formats))
    if wrong := sorted(ask.formats - set(known)):
        have = f"choose from {', '.join(known)}" if known else "leave --formats out"
        raise ValueError(f"{', '.join(task.name for task in tasks)} cannot be written as {wrong[0]!r}; {have}")
    for task in tasks:
        if ask.focal_px is None and (needy := sorted(ask.formats & set(task.by_focal))):
            raise ValueError(f"{needy[0]} of {task.name} needs a focal length; pass --focal with that of the photos, in pixels")
    if ask.focal_px is not None and not 0 < ask.focal_px < inf:
        raise ValueError(f"--focal {ask.focal_px:g} is no focal length; write a positive number of pixels")
    if ask.focal_px is None and (metric := [task.name for task in tasks if task.canonical]):
        log.warning(
            "%s is answered in metres without --focal: as if the photos were seen by a lens of %g degrees across the diagonal; "
            "true distances are to these as the true focal length is to that one",
            ", ".join(metric),
            USUAL_VIEW_DEG,
        )
    if "exr" in ask.formats and not exr_is_there():
        raise ValueError("this build of OpenCV cannot write .exr files; ask for npy, or install one that has OpenEXR")


def _span(text: str) -> tuple[float, float]:
    try:
        near, far = (float(part) for part in text.split(","))
    except ValueError:
        near = far = nan
    if not 0 < near < far < inf:
        raise ValueError(f"--span {text!r} is no span; write the nearest and the farthest distance in metres, for example 2,3")
    return near, far


def _size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) for part in parts):
        raise ValueError(f"--size {text!r} is not a size; write height x width in pixels, for example 1024x768")
    return int(parts[0]), int(parts[1])
