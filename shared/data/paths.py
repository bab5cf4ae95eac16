"""Which tar files are meant by a folder, a pattern or a list."""

from collections.abc import Sequence
from pathlib import Path


def tar_paths(spec: str | Path | Sequence[str | Path]) -> list[Path]:
    """The tar files that a spec stands for."""
    paths: list[Path] = []
    for entry in [spec] if isinstance(spec, (str, Path)) else spec:
        text = str(entry)
        if text.startswith("pipe:") or "://" in text:
            raise ValueError(f"{text!r} is a command or an address; shards are read from files only, so download it first")
        path = Path(text).expanduser()
        if path.is_dir():
            tars = sorted(child for child in path.glob("*.tar") if not child.name.startswith("."))
            if not tars:
                raise FileNotFoundError(f"folder {path} holds no .tar file; pack samples with `python -m shared.data.pack --help`")
            paths += tars
        elif "{" in text and not path.exists():
            from webdataset.shardlists import expand_urls  # here because plain paths must work where webdataset is not installed

            paths += [Path(expanded) for expanded in expand_urls(str(path))]
        else:
            paths.append(path)
    if not paths:
        raise ValueError("no shards were given; name a folder, a .tar file, a pattern or a list of those")
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} shards do not exist, the first is {missing[0]}; "
            "check the spelling, or make them: python -m shared.data.pack --help"
        )
    return paths
