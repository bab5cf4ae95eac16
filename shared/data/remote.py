"""Shards behind addresses, read by ranges of bytes: HTTP(S), S3 and Google Cloud Storage, through fsspec.

    https://host/people-000000.tar        s3://bucket/people/000000.tar        gs://bucket/people/000000.tar

An address holds no secret, because it is kept with every run: passwords and signatures in it are refused. Keys come from where the
libraries look for them: ~/.netrc, the AWS and Google settings, and FSSPEC_S3_ANON=true and the like (docs/data.md).
"""

import functools
import hashlib
import io
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Protocol, TypeVar
from urllib.parse import urlsplit

NEEDS = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "gs": "gcsfs"}  # scheme -> the library that fsspec reads it with
PAUSES = (1.0, 4.0, 15.0, 30.0)  # seconds before another try, as long as a server is thought to come back
CONNECT, QUIET = 20.0, 30.0  # seconds without a connection, or without a byte, that count as a failure
AT_ONCE = 16  # questions to a server
PIECE = 2**23  # bytes that are fetched at a time where all are wanted
BUSY = (408, 425, 429)  # HTTP's answers below 500 that mean later, not never
VERSIONS = ("ETag", "etag", "Last-Modified", "LastModified", "updated", "created")  # what changes where the content does

T = TypeVar("T")


class Unreachable(OSError):
    """A server that could not be reached, or kept failing; the message names the address."""


class Keeps(Protocol):
    """What keeps shards nearby: `shared.data.cache.Cache`."""

    def read(self, remote: "Remote", offset: int, size: int) -> bytes: ...


@dataclass(frozen=True)
class Remote:
    """A file behind an address; of the things that a `Path` can do it does those that shards need.

    Attributes:
        url: the address, as sentences show it.
        size: bytes; -1: not asked yet.
        version: changes where the content does, as far as the server tells.
        cache: where the whole file is kept when it is first read; None: nowhere, and every read asks the server.
    """

    url: str
    size: int = field(default=-1, compare=False)
    version: str = field(default="", compare=False)
    cache: Keeps | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """Of the file."""
        return PurePosixPath(urlsplit(self.url).path).name

    @property
    def token(self) -> str:
        """Stands for the address and its content in names of local files."""
        return hashlib.sha256(f"{self.url} {self.size} {self.version}".encode()).hexdigest()[:32]

    def found(self) -> "Remote":
        """The same with its size and version.

        Raises:
            FileNotFoundError, PermissionError, Unreachable: the server says so, or nothing.
        """
        told = _ask(self.url, lambda files, path: files.info(path))
        if told.get("type") == "directory" or told.get("size") is None:
            raise OSError(f"{self} is a folder or does not say how long it is; shards need a server that tells Content-Length")
        if told.get("partial") is False:
            raise OSError(f"the server of {self} refuses to give parts of a file; use one that answers Range requests")
        return replace(self, size=int(told["size"]), version=next((str(told[key]) for key in VERSIONS if told.get(key)), ""))

    def exists(self) -> bool:
        """Whether it can be read now."""
        try:
            self.found()
        except OSError:
            return False
        return True

    def beside(self, ending: str) -> "Remote":
        """The file whose name has this ending more."""
        return Remote(self.url + ending)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from the cache, or from the server where there is none; fewer than `size` where the file ends."""
        return self.fetch(offset, size) if self.cache is None else self.cache.read(self, offset, size)

    def fetch(self, offset: int, size: int) -> bytes:
        """Bytes from the server, tried again for a minute where it fails.

        Raises:
            FileNotFoundError, PermissionError, Unreachable, OSError: with a sentence.
        """
        if not size:
            return b""
        content = _ask(self.url, lambda files, path: files.cat_file(path, start=offset, end=offset + size))
        if len(content) > size:
            given = f"{len(content):,} bytes for the {size:,} that were asked for"
            raise OSError(f"the server of {self} gave {given}; use one that answers Range requests")
        return content

    def open(self) -> BinaryIO:
        """All of it as a file that can be sought in, fetched in pieces."""
        return io.BufferedReader(_Ranges(self), PIECE)


class _Ranges(io.RawIOBase):
    """A file of known size, read piece by piece."""

    def __init__(self, remote: Remote) -> None:
        self.remote, self.at = remote, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.remote.size}[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        content = self.remote.read(self.at, max(0, min(len(buffer), self.remote.size - self.at)))
        buffer[: len(content)] = content
        self.at += len(content)
        return len(content)


def is_address(text: str) -> bool:
    """Whether it has a scheme, or is a command, and so is no path."""
    return "://" in text or text.startswith("pipe:")


def parse(text: str, *, cache: Keeps | None = None) -> Remote:
    """An address as the user wrote it.

    Raises:
        ValueError: it is none that is read from, or holds a secret. The sentence does not repeat the secret.
    """
    scheme, _, rest = text.partition("://")
    shown = f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}" if rest else text.split(maxsplit=1)[0]
    if scheme not in NEEDS or "::" in rest:
        raise ValueError(
            f"{shown!r} is no address that shards are read from; those begin with {', '.join(f'{name}://' for name in NEEDS)}. "
            "Commands (pipe:) are never run, and files on disk are given by their path alone"
        )
    if "@" in rest.partition("/")[0]:
        raise ValueError(f"{shown} came with a name or password, which would be kept with every run; put them into ~/.netrc")
    if "?" in rest or "#" in rest:
        raise ValueError(
            f"{shown} came with something behind ? or #; signatures would be kept with every run and end some day, so use "
            "s3:// or gs:// and keys of your own, or a server that needs neither"
        )
    return Remote(text, cache=cache)


def find(remotes: Sequence[Remote]) -> list[Remote]:
    """The same with sizes and versions, many asked for at once.

    Raises:
        FileNotFoundError: one does not exist.
        OSError: another thing is wrong.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda one: one if one.size >= 0 else one.found(), remotes))


