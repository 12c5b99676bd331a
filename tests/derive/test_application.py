"""`derive=True` in an app: who gets a derived footprint, what it is like, and what is said of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from commute import App, Context, Event, Router, UsageError
from commute.inference import Inference
from commute.testing import assert_commutes, assert_conflict, assert_independent, run

TABLES = (
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, status TEXT)",
    "CREATE TABLE stock(sku TEXT PRIMARY KEY, quantity INTEGER)",
    "CREATE TABLE mail(address TEXT PRIMARY KEY COLLATE NOCASE, n INTEGER)",
)


class Created(Event):
    order_id: int
    skus: list[str]


class Paid(Event):
    order_id: int


class Mailed(Event):
    address: str


def put(app: App[Any] | Router[Any], **options: Any) -> None:
    @app.on(Created, **options)
    async def create(event: Created, ctx: Context) -> None:
        await asyncio.sleep(0.01)
        async with ctx.transaction() as tx:
            tx.execute("INSERT INTO orders VALUES(?, 'new')", (event.order_id,))
            for sku in event.skus:
                tx.execute("UPDATE stock SET quantity = quantity - 1 WHERE sku = ?", (sku,))

    @app.on(Paid, **options)
    async def pay(event: Paid, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE orders SET status = 'paid' WHERE id = ?", (event.order_id,))


def modes(app: App[Any]) -> dict[str, dict[str, str]]:
    return {
        handler.name: {mode: event.declared.shown(mode) for mode in event.declared.modes}
        for handler in app.handlers
        for event in handler.events
    }


@pytest.mark.parametrize("where", ["app", "handler", "router"])
def test_a_footprint_is_derived_where_it_is_asked_for(where: str) -> None:
    app: App[Any] = App("derived", "memory://", derive=where == "app")
    if where == "router":
        router: Router[Any] = Router(derive=True)
        put(router)
        app.include(router)
    else:
        put(app, **({"derive": True} if where == "handler" else {}))
    assert modes(app) == {
        "create": {"write": "orders/{order_id}", "add": "stock/{skus.*}"},
        "pay": {"write": "orders/{order_id}"},
    }
    first, other = Created(order_id=1, skus=["tea"]), Created(order_id=2, skus=["tea"])
    assert_independent(app, first, other)
    assert_conflict(app, first, Paid(order_id=1), on="orders/1")
    assert_commutes(app, [first, other], tables=TABLES)


def test_nothing_is_derived_where_it_is_not_asked_for_or_declared() -> None:
    app: App[Any] = App("plain", "memory://")
    put(app)
    assert all(event.declared.everything for handler in app.handlers for event in handler.events)
    app = App("declared", "memory://", derive=True)
    put(app, writes="all")
    assert modes(app) == {"create": {"write": "all"}, "pay": {"write": "all"}}


def test_who_only_publishes_derives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    app: App[Any] = App("producer", "memory://", derive=True)
    put(app)
    asked: list[str] = []
    derived = Inference.derived

    def counted(self: Inference, app: App[Any], given: Any) -> Any:
        asked.append(app.name)
        return derived(self, app, given)

    monkeypatch.setattr(Inference, "derived", counted)
    with closing(app):
        app.publish_sync(Created(order_id=1, skus=["tea"]))
        assert app.message("created", b'{"order_id": 2, "skus": []}').type == "created"
    assert asked == []
    assert not any(event.declared.everything for handler in app.handlers for event in handler.events)
    assert asked == ["producer"]


def test_a_derived_app_runs_in_parallel_and_in_order() -> None:
    app: App[Any] = App("runs", "memory://", derive=True)
    put(app)
    events = [*(Created(order_id=n, skus=["tea"]) for n in range(6)), *(Paid(order_id=n) for n in range(6))]
    result = run(app, events, tables=(*TABLES, "INSERT INTO stock VALUES('tea', 10)"), concurrency=4)
    assert not result.dead
    assert result.concurrency_max == 4
    assert result.tables["orders"] == [(n, "paid") for n in range(6)]
    assert result.tables["stock"] == [("tea", 4)]


def test_keys_compare_as_their_column_does() -> None:
    app: App[Any] = App("case", "memory://", derive=True)

    @app.on(Mailed)
    async def mail(event: Mailed, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE mail SET n = n * 2 WHERE address = ?", (event.address,))

    assert_conflict(app, Mailed(address="A@x"), Mailed(address="a@X"))
    assert_independent(app, Mailed(address="a@x"), Mailed(address="b@x"))


def test_a_table_that_a_declared_handler_names_otherwise_is_everything() -> None:
    app: App[Any] = App("mixed", "memory://")

    @app.on(Paid, writes="o/{order_id}")
    async def pay(event: Paid, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE orders SET status = 'paid' WHERE id = ?", (event.order_id,))

    @app.on(Created, derive=True)
    async def create(event: Created, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("INSERT INTO orders VALUES(?, 'new')", (event.order_id,))

    assert_conflict(app, Created(order_id=1, skus=[]), Paid(order_id=2))
    app.tables["orders"] = "o"
    app.trust("nothing.at_all")  # what was derived is derived anew
    assert_conflict(app, Created(order_id=1, skus=[]), Paid(order_id=1), on="o/1")
    assert_independent(app, Created(order_id=1, skus=[]), Paid(order_id=2))


SEEN: list[int] = []
hidden: dict[str, Any] = {}
exec("def tell(number):\n    pass", hidden)
tell = hidden["tell"]
tell.__module__ = "outside"


def outside(number: int) -> None:
    tell(number)


def test_trust_and_declared_accesses_stand_for_what_cannot_be_followed() -> None:
    def make() -> App[Any]:
        app: App[Any] = App("trust", "memory://", derive=True)

        @app.on(Paid)
        async def pay(event: Paid) -> None:
            outside(event.order_id)

        return app

    assert_conflict(make(), Paid(order_id=1), Paid(order_id=2))
    trusting = make()
    trusting.trust("outside.tell")
    assert_independent(trusting, Paid(order_id=1), Paid(order_id=1))
    declaring = make()
    declaring.accesses(writes="outside/{number}")(outside)
    assert_conflict(declaring, Paid(order_id=1), Paid(order_id=1), on="outside/1")
    assert_independent(declaring, Paid(order_id=1), Paid(order_id=2))


def test_derive_is_a_yes_or_a_no() -> None:
    app: App[Any] = App("wrong", "memory://")
    with pytest.raises(UsageError, match="derive='yes'"):
        put(app, derive="yes")


MODULE = """
from contextlib import asynccontextmanager
from commute import App, Context, Event

