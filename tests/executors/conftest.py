"""A Dask cluster on loopback: a scheduler and two workers with one thread each, in processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Cluster:
    """`url` for `executor=`; parts can be started and killed."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"dask://127.0.0.1:{self.port}"
        self._folder = folder
        self._parts: list[subprocess.Popen[bytes]] = []

    def scheduler(self, *, allowed_failures: int = 0) -> subprocess.Popen[bytes]:
        arguments = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"]
        return self._start("scheduler", arguments, {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": allowed_failures})

    def worker(self) -> subprocess.Popen[bytes]:
        options = ["--nthreads", "1", "--nworkers", "1", "--no-dashboard", "--local-directory", str(self._folder)]
        return self._start("worker", [f"tcp://127.0.0.1:{self.port}", *options], {})

    def _start(self, kind: str, arguments: list[str], settings: dict[str, int]) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        environment = {**os.environ, "PYTHONPATH": path, **{name: str(value) for name, value in settings.items()}}
        with (self._folder / "said").open("ab") as said:
            part = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments],
                env=environment, stdout=said, stderr=said, start_new_session=True,
            )  # fmt: skip
        self._parts.append(part)
        return part

    def kill(self, part: subprocess.Popen[bytes]) -> None:
        """The process and those that it has started."""
        if part.poll() is None:
            os.killpg(part.pid, signal.SIGKILL)
        part.wait()

    def close(self) -> None:
        for part in self._parts:
            self.kill(part)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with nothing started yet; all of it is killed afterwards."""
    pytest.importorskip("distributed")
    folder = tmp_path / "dask"
    folder.mkdir()
    found = Cluster(folder)
    try:
        yield found
    finally:
        found.close()
