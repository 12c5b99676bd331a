"""A second machine with a store of its own is refused on one stream and group: real brokers, real `commute run`."""

from __future__ import annotations

import secrets
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from commute.errors import UsageError
from commute.limits import Limits
from commute.link import Link, discard, parse_url, with_stream
from tests.brokers import broker_url
from tests.e2e.workers import WAIT_S_MAX, Worker, environment, rows, wait_for, working

APP = """
    from commute import App, Event

    class Step(Event):
        n: int

    app = App("shop", {url!r})

    @app.on(Step, writes="n/{{n}}")
    async def step(event: Step) -> None: ...
"""


class Machines:
    """Two folders with one app; each has a store of its own, as two machines have."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folders = [folder / "one", folder / "two"]
        for each in self.folders:
            each.mkdir()
            (each / "shop.py").write_text(textwrap.dedent(APP.format(url=url)))

    def command(self, machine: int, *words: str) -> tuple[int, str]:
        """Its exit status, and what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "commute", *words], cwd=self.folders[machine], env=environment(),
            capture_output=True, text=True, timeout=WAIT_S_MAX, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def refused(self, machine: int, *options: str) -> str:
        """What `commute run` said when it was refused."""
        status, said = self.command(machine, "run", "shop:app", *options)
        assert (status, "error[other-store]" in said, "ready in" in said) == (2, True, False), said
        return said


def ready(worker: Worker, times: int = 1) -> None:
    try:
        wait_for(lambda: worker.said().count("ready in") == times)
    except AssertionError:
        raise AssertionError(f"not ready {times} times: {worker.said()}") from None


@pytest.fixture(params=["rabbitmq", "kafka", "mqtt"])
def machines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machines]:
    base = broker_url(request.param) + ("/x" if request.param == "mqtt" else "")
    made = Machines(with_stream(base, f"test-{secrets.token_hex(4)}"), tmp_path)
    yield made
    discard(parse_url(made.url), "shop")


@pytest.fixture(params=["rabbitmq", "kafka"])
def shared_out(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machines]:
    base = with_stream(broker_url(request.param), f"test-{secrets.token_hex(4)}")
    made = Machines(f"{base}{'&' if '?' in base else '?'}partitions=4", tmp_path)
    yield made
    discard(parse_url(made.url), "shop")


def test_a_second_store_is_refused_until_the_first_is_released(machines: Machines) -> None:
    one, two = machines.folders
    with working(one, "shop:app") as worker:
        ready(worker)
        said = machines.refused(1)
        assert 'App(db="postgresql://HOST/DATABASE")' in said and "commute groups release" in said
        status, _ = machines.command(1, "publish", "shop:app", "step", '{"n": 1}')
        assert status == 0, "a producer needs no store"
        status, said = machines.command(1, "publish", "shop:app", "step", '{"n": 1}', "--wait", "0.1")
        assert status == 4 and "warning[other-store] workers of shop use store" in said, said
        status, said = machines.command(0, "publish", "shop:app", "step", '{"n": 1}', "--wait", "20")
        assert status == 0 and "warning" not in said, said
        journal = one / "shop.commute.db"
        wait_for(lambda: len(rows(journal, "progress", "scope")) == 1, "the first goes on")
        worker.kill()
        machines.refused(1)  # also while the first is away: what it has acknowledged is in its store alone
        worker.start()
        ready(worker, 2)  # the same store again
        assert "claim" in machines.command(0, "doctor", "shop:app")[1]
        worker.stop()
    status, said = machines.command(1, "groups", "release", "shop:app")
    assert status == 2 and "error[confirm]" in said and "parked" in said
    machines.refused(1)
    status, said = machines.command(1, "groups", "release", machines.url, "--group", "shop", "--yes")
    assert status == 0, said
    with working(two, "shop:app") as worker:
        ready(worker)
        machines.refused(0)


def test_of_two_first_starts_at_once_one_begins(machines: Machines) -> None:
    workers = [Worker(folder, "shop:app") for folder in machines.folders]
    try:
        wait_for(lambda: all("ready in" in w.said() or "error[" in w.said() for w in workers), "both have begun")
        said = sorted("refused" if "error[other-store]" in w.said() else "ready" for w in workers)
        assert said == ["ready", "refused"], [w.said() for w in workers]
    finally:
        for worker in workers:
            with suppress(ProcessLookupError):
                worker.kill()


def test_processes_of_one_machine_share_its_store(shared_out: Machines) -> None:
    with working(shared_out.folders[0], "shop:app", "--workers", "2") as worker:
        ready(worker, 2)
        shared_out.refused(1, "--workers", "2")
        shared_out.refused(1, "--single-owner")
        shared_out.refused(1, "--share", "2/2")
        worker.stop()


async def test_whoever_reads_the_stream_is_refused(tmp_path: Path) -> None:
    url = with_stream(broker_url("rabbitmq"), f"test-{secrets.token_hex(4)}")
    links = [Link.open(parse_url(url, str(tmp_path / f"{n}.db")), None, Limits(), reader="shop") for n in range(2)]
    first, second = (link.transport() for link in links)
    try:
        await first.open("shop")
        with pytest.raises(UsageError, match="is served with store"):
            await second.open("shop")
        await second.open(None)  # a producer
    finally:
        await first.close()
        await second.close()
        for link in links:
            link.close()
        discard(parse_url(url), "shop")


def test_a_note_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    import pika

    from commute.transports.rabbitmq_connection import parameters

    machines = Machines(with_stream(broker_url("rabbitmq"), f"test-{secrets.token_hex(4)}"), tmp_path)
    options = parse_url(machines.url).server
    with pika.BlockingConnection(parameters(options)) as connection:
        connection.channel().queue_declare(f"{options.stream}.commute-store", durable=True)  # somebody else's
    try:
        with working(machines.folders[0], "shop:app") as worker:
            ready(worker)
            assert "warning[store-unchecked]" in worker.said()
    finally:
        discard(parse_url(machines.url), "shop")