class Paid(Event):
    order_id: int

@asynccontextmanager
async def lifespan():
    async with app.transaction() as tx:
        tx.execute("CREATE TABLE IF NOT EXISTS orders(id INTEGER PRIMARY KEY, status TEXT)")
    yield

app = App("told", lifespan=lifespan{derive})

@app.on(Paid)
async def pay(event: Paid, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("UPDATE orders SET status = 'paid' WHERE id = ?", (event.order_id,))

@app.on(Paid)
async def audit(event: Paid, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("SELECT count(*) FROM orders WHERE status = 'paid'")
"""


def commute(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "commute", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_people_are_told_what_was_derived_where_and_why_it_is_coarse(tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text(MODULE.replace("{derive}", ", derive=True"))
    found = commute(tmp_path, "explain", "told:app")
    assert found.returncode == 0, found.stderr
    assert "orders/{order_id}" in found.stdout
    assert "told.py:19" in found.stdout
    assert "select of orders by status, whose rows are told apart by id" in found.stdout
    assert "derived" in found.stdout
    document = json.loads(commute(tmp_path, "explain", "told:app", "--json").stdout)
    (pay, audit) = (handler["derived"] for handler in document["handlers"])
    assert pay["accesses"][0]["key"] == "orders/{order_id}"
    assert audit["accesses"][0]["coarse_because"]


def test_without_derive_the_line_to_paste_is_printed(tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text(MODULE.replace("{derive}", ""))
    found = commute(tmp_path, "explain", "told:app", "--declare")
    assert '@app.on(Paid, writes="orders/{order_id}")' in found.stdout
    assert '@app.on(Paid, reads="orders")' in found.stdout
