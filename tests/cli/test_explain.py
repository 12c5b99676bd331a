"""explain: what types and events depend on, and what an event waits for, against brute force and a real worker."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

from commute.app import App
from commute.cli.commands import make_main
from commute.cli.target import load
from commute.core.footprint import ADD, READ, WRITE, Access, Footprint, conflicts
from commute.transports.base import Message

SHOP = """
import asyncio
from commute import App, DeadLetter, Event, Limits, Retry

class OrderCreated(Event):
    order_id: int
    customer_id: int
    skus: list[str]

class PaymentProcessed(Event):
    order_id: int

class Restocked(Event):
    sku: str

class Noted(Event):
    text: str

app = App("shop", ignore=["heart.*"], limits=Limits(grace_s=1.0))
gate = asyncio.Event()

@app.on(OrderCreated, reads="customer/{customer_id}", writes="order/{order_id}", adds="stock/{skus.*}",
        retry=Retry(attempts=12, first_s=600, max_s=600))
async def reserve(event: OrderCreated) -> None:
    if event.order_id == 42:
        raise TimeoutError("psp\\x1b[31m.example")
    if event.order_id == 13:
        raise DeadLetter("no tea")
    if event.order_id == 7:
        await gate.wait()

@app.on(PaymentProcessed, writes="order/{order_id}")
async def pay(event: PaymentProcessed) -> None: ...

@app.on(Restocked, adds="stock/{sku}")
async def restock(event: Restocked) -> None: ...

@app.on(Restocked, reads="stock/{sku}")
async def count(event: Restocked) -> None: ...

