"""What the test brokers need of the machine: packages, ports, and processes that are known again later.

A pid alone says little: it may have been given to another process since. So a process is remembered by pid, start time
and boot, and only that process is ever signalled. Where there is no /proc (macOS), ps tells the start time.
Nothing here knows a broker.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

APT_S_MAX = 300
LISTEN_S_MAX = 10.0
PORT_STEP = 100
PORT_STEPS_MAX = 20
# Debian keeps these out of PATH, or (RabbitMQ) has a wrapper there that only its own user may run.
FOLDERS_OF_PROGRAMS = ("/usr/lib/rabbitmq/bin", "/usr/sbin", "/usr/local/sbin")
POLICY = Path("/usr/sbin/policy-rc.d")
UNITS = {
    "erlang-base": ("epmd.socket", "epmd.service"),
    "mosquitto": ("mosquitto.service",),
    "postgresql": ("postgresql.service",),
    "rabbitmq-server": ("rabbitmq-server.service",),
}

_apt = threading.Lock()
_apt_lists: list[str] = []  # not empty once they are fresh


class NotAvailableError(Exception):
    """This broker cannot be had here; the text says why, in one line."""


def say(text: str) -> None:
    """Progress and complaints: standard error, at once. Standard output is for the addresses."""
    print(text, file=sys.stderr, flush=True)


# Packages


def program(name: str) -> str | None:
    """The path of a program, or None. Blocks shortly, touches nothing."""
    known = [Path(folder) / name for folder in FOLDERS_OF_PROGRAMS]
    known += sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    first = [str(path) for path in known if os.access(path, os.X_OK)]
    return first[0] if first else shutil.which(name)


def install(packages: Mapping[str, str], owner: str) -> None:
    """Have every program (key), from its Debian package (value) where it is missing. Raises NotAvailableError."""
    missing = sorted({package for name, package in packages.items() if program(name) is None})
    if not missing:
        return
    wanted = " ".join(missing)
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise NotAvailableError(f"not installed, and only root can install it with apt-get here: {wanted}")
    with _apt, no_service_starts():
        say(f"{owner}: installing {wanted}")
        if not _apt_lists:
            apt_get("update")
            _apt_lists.append("fresh")
        apt_get("install", "--yes", "--no-install-recommends", *missing)
        disable_services(missing)
    still = sorted(name for name in packages if program(name) is None)
    if still:
        raise NotAvailableError(f"{wanted} brought no {', '.join(still)}")


def apt_get(*arguments: str) -> None:
    """Run apt-get without questions. Raises NotAvailableError with its last line."""
    command = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120", *arguments]
    done = run(command, timeout_s=APT_S_MAX, env={"DEBIAN_FRONTEND": "noninteractive"})
    if done.returncode != 0:
        raise NotAvailableError(f"apt-get {arguments[0]} failed: {last_line(done.stdout)}")


@contextlib.contextmanager
def no_service_starts() -> Iterator[None]:
    """Debian asks policy-rc.d whether a freshly installed service may start; here it may not, unless one is there."""
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink()


def disable_services(packages: Iterable[str]) -> None:
    """What was installed for tests does not run as the machine's service, now or after the next boot."""
    if (systemctl := shutil.which("systemctl")) is None:
        return
    for package in packages:
        for unit in UNITS.get(package, ()):
            # Refused where systemd does not run or the release has no such unit: then there is nothing to do.
            run([systemctl, "--quiet", "disable", unit], timeout_s=30)
            run([systemctl, "--quiet", "stop", unit], timeout_s=30)


def run(
    command: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: str | None = None,
    typed: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run to the end, with `typed` as its input; both outputs as one text. NotAvailableError after `timeout_s`."""
    try:
        return subprocess.run(
            command,
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotAvailableError(f"{Path(command[0]).name} was not done after {timeout_s:.0f} s") from None


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no output"


# Ports


def is_free(port: int) -> bool:
    """Whether somebody could listen there now. A connection in TIME_WAIT does not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(preferred: Mapping[str, int]) -> dict[str, int]:
    """The preferred ports, or all of them moved by the same step: another clone may have brokers of its own."""
    for step in range(PORT_STEPS_MAX):
        ports = {role: port + step * PORT_STEP for role, port in preferred.items()}
        if all(is_free(port) for port in ports.values()):
            return ports
    raise NotAvailableError(f"ports {sorted(preferred.values())} are taken, and so are all that were tried beside them")


def await_port(port: int, by: Process) -> None:
    """Block until something listens there. Raises NotAvailableError if the process ends or takes too long."""
    deadline = time.monotonic() + LISTEN_S_MAX
    while is_free(port):
        if not by.lives() or time.monotonic() > deadline:
            raise NotAvailableError(f"its {by.role} does not listen on port {port}")
        time.sleep(0.02)


# Processes


@dataclass(frozen=True, slots=True)
class Process:
    """One process of this machine, for as long as it lives and no longer."""

    role: str  # "server", or what runs beside it
    pid: int
    start: str  # boot and start time: with the pid, never given twice

    def as_json(self) -> dict[str, object]:
        return asdict(self)

    def lives(self) -> bool:
        return start_of(self.pid) == self.start

    def signal(self, number: int) -> None:
        """Send it, if the process still is the one that was started."""
        if self.lives():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def start_of(pid: int) -> str | None:
    """Boot and start time of a process; None if there is none, or only what its parent has not collected yet."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # ours and dead: collect it
    if not Path("/proc/self/stat").exists():
        shown = run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], timeout_s=10)
        state, _, started = shown.stdout.strip().partition(" ")
        return None if not state or state.startswith("Z") else started.strip()
    fields = stat_of(pid)
    if fields is None or fields[0] in "ZX":
        return None
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8] + ":" + fields[19]


def stat_of(pid: int) -> list[str] | None:
    """/proc/PID/stat from the state on (the name before it may hold anything), None if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def descendants(pid: int) -> list[Process]:
    """Children and their children now; empty where there is no /proc."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        if (fields := stat_of(int(entry.name))) is not None:
            parents[int(entry.name)] = int(fields[1])
    found, seen = [pid], {pid}
    for parent in found:
        for child, of in parents.items():
            if of == parent and child not in seen:
                seen.add(child)
                found.append(child)
    starts = [(child, start_of(child)) for child in found[1:]]
    return [Process("below", child, start) for child, start in starts if start is not None]


def spawn(
    role: str, command: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str], user: str | None
) -> Process:
    """Start a process that outlives us, its output appended to `log`."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **env},
            user=user,
            group=user,
            extra_groups=[] if user else None,
            start_new_session=True,
        )
    start = start_of(child.pid)
    if start is None:
        raise NotAvailableError(f"{Path(command[0]).name} ended at once; see {log}")
    child.returncode = 0  # Popen must not wait for it when it is collected; start_of does
    return Process(role, child.pid, start)


def end(process: Process, number: int, *, patience_s: float) -> None:
    """Signal one process and wait until it and all below it are gone; what stays longer is killed."""
    family = [process, *descendants(process.pid)] if process.lives() else []
    process.signal(number)
    if not gone(family, patience_s):
        for member in family:
            member.signal(signal.SIGKILL)
        gone(family, 10)


def gone(family: Sequence[Process], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while any(member.lives() for member in family):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
