"""The options of `tasks/*/infer.py`, and how their values are read."""

import argparse
from math import inf, nan
from pathlib import Path
from typing import Any

from shared import builtin, weights
from shared.data.options import positive
from shared.data.view import Size
from shared.infer.detector import SCORE, TORCHVISION, USUAL
from shared.infer.modes import MODES, ZOOM
from shared.infer.packing import PER_SHARD
from shared.infer.predictor import BATCH
from shared.task import Task


def parser_of(only: type[Task] | None) -> argparse.ArgumentParser:
    """The command line of one task, or of all that a model has."""
    what = only.name if only else "joint"
    smoothed = "" if only is not None and (only.answers == "points" or only.lengths) else " --smooth-maps"
    lacking = None if only is None else _lacking(only)
    model = f" --checkpoint runs/{what}/model.safetensors" if lacking else ""  # which examples need
    parser = argparse.ArgumentParser(
        description=f"Answer {only.name if only else 'all tasks of a model, in one pass of its backbone,'} for photos and videos.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"""examples:
  python tasks/{what}/infer.py photo.jpg clip.mp4{model}
  python tasks/{what}/infer.py photo.jpg --checkpoint runs/{what}/model.safetensors --out found
  python tasks/{what}/infer.py clip.mp4{smoothed}{model} --out answers
  torchrun --nproc_per_node 4 tasks/{what}/infer.py archive/{model} --out answers
  python tasks/{what}/infer.py photos-000.tar photos-001.tar --shards-out --no-render{model} --out answers
  python tasks/{what}/infer.py holiday/ more.txt 'scans/*.png' --checkpoint model.safetensors --out answers --device cuda""",
    )
    parser.add_argument("input", nargs="+", help="photos, videos, shards (.tar), folders (searched in depth), globs, or .txt lists")
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="model.safetensors of a run, or an official file "
        + (f"(needed: {lacking})" if lacking else "(default: the built-in model)"),
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
        "--batch",
        type=int,
        metavar="N",
        help=f"views in the network at once (default: {BATCH}, on processors one where maps are asked for)",
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
    parser.add_argument(
        "--workers",
        type=threads,
        metavar="N",
        help="threads that read and write meanwhile; 0: one thing after another (default: one for each core, 16 at most)",
    )
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
    parser.add_argument(
        "--again", action="store_true", help="answer what an earlier run has answered already, too (see manifest.jsonl)"
    )
    parser.add_argument(
        "--shards-out",
        action="store_true",
        help="answers of photos into WebDataset shards, DIR/<process>-<number>.tar, instead of files of their own",
    )
    parser.add_argument(
        "--per-shard",
        type=positive,
        metavar="N",
        help=f"with --shards-out: photos in a shard at most ({PER_SHARD}; 1 GiB ends it)",
    )
    parser.add_argument("--no-render", action="store_true", help="write answers only, no pictures of them")
    parser.add_argument(
        "--gallery", action="store_true", help="also gallery.html: photos over their answers, with a slider; needs no network"
    )
    parser.add_argument(
        "--smooth",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="points in videos hold still when the person does (default); --no-smooth leaves each frame as it was found",
    )
    parser.add_argument(
        "--smooth-maps", action="store_true", help="parts, depth and normals in videos are averaged over time, along what moves"
    )
    return parser


def given(only: type[Task] | None) -> dict[str, Any]:
    """What stands on the command line of this process, by name, be it the default; of an option that does not, nothing."""
    parser = parser_of(only)
    parser.set_defaults(**dict.fromkeys(vars(parser.parse_intermixed_args())))
    return {name: value for name, value in vars(parser.parse_intermixed_args()).items() if value is not None}


def _lacking(only: type[Task]) -> str | None:
    """Why the built-in model does not answer a task; None: it does."""
    if not builtin.MODEL.is_file():
        return "this copy has no built-in model"
    try:
        about: dict[str, Any] = weights.read(builtin.MODEL).about or {}
    except ValueError:  # whoever looks through it is told what is wrong with it
        return "the built-in model of this copy cannot be read"
    has = {task["type"] for task in about.get("model", {}).get("tasks", ())}
    return None if f"{only.__module__}.{only.__qualname__}" in has else f"the built-in model does not answer {only.name}"


def _formats(only: type[Task] | None) -> str:
    """The formats of a task, for the help."""
    return ", ".join(only.formats) if only and only.formats else "of each task those that it has, see docs/inference.md"


def threads(text: str) -> int:
    """`4` -> threads."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of threads; write 0, 1, 2, ...")
    return int(text)


def span(text: str) -> tuple[float, float]:
    """`2,3` -> metres."""
    try:
        near, far = (float(part) for part in text.split(","))
    except ValueError:
        near = far = nan
    if not 0 < near < far < inf:
        raise ValueError(f"--span {text!r} is no span; write the nearest and the farthest distance in metres, for example 2,3")
    return near, far


def size(text: str) -> Size:
    """`1024x768` -> height and width, pixels."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) for part in parts):
        raise ValueError(f"--size {text!r} is not a size; write height x width in pixels, for example 1024x768")
    return int(parts[0]), int(parts[1])
