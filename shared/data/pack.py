"""Pack data sets into shards.

    python -m shared.data.pack folder ~/photos --out data/photos --max-side 2048 --dedupe
    python -m shared.data.pack ccp ~/ccp --out data/ccp-train --split train
    python -m shared.data.pack coco-wholebody coco_wholebody_train_v1.0.json ~/coco/train2017 --out data/wholebody-train
    python -m shared.data.pack parts ~/renders --out data/renders

docs/data.md has a command for each source. Synthetic people come from `python -m shared.data.synthesize`, packed already.

Exit status: 0 when everything was packed, 1 when some photos or people were skipped (SHARDS/skipped.txt lists them), 2 when the
input is unusable. Crowds, people without any labelled point, pictures packed without one of their labels, and photos that
--dedupe leaves out are listed too, but are no reason for a 1.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from shared.data import tarindex
from shared.data.options import positive
from shared.data.shards import write_shards
from shared.data.sources import ccp, cihp, coco, folder, hypersim, lip, nyu, parts, renders, synthhuman
from shared.data.sources.source import Command, Report, Source
from shared.room import told

SOURCES = (folder, ccp, lip, cihp, parts, renders, synthhuman, hypersim, nyu, coco)
COMMANDS: tuple[Command, ...] = tuple(command for module in SOURCES for command in module.COMMANDS)
ANEW = "pack again with --overwrite: it begins anew"
LISTED = 20  # skipped photos that are shown; all are in the file
NUMBERED = "[0-9]" * 6 + "*.tar"


class Packed(NamedTuple):
    """What was written."""

    shards: list[Path]
    samples: int
    size: int  # bytes


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


def main(
    arguments: Sequence[str] | None = None,
    *,
    commands: Sequence[Command] = COMMANDS,
    prog: str = "python -m shared.data.pack",
    about: str | None = __doc__,
) -> int:
    """Run the command line; the exit status is described at the top of this file.

    Args:
        arguments: words; None: those of the process.
        commands: what can be packed.
        prog: how the program is called.
        about: its description.
    """
    parser = _parser(commands, prog, about)
    options = parser.parse_args(arguments)
    report = Report()
    try:
        source: Source = options.source(options, report)
        packed = pack(
            source.samples,
            options.out,
            names=source.names,
            per_shard=options.per_shard,
            overwrite=options.overwrite,
            total=source.total,
            quiet=options.quiet,
        )
        _report_skipped([sentence for _, sentence in report.faults], report.passed_over, options.out)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{parser.prog}: {told(error, out=options.out, then=ANEW)}\n")
        return 2
    sys.stdout.write(
        f"packed {packed.samples} samples into {len(packed.shards)} shard(s), {packed.size / 1e6:.1f} MB, in {options.out}; "
        f"skipped {len(report.faults)}\n"
    )
    sys.stdout.write("".join(f"{count:>9} not packed: {reason}\n" for reason, count in report.reasons.most_common()))
    if not packed.samples:
        sys.stderr.write(f"{parser.prog}: nothing was packed; no input could be read\n")
        return 2
    return 1 if report.faults else 0


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
        with tarindex.atomic(out / "skipped.txt") as file:
            file.write(("\n".join(lines + passed_over) + "\n").encode())
    if not lines:
        return
    more = [f"... and {len(lines) - LISTED} more, see {out / 'skipped.txt'}"] if len(lines) > LISTED else []
    sys.stderr.write("skipped:\n" + "".join(f"  {line}\n" for line in lines[:LISTED] + more))


def _parser(listed: Sequence[Command], prog: str, about: str | None) -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=prog, description=about, formatter_class=raw)
    commands = parser.add_subparsers(title="sources", required=True, metavar=f"{{{','.join(row.name for row in listed)}}}")
    for row in listed:
        example = f"example:\n  {parser.prog} {row.name} {row.example}"
        command = commands.add_parser(row.name, help=row.text, description=row.text, epilog=example, formatter_class=raw)
        command.set_defaults(source=row.source)
        command.add_argument("--out", type=Path, required=True, metavar="SHARDS", help="folder for the shards")
        command.add_argument("--per-shard", type=positive, default=1000, metavar="N", help="samples in a shard (default 1000)")
        command.add_argument("--overwrite", action="store_true", help="delete the shards that the folder holds already")
        command.add_argument("--quiet", action="store_true", help="no progress bar")
        row.options(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
