"""Render people made of geometry into shards, with exact truth.

    python -m shared.data.synthesize --out data/people --count 10000 --size 1024x768 --workers 8
    python -m shared.data.synthesize --out data/people_all --count 100 --maps all
    python -m shared.data.synthesize --sheet sheet.png --count 24 --size 256x192

Every sample also records its facts: camera, light, and everybody's body, face, head and points (shared/data/facts.py reads them).
Run it again with the same options to go on where it stopped: shards that are complete stay as they are. The same options give
the same bytes, whatever the number of workers. Exit status: 0 when all is written, 2 when the options or the folder are unusable.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from shared.data import tarindex
from shared.data.fields import EXTRA, Sample
from shared.data.options import positive, size
from shared.data.shards import write_shards
from shared.data.synthetic import NAMES, samples
from shared.data.synthetic.camera import SHARES
from shared.room import GOES_ON, told

RECIPE = "synthetic.json"  # the options that made a folder, so that no other ones go on with it
Pairs = Iterator[tuple[str, dict[str, Any]]]
COLUMNS = 4  # samples in a row of a contact sheet


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is described at the top of this file."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.out is None and options.sheet is None:
        parser.error("nothing to write; pass --out DIR for shards or --sheet FILE for a contact sheet")
    try:
        if options.sheet is not None:
            _sheet(options)
        if options.out is not None:
            sys.stdout.write(_shards(options))
    except (ValueError, OSError, ImportError) as error:
        sys.stderr.write(f"{parser.prog}: {told(error, out=options.out or Path(), then=GOES_ON)}\n")
        return 2
    return 0


def contact_sheet(shown: Sequence[Sample]) -> np.ndarray:
    """Pictures, points, parts, depth, normals and maps on request side by side, COLUMNS samples in a row: (H,W,3) uint8 RGB."""
    tiles = [np.concatenate(_panels(one), 1) for one in shown]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    return np.concatenate([np.concatenate(tiles[row : row + COLUMNS], 1) for row in range(0, len(tiles), COLUMNS)])


def _panels(one: Sample) -> list[np.ndarray]:
    marked = one["image"].copy()
    for x, y, seen in one["keypoints"]:
        if seen:
            cv2.circle(marked, (round(float(x)), round(float(y))), 1, (255, 40, 40), -1, cv2.LINE_AA)
    hues = np.stack([np.arange(256) * 47 % 180, np.full(256, 200), np.where(np.arange(256), 230, 40)], 1).astype(np.uint8)
    palette = cv2.cvtColor(hues[None], cv2.COLOR_HSV2RGB)[0]
    depth, known = one["depth"], np.isfinite(one["depth"])
    near, far = (np.percentile(depth[known], (1, 99))) if known.any() else (0.0, 1.0)
    grey = np.where(known, np.clip(255 - 200 * (depth - near) / max(far - near, 1e-3), 30, 255), 0)
    normal = np.nan_to_num(one["normal"] * 127.5 + 127.5)
    parts = palette[one["seg"]]
    shown = [one["image"], marked, parts, grey[..., None], normal]
    shown += [palette[one["person"]]] if "person" in one else []
    shown += [255 * one["alpha"][..., None]] if "alpha" in one else []
    shown += [one["albedo"]] if "albedo" in one else []
    return [np.broadcast_to(panel, one["image"].shape).astype(np.uint8) for panel in shown]


def _sheet(options: argparse.Namespace) -> None:
    drawn = _samples(options, 0)
    shown = [one for _, one in tqdm(drawn, total=options.count, unit=" samples", disable=options.quiet)]
    if not cv2.imwrite(str(options.sheet), contact_sheet(shown)[..., ::-1]):
        raise OSError(f"the contact sheet cannot be written to {options.sheet}; name a .png or .jpg file in a folder that exists")


def _shards(options: argparse.Namespace) -> str:
    """Write what is missing; the answer is a sentence."""
    out: Path = options.out
    _claim(out, options)
    done = _complete(out, options.per_shard, options.count)
    last = -(-options.count // options.per_shard)
    with tqdm(total=options.count, initial=done, unit=" samples", disable=options.quiet) as bar:
        drawn = _samples(options, done)
        for number in range(done // options.per_shard, last):
            some = itertools.islice(drawn, min(options.per_shard, options.count - number * options.per_shard))
            tarindex.remove(_shard(out, number))
            write_shards(_counted(some, bar), out, names=NAMES, per_shard=options.per_shard, prefix=f"{number:06d}-")
    size = sum(path.stat().st_size for path in out.glob("*.tar"))
    return f"{options.count} samples in {last} shard(s), {size / 1e6:.1f} MB, in {out}; {done} of them were there before\n"


def _counted(pairs: Pairs, bar: tqdm) -> Pairs:
    for pair in pairs:
        yield pair
        bar.update()


def _shard(out: Path, number: int) -> Path:
    return out / f"{number:06d}-000000.tar"  # the second number is that of write_shards, which always starts at 0


def _complete(out: Path, per_shard: int, count: int) -> int:
    """How many samples the first shards of the folder hold, up to the first that is missing or short."""
    done = 0
    while done < count:
        shard = _shard(out, done // per_shard)
        wanted = min(per_shard, count - done)
        if not shard.exists() or len(tarindex.load(shard).samples) != wanted:
            break
        done += wanted
    return done


def _claim(out: Path, options: argparse.Namespace) -> None:
    """Note the options in the folder, or refuse one that others made."""
    recipe = {
        "seed": options.seed,
        "size": list(options.size),
        "shot": options.shot,
        "per_shard": options.per_shard,
        "photos": str(options.photos) if options.photos else None,
        "maps": list(options.maps),
    }
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; --out names a folder, so choose another name")
    note = out / RECIPE
    if note.exists():
        made = json.loads(note.read_text(encoding="utf-8"))
        if made != recipe:
            raise FileExistsError(f"{out} was begun with other options, {made}; choose another folder, or repeat those to go on")
    elif out.exists() and any(out.glob("*.tar")):
        raise FileExistsError(f"{out} holds shards that synthesize did not make; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    with tarindex.atomic(note) as file:  # half of it would be other options
        file.write(json.dumps(recipe).encode() + b"\n")


def _samples(options: argparse.Namespace, start: int) -> Pairs:
    return samples(
        options.count,
        seed=options.seed,
        hw=options.size,
        workers=options.workers,
        shot=options.shot,
        photos=options.photos,
        start=start,
        maps=options.maps,
    )


def _maps(text: str) -> tuple[str, ...]:
    """Names of EXTRA, in its order."""
    asked = set(EXTRA) if text == "all" else set(text.split(","))
    if wrong := sorted(asked - set(EXTRA)):
        raise argparse.ArgumentTypeError(f"there is no map {wrong[0]!r} to ask for; there are {', '.join(EXTRA)}, or all")
    return tuple(name for name in EXTRA if name in asked)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m shared.data.synthesize", description=__doc__, formatter_class=raw)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the shards")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="a picture of the samples with their truth, .png or .jpg")
    parser.add_argument("--count", type=positive, default=1000, metavar="N", help="samples (default 1000)")
    parser.add_argument("--size", type=size, default=(1024, 768), metavar="HxW", help="pixels, height first (default 1024x768)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another seed gives other people (default 0)")
    parser.add_argument("--workers", type=int, default=0, metavar="W", help="processes (default 0: this one); changes no picture")
    parser.add_argument("--shot", choices=("mix", *SHARES), default="mix", help="how much of people is seen (default mix)")
    parser.add_argument(
        "--photos",
        type=Path,
        metavar="DIR",
        help="places without people, photos or shards, seen in half of the pictures",
    )
    parser.add_argument("--maps", type=_maps, default=(), metavar="A,B", help=f"write these too: {', '.join(EXTRA)}, or all")
    parser.add_argument("--per-shard", type=positive, default=500, metavar="N", help="samples in a shard (default 500)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


if __name__ == "__main__":
    sys.exit(main())
