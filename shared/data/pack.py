"""Pack data sets into shards.

    python -m shared.data.pack folder ~/photos --out data/photos --max-side 2048 --dedupe
    python -m shared.data.pack ccp ~/ccp --out data/ccp-train --split train
    python -m shared.data.pack coco-wholebody coco_wholebody_train_v1.0.json ~/coco/train2017 --out data/wholebody-train

Synthetic people come from `python -m shared.data.synthesize`, packed already. Exit status: 0 when everything was packed, 1 when
some photos or people were skipped (SHARDS/skipped.txt lists them), 2 when the input is unusable. Crowds, people without any
labelled point, and photos that --dedupe leaves out are listed too, but are no reason for a 1.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from shared.data import tarindex
from shared.data.options import positive
from shared.data.photo import find_photos
from shared.data.shards import write_shards
from shared.data.sources import ccp, coco, folder
from shared.data.sources.conventions import CONVENTIONS

LISTED = 20  # skipped photos that are shown; all are in the file
NUMBERED = "[0-9]" * 6 + "*.tar"


class Packed(NamedTuple):
    """What was written."""

    shards: list[Path]
    samples: int
    size: int  # bytes


class Source(NamedTuple):
    """What there is to pack."""

    samples: Iterable[tuple[str, Mapping[str, Any]]]
    names: dict[str, list[str]]
    total: int
    report: coco.Report | None = None  # which people were not packed
    alike: Sequence[str] = ()  # which photos were left out because they look like another

    @property
    def passed_over(self) -> list[str]:
        """What was not packed though there is no fault in it, a sentence each."""
        return [*(self.report.passed_over if self.report else []), *self.alike]

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Why, and how often; the most frequent first."""
        alike = [("looks like an earlier photo", len(self.alike))] if self.alike else []
        return (self.report.reasons.most_common() if self.report else []) + alike


