"""The programs of docs/tutorial.md, as they stand there: what the usual consumers lose, and what commute does not.

Only the address and the name of the queue are put in place; every assertion is a claim of that page.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commute.link import discard, parse_url, with_stream
from tests.brokers import broker_url, kill_and_restart, write_down_queues
from tests.e2e.workers import rows, wait_for, working
from tests.house.pages import snippets

PROGRAMS = {
    found.name or found.body.splitlines()[0].removeprefix("# "): found.body
    for found in snippets(Path("docs/tutorial.md"))
    if found.language == "python"
}
STEPS = ["order_created", "payment_processed", "order_shipped"]
ORDERS = range(1, 61)
LOG = [(order_id, step) for order_id in ORDERS for step in STEPS]


class Place:
    """A queue of its own, and the page's programs as files that use it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.base, self.stream, self.folder = broker_url(name), f"tutorial-{uuid.uuid4().hex}", folder
        self.url = with_stream(self.base, self.stream)
        self.processes: list[subprocess.Popen[bytes]] = []

    def write(self, program: str, *changes: tuple[str, str]) -> str:
        text = PROGRAMS[program]
        for old, new in changes:
            assert old in text, (program, old)
            text = text.replace(old, new)
        (self.folder / program).write_text(text)
        return program

    def pika(self, program: str, *changes: tuple[str, str]) -> str:
        address = ('pika.ConnectionParameters("localhost")', f"pika.URLParameters({self.base!r})")
        return self.write(program, address, ('"task_queue"', repr(self.stream)), *changes)

    def produce(self, program: str) -> None:
        subprocess.run([sys.executable, program], cwd=self.folder, check=True, timeout=60)

    def consume(self, program: str) -> subprocess.Popen[bytes]:
        """The consumer, begun; what it did is in ``done`` (`done`)."""
        with (self.folder / "done").open("ab") as done:
            # Buffered, so that a line is written whole or not at all.
            environment = {**os.environ, "PYTHONUNBUFFERED": ""}
            process = subprocess.Popen([sys.executable, program], cwd=self.folder, stdout=done, env=environment)
        self.processes.append(process)
        return process

    def done(self) -> list[tuple[int, str]]:
        lines = (self.folder / "done").read_text().splitlines()
        return [(int(line.split()[0]), line.split()[1]) for line in lines]

    def trail(self) -> list[tuple[object, ...]]:
        return rows(self.folder / "tutorial.commute.db", "trail")

    def left(self) -> int:
        """Messages that are in the queue, ready for a consumer."""
        import pika

        with pika.BlockingConnection(pika.URLParameters(self.base)) as connection:
            return int(connection.channel().queue_declare(self.stream, passive=True).method.message_count)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        discard(parse_url(self.url), "tutorial")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[[str], Place]]:
    made: list[Place] = []

    def make(name: str) -> Place:
        made.append(Place(name, tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.close()


def in_sequence(found: list[tuple[int, str]]) -> bool:
    """Whether each order's steps were first done in the sequence of the log."""
    first = list(dict.fromkeys(found))
    return all([step for order, step in first if order == one] == STEPS for one in ORDERS)


def test_auto_ack_loses_what_a_killed_consumer_had_received(place: Callable[[str], Place]) -> None:
    here = place("rabbitmq")
    here.produce(here.pika("producer.py"))
    consumer = here.consume(here.pika("consumer.py"))
    wait_for(lambda: len(here.done()) >= 10)
    consumer.kill()
    consumer.wait()
    left, done = here.left(), here.done()
    assert len(done) + left < len(LOG) - 10, "they are neither done nor in the queue"


def test_one_careful_consumer_loses_nothing(place: Callable[[str], Place]) -> None:
    here = place("rabbitmq")
    here.produce(here.pika("producer.py"))
    consumer = here.consume(here.pika("careful.py"))
    wait_for(lambda: len(here.done()) >= 10)
    consumer.kill()
    consumer.wait()
    here.consume("careful.py")
    wait_for(lambda: set(here.done()) == set(LOG))
    assert in_sequence(here.done())


def test_two_careful_consumers_lose_the_sequence(place: Callable[[str], Place]) -> None:
    here = place("rabbitmq")
    here.pika("careful.py")
    here.produce(here.pika("producer.py"))
    here.consume("careful.py")
    here.consume("careful.py")
    wait_for(lambda: set(here.done()) == set(LOG))
    assert not in_sequence(here.done())


def test_messages_that_are_not_persistent_are_gone_after_a_restart(place: Callable[[str], Place]) -> None:
    here = place("rabbitmq")
    here.produce(here.pika("producer.py", ("delivery_mode=2", "delivery_mode=1")))
    wait_for(lambda: here.left() == len(LOG))
    write_down_queues()
    kill_and_restart("rabbitmq")
    assert here.left() == 0
    # Confirmed, or the broker may be killed before it has them on disk.
    confirms = ("channel = connection.channel()", "channel = connection.channel()\nchannel.confirm_delivery()")
    here.produce(here.pika("producer.py", confirms))
    kill_and_restart("rabbitmq")
    assert here.left() == len(LOG)


@pytest.mark.parametrize("identified", [False, True])
def test_the_commute_app_on_rabbitmq(place: Callable[[str], Place], identified: bool) -> None:
    here = place("rabbitmq")
    remedy = ("delivery_mode=2", 'delivery_mode=2, message_id=f"{name}-{order_id}"')
    here.write("tutorial.py")
    here.produce(here.pika("producer.py", *([remedy] if identified else [])))
    said = check_with_kills(here)
    assert "ids      at least once only" in said and "the producer sets message_id" in said
    found = [(int(str(order)), str(step)) for order, step in here.trail()]
    assert set(found) == set(LOG) and in_sequence(found)
    assert not identified or len(found) == len(LOG)  # without ids some may have been done twice


def test_the_commute_app_on_kafka(place: Callable[[str], Place]) -> None:
    here = place("kafka")
    servers = here.base.removeprefix("kafka://")
    here.write("tutorial.py")
    here.write("kafka_producer.py", ("localhost:9092", servers), ('"orders"', repr(here.stream)))
    here.produce("kafka_producer.py")
    assert "TOPIC/PARTITION/OFFSET" in check_with_kills(here)
    found = [(int(str(order)), str(step)) for order, step in here.trail()]
    assert sorted(found) == sorted(LOG) and in_sequence(found)


def check_with_kills(here: Place) -> str:
    """The app until it has done all, killed twice on the way; what it said."""
    with working(here.folder, "tutorial:app", "--broker", here.url) as worker:
        for at_least in (10, 60):
            wait_for(lambda at_least=at_least: len(here.trail()) >= at_least)  # type: ignore[misc]
            worker.kill()
            worker.start()
        wait_for(lambda: set(here.trail()) >= set(LOG))
        worker.stop()
        created = here.trail().index((2, STEPS[0]))
        assert created < here.trail().index((1, STEPS[2])), "another order did not wait for the whole first one"
        return worker.said()
