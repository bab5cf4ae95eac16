"""The command of `tasks/joint/label.py`: teachers answer the pictures of shards, and new shards hold their answers as labels.

Each shard is written whole or not at all, so a run that was stopped goes on at the first shard that is missing.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch.cuda import is_available as has_cuda
from tqdm import tqdm

from shared.data import tarindex
from shared.data.paths import tar_paths
from shared.data.remote import Remote
from shared.data.shards import DamagedSample, Shards, write_shards
from shared.infer.modes import MODES
from shared.infer.predictor import PRECISIONS
from shared.infer.preset import PRESETS
from shared.infer.taught import PART_SCORE, POINT_SCORE, Least
from shared.infer.teacher import Lesson, Options, Teacher, teachers
from shared.room import GOES_ON, told

log = logging.getLogger(__name__)
RECIPE = "label.json"  # what made a folder, so that nothing else goes on with it
SAME = {"shards", "out", "device"}  # options that change no label, or are noted otherwise


def run() -> None:
    """Read the command line, label, exit: 0 all done, 1 some samples were left out, 2 nothing could start."""
    parser = _parser()
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    rank, processes = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))
    try:
        options = Options(
            Least(_share(arguments.part_score, "--part-score"), _share(arguments.point_score, "--point-score")),
            keep=arguments.keep,
            people_only=arguments.people_only,
            sure=arguments.sure,
        )
        paths = tar_paths(arguments.shards)
        found = teachers(
            arguments.checkpoint or [None],
            only=arguments.tasks.split(",") if arguments.tasks else None,
            device=_device(arguments.device),
            **{name: getattr(arguments, name) for name in ("flip", "preset", "precision", "mode")},
        )
        _claim(arguments.out, paths, found, arguments)
        failed = label(paths, arguments.out, found, options, rank=rank, processes=processes)
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {told(error, out=arguments.out, then=GOES_ON)}\n")
    sys.exit(1 if failed else 0)


def label(
    paths: Sequence[Path | Remote], out: Path, found: Sequence[Teacher], options: Options, *, rank: int = 0, processes: int = 1
) -> list[str]:
    """Write `out/<number of the shard>-000000.tar` for every shard that has none yet; returns a sentence for each sample left out.

    Args:
        paths: shards with pictures, in order.
        out: folder.
        found: who answers.
        options: what becomes of the answers.
        rank: of this process; it takes every `processes`-th shard from there on.
        processes: how many label.
    """
    counts = [len(tarindex.load(path).samples) for path in paths]
    mine = list(range(rank, len(paths), processes))
    left = [number for number in mine if not _shard(out, number).exists()]
    failed: list[str] = []
    with tqdm(total=sum(counts[n] for n in mine), initial=sum(counts[n] for n in mine if n not in left), unit="img") as bar:
        for number in left:
            shards = Shards([paths[number]])
            lesson = Lesson(shards, found, options)
            some = _labelled(shards, lesson, failed, bar)
            write_shards(some, out, names=lesson.names, per_shard=len(shards), prefix=f"{number:06d}-")
    log.info("%d shards labelled, %d were there before, in %s", len(left), len(mine) - len(left), out)
    if failed:
        log.warning("%d samples were left out", len(failed))
    return failed


def _labelled(shards: Shards, lesson: Lesson, failed: list[str], bar: tqdm) -> Iterator[tuple[str, dict[str, Any]]]:
    """The samples of a shard with their labels; a damaged one is named."""
    for i in range(len(shards)):
        try:
            sample = lesson(i)
        except DamagedSample as error:
            failed.append(str(error))
            tqdm.write(f"left out: {error}", file=sys.stderr)
        else:
            yield shards.key(i), sample
        bar.update()


def _shard(out: Path, number: int) -> Path:
    return out / f"{number:06d}-000000.tar"  # the second number is that of write_shards, which always starts at 0


def _claim(out: Path, paths: Sequence[Path | Remote], found: Sequence[Teacher], arguments: argparse.Namespace) -> None:
    """Note in the folder what makes it, or refuse one that something else made."""
    recipe = {name: value for name, value in vars(arguments).items() if name not in SAME} | {
        "checkpoint": [[teacher.name, teacher.size] for teacher in found],
        "shards": [[path.name, tarindex.load(path).size] for path in paths],
    }
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; --out names a folder, so choose another name")
    note = out / RECIPE
    if note.exists():
        changed = sorted(name for name, value in json.loads(note.read_text(encoding="utf-8")).items() if recipe.get(name) != value)
        if changed:
            raise FileExistsError(f"{out} was begun with another {' and '.join(changed)}; choose another folder, or repeat it")
        return
    if out.exists() and any(out.glob("*.tar")):
        raise FileExistsError(f"{out} holds shards that this command did not make; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    with tarindex.atomic(note) as file:
        file.write(json.dumps(recipe).encode() + b"\n")


def _device(name: str) -> str:
    """Under torchrun each process has a GPU of its own."""
    mine = "LOCAL_RANK" in os.environ and name in ("auto", "cuda") and has_cuda()
    return f"cuda:{os.environ['LOCAL_RANK']}" if mine else name


def _share(value: float, option: str) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{option} {value:g} is no score; write a number from 0 to 1")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Label the pictures of shards with the answers of teachers, for a student to be trained on.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""examples:
  python tasks/joint/label.py data/photos --out data/photos_labelled
  python tasks/joint/label.py data/photos --checkpoint seg_1b.safetensors pose_1b.safetensors --flip --sure --out data/labelled
  torchrun --nproc_per_node 8 tasks/joint/label.py 'data/photos-{000..511}.tar' --checkpoint depth_1b.pth --out data/depth""",
    )
    parser.add_argument("shards", nargs="+", help="folders, tar files, addresses, brace patterns; the image is needed, a box helps")
    parser.add_argument(
        "--checkpoint",
        nargs="+",
        metavar="FILE",
        help="teachers: runs or official files; of two that answer a task the first does (default: the built-in model)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the labelled shards")
    parser.add_argument("--tasks", metavar="A,B", help="label these only, for example seg,depth (default: all they answer)")
    parser.add_argument(
        "--part-score", type=float, default=PART_SCORE, metavar="P", help="a pixel less likely is unknown (default %(default)s)"
    )
    parser.add_argument(
        "--point-score", type=float, default=POINT_SCORE, metavar="S", help="a point with less is unknown (default %(default)s)"
    )
    parser.add_argument(
        "--keep",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="labels that a sample has stay (default); --no-keep replaces them",
    )
    parser.add_argument("--people-only", action="store_true", help="depth and normals are unknown where the parts say nobody")
    parser.add_argument("--sure", action="store_true", help="write how likely each pixel's part is, too, for Seg(trust=True)")
    parser.add_argument("--flip", action="store_true", help="average with the answers for the mirror image; takes twice as long")
    parser.add_argument(
        "--mode",
        default="auto",
        choices=MODES,
        help="how maps are looked at, see infer.py (default %(default)s)",
    )
    parser.add_argument("--preset", default="default", choices=PRESETS, help="official: see and answer as the official code does")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS, help="auto: bf16 on GPUs that have it")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default %(default)s)")
    return parser
