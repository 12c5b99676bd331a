"""Starts and stops the brokers that the tests talk to: `make brokers`, `make brokers-stop`.

    brokers.py start [NAME ...]     have them installed and running; one line `name URL` each on standard output
    brokers.py stop [NAME ...]      stop what `start` started; what they stored stays
    brokers.py forget               stop, and remove .brokers/ with all data
    brokers.py kill NAME [NODE]     SIGKILL to the server's process, as a crash would; `start` brings it back
    brokers.py urls                 the lines of `start`, for those that run
    brokers.py around COMMAND ...   start, run the command, stop (and forget the data of) what was not there before

Without a NAME, `start` and `around` start one server of each kind; kafka3, a cluster of three nodes, is started by its
name only (its nodes are node-1, node-2 and node-3). The other commands without a NAME mean all.

Everything is kept below .brokers/ in the clone, or below the folder that COMMUTE_BROKERS names (brokers of a
benchmark's own, say, on other ports): NAME/state.json says which processes are ours, NAME/log what they say,
urls.json the addresses. Starting twice changes nothing. A broker that cannot be had is said on standard error and the
others go on; the status is 1 if none runs, or, with CI=true, if one is missing. A broker keeps its address when it is
killed and started again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from machine import NotAvailableError, Process, await_port, end, free_ports, install, is_free, say, spawn
from servers import SERVERS, Server, drop_data

ROOT = Path(os.environ.get("COMMUTE_BROKERS") or Path(__file__).resolve().parents[1] / ".brokers")
URLS = ROOT / "urls.json"
DEFAULT = [name for name, server in SERVERS.items() if server.by_default]
POLL_S = 0.1
PROGRESS_S = 5.0
LOG_LINES_SHOWN = 15

_urls_lock = threading.Lock()


class Broker:
    """One server of this clone: its folder, and the processes of its present life as state.json has them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = server.name
        self.folder = ROOT / server.name
        self.log = self.folder / "log"
        self.ports: dict[str, int] = {}
        self.processes: list[Process] = []
        self._state = self.folder / "state.json"
        if self._state.exists():
            state = json.loads(self._state.read_text())
            self.ports = state["ports"]
            self.processes = [Process(**process) for process in state["processes"]]

    def save(self) -> None:
        state = {"ports": self.ports, "processes": [process.as_json() for process in self.processes]}
        replace(self._state, json.dumps(state, indent=1))

    @property
    def url(self) -> str:
        return self.server.url.format(**self.ports)

    @property
    def nodes(self) -> list[Process]:
        """The server's own processes that live."""
        return [process for process in self.processes if process.role in self.server.roles and process.lives()]

    @property
    def is_whole(self) -> bool:
        return len(self.nodes) == len(self.server.roles)

    def start(self) -> str:
        """Its URL, once it answers; at once if it runs already. Raises NotAvailableError."""
        started = time.monotonic()
        if self.ports.keys() != self.server.ports.keys():  # of an older configuration
            self.stop()
            self.ports = {}
        if not self.is_whole:
            self.folder.mkdir(parents=True, exist_ok=True)
            install(self.server.packages, self.name)
            self.launch()
            what = "started"
        else:
            what = "runs already"
        self.wait()
        publish(self.name, self.url)
        say(f"{self.name}: {what}, answers after {time.monotonic() - started:.1f} s")
        return self.url

    def launch(self) -> None:
        """Start what of its processes does not live, on the ports of its former life if they are free."""
        living = [process for process in self.processes if process.lives()]
        if not living and not (self.ports and all(map(is_free, self.ports.values()))):
            self.ports = free_ports(self.server.ports)
        roles = {process.role for process in living}
        self.processes = living
        for launch in self.server.launches(self.folder, self.ports):
            if launch.role not in roles:
                process = spawn(
                    launch.role, launch.command, log=self.log, cwd=self.folder, env=launch.env, user=launch.user
                )
                self.processes.append(process)
                self.save()
                if launch.listens_at is not None:
                    await_port(launch.listens_at, process)

    def wait(self) -> None:
        """Until it answers in its protocol; NotAvailableError if it ends before, or takes too long (it is stopped)."""
        began = said = time.monotonic()
        while True:
            try:
                for port in self.server.asked:
                    self.server.answers(self.ports[port])
                return
            except (OSError, ValueError) as error:
                refused = error
            now = time.monotonic()
            if not self.is_whole:
                self.complain()
                raise NotAvailableError(f"it ended while it started; see {self.log}")
            if now - began > self.server.start_s_max:
                self.complain()
                self.stop()
                raise NotAvailableError(f"no answer within {self.server.start_s_max:.0f} s ({refused}); see {self.log}")
            if now - said >= PROGRESS_S:
                said = now
                say(f"{self.name}: no answer yet, {now - began:.0f} s of at most {self.server.start_s_max:.0f} s")
            time.sleep(POLL_S)

    def complain(self) -> None:
        """Show the end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:] if self.log.exists() else []
        say("\n".join(f"{self.name} | {line}" for line in lines))

    def stop(self) -> bool:
        """Stop all its processes, the server first; whether there was one."""
        living = [process for process in self.processes if process.lives()]
        for process in sorted(living, key=lambda process: process.role not in self.server.roles):
            number = self.server.stop_signal if process.role in self.server.roles else signal.SIGTERM
            end(process, number, patience_s=self.server.stop_s_max)
        if self.processes:
            self.processes = []
            self.save()
        publish(self.name, None)
        return bool(living)

    def kill(self, roles: Sequence[str] = ()) -> None:
        """SIGKILL to the server's processes alone, or to those of these roles; returns when they and what they had
        started are gone."""
        chosen = [process for process in self.nodes if not roles or process.role in roles]
        if not chosen:
            raise NotAvailableError(f"{' '.join(roles) or 'it'} does not run")
        for process in chosen:
            end(process, signal.SIGKILL, patience_s=10)


def replace(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new one."""
    new = path.with_suffix(".new")
    new.write_text(text + "\n")
    new.replace(path)


