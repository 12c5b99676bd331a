"""Receipts that travel: what is answered to whom, what a producer keeps of it, and how they leave the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from commute import App, Event, NotReachableError, UsageError
from commute.database import Connection
from commute.embedded.file import EmbeddedFile
from commute.receiving import Receiving
from commute.runtime.relay import Relay
from commute.store.reading import forget, open_scope, read_outbox
from commute.store.receipts import REASON_CHARACTERS_MAX, TYPE, Answers, Told, read_receipt, reply_to, store_receipts
from commute.store.records import Buried, Child, Ended
from commute.store.schema import SCHEMA
from commute.store.store import Store
from commute.transports.base import Message

SHOP = Answers("shop", "/shop", lambda type_: ["pay", "audit"] if type_ == "paid" else [])
WEB = {"replyto": "web.receipts"}


def event(id: str = "e1", attributes: dict[str, str] | None = WEB, type_: str = "paid") -> Message:
    return Message(id, "/web", type_, 1.0, b"{}", attributes)


def receipt(id: str, status: str, at_s: float, reason: str = "", answers: Answers = SHOP) -> Message:
    to = reply_to(event(id))
    assert to is not None
    child = answers.child(to, status, 7, at_s, reason)
    assert child is not None and child.to == "web.receipts"
    return child.message


class Rows:
    """A store of its own; `write` in one commit."""

    def __init__(self, folder: Path) -> None:
        self.file = EmbeddedFile.open(str(folder / "store.db"))
        self.file.schema(SCHEMA)
        self.scope = self.write(lambda c: open_scope(c, "shop", "events"))

    def write(self, job: Callable[[Connection], Any]) -> Any:
        return self.file.writer.submit(job).result()

    def keep(self, *messages: Message, rows_max: int = 1_000, since_s: float = 0.0) -> Any:
        return self.write(lambda c: store_receipts(c, messages, rows_max=rows_max, since_s=since_s))

    def told(self, id: str, group: str = "shop") -> Told | None:
        return self.file.read(lambda c: read_receipt(c, id, group))

    def outbox(self, *, receipts: bool = True) -> list[str]:
        return [
            row.child.message.id for row in self.file.read(lambda c: read_outbox(c, self.scope, 99, receipts=receipts))
        ]


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Rows]:
    made = Rows(tmp_path)
    yield made
    made.file.close()


@pytest.mark.parametrize(
    "stream", ["events", "exchange:x.receipts", "10.0.0.1:99", "a/b.receipts", ".receipts", "x.receipts\n"]
)
def test_receipts_go_to_streams_of_their_own_only(stream: str) -> None:
    assert reply_to(event(attributes={"replyto": stream})) is None
    with pytest.raises(UsageError, match=r"NAME\.receipts"):
        _ = App[None]("web", "amqp://localhost/", receipts=stream).receipts
    assert reply_to(event()) is not None


def test_a_group_answers_where_it_or_nobody_is_named() -> None:
    for group, answered in ("shop", True), ("audit", False):
        to = reply_to(event(attributes=WEB | {"replygroup": group}))
        assert to is not None and (SHOP.child(to, "processed", 7, 1.0) is not None) == answered


def test_what_is_told_is_bounded_and_the_same_whenever_it_is_made() -> None:
    one, again = (receipt("e1", "parked", 5.0, "x" * 5_000) for _ in range(2))
    assert one == again and len(one.data) < REASON_CHARACTERS_MAX + 200
    assert receipt("e1", "parked", 6.0).id != one.id


def test_the_latest_state_is_kept_and_an_outcome_for_good(rows: Rows) -> None:
    assert rows.told("e1") is None
    rows.keep(receipt("e1", "parked", 5.0, "why"), receipt("e1", "parked", 5.0, "why"))
    handlers = {"pay": "parked", "audit": "parked"}
    assert rows.told("e1") == Told("e1", "shop", "parked", "why", 7, handlers)
    rows.keep(receipt("e1", "held", 4.0))  # overtaken
    assert rows.told("e1").status == "parked"  # type: ignore[union-attr]
    rows.keep(receipt("e1", "held", 6.0))
    assert rows.told("e1").status == "held"  # type: ignore[union-attr]
    rows.keep(receipt("e1", "processed", 3.0), receipt("e1", "parked", 9.0), receipt("e1", "dropped", 9.0))
    assert rows.told("e1").status == "processed"  # type: ignore[union-attr]


def test_the_apps_own_group_comes_first_and_then_any(rows: Rows) -> None:
    rows.keep(receipt("e1", "processed", 5.0, answers=Answers("audit", "/audit", lambda type_: [])))
    assert rows.told("e1").group == "audit"  # type: ignore[union-attr]
    rows.keep(receipt("e1", "parked", 5.0))
    assert [rows.told("e1", group).status for group in ("shop", "audit")] == ["parked", "processed"]  # type: ignore[union-attr]


def test_what_is_no_receipt_is_counted_and_the_oldest_are_forgotten(rows: Rows) -> None:
    alien = [event(), Message("x", "/x", TYPE, 1.0, b'{"id": 5}', None), Message("y", "/x", TYPE, 1.0, b"\xff", None)]
    assert rows.keep(*alien) == 3
    rows.keep(*(receipt(f"e{n}", "processed", 5.0) for n in range(9)), rows_max=4)
    assert [rows.told(f"e{n}") is not None for n in range(9)] == [False] * 5 + [True] * 4
    rows.keep(receipt("new", "processed", 9.0), since_s=6.0)
    assert rows.told("e8") is None and rows.told("new") is not None


def test_every_state_is_answered_in_its_own_commit(rows: Rows) -> None:
    store = Store(rows.file.writer, rows.scope, appender=None, answers=SHOP)
    store.open_partition(0, 0, -1, ())
    for position in range(5):
        store.admitted(0, position)
    store.post(Ended(0, 0, None, reply_to=reply_to(event("done")), at_s=3.0))
    store.post(Ended(0, 1, None))
    store.post(Buried(0, 2, None, "parked", event("parked"), 4.0, handlers_done=["audit"], reason="why"))
    store.post(Buried(0, 3, None, "rejected", event("done"), 4.0, slug="id-twice"))
    store.post(Buried(0, 4, None, "rejected", event("alone", None), 4.0, slug="unknown-type"))
    rows.write(lambda c: None)
    sent = rows.file.read(lambda c: read_outbox(c, rows.scope, 99, receipts=True))
    rows.keep(*(row.child.message for row in sent))
    assert len(sent) == 2 and store.relay_wanted and not rows.outbox(receipts=False)
    assert rows.told("done") == Told("done", "shop", "processed", "", 0, {"pay": "processed", "audit": "processed"})
    assert rows.told("parked") == Told("parked", "shop", "parked", "why", 2, {"pay": "parked", "audit": "processed"})
    rows.write(lambda c: forget(c, rows.scope, 103.0, dedupe_s=99.0, retain_s=99.5))
    assert len(rows.outbox()) == 1, "what nobody has taken for retain_s is given up"


async def test_a_stream_that_takes_none_holds_nobody_up(rows: Rows) -> None:
    store = Store(rows.file.writer, rows.scope, appender=None, answers=SHOP)
    store.open_partition(0, 0, -1, ())
    for position, stream in enumerate(["away.receipts", "never.receipts", "web.receipts"]):
        store.admitted(0, position)
        to = reply_to(event(stream, {"replyto": stream}))
        store.post(Ended(0, position, None, [Child(event("child", None), None)], reply_to=to, at_s=3.0))
    rows.write(lambda c: None)
    sent: list[tuple[str | None, int]] = []

    async def send(messages: Sequence[Message], *, to: str | None) -> None:
        if to == "away.receipts":
            raise NotReachableError("away", slug="not-reachable")
        if to == "never.receipts":
            raise UsageError("no such name", slug="broker-url")
        sent.append((to, len(messages)))

    engine = SimpleNamespace(
        store=store, transport=SimpleNamespace(send=send), post=store.post, writer=rows.file.writer,
        relay_wanted=asyncio.Event(),
    )  # fmt: skip
    reader = rows.file.reader()
    relay = Relay(engine, reader)  # type: ignore[arg-type]
    assert not await relay.send_some()
    assert await relay.send_receipts()
    reader.close()
    assert sent == [(None, 3), ("web.receipts", 1)]
    left = rows.file.read(lambda c: read_outbox(c, rows.scope, 99, receipts=True))
    assert [row.child.to for row in left] == ["away.receipts"]


class Paid(Event):
    order_id: int


def test_an_app_says_where_it_wants_receipts_and_an_embedded_broker_needs_none(tmp_path: Path) -> None:
    app = App[None]("web", "amqp://localhost/?partitions=4", receipts="web.receipts", db=f"sqlite:///{tmp_path}/a.db")

    @app.on(Paid, writes="order/{order_id}")
    async def pay(event: Paid) -> None: ...

    attributes = app.message("paid", b'{"order_id": 4}').attributes
    assert attributes == {"partitionkey": "4", "replyto": "web.receipts"}
    app.override(group="shop")
    attributes = app.message("paid", b'{"order_id": 4}').attributes
    assert attributes == {"partitionkey": "4", "replyto": "web.receipts", "replygroup": "shop"}
    app.override(broker=f"sqlite:///{tmp_path}/b.db")
    assert app.message("paid", b'{"order_id": 4}').attributes is None and app.receiving() is None


@pytest.mark.parametrize(
    ("broker", "db"), [("zmq+tcp://127.0.0.1:9", "sqlite:///{}/a.db"), ("amqp://localhost/", "memory://")]
)
def test_where_there_can_be_no_receipts_the_app_says_so(broker: str, db: str, tmp_path: Path) -> None:
    app = App[None]("web", broker, receipts="web.receipts", db=db.format(tmp_path))
    with pytest.raises(UsageError) as refused:
        app.connect()
    assert refused.value.slug == "receipts"


def test_without_the_broker_what_came_before_is_told(tmp_path: Path) -> None:
    app = App[None]("web", "amqp://127.0.0.1:9/", receipts="web.receipts", db=f"sqlite:///{tmp_path}/a.db")
    file = app.connect().file
    file.writer.submit(lambda c: store_receipts(c, [receipt("e1", "processed", 9.0)], rows_max=9, since_s=0.0)).result()
    receiving = app.receiving()
    assert isinstance(receiving, Receiving) and receiving.due
    receiving.look()
    told = receiving.told("e1", "web")
    assert told is not None and told.outcome is not None and told.outcome.status == "processed"
    with pytest.raises(NotReachableError):
        app.publish_sync(Paid(order_id=1))
    receiving.close()
    app.close()
