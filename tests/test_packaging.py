"""Installed as the README says, the project is found, and every script explains itself from any folder."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCRIPTS = [  # one task stands for four: test_layout.py shows that their scripts are the same
    "pretrain/mae.py",
    "pretrain/probe.py",
    *(f"tasks/{task}/{script}.py" for task in ("depth", "joint") for script in ("finetune", "evaluate", "infer")),
    "tasks/joint/demo.py",
]

TOO_OLD = {  # the newest release that fails, found by installing the oldest of everything: docs/log.md, 2026-11-30
    "timm": "1.0.21",  # its LayerScale begins at 1, whatever it is told; 1.0.20 has no timm.optim.muon
    "xformers": "0.0.34",  # asks for torch 2.10.0 and no other
    "scipy": "1.12.0",  # asks for a numpy older than 1.29
}


def python(folder: Path, *arguments: str) -> str:
    """What a fresh Python says in that folder, of which nothing is imported by accident."""
    place = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    told = subprocess.run(command, cwd=folder, env=place, capture_output=True, text=True, timeout=240, check=False)
    assert told.returncode == 0, told.stderr[-4000:]
    return told.stdout


def test_the_installed_package_is_the_one_described():
    about = metadata.metadata("vitruvian")
    assert about["Version"] == PROJECT["version"]
    assert about["Requires-Python"] == PROJECT["requires-python"] == ">=3.11"
    assert about["License-Expression"] == "Apache-2.0"
    needed = {line.split(";")[0].strip() for line in metadata.requires("vitruvian") or [] if "extra ==" not in line}
    assert {requirement.split(";")[0].strip() for requirement in PROJECT["dependencies"]} == needed


def test_bounds_leave_out_what_cannot_work():
    lines = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["synthetic"]]
    allowed = {one.name: one.specifier for one in map(Requirement, lines)}
    assert {name: version for name, version in TOO_OLD.items() if version in allowed[name]} == {}


def test_the_licence_is_the_whole_apache_text():
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_all_packages_are_found_at_one_root_from_anywhere(tmp_path):
    code = "import pretrain, shared, tasks; print(*(p.__path__[0] for p in (pretrain, shared, tasks)), sep='\\n')"
    roots = {Path(line).parent for line in python(tmp_path, "-c", code).splitlines()}
    assert roots == {ROOT}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_explains_itself_from_another_folder(script, tmp_path):
    text = python(tmp_path, str(ROOT / script), "--help")
    assert text.startswith("usage: ")
    assert not list(tmp_path.iterdir()), "asking for help must write nothing"


def test_packing_shards_explains_itself_from_another_folder(tmp_path):
    assert python(tmp_path, "-m", "shared.data.pack", "--help").startswith("usage: ")


def test_a_wheel_holds_the_built_in_model_and_its_card(tmp_path):
    pytest.importorskip("setuptools", minversion="77", reason="the project is built by setuptools 77 or newer")
    tree = tmp_path / "tree"
    tree.mkdir()
    for folder in ("pretrain", "shared", "tasks"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, tree)
    (tree / "shared/builtin/model.safetensors").write_bytes(b"weights")
    python(tree, "-c", "from setuptools.build_meta import build_wheel; build_wheel('.')")
    with zipfile.ZipFile(*tree.glob("*.whl")) as wheel:
        assert {f"shared/builtin/{name}" for name in ("__init__.py", "model.safetensors", "README.md")} <= set(wheel.namelist())
        assert wheel.read("shared/builtin/model.safetensors") == b"weights"


def test_vocabularies_lie_beside_the_code_that_reads_them(tmp_path):
    code = "from pathlib import Path; import tasks; print(*sorted(p.name for p in Path(tasks.__path__[0]).rglob('*.toml')))"
    assert {"coco17.toml", "face243.toml", "sapiens28.toml", "lip20.toml", "ccp59.toml"} <= set(
        python(tmp_path, "-c", code).split()
    )


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_an_environment_that_is_there_is_used_as_it_is():
    """For machines without a network: nothing is installed."""
    for target in ("test", "gpu", "demo"):
        told = subprocess.run(["make", "-n", target, "ENV=/opt/some"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert "install" not in told
        assert "/opt/some/bin/python" in told
        assert ".venv" not in told
