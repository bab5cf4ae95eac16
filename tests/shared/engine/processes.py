"""Processes that train together on this machine: a file of tests that is a script, too, is started as both of them."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SECONDS = 800  # for both, where many others run; their tests have `timeout(900)`
SURROUNDINGS = {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at, all different."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def run_two(script: str, given: Path, *, options: Sequence[str] = ()) -> None:
    """Run a script as two processes, with the environment of torchrun, until both have ended well.

    Args:
        script: `__file__` of the tests.
        given: its argument.
        options: of Python.
    """
    place = {**os.environ, **SURROUNDINGS, "WORLD_SIZE": "2", "MASTER_PORT": str(free_ports(1)[0])}
    command = [sys.executable, *options, script, str(given)]
    pair = [
        subprocess.Popen(command, env={**place, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True)
        for rank in ("0", "1")
    ]
    try:
        said = [process.communicate(timeout=SECONDS)[1] for process in pair]
    finally:
        for process in pair:
            process.kill()  # none may outlive the test
    assert [process.returncode for process in pair] == [0, 0], "\n".join(said)[-4000:]
