"""The README's commands do what it says: each is run in order, on small data and with small settings behind it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared import builtin
from shared.data.shards import Shards
from shared.engine.config import load

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/tasks").glob("*.md")),
    *sorted((ROOT / "tasks").glob("*/README.md")),
]
SMALL = ["backbone.size=nano", "backbone.image_hw=[64,48]", "batch=2", "workers=0", "preview=1", "device=cpu"]
TRAIN = [*SMALL, "iters=2", "warmup=1"]
DECODER = "decoder={'type': 'shared.dense.decoder.Spec', 'up': [8], 'refine': [8]}"
PEOPLE = ["train.shards=data/people", "val.shards=data/people"]


def commands(text: str) -> list[list[str]]:
    """Every command line of a document that starts one of our programs."""
    text = re.sub(r"\\\n *", "", text)  # a backslash at the end of a line: it goes on in the next
    blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL) + re.findall(r"(?:^    .+\n)+", text, re.MULTILINE)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if re.match(r"(python|torchrun) .*(\.py|-m shared)", line)]


def small(words: list[str]) -> list[str]:
    """The command as this machine runs it: one process, our files by absolute path, small settings last."""
    program, *rest = words
    if program == "torchrun":
        rest = rest[2:] if rest[0] == "--nproc_per_node" else rest
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1"]
    else:
        start = [sys.executable]
    rest = [str(ROOT / word) if word.startswith(("configs/", "tasks/", "pretrain/")) else word for word in rest]
    rest = [word.replace("~/photos", "photos") for word in rest]
    script = Path(rest[0]).name
    behind = {"mae.py": TRAIN, "finetune.py": [*TRAIN, DECODER, *PEOPLE], "evaluate.py": [*PEOPLE, "device=cpu", "batch=2"]}
    return [*start, *rest, *(word for word in behind.get(script, []) if word.partition("=")[0] not in _set(rest))]


def _set(words: list[str]) -> set[str]:
    """Settings that the command gives by itself and that work on small data as they are."""
    return {word.partition("=")[0] for word in words if "data/photos" in word}


@pytest.fixture
def place(tmp_path: Path, small_shards: Path) -> Path:
    """A folder with photos and a few shards of people."""
    for folder in ("photos", "holiday"):
        (tmp_path / folder).mkdir()
        for number in range(2):
            cv2.imwrite(str(tmp_path / folder / f"{number}.jpg"), Shards(small_shards).read(number)["image"][..., ::-1])
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.full((129, 97, 3), 90, np.uint8))
    (tmp_path / "data" / "people").mkdir(parents=True)
    shutil.copy(small_shards / "000000.tar", tmp_path / "data" / "people")
    return tmp_path


@pytest.mark.timeout(600)
def test_the_commands_of_the_readme_run_in_order(place: Path) -> None:
    found = commands((ROOT / "README.md").read_text())
    assert len(found) >= 7
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "hub")}
    for words in found:
        done = subprocess.run(_with_backbone(small(words)), cwd=place, capture_output=True, text=True, timeout=300, env=offline)
        if "infer.py" in " ".join(words) and "--checkpoint" not in words and not builtin.MODEL.is_file():
            assert done.returncode == 2, done.stderr[-2000:]
            assert "this copy has no built-in model" in done.stderr, done.stderr[-2000:]
            continue
        if "hf:" in " ".join(words):  # a test has no network; the command comes as far as asking for one
            assert done.returncode == 2, done.stderr[-2000:]
            assert "HF_HUB_OFFLINE" in done.stderr, done.stderr[-2000:]
            continue
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stderr[-2000:]}"
    for name in ("photo.seg.png", "photo.depth.npy", "photo.depth.jpg", "0.depth.npy"):
        assert (place / "answers" / name).is_file(), name


def _with_backbone(words: list[str]) -> list[str]:
    """A published config names a lab's own checkpoint, which is not here."""
    joint = any(word.endswith("joint/finetune.py") for word in words)
    return [*words, "init=runs/pretrain/humans_300m/model.safetensors"] if joint else words


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_a_document_names_files_and_settings_that_exist(document: Path) -> None:
    for words in commands(document.read_text()):
        scripts = [word for word in words if word.endswith(".py") and "/" in word and not word.startswith("configs/")]
        configs = [word for word in words if word.startswith("configs/")]
        assert all((ROOT / script).is_file() for script in scripts), words
        for config in configs:
            after = words[words.index(config) + 1 :]
            load(ROOT / config, [word for word in after if re.match(r"[a-z_.0-9]+=", word)])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_in_a_document_leads_somewhere(document: Path) -> None:
    prose = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        assert "://" in target or (document.parent / target).exists(), target
