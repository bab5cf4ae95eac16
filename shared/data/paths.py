"""Which tar files are meant by a folder, a pattern, an address or a list."""

from collections.abc import Sequence
from pathlib import Path

from shared.data import remote
from shared.data.cache import Cache
from shared.data.remote import Remote

Named = str | Path | Remote
Spec = Named | Sequence[Named]


def tar_paths(spec: Spec, *, cache: Cache | None = None) -> list[Path | Remote]:
    """The tar files that a spec stands for; all of them are there.

    Args:
        spec: a folder (its `*.tar`), a tar file, an address of one (shared/data/remote.py), a brace pattern or a list of those.
        cache: where shards behind addresses are kept.

    Raises:
        FileNotFoundError: a folder holds no shard, or a shard does not exist.
        ValueError: nothing was given, or an address that nothing is read from.
        OSError: a server cannot be asked.
    """
    paths = [path for entry in ([spec] if isinstance(spec, Named) else spec) for path in _meant(entry, cache)]
    if not paths:
        raise ValueError("no shards were given; name a folder, a .tar file, an address, a pattern or a list of those")
    missing = [path for path in paths if isinstance(path, Path) and not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} shards do not exist, the first is {missing[0]}; "
            "check the spelling, or make them: python -m shared.data.pack --help"
        )
    found = iter(remote.find([path for path in paths if isinstance(path, Remote)]))
    return [path if isinstance(path, Path) else next(found) for path in paths]


def _meant(entry: Named, cache: Cache | None) -> list[Path | Remote]:
    if isinstance(entry, Remote):
        return [entry]
    text = str(entry)
    if remote.is_address(text):
        return [one for url in _expanded(text) for one in remote.inside(remote.parse(url, cache=cache))]
    path = Path(text).expanduser()
    if path.is_dir():
        tars = sorted(child for child in path.glob("*.tar") if not child.name.startswith("."))
        if not tars:
            raise FileNotFoundError(f"folder {path} holds no .tar file; pack samples with `python -m shared.data.pack --help`")
        return [*tars]
    return [path] if path.exists() else [Path(one) for one in _expanded(str(path))]


def _expanded(text: str) -> list[str]:
    """What a brace pattern stands for."""
    if "{" not in text:
        return [text]
    from webdataset.shardlists import expand_urls  # here because plain paths must work where webdataset is not installed

    return list(expand_urls(text))
