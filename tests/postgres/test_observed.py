"""Blocks of the store on PostgreSQL are held to footprints, and what the store itself writes is not a handler's."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from commute import App, Context, Event, Retry
from commute.observe.watch import watching
from tests.postgres.server import Server


class Sent(Event):
    order_id: int
    ref: str


@pytest.mark.parametrize("blocking", [False, True])
async def test_blocks_are_seen_before_their_statements_run(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, *, blocking: bool
) -> None:
    caplog.set_level(logging.CRITICAL, "commute")
    server.run("create table {s}.orders (id int primary key, ref text unique, status text)")
    server.run("create table {s}.goods (id int primary key, stock int)")
    server.run("insert into {s}.orders values (1, 'r-1', 'new'), (2, 'r-2', 'new')")
    server.run("insert into {s}.goods values (1, 0), (2, 0)")
    app: App[Any] = App("seen", f"sqlite:///{tmp_path}/log.db", db=server.own_tables)

    def use(tx: Any, event: Sent) -> None:
        tx.execute("update orders set status = 'sent' where ref = :ref", {"ref": event.ref})
        if event.order_id == 2:
            tx.execute("update goods set stock = stock + ? where id = ?", (1, event.order_id))

    options: dict[str, Any] = {
        "writes": "order/{order_id}", "retry": Retry(attempts=1), "on_exhausted": "skip",
    }  # fmt: skip
    if blocking:

        @app.on(Sent, **options)
        def send(event: Sent, ctx: Context) -> None:
            with ctx.transaction() as tx:
                use(tx, event)

    else:

        @app.on(Sent, **options)
        async def send_soon(event: Sent, ctx: Context) -> None:
            async with ctx.transaction() as tx:
                use(tx, event)

    with watching(app, refuse=True, keep=True) as watch:
        async with app, app.running():
            for order_id in (1, 2):
                receipt = await app.publish(Sent(order_id=order_id, ref=f"r-{order_id}"))
                await receipt.outcome(timeout_s=30)
    assert [(one.access.mode, one.access.key) for one in watch.undeclared] == [("add", "goods/2")]
    assert {one.key for one in watch.observed} == {"order/1", "order/2", "goods/2"}
    assert server.rows("select status from {s}.orders order by id") == [("sent",), ("new",)]
    assert server.rows("select sum(stock) from {s}.goods") == [(0,)]
