"""The house keeps its shape: task folders alike, small files, plain names, imports that run one way."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("pretrain", "shared", "tasks")
TASKS = {"pose": "Pose", "seg": "Seg", "depth": "Depth", "normal": "Normal", "pointmap": "Pointmap"}
SCRIPTS = ("finetune", "evaluate", "infer")
NOT_OURS = {".venv", ".git", "runs", "data", "build", "dist", "checkpoints"}  # at the top; see .gitignore
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "core"}
MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(?:home|root|Users|mnt|work)/")
TEXT = {".py", ".md", ".toml", ".sh", ".txt", ".cfg", ".ini", ".yml", ".yaml", ".json", ""}


def ours(*suffixes: str) -> Iterator[Path]:
    """Every file of the project with one of these suffixes."""
    for top in sorted(ROOT.iterdir()):
        if top.name in NOT_OURS or top.name.endswith(("_cache", ".egg-info")):
            continue
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and path.suffix in suffixes and "__pycache__" not in path.parts:
                yield path


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("task", TASKS)
def test_a_task_folder_has_the_files_of_the_others(task):
    modules = {path.stem for path in (ROOT / "tasks" / task).glob("*.py")}
    asked = {"__init__", "task", *SCRIPTS}
    assert asked <= modules
    used = (ROOT / "tasks" / task / "task.py").read_text()
    strays = {module for module in modules - asked if f"tasks.{task}.{module} import" not in used}
    commands = {module for module in strays if "\n\n    python -m tasks." in (ROOT / "tasks" / task / f"{module}.py").read_text()}
    assert not strays - commands, f"tasks/{task} has {strays}, which task.py does not use; what is shared belongs into shared/"


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_of_the_tasks_differ_in_the_name_of_the_task_only(script):
    texts = {}
    for task, kind in TASKS.items():
        text = (ROOT / "tasks" / task / f"{script}.py").read_text()
        texts[task] = re.sub(rf"\b{task}\b", "TASK", re.sub(rf"\b{kind}\b", "KIND", text))
    assert texts == dict.fromkeys(TASKS, texts["pose"])


@pytest.mark.parametrize(
    "script", ["pretrain/mae.py", "pretrain/probe.py", *(f"tasks/{t}/{s}.py" for t in (*TASKS, "joint") for s in SCRIPTS)]
)
def test_a_script_defines_nothing(script):
    tree = ast.parse((ROOT / script).read_text())
    assert ast.get_docstring(tree), f"{script} must begin with its command"
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.If)
    assert all(isinstance(node, allowed) for node in tree.body), f"{script}: a class in __main__ exists twice; define elsewhere"


def test_no_python_file_is_longer_than_300_lines():
    lengths = {name(path): len(path.read_text().splitlines()) for path in ours(".py")}
    assert {path: lines for path, lines in lengths.items() if lines > 300} == {}


def test_a_config_fits_on_a_screen():
    lengths = {name(path): len(path.read_text().splitlines()) for path in ours(".py") if name(path).startswith("configs/")}
    assert lengths, "there are no configs"
    assert {path: lines for path, lines in lengths.items() if lines > 40} == {}


def test_every_name_says_what_is_inside():
    vague = {name(path) for path in ours(".py") if VAGUE & {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}}
    assert vague == set()


def test_only_the_engine_and_the_configs_know_mmengine():
    may = ("shared/engine/", "configs/", "tests/shared/engine/")
    knows = re.compile(r"^\s*(?:from|import) mmengine\b", re.MULTILINE)
    assert {name(path) for path in ours(".py") if not name(path).startswith(may) and knows.search(path.read_text())} == set()


def test_no_file_knows_the_machine_it_was_written_on():
    found = {name(path): match[0] for path in ours(*TEXT) if (match := MACHINE_PATH.search(path.read_text(errors="replace")))}
    assert found == {}


def test_every_folder_of_code_is_a_package():
    folders = {path.parent for path in ours(".py") if path.relative_to(ROOT).parts[0] in PACKAGES}
    assert {name(folder) for folder in folders if not (folder / "__init__.py").exists()} == set()


def test_imports_run_one_way():
    pytest.importorskip("importlinter", reason="import-linter is not installed; pip install -e '.[dev]'")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0, told.stdout[-4000:] + told.stderr[-2000:]
