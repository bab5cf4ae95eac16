"""What became of every input: a line of JSON each, and the memory from which a run that was stopped goes on."""

import hashlib
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.data.photo import Found
from shared.room import naming

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
        self._done = {} if again else {line["name"]: line for line in self._earlier()}
        before = self.path.read_bytes() if self.path.is_file() else b""
        with self.path.open("a") as file:  # before anything is answered: it may be that nothing can be written here
            file.write("\n" if before and not before.endswith(b"\n") else "")  # what is cut off stays a line of its own

    def has(self, found: Found) -> bool:
        """Whether an earlier run has answered this very file."""
        return self.had(found) and found.path.is_file() and self._done[found.name]["input"] == _stamp(found.path)

    def had(self, found: Found) -> bool:
        """Whether an earlier run has answered a file of this name, be it another one by now."""
        line = self._done.get(found.name)
        return line is not None and line["status"] == "done" and all((self.folder / name).is_file() for name in line["files"])

    def files(self) -> set[str]:
        """All that runs with these settings have noted as written up to now, also other processes."""
        return {name for line in self._earlier() for name in line["files"]}

    def add(self, found: Found, **line: Any) -> None:
        """One more line; see `line_of`."""
        self._append([self.line_of(found, **line)], durable=False)

    def add_all(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """The lines of all inputs that share a file, on disk when this is over. They void earlier ones about another file of that
        name, of which a batch number, made of all their names, can be told.
        """
        batch = zlib.crc32("\0".join(line["name"] for line in lines).encode("utf-8", "surrogateescape"))
        self._append([{**line, "batch": batch} for line in lines], durable=True)

    def line_of(
        self, found: Found, *, status: str, seconds: float, hw: Sequence[int] = (), files: Sequence[Path] = (), message: str = ""
    ) -> dict[str, Any]:
        """What a line says.

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
        return {**line, "path": str(found.path), "input": stamp, "run": self.run}

    def _append(self, lines: Sequence[Mapping[str, Any]], *, durable: bool) -> None:
        with naming(self.path), self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
            if durable:
                file.flush()
                os.fsync(file.fileno())

    def _earlier(self) -> list[dict[str, Any]]:
        """Lines of all processes with these settings, each with the later ones behind the earlier."""
        paths = sorted(self.folder.glob("manifest*.jsonl"))
        lines = [line for path in paths for line in _lines(path) if line["run"] == self.run]
        last = {name: line.get("batch") for line in lines for name in line["files"]}
        return [line for line in lines if all(last[name] == line.get("batch") for name in line["files"])]


def written(folder: Path) -> set[Path]:
    """All files, absolute, that runs with any settings have noted as written into a folder."""
    folder = Path(os.path.abspath(folder))
    return {folder / name for path in folder.glob("manifest*.jsonl") for line in _lines(path) for name in line["files"]}


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
