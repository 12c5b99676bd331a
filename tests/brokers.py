"""The brokers that tests talk to: where they are, and how to make one crash.

`make test` has them started before (.ci/brokers.py); whoever runs pytest by itself says `make brokers` once. The
environment names others, say from compose.yaml: COMMUTE_TEST_RABBITMQ, _KAFKA, _MQTT, _POSTGRESQL. Where one cannot be
had, its tests skip and say why; with CI=true they fail, so that nothing goes untested in silence. kafka3, three nodes,
is started by the tests that need it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import pytest

from tests.house.tree import ROOT

URLS = ROOT / ".brokers" / "urls.json"
SCRIPT = ROOT / ".ci" / "brokers.py"
CONTROL_S_MAX = 180.0  # of one call of the script: it has limits of its own, and they are shorter


def broker_url(name: str) -> str:
    """The address of ``rabbitmq``, ``kafka``, ``mqtt`` or ``postgresql``; skips (CI: fails) where there is none."""
    if given := given_url(name):
        return given
    urls = json.loads(URLS.read_text()) if URLS.exists() else {}
    if name not in urls:
        unavailable(f"no {name}: say `make brokers`, or set {variable(name)}")
    url: str = urls[name]
    for place in urlsplit(url).netloc.rpartition("@")[2].split(","):
        host, _, port = place.partition(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError as error:
            unavailable(f"no {name} at {place} ({error}): say `make brokers`")
    return url


@contextmanager
def started(name: str) -> Iterator[str]:
    """The address of a server that is started for the tests of one module; it is stopped behind them, unless it ran
    before. Skips (CI: fails) where it cannot be had."""
    if given := given_url(name):
        yield given
        return
    ran = script("urls", name).returncode == 0
    done = script("start", name)
    if done.returncode:
        unavailable(f"no {name}: {done.stderr.strip()}")
    try:
        yield done.stdout.split()[1]
    finally:
        if not ran:
            control("stop", name)


def kill_and_restart(name: str) -> str:
    """SIGKILL to the server, then start it again on the same port and data; its address, once it answers."""
    kill(name)
    return restart(name)


def killable(name: str) -> str:
    """The address of a server that is ours to kill; skips where it is not. Ask before anything is started."""
    url = broker_url(name)
    if given_url(name):
        unavailable(f"{name} is given by {variable(name)}: not ours to kill")
    return url


def kill(name: str, *nodes: str) -> None:
    """SIGKILL to the server, or to some of its nodes; returns when they are gone. Skips where the server is not ours
    to kill."""
    if not nodes:  # of several, one may be gone already
        killable(name)
    control("kill", name, *nodes)


def restart(name: str) -> str:
    """Start it again after `kill`; its address, once it answers."""
    return control("start", name).split()[1]


def write_down_queues() -> None:
    """RabbitMQ has on disk which queues it has: it buffers that for seconds, and a kill would lose the queue itself."""
    rabbitmqctl("eval", "mnesia:sync_log().")


def kafka_secured() -> tuple[int, Path]:
    """The port at which our Kafka speaks TLS and asks who one is, and the file of its authority. Skips (CI: fails)
    where it is not ours."""
    broker_url("kafka")
    folder = URLS.parent / "kafka"
    if given_url("kafka") or not (folder / "certificate.pem").exists():
        unavailable("Kafka is not ours: who may do what there is not known")
    return int(json.loads((folder / "state.json").read_text())["ports"]["sasl"]), folder / "certificate.pem"


def rabbitmqctl(*arguments: str) -> str:
    """What Debian's `rabbitmqctl` prints. Skips where the server is not ours to change."""
    broker_url("rabbitmq")
    folder = URLS.parent / "rabbitmq"
    if given_url("rabbitmq") or not (folder / "state.json").exists():
        unavailable("RabbitMQ is not ours to change")
    env = os.environ | {
        "HOME": str(folder),  # the cookie is there
        "ERL_EPMD_PORT": str(json.loads((folder / "state.json").read_text())["ports"]["epmd"]),
        "RABBITMQ_NODENAME": "commute@localhost",
        "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
    }
    done = subprocess.run(
        ["/usr/lib/rabbitmq/bin/rabbitmqctl", *arguments],
        capture_output=True, text=True, timeout=CONTROL_S_MAX, check=False, env=env,
    )  # fmt: skip
    assert done.returncode == 0, f"rabbitmqctl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def control(*arguments: str) -> str:
    """What .ci/brokers.py prints; fails the test with what it complains about."""
    done = script(*arguments)
    assert done.returncode == 0, f"brokers.py {' '.join(arguments)}: status {done.returncode}\n{done.stderr}"
    return done.stdout


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=CONTROL_S_MAX, check=False
    )


def variable(name: str) -> str:
    return f"COMMUTE_TEST_{name.upper()}"


def given_url(name: str) -> str | None:
    return os.environ.get(variable(name)) or None


def unavailable(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
