"""What became of every input: a line of JSON each, and the memory from which a run that was stopped goes on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.data.photo import Found

NAME = "manifest.jsonl"


class Manifest:
    """`manifest.jsonl` in the folder of the answers; of process 1 .. n - 1 of several `manifest.1.jsonl` and so on.

    An input is done where a line of any of them says so for the same settings and the same file (size and time), and the files
    that were written are still there. A line that was cut off when a run was killed counts as none.

    Args:
        folder: of the answers.
        settings: all that the answers depend on besides the inputs, plain data.
        rank: of this process.
        again: nothing counts as done.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, rank: int = 0, again: bool = False) -> None:
        self.folder, self.path = folder, folder / (f"manifest.{rank}.jsonl" if rank else NAME)
        told = json.dumps(settings, sort_keys=True, default=str)
        self.run = hashlib.sha256(told.encode()).hexdigest()[:16]
        earlier = [] if again else [line for path in sorted(folder.glob("manifest*.jsonl")) for line in _lines(path)]
        self._done = {line["name"]: line for line in earlier if line["run"] == self.run}
        if self.path.is_file() and not self.path.read_bytes().endswith(b"\n"):
            with self.path.open("a") as file:
                file.write("\n")  # what is cut off stays a line of its own

    def has(self, found: Found) -> bool:
        """Whether an earlier run has answered this very file."""
        line = self._done.get(found.name)
        if line is None or line["status"] != "done" or not found.path.is_file():
            return False
        return line["input"] == _stamp(found.path) and all((self.folder / name).is_file() for name in line["files"])

    def add(
        self, found: Found, *, status: str, seconds: float, hw: Sequence[int] = (), files: Sequence[Path] = (), message: str = ""
    ) -> None:
        """One more line.

        Args:
            found: the input.
            status: `done`; `failed`; `incomplete`, a video that broke off.
            seconds: that it took.
            hw: height and width, pixels, where they are known.
            files: what was written.
            message: what went wrong.
        """
        size = dict(zip(("height", "width"), hw))
        names = [path.relative_to(self.folder).as_posix() for path in files]
        line = {"name": found.name, "status": status, **size, "seconds": round(seconds, 3), "message": message, "files": names}
        stamp = _stamp(found.path) if found.path.is_file() else []
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, "path": str(found.path), "input": stamp, "run": self.run}) + "\n")


def _lines(path: Path) -> list[dict[str, Any]]:
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and {"name", "status", "run", "input", "files"} <= line.keys():
            lines.append(line)
    return lines


def _stamp(path: Path) -> list[int]:
    """Size in bytes and time of the last change, nanoseconds."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]
