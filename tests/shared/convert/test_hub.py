"""hf:OWNER/REPO[/FILE] becomes a file: which one, and what is said where that does not work."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shared.convert.hub import choose, local

ROOT = Path(__file__).parents[3]
ASK = """
import runpy, sys
local = runpy.run_path("shared/convert/hub.py")["local"]  # the module alone: PyTorch would take seconds
for name in sys.argv[1:]:
    try:
        print(local(name))
    except ValueError as error:
        print("error:", error)
"""


@pytest.mark.parametrize(("files", "chosen"), [
    (["README.md", "sapiens2_0.4b_seg.safetensors"], "sapiens2_0.4b_seg.safetensors"),
    (["model.safetensors", "config.json", "sapiens2_1b_pose.safetensors"], "sapiens2_1b_pose.safetensors"),
    (["model.safetensors", "pytorch_model.pth", "sapiens_0.3b_x.pth"], "model.safetensors"),
    (["sapiens_0.3b_goliath_best_goliath_AP_573.pth", "sapiens_0.3b_goliath_best_goliath_AP_573_torchscript.pt2"],
     "sapiens_0.3b_goliath_best_goliath_AP_573.pth"),
    (["sapiens_1b_epoch_173.pth", "sapiens_1b_epoch_173_clean.pth"], "sapiens_1b_epoch_173_clean.pth"),
    (["sapiens_lite_host/torchscript/x_torchscript.pth", "sapiens_host/depth/sapiens_2b_render_people_epoch_25.pth"],
     "sapiens_host/depth/sapiens_2b_render_people_epoch_25.pth"),
])  # fmt: skip
def test_the_weights_among_the_files_are_found(files, chosen):
    assert choose(files, "hf:a/b") == chosen
    assert choose(files[::-1], "hf:a/b") == chosen


def test_several_or_no_files_of_weights_are_a_sentence():
    with pytest.raises(ValueError, match=r"hf:a/b has 2 files of weights; say which: hf:a/b/sapiens_1\.pth, hf:a/b/sapiens_2\.pth"):
        choose(["sapiens_2.pth", "sapiens_1.pth"], "hf:a/b")
    with pytest.raises(ValueError, match=r"hf:a/b has no \.safetensors and no \.pth file of weights: x_torchscript\.pt2"):
        choose(["x_torchscript.pt2"], "hf:a/b")
    with pytest.raises(ValueError, match="it is empty"):
        choose([], "hf:a/b")


def test_other_paths_stay_as_they_are():
    assert local("runs/x.safetensors") == local(Path("runs/x.safetensors")) == Path("runs/x.safetensors")
    with pytest.raises(ValueError, match="hf:facebook names no repository; write hf:OWNER/REPO"):
        local("hf:facebook")


def ask(folder: Path, *names: str, **settings: str) -> list[str]:
    """What a process with these settings of the hub says of each name; they are read when the library is imported."""
    env = {**os.environ, "HF_HOME": str(folder), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", **settings}
    done = subprocess.run([sys.executable, "-c", ASK, *names], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_without_a_network_one_sentence_says_what_to_do(tmp_path):
    names = ["hf:facebook/sapiens2-seg-0.4b", "hf:facebook/sapiens2-seg-0.4b/sapiens2_0.4b_seg.safetensors"]
    assert ask(tmp_path, *names, HF_HUB_OFFLINE="1") == [
        f"error: {name} is not on this machine and cannot be fetched without a network (is HF_HUB_OFFLINE set?); "
        "download it from https://huggingface.co/facebook/sapiens2-seg-0.4b elsewhere and give its path"
        for name in names
    ]


class Hub(BaseHTTPRequestHandler):
    """The three answers of the hub that a download needs: what is there, how large it is, and its bytes."""

    files = {"README.md": b"hello", "sapiens2_0.4b_seg.safetensors": b"weights"}  # noqa: RUF012
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def answer(self, *, body: bool) -> None:
        self.asked.append(self.path)
        path = self.path.partition("?")[0]
        content, kind = self.files.get(path.rpartition("/")[2]), "application/octet-stream"
        if path.startswith("/api/models/me/seg"):
            listed = ", ".join(f'{{"type": "file", "path": "{name}", "size": 7, "oid": "0"}}' for name in self.files)
            content, kind = f"[{listed}]".encode(), "application/json"
        self.send_response(200 if content is not None else 404)
        if content is None:
            self.send_header("X-Error-Code", "RepoNotFound" if "/me/seg" not in path else "EntryNotFound")
        content = content or b""
        for key, value in {
            "X-Repo-Commit": "a" * 40,
            "ETag": '"0123"',
            "Content-Type": kind,
            "Content-Length": len(content),
        }.items():
            self.send_header(key, str(value))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *arguments) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def endpoint():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_weights_are_fetched_and_stay_and_what_is_not_there_is_a_sentence(tmp_path, endpoint):
    found, stranger, strange = ask(tmp_path, "hf:me/seg", "hf:you/seg", "hf:me/seg/other.pth", HF_ENDPOINT=endpoint)
    path = Path(found)
    assert path.name == "sapiens2_0.4b_seg.safetensors"
    assert path.read_bytes() == b"weights"
    assert not any("README" in asked for asked in Hub.asked), "only the weights are fetched"
    assert "there is no repository https://huggingface.co/you/seg, or it is private" in stranger
    assert "https://huggingface.co/me/seg has no file other.pth; its files are listed at" in strange
    names = ("hf:me/seg", "hf:me/seg/sapiens2_0.4b_seg.safetensors", "hf:me/seg/other.pth")
    *same, missing = ask(tmp_path, *names, HF_HUB_OFFLINE="1")
    assert same == [found, found]
    assert "only sapiens2_0.4b_seg.safetensors is on this machine, and there is no network" in missing