def pack(
    samples: Iterable[tuple[str, Mapping[str, Any]]],
    out: Path,
    *,
    names: Mapping[str, Sequence[str]] | None = None,
    per_shard: int = 1000,
    overwrite: bool = False,
    total: int | None = None,
    quiet: bool = False,
) -> Packed:
    """Write samples to a folder of shards, with a progress bar.

    Args:
        samples: (key, sample) pairs, see `write_shards`.
        out: folder; refused if it holds shards already, unless `overwrite`, which deletes them first.
        names: field -> names of its ids or rows.
        per_shard: samples in a shard.
        total: how many samples to expect, for the bar.
        quiet: no bar.
    """
    out = Path(out)
    _clear(out, overwrite)
    with tqdm(total=total, unit=" samples", disable=quiet) as bar:
        shards = write_shards(_counted(samples, bar), out, names=names, per_shard=per_shard)
    return Packed(shards, sum(len(tarindex.load(shard).samples) for shard in shards), sum(shard.stat().st_size for shard in shards))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is described at the top of this file."""
    parser = _parser()
    options = parser.parse_args(arguments)
    skipped: list[tuple[Path, str]] = []
    try:
        source = options.source(options, skipped)
        packed = pack(
            source.samples,
            options.out,
            names=source.names,
            per_shard=options.per_shard,
            overwrite=options.overwrite,
            total=source.total,
            quiet=options.quiet,
        )
        passed_over = source.passed_over
        _report_skipped([sentence for _, sentence in skipped], passed_over, options.out)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 2
    sys.stdout.write(
        f"packed {packed.samples} samples into {len(packed.shards)} shard(s), {packed.size / 1e6:.1f} MB, in {options.out}; "
        f"skipped {len(skipped)}\n"
    )
    sys.stdout.write("".join(f"{count:>9} not packed: {reason}\n" for reason, count in source.reasons))
    if not packed.samples:
        sys.stderr.write(f"{parser.prog}: nothing was packed; no input could be read\n")
        return 2
    return 1 if skipped else 0


def _counted(samples: Iterable[tuple[str, Mapping[str, Any]]], bar: tqdm) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for pair in samples:
        yield pair
        bar.update()


def _clear(out: Path, overwrite: bool) -> None:
    """Make sure that the folder will hold the new shards and no others."""
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; --out names a folder, so choose another name")
    old = sorted(out.glob("*.tar"))
    if old and not overwrite:
        raise FileExistsError(f"{out} already holds {len(old)} shards; choose another folder, or pass --overwrite to delete them")
    foreign = sorted(set(old) - set(out.glob(NUMBERED)))
    if foreign:
        raise FileExistsError(f"{foreign[0]} was not made by pack and will not be deleted; choose another folder")
    for shard in old:
        tarindex.remove(shard)
    (out / "skipped.txt").unlink(missing_ok=True)


def _report_skipped(lines: list[str], passed_over: list[str], out: Path) -> None:
    """Show the first sentences about faults and keep all of them, and behind them those about who was passed over."""
    if lines or passed_over:
        (out / "skipped.txt").write_text("\n".join(lines + passed_over) + "\n", encoding="utf-8")
    if not lines:
        return
    more = [f"... and {len(lines) - LISTED} more, see {out / 'skipped.txt'}"] if len(lines) > LISTED else []
    sys.stderr.write("skipped:\n" + "".join(f"  {line}\n" for line in lines[:LISTED] + more))


def _folder(options: argparse.Namespace, skipped: list[tuple[Path, str]]) -> Source:
    total = len(find_photos([options.folder]))
    alike: list[str] = []
    photos = folder.samples(options.folder, max_side=options.max_side, skipped=skipped, alike=alike if options.dedupe else None)
    return Source(photos, {}, total, alike=alike)


def _ccp(options: argparse.Namespace, skipped: list[tuple[Path, str]]) -> Source:
    which = {"split": options.split, "unlabelled": options.unlabelled}
    names = {} if options.unlabelled else ccp.names(options.folder)
    return Source(ccp.samples(options.folder, skipped=skipped, **which), names, len(ccp.photos(options.folder, **which)))


def _people(options: argparse.Namespace, skipped: list[tuple[Path, str]]) -> Source:
    convention = CONVENTIONS[options.convention]
    report = coco.Report(faults=skipped)
    annotations = coco.load(options.annotations)
    names = coco.names(annotations, convention)
    found = coco.pictures(annotations, convention, report)
    if not options.images.is_dir():
        raise FileNotFoundError(f"there is no folder of photos {options.images}; check the path")
    people = coco.samples(found, options.images, report, crop=options.crop)
    return Source(people, {"keypoints": names}, sum(len(picture.people) for picture in found), report)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m shared.data.pack", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(title="sources", required=True, metavar=f"{{folder,ccp,{','.join(CONVENTIONS)}}}")

    def add(name: str, source: Any, text: str, example: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=text, description=text, epilog=f"example:\n  {parser.prog} {example}", formatter_class=raw
        )
        command.set_defaults(source=source)
        command.add_argument("--out", type=Path, required=True, metavar="SHARDS", help="folder for the shards")
        command.add_argument("--per-shard", type=positive, default=1000, metavar="N", help="samples in a shard (default 1000)")
        command.add_argument("--overwrite", action="store_true", help="delete the shards that the folder holds already")
        command.add_argument("--quiet", action="store_true", help="no progress bar")
        return command

    command = add(
        "folder", _folder, "Pack the photos of a folder, images only.", "folder ~/photos --out data/photos --max-side 2048"
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="searched to the bottom for photos")
    command.add_argument("--max-side", type=positive, metavar="N", help="scale larger photos down to N pixels on the longer side")
    command.add_argument("--dedupe", action="store_true", help="leave out photos that look like an earlier one")

    command = add("ccp", _ccp, "Pack Clothing Co-Parsing.", "ccp ~/ccp --out data/ccp-train --split train")
    command.add_argument("folder", type=Path, metavar="DIR", help="holds images/, labels/ and labels.json")
    command.add_argument("--split", choices=ccp.SPLITS, help="every fourth labelled photo is val, the others train (default both)")
    command.add_argument(
        "--unlabelled", action="store_true", help="images alone, and those of unlabelled/ too (the latter count as train)"
    )
    for name, convention in CONVENTIONS.items():
        text = f"Pack people annotated with {convention.about}; one sample per person."
        command = add(name, _people, text, f"{name} annotations.json photos/ --out data/{name}")
        command.set_defaults(convention=name)
        command.add_argument("annotations", type=Path, metavar="ANN", help="JSON in the form of COCO")
        command.add_argument("images", type=Path, metavar="IMAGES", help="folder of the photos that ANN names")
        command.add_argument(
            "--crop", type=_factor, metavar="F", help="keep of each photo what lies in the person's box grown by F (2.5 is ample)"
        )
    return parser


def _factor(text: str) -> float:
    value = float(text)
    if not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} would cut the person; give a factor of at least 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
