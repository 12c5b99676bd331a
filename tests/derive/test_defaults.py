"""What stands in the code decides branches: a parameter that is not given has its default in every run."""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from commute import App, Event

connection = sqlite3.connect(":memory:", check_same_thread=False)
connection.execute("CREATE TABLE account (id TEXT PRIMARY KEY, n INTEGER)")
CLEVER = bool(connection.isolation_level)


class Paid(Event):
    id: str


@contextmanager
def opened(given: sqlite3.Connection | None = None) -> Generator[sqlite3.Connection]:
    """A session that is shared where there is one."""
    if isinstance(given, sqlite3.Connection) and CLEVER:
        yield given
    else:
        yield connection


def add(id: str, db: Any = None) -> None:
    with opened(db) as found:
        found.execute("UPDATE account SET n = 1 WHERE id = ?", (id,))


def listed(id: str, *, user: Any = None, limit: int = 0, mode: str = "one") -> None:
    if user and not user.is_owner:
        connection.execute(user.query)
    if limit:
        connection.execute(f"SELECT * FROM account LIMIT {limit}")
    if mode == "all" or mode in ("many", "most"):
        connection.execute("SELECT * FROM account")
    connection.execute("SELECT * FROM account WHERE id = ?", (id,))


def options(id: str, more: Sequence[Any] = [], names: dict[str, str] = {}) -> None:  # noqa: B006 - what is tested
    connection.execute("SELECT * FROM account WHERE id = ?", (id, *more), **names)


WAYS: list[tuple[Callable[[str], object], str]] = [
    (add, "write account/{id}"),
    (listed, "read account/{id}"),
    (options, "read account/{id}"),
]


@pytest.mark.parametrize(("way", "expected"), WAYS)
def test_what_is_not_given_is_not_there(way: Any, expected: str) -> None:
    app: App[Any] = App("shop", "memory://", derive=True)

    @app.on(Paid)
    def pay(event: Paid) -> None:
        way(event.id)

    found = app.derived()
    assert found is not None
    (one,) = found.found.values()
    assert one.everything == ()
    assert [f"{key.mode} {key}" for key in one.keys] == [expected]


class Reach(enum.Enum):
    ALL = True


def test_an_item_of_what_has_none_is_no_fault_of_inference() -> None:
    app: App[Any] = App("shop", "memory://", derive=True)

    @app.on(Paid)
    def pay(event: Paid) -> None:
        held = {"a": Reach.ALL, "b": {}}
        print(held["a"][connection])  # type: ignore[index]

    found = app.derived()
    assert found is not None
    (one,) = found.found.values()
    assert not [reason for reason in one.everything if "inference failed" in reason.why]