def inside(remote: Remote) -> list[Remote]:
    """The .tar files of a folder, which is an address that ends in /; any other address stands for itself."""
    if not remote.url.endswith("/"):
        return [remote]
    scheme = remote.url.partition("://")[0]
    if NEEDS[scheme] == "aiohttp":
        raise ValueError(f"{remote} is a folder, which HTTP cannot list; name its shards: {remote}{{000000..000127}}.tar")
    names = _ask(remote.url, lambda files, path: files.ls(path, detail=False))
    tars = sorted(name for name in names if name.endswith(".tar"))
    if not tars:
        raise FileNotFoundError(f"folder {remote} holds no .tar file; check the spelling")
    return [replace(remote, url=f"{scheme}://{name.lstrip('/')}") for name in tars]


@dataclass
class _Health:
    """Of a server: one that was given up is not waited for again until it answers."""

    given_up: bool = False


@functools.lru_cache(maxsize=64)
def _health(server: str, process: int) -> _Health:
    return _Health()


def _ask(url: str, question: Callable[[Any, str], T]) -> T:
    """The answer to a question about fsspec's file system and the path in it; tried again where the network fails."""
    health = _health(url.partition("://")[2].partition("/")[0], os.getpid())
    left = [] if health.given_up else list(PAUSES)
    files, path = _file_system(url)
    while True:
        try:
            answer = question(files, path)
        except Exception as error:  # every library behind fsspec has exceptions of its own
            if wrong := _final(url, error):
                raise wrong from None
            if not left:
                health.given_up = True
                raise Unreachable(f"{url} cannot be read: {_told(error)}; is the server there, and the network?") from None
            time.sleep(left.pop(0))
        else:
            health.given_up = False
            return answer


def _file_system(url: str) -> tuple[Any, str]:
    """What reads it, made once in each process (fsspec sees to that), and the path in it."""
    import fsspec.core  # here, as are those it needs: whose shards are on disk need not have them

    scheme = url.partition("://")[0]
    try:
        if NEEDS[scheme] == "aiohttp":
            import aiohttp

            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=QUIET)
            client = {"timeout": timeout, "trust_env": True}  # ~/.netrc and proxies count
            return fsspec.core.url_to_fs(url, headers={"Accept-Encoding": "identity"}, client_kwargs=client)
        return fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise ValueError(f"{url} needs {NEEDS[scheme]}, which is not installed; pip install 'vitruvian[remote]'") from error


def _final(url: str, error: BaseException) -> OSError | None:
    """The sentence for what no further try will change."""
    if isinstance(error, FileNotFoundError) and error.__cause__ is not None:  # fsspec calls every failure so, and hides what it was
        error = error.__cause__
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return FileNotFoundError(f"{url} does not exist; check the spelling")
    if isinstance(error, PermissionError) or status in (401, 403):
        return PermissionError(f"{url} may not be read; does it exist, and are your keys where docs/data.md says?")
    if isinstance(status, int) and 400 <= status < 500 and status not in BUSY:
        return OSError(f"{url} cannot be read: the server answers {status}")
    return None


def _told(error: BaseException) -> str:
    """An exception in words; an address that a server led to may have a signature behind its ?."""
    error = error.__cause__ or error
    status = getattr(error, "status", None)
    told = f"the server answers {status}" if isinstance(status, int) else re.sub(r"\?\S+", "?...", str(error))
    return told or type(error).__name__
