"""What `commute doctor` says of real brokers: sound ones, weak ones, missing ones, and ones that are not there."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commute.embedded.file import EmbeddedFile
from commute.limits import Limits
from commute.link import Link, discard, parse_url, with_stream
from commute.transports.base import Message
from commute.transports.kafka_doctor import _settings
from commute.transports.sqlite import SqliteTransport
from commute.transports.sqlite_doctor import examine
from tests.brokers import broker_url

SECONDS_MAX = 60.0


def look(*arguments: str, status: int) -> dict[str, dict[str, str]]:
    """The findings of the broker's part by their word; of two with one word the worse."""
    parts = look_at_all(*arguments, status=status)
    found: dict[str, dict[str, str]] = {}
    for finding in sorted(parts[0]["findings"], key=lambda f: ("ok", "warning", "problem").index(f["level"])):
        found[finding["what"]] = finding
    return found


def look_at_all(*arguments: str, status: int, folder: Path | None = None) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "commute", "doctor", *arguments, "--json"],
        capture_output=True, text=True, timeout=SECONDS_MAX, check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == status, (arguments, done.stdout, done.stderr)
    return json.loads(done.stdout)["parts"]


def fresh() -> str:
    return f"doctor-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def channel() -> Iterator[Any]:
    import pika

    with pika.BlockingConnection(pika.URLParameters(broker_url("rabbitmq"))) as connection:
        yield connection.channel()


def test_a_sound_queue_of_rabbitmq(channel: Any) -> None:
    queue = fresh()
    channel.queue_declare(
        queue, durable=True, arguments={"x-queue-type": "quorum", "x-single-active-consumer": True}
    )  # fmt: skip
    try:
        channel.basic_publish("", queue, b"{}")
        channel.queue_declare(queue, passive=True)
        found = look(with_stream(broker_url("rabbitmq"), queue), status=0)
        assert found["kind"]["level"] == found["publishing"]["level"] == found["broker"]["level"] == "ok"
        assert found["queue"]["level"] == "warning"
        assert "no consumer" in found["queue"]["text"] or "0 consumers" in found["queue"]["text"]
    finally:
        channel.queue_delete(queue)


@pytest.mark.parametrize(
    ("durable", "arguments", "said"),
    [
        (False, {}, ["not durable"]),
        (True, {"x-message-ttl": 60_000, "x-max-length": 9}, ["waited 60000 ms", "holds 9", "classic", "share it"]),
    ],
)  # fmt: skip
def test_weak_queues_of_rabbitmq(channel: Any, durable: bool, arguments: dict[str, Any], said: list[str]) -> None:
    queue = fresh()
    channel.queue_declare(queue, durable=durable, arguments=arguments)
    try:
        (part,) = look_at_all(with_stream(broker_url("rabbitmq"), queue), status=1)
        kinds = [finding for finding in part["findings"] if finding["what"] == "kind"]
        assert all(any(text in finding["text"] for finding in kinds) for text in said), kinds
        assert all(finding["advice"] for finding in kinds)
    finally:
        channel.queue_delete(queue)


def test_a_missing_queue_is_not_made(channel: Any) -> None:
    import pika

    queue = fresh()
    found = look(with_stream(broker_url("rabbitmq"), queue), status=0)
    assert found["queue"]["level"] == "warning"
    assert "no queue" in found["queue"]["text"]
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        channel.queue_declare(queue, passive=True)


@pytest.mark.parametrize(("name", "said"), [("rabbitmq", "refuses the user"), ("postgresql", "refuses the connection")])
def test_a_wrong_password_is_a_problem_and_no_matter_of_reach(name: str, said: str) -> None:
    url = re.sub(r":[^:/@]*@", ":wrong-one@", broker_url(name))
    (part,) = look_at_all(url, status=1)
    assert part["reachable"] and said in part["findings"][0]["text"]
    assert "wrong-one" not in json.dumps(part)


