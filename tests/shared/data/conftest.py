"""What tests of data have in common: the renderer, where it can be installed, a wall known exactly, a server of shards."""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from shared.data import remote
from shared.data.shards import write_shards
from shared.data.surface import points

HW = (24, 32)


class Wall(NamedTuple):
    """A wall that leans, 2 m ahead, as a camera sees it; its direction has three different components."""

    image: np.ndarray  # (24,32,3) uint8
    depth: np.ndarray  # (24,32) float32 metres
    normal: np.ndarray  # (24,32,3) float32, x right, y up, z toward the viewer
    intrinsics: np.ndarray  # (4,) float32 fx fy cx cy px
    somebody: np.ndarray  # (24,32) bool, the middle

    @classmethod
    def seen_by(cls, intrinsics: Any) -> "Wall":
        towards = np.array([0.3, -0.5, 0.8]) / np.linalg.norm([0.3, -0.5, 0.8])
        there = towards * [1, -1, -1]  # in the axes of points: x right, y down, z forward
        depth = 2 * there[2] / (points(np.ones(HW), intrinsics) @ there)
        rows, columns = np.mgrid[: HW[0], : HW[1]]
        image = np.stack([8 * rows, 7 * columns, 0 * rows + 90], 2).astype(np.uint8)
        somebody = (abs(rows - 12) < 9) & (abs(columns - 16) < 11)
        normal = np.broadcast_to(towards, (*HW, 3)).astype(np.float32)
        return cls(image, depth.astype(np.float32), normal, np.asarray(intrinsics, np.float32), somebody)


@pytest.fixture(scope="session")
def wall() -> Wall:
    """The wall before a camera of 53 degrees."""
    return Wall.seen_by([32.0, 32.0, 15.5, 11.5])


@pytest.fixture(scope="session")
def embree() -> None:
    """Embree, which has wheels for x86 only; without it people can be read, but not rendered."""
    pytest.importorskip("embreex", reason="rendering people needs the extra `synthetic`, whose embreex is not installed")


@pytest.fixture
def many(tmp_path) -> Path:
    """A folder with four shards of ten pictures of one grey each, from 0 to 39."""
    pictures = [(f"{i:02d}", {"image": np.full((8, 8, 3), i, np.uint8)}) for i in range(40)]
    write_shards(pictures, tmp_path / "many", per_shard=10)
    return tmp_path / "many"


@pytest.fixture
def served(many, tmp_path, monkeypatch) -> "Iterator[Served]":
    """Those shards behind an address of this machine; indices are kept apart, and nobody waits long."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(remote, "PAUSES", (0.01, 0.02))
    with serving(many) as server:
        yield server


class Served(ThreadingHTTPServer):
    """A folder behind an address, which answers ranges and can fail as servers do; counts what is asked, by method and file.

    Attributes:
        fails: answers this status to so many requests for files, then none.
        slow: seconds before each answer.
        ranges: whether parts are given.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.asked = folder, Counter()
        self.met: set[int] = set()  # ports that asked
        self.fails: tuple[int, int] = (503, 0)
        self.slow, self.ranges = 0.0, True
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Served
    protocol_version = "HTTP/1.1"
    timeout = 5

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        served, path = self.server, self.server.folder / self.path.lstrip("/")
        with served.lock:
            served.asked[self.command, path.name] += 1
            served.met.add(self.client_address[1])
            status, left = served.fails
            served.fails = (status, max(0, left - 1))
        time.sleep(served.slow)
        if left or not path.is_file():
            self._send(status if left else 404, b"", 0)
            return
        content, asked = path.read_bytes(), re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and served.ranges:
            part = content[int(asked[1]) : int(asked[2]) + 1]
            self._send(206, part if body else b"", len(part))
        else:
            self._send(200, content if body else b"", len(content), etag=f'"{path.stat().st_mtime_ns}"')

    def _send(self, status: int, content: bytes, length: int, *, etag: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(content)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Tests say what they saw by themselves."""


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """The folder behind an address, until the end."""
    with Served(folder) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield served
        finally:
            served.shutdown()
            thread.join()
