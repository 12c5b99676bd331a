"""SQLAlchemy's inspector: the schema is read, and who changes it waits."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from commute import App, Event
from commute.derive.application import Derived

engine = sa.create_engine("sqlite://")
metadata = sa.MetaData()
vat = sa.Table("vat", metadata, sa.Column("id", sa.String, primary_key=True), sa.Column("level", sa.Integer))


class Filled(Event):
    vat: str


def is_there(event: Filled) -> None:
    if sa.inspect(engine).has_table("vat"):
        with engine.begin() as connection:
            connection.execute(vat.update().where(vat.c.id == event.vat).values(level=1))


def of_a_connection(event: Filled) -> None:
    with Session(engine) as session:
        if "vat" in sa.inspect(session.connection()).get_table_names():
            session.execute(vat.update().where(vat.c.id == event.vat).values(level=1))


def by_columns(event: Filled) -> None:
    for column in sa.inspect(engine).get_columns("vat"):
        print(column["name"], event)


def another_table(event: Filled) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE IF NOT EXISTS vat (id TEXT PRIMARY KEY)"))
    print(event)


def dropped(event: Filled) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE vat"))
    print(event)


def unknown_question(event: Filled) -> None:
    sa.inspect(engine).reflect_table(vat, None)
    print(event)


def derived(*functions: Any) -> Derived:
    app: App[Any] = App("vats", "memory://", derive=True)
    for function in functions:
        app.on(Filled)(function)
    found = app.derived()
    assert isinstance(found, Derived)
    return found


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (is_there, ["read schema", "write vat/{vat}"]),
        (of_a_connection, ["read schema", "write vat/{vat}"]),
        (by_columns, ["read schema"]),
    ],
)
def test_who_asks_the_inspector_reads_the_schema(function: Any, expected: list[str]) -> None:
    (one,) = derived(function).found.values()
    assert not one.everything, one.everything
    assert sorted(f"{key.mode} {key}" for key in one.keys) == expected


def test_who_makes_a_table_waits_for_who_reads_the_schema() -> None:
    (one,) = derived(another_table).found.values()
    assert not one.everything, one.everything
    assert sorted(f"{key.mode} {key}" for key in one.keys) == ["add schema", "write vat"]


@pytest.mark.parametrize("function", [dropped, unknown_question])
def test_what_changes_the_schema_otherwise_is_everything(function: Any) -> None:
    (one,) = derived(function).found.values()
    assert one.everything
