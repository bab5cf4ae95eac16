"""A run outlives kills, full disks, signals and steps that go wrong, and ends as if nothing had been.

Run as a script, this file is a process that has everything imported and forks a run for every line that it reads.
"""

import json
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import free_ports
from safetensors.torch import load_file

from shared import checkpoint
from shared.engine import survive
from shared.engine.launch import train
from shared.engine.session import Session
from shared.engine.states import newest, saved
from shared.engine.survive import Signals

HERE = Session(torch.device("cpu"))


class Runs:
    """Starts runs as processes of their own without importing everything for each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        place = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
        pipe = subprocess.PIPE
        self._server = subprocess.Popen([sys.executable, __file__], env=place, stdin=pipe, stdout=pipe, text=True)

    def _ask(self, **question: object) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(question) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def start(self, config: dict, *, at: int = 0, then: str = "", **environ: str) -> int:
        """Number of a new process. At its `at`-th fsync it sends itself a signal, or finds that files `cannot` become larger than
        half a state, or `must not`, which kills it in the middle of a write."""
        return self._ask(config=config, at=at, then=then, environ=environ, log=str(self.folder / "said.txt"))

    def end(self, process: int) -> int:
        """Waits for a process: its exit code, negative for a signal."""
        return self._ask(wait=process)

    @property
    def said(self) -> str:
        return (self.folder / "said.txt").read_text()

    def close(self) -> None:
        self._server.communicate()


def serve() -> None:
    """What the process that forks does."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(job['wait'], 0)[1])}\n")
        elif process := os.fork():
            sys.stdout.write(f"{process}\n")
        else:
            run(job)
        sys.stdout.flush()


def run(job: dict) -> None:
    """What a forked process does; it does not come back."""
    said = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ.update(job["environ"])
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    sync, done = os.fsync, []

    def fsync(number: int) -> None:
        done.append(number)
        if len(done) == job["at"]:
            happen(job["then"], Path(job["config"]["work_dir"]))
        sync(number)

    os.fsync = fsync
    try:
        train(job["config"])
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        os._exit(2)
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(1)
    os._exit(0)


def happen(what: str, folder: Path) -> None:
    """What befalls the process."""
    if what.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, what))
        return
    if what == "must not":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    half = max(path.stat().st_size for path in folder.rglob("*")) // 2
    resource.setrlimit(resource.RLIMIT_FSIZE, (half, half))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    found = Runs(tmp_path_factory.mktemp("runs"))
    yield found
    found.close()


SETTINGS = ("iters=12", "warmup=2", "save_every=1", "keep=99", "batch=1", "ema=0.7", "decoder.dropout=0.2")


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """The weights of the run that nothing happens to."""
    return load_file(train(tiny("seg", tmp_path_factory.mktemp("whole") / "seg", *SETTINGS, "save_every=100")))


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def until(found, *, seconds: float = 250) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.002)


SAVES = 4  # calls of fsync when a state is saved: weights, folder, state, folder; the settings take the first two


def interrupt(runs: Runs, config: dict, rng: random.Random, how: str) -> int:
    """Starts the run and kills it; how it ended."""
    if how == "write":  # the second state is cut off by the system in the middle of a write
        return runs.end(runs.start(config, at=2 + SAVES, then="must not"))
    if how == "sync":  # what was written has its old name still, or its new one already
        return runs.end(runs.start(config, at=rng.randint(1, 2 + 2 * SAVES), then="SIGKILL"))
    before = len(saved(Path(config["work_dir"])))
    process = runs.start(config)
    until(lambda: len(saved(Path(config["work_dir"]))) > before)
    time.sleep(rng.random() / 20)
    os.kill(process, signal.SIGKILL)
    return runs.end(process)


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_killed_at_any_moments_ends_as_if_it_never_was(runs, tiny, tmp_path, whole, kills):
    rng = random.Random(kills)
    many = tiny("seg", tmp_path / "seg", *SETTINGS, f"iters={max(12, 3 * kills)}")
    if kills > 4:
        whole = load_file(train({**many, "work_dir": str(tmp_path / "whole"), "save_every": 1000}))
    for number in range(kills):
        ended = interrupt(runs, many, rng, ("write", "sync", "time")[number % 3])
        assert ended in (-signal.SIGKILL, -signal.SIGXFSZ), runs.said
        assert newest(Path(many["work_dir"])) == (saved(Path(many["work_dir"])) or [None])[-1], "what has its name is whole"
    assert runs.end(runs.start(many)) == 0, runs.said
    assert "going on from" in runs.said
    assert same(load_file(tmp_path / "seg" / "model.safetensors"), whole)