def publish(name: str, url: str | None) -> None:
    """Add an address to urls.json, or take it out."""
    with _urls_lock:
        urls = json.loads(URLS.read_text()) if URLS.exists() else {}
        if urls.get(name) == url:
            return
        urls[name] = url
        replace(URLS, json.dumps({key: urls[key] for key in SERVERS if urls.get(key)}, indent=1))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One of us at a time in a clone; a second one waits."""
    ROOT.mkdir(exist_ok=True)
    with (ROOT / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another brokers.py of this clone")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def chosen(names: Sequence[str]) -> list[Broker]:
    """The named brokers, or all."""
    unknown = sorted(set(names) - SERVERS.keys())
    if unknown:
        raise SystemExit(f"no broker {', '.join(unknown)}; there are {', '.join(SERVERS)}")
    return [Broker(SERVERS[name]) for name in names or SERVERS]


def start_all(brokers: Sequence[Broker]) -> dict[str, str]:
    """All at once, since each mostly waits; the addresses of those that run."""

    def started(broker: Broker) -> str | None:
        try:
            return broker.start()
        except (NotAvailableError, OSError) as error:
            say(f"{broker.name}: not available: {error}")
            return None

    with ThreadPoolExecutor(len(brokers) or 1) as pool:
        urls = list(pool.map(started, brokers))
    return {broker.name: url for broker, url in zip(brokers, urls, strict=True) if url is not None}


def start(names: Sequence[str]) -> int:
    with alone():
        brokers = chosen(names or DEFAULT)
        urls = start_all(brokers)
    show(urls)
    return int(not urls or (is_ci() and len(urls) < len(brokers)))


def stop(names: Sequence[str]) -> int:
    with alone():
        brokers = chosen(names)
        with ThreadPoolExecutor(len(brokers) or 1) as pool:
            stopped = list(pool.map(Broker.stop, brokers))
    for broker, was in zip(brokers, stopped, strict=True):
        if was:
            say(f"{broker.name}: stopped")
    return 0


def forget(names: Sequence[str]) -> int:
    if names:
        raise SystemExit("forget takes no name")
    stop(())
    for server in SERVERS.values():
        drop_data(ROOT / server.name)
    shutil.rmtree(ROOT)
    return 0


def kill(names: Sequence[str]) -> int:
    if not names:
        raise SystemExit("kill takes a name")
    with alone():
        (broker,) = chosen(names[:1])
        try:
            broker.kill(names[1:])
        except NotAvailableError as error:
            say(f"{broker.name}: {error}")
            return 1
    return 0


def urls(names: Sequence[str]) -> int:
    running = {broker.name: broker.url for broker in chosen(names) if broker.nodes}
    show(running)
    return int(not running)


def show(running: dict[str, str]) -> None:
    for name, url in running.items():
        print(name, url, flush=True)


def around(command: Sequence[str]) -> int:
    """The command's status; with CI=true at least 1 if a broker is missing. Addresses in the environment
    (COMMUTE_TEST_RABBITMQ, ...) are somebody else's brokers: those are not started."""
    if not command:
        raise SystemExit("around takes a command")
    brokers = [broker for broker in chosen(DEFAULT) if not os.environ.get(f"COMMUTE_TEST_{broker.name.upper()}")]
    ours: list[Broker] = []
    new: list[Broker] = []
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        with alone():
            # What the command itself starts by name is stopped too: it may have been killed before it could.
            named = [broker for broker in chosen(()) if not broker.server.by_default]
            ours = [broker for broker in (*brokers, *named) if not broker.nodes]
            new = [broker for broker in ours if not (broker.folder / "data").exists()]
            urls = start_all(brokers)
        status = followed(command)
    finally:
        if ours:
            stop([broker.name for broker in ours])
        for broker in new:
            drop_data(broker.folder)
    if is_ci() and len(urls) < len(brokers):
        say(f"brokers: {len(brokers) - len(urls)} of {len(brokers)} could not be had, and CI=true asks for all")
        return status or 1
    return status


def followed(command: Sequence[str]) -> int:
    """Run to the end and give its status as a shell does. Ctrl-C reaches it anyway: it says its last words first."""
    with subprocess.Popen(command) as child:
        try:
            while child.poll() is None:
                with contextlib.suppress(KeyboardInterrupt):
                    child.wait()
        except SystemExit:
            child.terminate()
            raise
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def is_ci() -> bool:
    return os.environ.get("CI") == "true"


COMMANDS = {"start": start, "stop": stop, "forget": forget, "kill": kill, "urls": urls, "around": around}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        raise SystemExit(__doc__)
    raise SystemExit(COMMANDS[sys.argv[1]](sys.argv[2:]))
