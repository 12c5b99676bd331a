"""apsw: the application's connections are traced, those of the store are not, and traces of its own are kept."""

from __future__ import annotations

import logging
from typing import Any

import apsw
import pytest

from commute import App, Context
from commute.embedded.database import connect_writer
from commute.errors import UndeclaredAccessError
from commute.observe.watch import watching
from commute.testing import run, sanitizing
from tests.observe.planted import DDL, ROWS, Changed


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "commute")


def filled() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.execute(";".join((*DDL, *ROWS)))
    return connection


def taking(connection: apsw.Connection, **options: Any) -> App[Any]:
    app: App[Any] = App("planted", "memory://")

    @app.on(Changed, **options)
    def change(event: Changed) -> None:
        connection.execute("SELECT 1; UPDATE goods SET stock = 1 WHERE sku = :sku", {"sku": event.sku}).fetchall()
        connection.executemany("DELETE FROM goods WHERE sku = ?", [(event.other,)])

    return app


def test_each_statement_of_a_text_and_each_row_is_refused_before_it_happens() -> None:
    connection = filled()
    before = connection.total_changes()
    with pytest.raises(UndeclaredAccessError, match=r"^change writes goods/tea "):
        run(taking(connection, reads="goods/{sku}"), [Changed()], sanitize=True)
    assert connection.total_changes() == before
    with pytest.raises(UndeclaredAccessError, match=r"^change writes goods/mug "):
        run(taking(connection, writes="goods/{sku}"), [Changed()], sanitize=True)
    assert not run(taking(connection, writes=["goods/{sku}", "goods/{other}"]), [Changed()], sanitize=True).dead


def test_a_trace_of_the_applications_own_is_called_too_and_is_back_afterwards() -> None:
    connection = filled()
    traced: list[str] = []

    def own(_cursor: object, text: str, _given: object) -> bool:
        traced.append(text)
        return True

    connection.exec_trace = own
    with watching(taking(connection, writes="goods"), keep=True) as watch:
        run(taking(connection, writes="goods"), [Changed()])
    ours = [text for text in traced if "sqlite_schema" in text]  # inference has looked which tables there are
    assert [text.split()[0] for text in traced if text not in ours] == ["SELECT", "UPDATE", "DELETE"]
    assert {one.key for one in watch.observed} == {"goods/tea", "goods/mug"}
    assert connection.exec_trace is own


def test_nothing_is_left_behind_and_the_store_is_let_alone() -> None:
    app: App[Any] = App("planted", "memory://")
    store = connect_writer(None)
    opened: list[apsw.Connection] = []

    @app.on(Changed, writes="goods/{sku}")
    async def change(event: Changed, ctx: Context) -> None:
        opened.append(apsw.Connection(":memory:"))
        assert opened[0].exec_trace is not None
        async with ctx.transaction() as tx:
            tx.execute("UPDATE goods SET stock = 1 WHERE sku = ?", (event.sku,))

    with sanitizing(app):
        assert store.exec_trace is None
        assert connect_writer(None).exec_trace is None
        assert not run(app, [Changed()], tables=(*DDL, *ROWS)).dead
    assert apsw.connection_hooks == []
    opened[0].execute("SELECT 1").fetchall()  # what it keeps looks at nothing any more
