"""What the start says of ids: nothing where events have their own, a promise or a remedy where they have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from commute import App, PlainJson
from commute.cli.banner import banner

AT_LEAST_ONCE = "  ids      at least once only: a body without one is a new event each time {} delivers it. Remedy: "
FIELD = 'a field of the body holds it: PlainJson(id="FIELD")'


def ids(folder: Path, url: str, decode: PlainJson | None) -> list[str]:
    """The lines of the start about ids; nothing is connected."""
    app: App[None] = App("shop", url, db=f"sqlite:///{folder}/shop.db", decode=decode)
    try:
        lines = banner(app, app.connect(), from_end=False).splitlines()
    finally:
        app.close()
    return [line for line in lines if line.startswith("  ids ")]


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("amqp://host/", AT_LEAST_ONCE.format("rabbitmq") + "the producer sets message_id, or " + FIELD),
        ("mqtt://host/topic", AT_LEAST_ONCE.format("mqtt") + FIELD),
        ("zmq+tcp://127.0.0.1:1", AT_LEAST_ONCE.format("zeromq") + FIELD),
        (
            "kafka://host/topic",
            "  ids      a body without one is known as TOPIC/PARTITION/OFFSET, the same whenever it comes again",
        ),
    ],
)
def test_foreign_bodies_without_an_id(tmp_path: Path, url: str, line: str) -> None:
    assert ids(tmp_path, url, PlainJson()) == [line]
    assert ids(tmp_path, url, PlainJson(id="number")) == []
    assert ids(tmp_path, url, None) == []


def test_an_embedded_log_gives_ids_itself(tmp_path: Path) -> None:
    assert ids(tmp_path, f"sqlite:///{tmp_path}/shop.db", PlainJson()) == []
