"""Processes of one store: one brings the receipts for all, and another one takes over when it is gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from commute import App, UsageError
from commute.link import Link
from commute.receiving import Receiving
from commute.store.receipts import Answers, reply_to
from commute.transports.base import Message
from commute.transports.wire import Arrival
from tests.transports.wires import until

MADE: list[Client] = []


class Client:
    """A wire to no broker: the test says what arrives."""

    def __init__(self) -> None:
        self.acked: list[object] = []
        self.arrived: Callable[[Sequence[Arrival]], None] = lambda batch: None
        self.closed = False
        MADE.append(self)

    def connect(self) -> None: ...

    def consume(self, group: str, arrived: Callable[[Sequence[Arrival]], None], **_options: Any) -> None:
        assert group == "web.receipts"
        self.arrived = arrived

    def ack(self, tokens: Sequence[object]) -> None:
        self.acked.extend(tokens)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def receiving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Receiving]]:
    MADE.clear()
    monkeypatch.setattr(Link, "feeds", lambda _self: [Client])
    monkeypatch.setattr(Link, "claim", lambda _self: None)
    monkeypatch.setattr("commute.receiving.AGAIN_S", 0.0)
    opened: list[Receiving] = []

    def open_one() -> Receiving:
        app = App[None]("web", "amqp://localhost/", receipts="web.receipts", db=f"sqlite:///{tmp_path}/web.db")
        found = app.receiving()
        assert found is not None
        opened.append(found)
        return found

    yield open_one
    for each in opened:
        each.close()


def receipt(id: str) -> Message:
    to = reply_to(Message(id, "/web", "paid", 1.0, b"{}", {"replyto": "web.receipts"}))
    assert to is not None
    child = Answers("shop", "/shop", lambda _type: ["pay"]).child(to, "processed", 3, time.time())
    assert child is not None
    return child.message


def test_one_process_of_a_store_brings_them_and_another_takes_over(receiving: Callable[[], Receiving]) -> None:
    one, two = receiving(), receiving()
    one.start()
    two.start()
    assert (one.due, two.due, len(MADE)) == (False, True, 1)
    first = MADE[0]
    came = receipt("e1")
    first.arrived([Arrival(came, "token"), Arrival(came, "again")])
    until(lambda: first.acked == ["token", "again"], "they were not acknowledged")
    for each in one, two:
        told = each.told("e1", "web")
        assert told is not None and told.handlers == {"pay": "processed"}
    one.close()
    assert first.closed
    two.look()
    assert not two.due and len(MADE) == 2
    MADE[1].arrived([Arrival(receipt("e2"), 5)])
    until(lambda: MADE[1].acked == [5], "it was not acknowledged")
    assert two.told("e2", "web") is not None


def test_another_store_is_refused_whoever_looks(
    receiving: Callable[[], Receiving], monkeypatch: pytest.MonkeyPatch
) -> None:
    def claim(_self: Link) -> None:
        raise UsageError("served with another", slug="other-store")

    monkeypatch.setattr(Link, "claim", claim)
    one = receiving()
    for call in one.start, one.look:
        with pytest.raises(UsageError, match="served with another"):
            call()
    assert not MADE