@pytest.mark.parametrize("scheme", ["amqp", "kafka", "mqtt", "postgresql"])
def test_a_port_where_nobody_listens(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = look(f"{scheme}://127.0.0.1:{port}/events", status=3)
    assert found["reachable"]["level"] == "problem"


def test_topics_of_kafka() -> None:
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

    topic = fresh()
    url = with_stream(broker_url("kafka"), topic)
    assert "no topic" in look(url, status=0)["topic"]["text"]
    servers = broker_url("kafka").removeprefix("kafka://")
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics(
        [NewTopic(topic, 3, 1, config={"cleanup.policy": "compact", "max.message.bytes": "9999"})]
    )[topic].result(SECONDS_MAX)  # fmt: skip
    try:
        producer = Producer({"bootstrap.servers": servers})
        for number in range(5):
            producer.produce(topic, b"{}", key=b"%d" % number)
        assert producer.flush(SECONDS_MAX) == 0
        found = look(url, "--group", "nobody", status=1)
        levels = {what: finding["level"] for what, finding in found.items()}
        assert levels == {
            "broker": "ok", "topic": "warning", "rights": "ok", "confirms": "ok", "retention": "problem",
            "size": "warning", "group": "warning",
        }  # fmt: skip
        assert "3 partition(s), 1 replica(s)" in found["topic"]["text"]
        assert "5 events behind" in found["group"]["text"]
    finally:
        discard(parse_url(url), "nobody")


def test_what_settings_of_a_topic_mean() -> None:
    def levels(**changed: str) -> set[str]:
        settings = {
            "min.insync.replicas": "2", "cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1",
            "max.message.bytes": "1048588",
        }  # fmt: skip
        settings |= {name.replace("_", "."): value for name, value in changed.items()}
        return {finding.level for finding in _settings(settings, 3)}

    assert levels() == {"ok"}
    assert "problem" in levels(min_insync_replicas="4")
    assert "warning" in levels(min_insync_replicas="1")
    assert "warning" in levels(retention_ms="3600000")
    assert "warning" in levels(retention_bytes="1000")


def test_mqtt_and_what_it_retains() -> None:
    from paho.mqtt import publish

    url, topic = broker_url("mqtt"), fresh()
    host, port = parse_url(f"{url}/x").server.host, parse_url(f"{url}/x").server.port
    found = look(f"{url}/{topic}/+device", status=0)
    assert {finding["level"] for finding in found.values()} == {"ok"}
    assert "MQTT 5" in found["broker"]["text"]
    publish.single(f"{topic}/a", b"{}", qos=1, retain=True, hostname=host, port=port)
    try:
        found = look(f"{url}/{topic}/+device?version=3.1.1", status=0)
        assert "MQTT 3.1.1" in found["broker"]["text"]
        assert "1 retained" in found["retained"]["text"]
    finally:
        publish.single(f"{topic}/a", b"", qos=1, retain=True, hostname=host, port=port)


def test_zeromq_bound_free_and_foreign() -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        port = router.bind_to_random_port("tcp://127.0.0.1")
        found = look(f"zmq+tcp://127.0.0.1:{port}", status=0)
        assert "is bound" in found["worker"]["text"]
        key = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID".replace("$", "a")
        wrong = look(f"zmq+tcp://127.0.0.1:{port}?server_key={'a' * len(key)}", status=1)
        assert "NULL" in wrong["worker"]["text"]
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = look(f"zmq+tcp://127.0.0.1:{port}", status=1)
        assert "not ZeroMQ" in found["worker"]["text"]
    found = look(f"zmq+tcp://127.0.0.1:{port}", status=0)
    assert "free" in found["worker"]["text"]
    assert look(f"zmq+tcp://0.0.0.0:{port}", status=1)["encryption"]["level"] == "problem"


APP = """
from commute import App, Event

class Step(Event):
    n: int

app = App("shop", broker="{broker}")

@app.on(Step, writes="n/{{n}}")
async def step(event: Step) -> None: ...
"""


def test_the_embedded_broker(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP.format(broker="sqlite:///shop.db"))
    command = [sys.executable, "-m", "commute"]

    def publish(n: int, *more: str) -> None:
        subprocess.run(
            [*command, "publish", "shop:app", "step", f'{{"n": {n}}}', *more],
            cwd=tmp_path, check=True, capture_output=True, timeout=SECONDS_MAX,
        )  # fmt: skip

    def group(status: int = 0) -> dict[str, str]:
        (part,) = look_at_all("shop:app", status=status, folder=tmp_path)
        found = {finding["what"]: finding for finding in part["findings"]}
        assert found["file"]["level"] == "ok"
        return dict(found["group"])

    look_at_all("shop:app", status=3, folder=tmp_path)
    with subprocess.Popen([*command, "run", "shop:app"], cwd=tmp_path, stderr=subprocess.DEVNULL) as worker:
        try:
            publish(1, "--wait", "20")
            beside = group()
        finally:
            worker.send_signal(signal.SIGINT)
    assert beside["level"] == "ok"
    assert f"worker pid {worker.pid}" in beside["text"]
    publish(2)
    after = group()
    assert after["level"] == "warning"
    assert "1 not settled" in after["text"]
    assert "no worker" in after["text"]


def test_files_that_are_no_store(tmp_path: Path) -> None:
    (tmp_path / "foreign.db").write_bytes(b"no database at all" * 1_000)
    whole = tmp_path / "whole.db"
    link = Link.open(parse_url(f"sqlite:///{whole}"), None, Limits())
    link.transport().send_sync([Message(f"e{n}", "/s", "t", 1.0, b'"%s"' % (b"x" * 500)) for n in range(500)])
    link.close()
    pages = whole.read_bytes()
    middle = len(pages) // 2 // 4_096 * 4_096
    (tmp_path / "damaged.db").write_bytes(pages[:middle] + b"\xff" * 4_096 + pages[middle + 4_096 :])
    for name, status in (("whole", 0), ("damaged", 1), ("foreign", 1)):
        (part,) = look_at_all(f"sqlite:///{name}.db", status=status, folder=tmp_path)
        levels = {finding["level"] for finding in part["findings"]}
        assert ("problem" in levels) is bool(status), part


async def test_a_store_in_which_partitions_are_journalled(tmp_path: Path) -> None:
    file = EmbeddedFile.open(tmp_path / "shop.commute.db")
    try:
        for number in (0, 1):
            log = SqliteTransport(file, f"orders#{number}")
            await log.open("shop")
            await log.send([Message(f"e{number}", "/s", "t", 1.0, b"{}")])
            await log.close()
        owned = [file.ownership("shop#1"), file.ownership("journal orders#1")]
        assert all(each.try_take() for each in owned)
        found = examine(str(tmp_path / "shop.commute.db"), "orders", feeds=True)
        for each in owned:
            each.release()
    finally:
        file.close()
    assert [finding.text for finding in found if finding.what == "journal"] == ["'orders' is fed in 1 of 2 logs"]
    nobody, somebody = (finding for finding in found if finding.what == "group")
    assert nobody.level == "warning" and nobody.text.startswith("'shop#0': at most 1 not settled")
    assert somebody.level == "ok" and f"worker pid {os.getpid()}" in somebody.text


def test_the_store_beside_a_broker(tmp_path: Path) -> None:
    url = with_stream(broker_url("rabbitmq"), fresh())
    (tmp_path / "shop.py").write_text(APP.format(broker=url))
    broker, store = look_at_all("shop:app", status=0, folder=tmp_path)
    assert (broker["part"], store["part"]) == ("broker", "store")
    assert "first worker makes it" in store["findings"][0]["text"]