def test_a_run_killed_while_it_writes_a_folder_of_shares_ends_as_if_it_never_was(runs, tiny, tmp_path):
    shared = ("parallel=fsdp2", "states=shares", "ema=0.0", "optimizer=adamw", "iters=6")
    config = tiny("seg", tmp_path / "seg", *SETTINGS, *shared)

    def alone(config: dict, **what: Any) -> int:
        job = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_PORT": str(free_ports(1)[0])}
        return runs.end(runs.start(config, **job, **what))

    begin, state = 2, 5  # fsyncs: config.json and its folder; then shares, the rest, the list, their folder, the run's folder
    for at, last in ((1, 1), (4, 2), (5, 4)):  # by the fifth, a state has its name
        assert alone(config, at=begin + state + at, then="SIGKILL") == -signal.SIGKILL, runs.said
        assert newest(tmp_path / "seg") == saved(tmp_path / "seg")[-1] == tmp_path / "seg" / f"iter_{last}"
    assert alone(config) == 0, runs.said
    assert alone({**config, "work_dir": str(tmp_path / "whole"), "save_every": 100}) == 0, runs.said
    assert same(*(load_file(tmp_path / name / "model.safetensors") for name in ("seg", "whole")))


@pytest.mark.parametrize("what", ["SIGUSR1", "SIGINT"])
def test_a_signal_ends_the_run_with_its_state_saved(runs, tiny, tmp_path, whole, what):
    config = tiny("seg", tmp_path / "seg", *SETTINGS, "save_every=3")
    assert runs.end(runs.start(config, at=2 + SAVES, then=what)) == 0, runs.said
    assert [path.name for path in saved(tmp_path / "seg")] == ["iter_3.pth", "iter_4.pth"]
    assert "stopped by a signal after iteration 4 of 12; the same command goes on" in runs.said
    assert same(load_file(train(config)), whole)


def test_a_signal_to_one_process_ends_all_of_them_at_the_same_iteration(runs, tiny, tmp_path):
    config = tiny("seg", tmp_path / "seg", *SETTINGS, "iters=400", "save_every=5")
    job = {"WORLD_SIZE": "2", "MASTER_PORT": str(free_ports(1)[0])}
    ranks = [runs.start(config, RANK=rank, LOCAL_RANK=rank, **job) for rank in ("0", "1")]
    until(lambda: saved(tmp_path / "seg"))
    os.kill(ranks[1], signal.SIGTERM)
    assert [runs.end(process) for process in ranks] == [0, 0], runs.said
    assert int(saved(tmp_path / "seg")[-1].stem[5:]) < 400


def test_a_full_disk_ends_the_run_with_a_sentence_and_a_state_to_go_on_from(runs, tiny, tmp_path, whole):
    config = tiny("seg", tmp_path / "seg", *SETTINGS)
    assert runs.end(runs.start(config, at=2 + SAVES, then="cannot")) == 2, runs.said
    assert "error: the state of iteration 2 could not be saved" in runs.said
    assert "make room there, and the same command goes on from iter_1.pth" in runs.said
    assert not (tmp_path / "seg" / ".partial").exists(), "what was cut off only takes room"
    assert newest(tmp_path / "seg") == tmp_path / "seg" / "iter_1.pth"
    assert checkpoint.load(tmp_path / "seg" / "model.safetensors").model
    assert same(load_file(train(config)), whole)


def test_a_state_that_the_disk_cut_off_is_passed_over(tiny, tmp_path, caplog):
    config = tiny("seg", tmp_path / "seg", "save_every=1")
    path = train(config)
    end = load_file(path)
    state = tmp_path / "seg" / "iter_3.pth"
    state.write_bytes(state.read_bytes()[:-100])
    assert newest(tmp_path / "seg") == tmp_path / "seg" / "iter_2.pth"
    assert "iter_3.pth is damaged" in caplog.text
    assert "the one before it is taken" in caplog.text
    assert same(load_file(train(config)), end)


def test_a_run_in_which_all_goes_wrong_stops_and_keeps_its_state(tiny, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(survive, "USUAL", 2)
    config = tiny("seg", tmp_path / "seg", "iters=9", "spike=1e-6", "skips=3", "log_every=4")
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(ValueError, match=r"the run ends at iteration 5 of 9: 3 steps in a row .* times the usual .* is saved"),
    ):
        train(config)
    assert "4/9 44 % | loss" in caplog.text
    assert "| 2 skipped" in caplog.text
    assert [path.name for path in saved(tmp_path / "seg")] == ["iter_5.pth"]
    state = torch.load(tmp_path / "seg" / "iter_5.pth", weights_only=True)
    assert state["guard"]["skipped"] == 3
    assert next(entry["step"] for entry in state["optimizer"]["state"].values()) == 2, "two steps were taken"
    train({**config, "spike": 0.0})
    assert saved(tmp_path / "seg")[-1].name == "iter_9.pth"


def test_ctrl_c_ends_a_run_with_its_state_saved_and_pressed_again_at_once(monkeypatch, capfd):
    """Within a second it is torchrun that passes it on."""
    now = iter([10.0, 10.2, 12.0])
    monkeypatch.setattr(survive.time, "monotonic", lambda: next(now))
    with Signals() as signals:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert signals.received == "SIGINT"
        assert capfd.readouterr().err.count("ends after this iteration") == 1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_signals_are_noted_only_while_a_run_lasts():
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        assert signals.received is None
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert signals.received == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before


if __name__ == "__main__":
    serve()
