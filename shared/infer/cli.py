"""The command of `tasks/*/infer.py`: photos and videos in, answers and pictures of them out; a bad one is named and skipped."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

import cv2
import torch
from torch.cuda import is_available as has_cuda

from shared import builtin
from shared.data.photo import Found
from shared.dense.canonical import USUAL_VIEW_DEG
from shared.formats import Ask
from shared.infer import options
from shared.infer.detector import Detector
from shared.infer.idle import idle
from shared.infer.manifest import Manifest
from shared.infer.packing import PER_SHARD, Packing
from shared.infer.people import Finder, Given, whole
from shared.infer.predictor import Predictor
from shared.infer.reader import called, find
from shared.infer.run import run
from shared.infer.steady import steadied
from shared.infer.writer import exr_is_there
from shared.room import GOES_ON, told
from shared.task import Task

log = logging.getLogger(__name__)
INDIFFERENT = {"input", "out", "device", "batch", "compile", "again", "workers", "per_shard"}  # options that change no answer


def infer(only: type[Task] | None = None) -> None:
    """Read the command line, answer, exit: 0 all done, 1 some pictures failed, 2 nothing could start, 130 Ctrl-C."""
    parser = options.parser_of(only)
    arguments = parser.parse_intermixed_args()  # settings may stand before and after options
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        chosen = [only.name] if only else (_listed(arguments.tasks) or None)
        size = options.size(arguments.size) if arguments.size else None
        ask = Ask(frozenset(_listed(arguments.formats)), arguments.focal, options.span(arguments.span))
        rank, processes = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))
        photos = find(arguments.input, out=arguments.out)
        predictor = Predictor.load(
            arguments.checkpoint,
            device=_device(arguments.device),
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
        if arguments.checkpoint is None:
            log.info("no --checkpoint, so the built-in model answers: small, a demonstration (shared/builtin/README.md)")
        _check(ask, predictor.tasks)
        if arguments.per_shard and not arguments.shards_out:
            raise ValueError("--per-shard is for --shards-out; add it, or leave --per-shard out")
        if arguments.smooth_maps and not steadied(predictor.tasks):
            raise ValueError("--smooth-maps is for parts, depth and normals, which this run does not answer; leave it out")
        finder = _finder(arguments, predictor, photos)
        for sentence in idle(options.given(only), predictor, ask, photos) if rank == 0 else ():
            log.warning("%s", sentence)
        if predictor.device.type == "cpu":
            cv2.setNumThreads(torch.get_num_threads())
        manifest = _manifest(arguments, rank)
        packing = _packing(arguments, manifest, predictor.tasks, rank, processes) if arguments.shards_out else None
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")
    how = {"finder": finder, "ask": ask, "render": not arguments.no_render, "smooth": arguments.smooth}
    how |= {"smooth_maps": arguments.smooth_maps, "gallery": arguments.gallery, "workers": arguments.workers}
    try:
        failed = run(predictor, photos[rank::processes], arguments.out, **how, manifest=manifest, packing=packing)
    except KeyboardInterrupt:  # what had begun is written and noted
        parser.exit(130, "stopped; the same command goes on with what is left\n")
    except OSError as error:  # the list of what is done, or the page, cannot be written
        parser.exit(1, f"error: {told(error, out=arguments.out, then=GOES_ON)}\n")
    sys.exit(1 if failed else 0)


def _listed(text: str | None) -> list[str]:
    """`seg, depth` -> names."""
    return [name for part in (text or "").split(",") if (name := part.strip())]


def _manifest(arguments: argparse.Namespace, rank: int) -> Manifest:
    """The folder of the answers, made where it is missing, and what lies in it."""
    out = arguments.out
    try:
        out.mkdir(parents=True, exist_ok=True)
        return Manifest(out, _settings(arguments), rank=rank, again=arguments.again)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(f"{error.filename} is a file; --out names a folder, so choose another name") from error
    except PermissionError as error:
        raise ValueError(f"{error.filename} cannot be written: {error.strerror}; choose another folder with --out") from error


def _device(name: str) -> str:
    """Under torchrun each process has a GPU of its own."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if "LOCAL_RANK" in os.environ and name in ("auto", "cuda") and has_cuda() else name


def _packing(arguments: argparse.Namespace, manifest: Manifest, tasks: Sequence[Task], rank: int, processes: int) -> Packing:
    """The shards, which name the classes of parts as those that we read do."""
    named = {task.field: task.vocabulary.names for task in tasks if task.vocabulary is not None and task.answers == "map"}
    how = {"rank": rank, "processes": processes, "per_shard": arguments.per_shard or PER_SHARD, "again": arguments.again}
    return Packing(arguments.out, manifest, names=named, **how)


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """All that answers depend on besides the photos: options, and the files that they name as they are today."""
    chosen = {name: value for name, value in vars(arguments).items() if name not in INDIFFERENT}
    named = [Path(value or builtin.MODEL) for value in (arguments.checkpoint, arguments.people, arguments.detector)]
    return chosen | {"files": [(path.stat().st_size, path.stat().st_mtime_ns) for path in named if path.is_file()]}


def _finder(arguments: argparse.Namespace, predictor: Predictor, photos: Sequence[Found]) -> Finder:
    """Who says who is looked at."""
    who, wanted = arguments.people, {"what": arguments.detector, "score": arguments.people_score}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if wanted and who != "detect":
        raise ValueError("--detector and --people-score are for --people detect; add it, or leave them out")
    if who == "whole":
        return whole
    if predictor.mode == "whole" and not any(task.answers == "points" for task in predictor.tasks):
        raise ValueError("--people is for pose, and this run does not answer pose; leave it out, or add --mode people")
    if who == "detect":
        return Detector.load(**wanted, device=predictor.device)
    given = Given.read(Path(who))
    names = {key.partition("/")[0] for key in given.table}  # of frames: clip.mp4/000123
    if not any(called(found) in names for found in photos):
        raise ValueError(f"{who} names none of these photos; its keys are file names like {called(photos[0])}")
    return given


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
