"""hf:OWNER/REPO[/FILE] -> a file on this machine, through huggingface_hub, which keeps what it fetched."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

SCHEME = "hf:"
PROGRAMS = ("torchscript", "bfloat16", ".pt2")  # of the "lite" releases; weights have other names
NAMED = re.compile(r"sapiens2?_.*")


def local(path: Path | str) -> Path:
    """A path as it is; of hf:OWNER/REPO[/FILE], where the file lies once it was fetched.

    Raises:
        ValueError: no such repository or file, no network, or more than one file of weights to choose from.
    """
    text = str(path)
    if not text.startswith(SCHEME):
        return Path(path)
    owner, _, rest = text.removeprefix(SCHEME).partition("/")
    repository, _, file = rest.partition("/")
    if not owner or not repository:
        raise ValueError(f"{text} names no repository; write hf:OWNER/REPO or hf:OWNER/REPO/FILE, as hf:facebook/sapiens2-seg-0.4b")
    return _fetch(f"{owner}/{repository}", file, text)


def _fetch(repository: str, file: str, text: str) -> Path:
    from huggingface_hub import HfApi, hf_hub_download  # slow to import, and seldom needed
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    page = f"https://huggingface.co/{repository}"
    try:
        return Path(hf_hub_download(repository, file or choose(HfApi().list_repo_files(repository), text)))
    except LocalEntryNotFoundError:
        return _kept(repository, file, text)
    except GatedRepoError as error:
        raise ValueError(f"{text}: its owner asks who you are; accept the terms at {page}, then `hf auth login`") from error
    except RepositoryNotFoundError as error:
        raise ValueError(f"{text}: there is no repository {page}, or it is private; look the name up there") from error
    except EntryNotFoundError as error:
        raise ValueError(f"{text}: {page} has no file {file}; its files are listed at {page}/tree/main") from error
    except ValueError:
        raise
    except Exception:  # no network, or none wanted: each version of the library has its own errors for that
        return _kept(repository, file, text)


def _kept(repository: str, file: str, text: str) -> Path:
    """What was fetched before.

    Raises:
        ValueError: nothing was.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(repository, local_files_only=True))
    except OSError as error:
        raise ValueError(
            f"{text} is not on this machine and cannot be fetched without a network (is HF_HUB_OFFLINE set?); "
            f"download it from https://huggingface.co/{repository} elsewhere and give its path"
        ) from error
    kept = [found.relative_to(folder).as_posix() for found in folder.rglob("*") if found.is_file()]
    if file and file not in kept:
        raise ValueError(f"of {text} only {', '.join(sorted(kept)) or 'nothing'} is on this machine, and there is no network to "
                         "fetch the rest; give the path of a file")  # fmt: skip
    return folder / (file or choose(kept, text))


def choose(files: Sequence[str], text: str) -> str:
    """The weights among a repository's files: safetensors before .pth, Meta's names before others, the encoder before all of MAE.

    Raises:
        ValueError: there are none, or several.
    """
    whole = [f for f in files if not any(word in f for word in PROGRAMS)]
    for suffix in (".safetensors", ".pth"):
        found = [f for f in whole if f.endswith(suffix)]
        named = [f for f in found if NAMED.fullmatch(PurePosixPath(f).name)] or found
        chosen = [f for f in named if f.endswith(f"_clean{suffix}")] or named
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            raise ValueError(
                f"{text} has {len(chosen)} files of weights; say which: {', '.join(f'{text}/{f}' for f in sorted(chosen)[:6])}"
            )
    raise ValueError(f"{text} has no .safetensors and no .pth file of weights: {', '.join(sorted(files)[:6]) or 'it is empty'}; "
                     "choose another repository, see docs/checkpoints.md")  # fmt: skip