@app.on(Noted, unordered=True)
async def write_down(event: Noted) -> None: ...
"""
NUMBERS = itertools.count()


class Shell:
    """The command line in this process, in a directory of its own with an app of its own."""

    def __init__(self, folder: Path, source: str) -> None:
        self.folder = folder
        self.target = f"explained_{next(NUMBERS)}:app"
        (folder / f"{self.target[:-4]}.py").write_text(source)
        self.app: App[Any] = load(self.target, None).app

    def __call__(self, *words: str, status: int = 0) -> str:
        done = CliRunner().invoke(make_main(), ["explain", self.target, *words])
        assert done.exit_code == status, (words, done.exit_code, done.output, done.exception)
        assert "\x1b" not in done.output
        return done.output if status else done.stdout

    def json(self, *words: str, status: int = 0) -> Any:
        return json.loads(self(*words, "--json", status=status))

    def publish(self, *events: tuple[str, dict[str, object]], source: str = "/shop") -> None:
        """The events with the ids e1, e2 and so on, whether a handler takes them or not."""
        first = self.app.log.last_position() + 1
        self.app.log.send_sync(
            [
                Message(f"e{n}", source, type_, 1.0, json.dumps(data).encode())
                for n, (type_, data) in enumerate(events, first)
            ]
        )


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    made = Shell(tmp_path, SHOP)
    yield made
    made.app.close()
    sys.modules.pop(made.target[:-4], None)


def order(order_id: int, customer_id: int = 1, *skus: str) -> tuple[str, dict[str, object]]:
    return "order_created", {"order_id": order_id, "customer_id": customer_id, "skus": list(skus)}


def paid(order_id: int) -> tuple[str, dict[str, object]]:
    return "payment_processed", {"order_id": order_id}


def given(event: tuple[str, dict[str, object]]) -> tuple[str, str]:
    return event[0], json.dumps(event[1])


def positions(found: Any) -> list[int]:
    return [blocker["position"] for blocker in found["waits_for"]]


async def until(look: Callable[[], Any], condition: Callable[[Any], bool]) -> Any:
    """What `look` finds, beside the running worker, once the condition holds."""
    async with asyncio.timeout(15):
        while True:
            found = await asyncio.to_thread(look)
            if condition(found):
                return found


# Types


def test_types_are_related_by_their_templates_and_no_file_is_made(shell: Shell) -> None:
    text = shell()
    assert "customer/{customer_id}  order/{order_id}" in text
    assert "two order_created: dependent when order_id = order_id" in text
    assert "order_created and payment_processed: dependent when order_id = order_id" in text
    assert "payment_processed: never with restocked, noted" in text
    assert "noted: never with another one" in text
    found = shell.json()
    assert found["types"] == ["order_created", "payment_processed", "restocked", "noted"]
    kinds = {(one["a"], one["b"]): one["kind"] for one in found["relations"]}
    assert len(kinds) == 10
    assert kinds["payment_processed", "restocked"] == "never"
    assert kinds["order_created", "restocked"] == "when"  # an add, and a read of the same goods
    (reserve,) = [one for one in found["handlers"] if one["handler"] == "reserve"]
    assert reserve["modes"] == {
        "read": ["customer/{customer_id}"], "write": ["order/{order_id}"], "add": ["stock/{skus.*}"],
    }  # fmt: skip
    assert list(shell.folder.glob("*.db*")) == []


def test_the_partition_labels_and_what_crosses_are_shown(shell: Shell) -> None:
    text = shell()
    assert "    order_created adds to stock/{skus.*}, restocked reads stock/{sku}\n" in text
    assert re.search(r"^  payment_processed +\{order_id\}$", text, re.MULTILINE)
    assert re.search(r"^  noted +any$", text, re.MULTILINE)
    found = shell.json()["partitions"]
    assert found["labels"]["payment_processed"] == {"label": "{order_id}", "fields": ["order_id"], "anywhere": False}
    assert found["labels"]["noted"] == {"label": None, "fields": [], "anywhere": True}
    assert {"types": ["order_created", "restocked"], "keys": ["stock/{skus.*}", "stock/{sku}"]} in [
        {"types": one["types"], "keys": one["keys"]} for one in found["crossings"]
    ]


# Two events


def test_two_events_as_json_need_no_broker(shell: Shell) -> None:
    text = shell(*given(order(42, 7, "tea")), *given(paid(42)))
    assert "dependent, so the later one starts after the earlier one has its outcome" in text
    assert any(line.split() == ["customer/7", "read", "-"] for line in text.splitlines())
    assert any(line.split()[:3] == ["order/42", "write", "write"] for line in text.splitlines())
    assert "by type: they conflict when order_id = order_id\n" in text
    assert "independent" in shell(*given(order(42)), *given(paid(43)))
    assert "touches nothing" in shell(*given(order(42)), *given(("noted", {"text": "x"})))
    found = shell.json(*given(order(1, 1, "tea")), *given(("restocked", {"sku": "tea"})))
    assert found["dependent"] is True
    (conflict,) = found["conflicts"]
    assert conflict["keys"] == ["stock/tea", "stock/tea"]
    assert conflict["modes"] == ["add", "write"]
    assert conflict["why"] == "add and read by one event make a write, which goes with nothing"
    assert "goes with nothing" not in shell(*given(order(1, 1, "tea")), *given(order(2, 1, "tea")))
    assert "these go together" in shell(*given(order(1, 1, "tea")), *given(order(2, 1, "tea")))
    assert "order/42 (write)  reserve" in shell(*given(order(42)))
    assert list(shell.folder.glob("*.db*")) == []


def test_two_events_of_the_log_and_how_often_their_types_conflict(shell: Shell) -> None:
    shell.publish(*(order(n) for n in range(4)), *(paid(n) for n in range(4)))
    text = shell("e5", "e1")  # said in log sequence, whichever is named first
    assert "order_created e1 (position 1) and payment_processed e5 (5): dependent, so 5 starts after 1 has its" in text
    assert "in this log 1 pair in 4" in text
    assert "a sample" not in text
    assert shell.json("e1", "e5")["sample"] == {"events": 8, "pairs": 16, "dependent": 4, "whole_log": True}
    found = shell.json(*given(paid(2)), "/shop#e3")
    assert [one["id"] for one in found["events"]] == ["e3", None]
    assert found["dependent"] is True
    assert shell.json("e1", "e6")["dependent"] is False
    assert "in this log none of 6 pairs" in shell("e1", "e2")
    assert "the same event" in shell("e1", "e1")


def test_a_long_log_is_sampled_and_it_says_so(shell: Shell) -> None:
    shell.publish(*(paid(n % 3) for n in range(600)))
    found = shell.json("e1", "e2")["sample"]
    assert found["whole_log"] is False
    assert found["events"] < 600
    assert "a sample: the last" in shell("e1", "e2")


# One event


def test_what_an_event_waits_for_equals_brute_force(shell: Shell) -> None:
    random = Random(5)
    makers: list[Callable[[], tuple[str, dict[str, object]]]] = [
        *[lambda: order(random.randrange(3), 1, random.choice("abc"))] * 3,
        *[lambda: paid(random.randrange(3))] * 3,
        lambda: ("restocked", {"sku": random.choice("abc")}),
        lambda: ("unheard_of", {}),
        lambda: ("noted", {"text": "x"}),
    ]
    events = [random.choice(makers)() for _ in range(40)]
    shell.publish(*events)
    prints = [footprint(*event) for event in events]
    for at, mine in enumerate(prints):
        found = shell.json(f"/shop#e{at + 1}")
        earlier = [n for n in range(at) if conflicts(prints[n], mine)]
        assert positions(found) == [n + 1 for n in reversed(earlier)]
        assert found["followers"] == sum(conflicts(other, mine) for other in prints[at + 1 :])
        assert found["status"] == "waiting"


def footprint(type_: str, data: dict[str, Any]) -> Footprint:
    """The footprints of SHOP, written a second time."""
    if type_ == "order_created":
        adds = [Access(f"stock/{sku}", ADD) for sku in data["skus"]]
        return (Access(f"customer/{data['customer_id']}", READ), Access(f"order/{data['order_id']}", WRITE), *adds)
    if type_ == "payment_processed":
        return (Access(f"order/{data['order_id']}", WRITE),)
    return (Access(f"stock/{data['sku']}", WRITE),) if type_ == "restocked" else ()


def test_no_more_is_looked_at_than_a_worker_would_admit(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.publish(*(paid(1) for _ in range(9)))
    assert shell.json("e5")["complete"] is True
    monkeypatch.setenv("COMMUTE_DESCRIPTORS_MAX", "2")
    found = shell.json("e5")
    assert (positions(found), found["followers"], found["complete"]) == ([4, 3], 2, False)
    monkeypatch.delenv("COMMUTE_DESCRIPTORS_MAX")
    assert "and 3 earlier events, down to payment_processed e1" in shell("e9")


async def test_beside_a_worker_each_blocker_is_said_to_do_what_it_does(shell: Shell) -> None:
    shell.publish(
        order(42), paid(42), paid(42), order(13), paid(13), paid(13), order(7), paid(7), paid(8),
        ("noted", {"text": "x"}), ("heart.beat", {}), ("unheard_of", {}), ("order_created", {"order_id": "x"}),
    )  # fmt: skip
    twice = Message("e9", "/shop", "payment_processed", 1.0, b'{"order_id": 99}')  # other bytes than the first e9
    shell.app.log.send_sync([twice])
    gate: asyncio.Event = sys.modules[shell.target[:-4]].gate
    async with shell.app.running():
        found = await until(lambda: shell.json("e8"), lambda f: [b["state"] for b in f["waits_for"]] == ["running"])
        assert found["waits_for"][0]["handlers"] == ["reserve"]
        found = await until(
            lambda: shell.json("e6"), lambda f: [b["state"] for b in f["waits_for"]] == ["held", "parked"]
        )
        assert found["status"] == "held"
        assert found["worker"] is True
        (waited,) = (await until(lambda: shell.json("e2"), lambda f: f["waits_for"][0]["attempt"] is not None))[
            "waits_for"
        ]
        assert waited["state"] == "retrying"
        assert waited["attempt"]["attempt"] == 2
        assert waited["attempt"]["attempts_max"] == 12
        text = await asyncio.to_thread(shell, "e2")
        assert "order/42 (write)  <- order_created e1, reserve: retrying, attempt 2 of 12 at" in text
        assert "TimeoutError: psp\\x1b[31m.example" in text
        assert "and 1 later event waits for it" in text
        assert "waits for no other event. reserve is retrying" in await asyncio.to_thread(shell, "e1")
        assert "parked, no tea" in await asyncio.to_thread(shell, "e5")
        assert "commute dead retry" in await asyncio.to_thread(shell, "e4")
        for done in ("e9", "e10"):  # what depends on none of these has not waited
            await until(lambda done=done: shell.json(done), lambda f: f["status"] == "processed")  # type: ignore[misc]
        assert "processed: passed over" in await asyncio.to_thread(shell, "e11")
        await until(lambda: shell.app.desk.state("e9", 14).status, lambda status: status == "rejected")
        found = await asyncio.to_thread(shell.json, "e9")
        assert (found["event"]["position"], found["status"]) == (9, "processed")  # the first one of that id
        assert "rejected" in await asyncio.to_thread(shell, "e12")
        assert "rejected" in await asyncio.to_thread(shell, "e13")
        assert "touches nothing" in await asyncio.to_thread(shell, "e13", "e1")
        gate.set()
        await until(lambda: shell.json("e8"), lambda f: f["status"] == "processed")
    after = shell.json("e3")
    assert (positions(after), after["worker"]) == ([2, 1], False)
    assert [b["state"] for b in after["waits_for"]] == ["waiting", "retrying"]
    assert "no worker runs: commute run" in shell("e3")


# Names of events


def test_an_event_is_named_by_a_beginning_or_its_source_and_wrong_names_are_told(shell: Shell) -> None:
    assert "not-reachable" in shell("e1", status=3)
    shell.publish(order(1), order(2))
    shell.publish(*(paid(n) for n in range(9)), source="https://web.example/2")
    assert shell.json("e1", status=0)["event"]["position"] == 1  # e10 and e11 begin so too: the exact one counts
    assert "means many events: /shop#e1, " in shell("e", status=2)
    shell.app.log.send_sync([Message("e1", "/other", "payment_processed", 1.0, b'{"order_id": 1}')])
    assert "/other#e1, /shop#e1" in shell("e1", status=2)
    assert shell.json("/other#e1")["event"]["position"] == 12
    found = shell.json("https://web.example/2#e3")
    assert (found["event"]["position"], found["event"]["source"]) == (3, "https://web.example/2")
    shell.app.log.send_sync([Message("e2", "/shop", "payment_processed", 1.0, b'{"order_id": 5}')])
    assert shell.json("e2")["event"]["position"] == 2  # an id that was used twice is the first one's


def test_what_is_not_there_is_no_and_wrong_use_is_refused(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.publish(order(1))
    assert "is not in stream events" in shell("nothing", status=1)
    assert shell.json("e1", "nothing", status=1) == {"event": "nothing", "status": "unknown"}
    assert shell.json("01BX5ZZKBKACTAV9WEVGEMMVRZ", status=1)["status"] == "too old"
    assert "no more than two events" in shell("e1", "e1", "e1", status=2)
    assert "did you mean order_created?" in shell("order_craeted", "{}", status=2)
    assert "invalid-data" in shell(*given(("payment_processed", {"order_id": "x"})), status=2)
    assert "is no event" in shell("#", status=2)
    main = make_main()
    done = CliRunner().invoke(main, ["explain", "sqlite:///shop.db", "e1"])
    assert (done.exit_code, "give MODULE:APP" in done.output) == (2, True)
    monkeypatch.setenv("COMMUTE_APP", shell.target)
    done = CliRunner().invoke(main, ["explain", "/shop#e1"])
    assert (done.exit_code, "position 1" in done.output) == (0, True)
    assert "database-in-memory" in shell("e1", "--broker", "memory://", status=2)


# Lines of a log file


def log(*events: tuple[str, dict[str, object]]) -> str:
    """JSON lines, the latest event on the first line."""
    count = len(events)
    rows = [
        {"id": f"r{n}", "type": type_, "ts": f"2026-01-01T00:00:{count - n:02}Z", **data}
        for n, (type_, data) in enumerate(events, 1)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_line_of_a_log_is_an_event_and_no_broker_file_is_needed(shell: Shell) -> None:
    (shell.folder / "orders.jsonl").write_text(log(paid(1), order(1, 5, "tea"), paid(2)))
    text = shell("orders.jsonl:1", "orders.jsonl:2")
    assert text.startswith("order_created r2 (orders.jsonl:2) and payment_processed r1 (orders.jsonl:1): dependent")
    assert "so the later one starts after the earlier one" in text  # earlier by time, not by line or by word
    assert "order/1" in text and "conflict: a write goes with nothing" in text
    found = shell.json("orders.jsonl:3", "orders.jsonl:2")
    assert (found["dependent"], [one["line"] for one in found["events"]]) == (
        False,
        ["orders.jsonl:3", "orders.jsonl:2"],
    )
    assert "both are the same event" in shell("orders.jsonl:1", "orders.jsonl:1")
    one = shell("orders.jsonl:2")
    assert one.startswith("order_created r2 (orders.jsonl:2) touches")
    assert all(key in one for key in ("customer/5 (read)", "order/1 (write)", "stock/tea (add)"))
    assert not list(shell.folder.glob("*.db*"))


def test_a_line_can_be_held_against_an_event_of_the_broker_or_one_as_given(shell: Shell) -> None:
    (shell.folder / "log").write_text("id,type,ts,sku\n1,restocked,1,tea\n2,restocked,2,sugar\n")  # CSV, by content
    shell.publish(order(1, 1, "tea"))
    text = shell("log:2", "e1")
    assert text.startswith("order_created e1 (position 1) and restocked 1 (log:2): dependent")
    assert "independent" in shell("log:3", "e1")
    assert "restocked 1 (log:2) and order_created as given: dependent" in shell("log:2", *given(order(9, 9, "tea")))
    done = CliRunner().invoke(make_main(), ["explain", shell.target, "--", "-:1", "-:2"], input=log(paid(1), paid(1)))
    assert (done.exit_code, "(-:2) and payment_processed r1 (-:1): dependent" in done.output) == (0, True), done.output


def test_a_log_is_read_as_the_options_say(shell: Shell) -> None:
    (shell.folder / "log.csv").write_text("id;what;at;sku\n1;restocked;1;tea\n2;restocked;2;sugar\n")
    assert "stock/tea (add)" in shell("log.csv:2", "--type-field", "what", "--time-field", "at", "--delimiter", ";")
    assert "no handler takes" in shell("log.csv:2", "--type-field", "id", status=2)
    assert "go with an event of a log" in shell(*given(paid(1)), "--type-field", "what", status=2)


def test_a_log_that_is_not_there_is_named_and_not_the_store(shell: Shell) -> None:
    for path in ("logs/orders.jsonl:3", "logs/orders.dat:3", "./logs/orders:3"):
        told = shell(path, status=2)
        assert "error[bad-log]" in told and path[:-2] in told
        assert ".db" not in told


def test_the_events_of_another_log_are_counted(shell: Shell) -> None:
    events = {
        f"x{n}": {"ocel:activity": "restocked", "ocel:timestamp": f"2026-01-0{n}", "ocel:omap": [], "ocel:vmap": data}
        for n, data in enumerate(({"sku": "tea"}, {"sku": "salt"}), 1)
    }
    document = {"ocel:global-log": {}, "ocel:objects": {}, "ocel:events": events}
    (shell.folder / "cases.jsonocel").write_text(json.dumps(document))
    assert "stock/salt (add)" in shell("cases.jsonocel:2")


def test_a_line_that_is_no_event_is_told_and_an_id_may_look_like_one(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shell.folder / "orders.jsonl").write_text(
        log(paid(1)) + "{ not json\n" + log(("payment_processed", {"order_id": "x"}), ("order_craeted", {}))
    )
    assert "orders.jsonl:2 is no event: line 2: " in shell("orders.jsonl:2", status=1)
    assert "orders.jsonl:9 is no event: the log has 3 events" in shell("orders.jsonl:9", status=1)
    found = shell.json("orders.jsonl:9", status=1)
    assert (found["event"], found["status"]) == ("orders.jsonl:9", "unknown")
    told = shell("orders.jsonl:3", status=2)
    assert "error[invalid-data] orders.jsonl:3: expected int, got str at $.order_id" in told
    assert "did you mean order_created?" in shell("orders.jsonl:4", status=2)
    assert "error[bad-log]" in shell("order.jsonl:1", status=2)
    monkeypatch.setenv("COMMUTE_APP", shell.target)
    done = CliRunner().invoke(make_main(), ["explain", "orders.jsonl:1"])
    assert (done.exit_code, "order/1 (write)" in done.output) == (0, True), done.output
    shell.app.log.send_sync([Message("web:17", "/shop", "payment_processed", 1.0, b'{"order_id": 1}')])
    assert shell.json("web:17")["event"]["position"] == 1
