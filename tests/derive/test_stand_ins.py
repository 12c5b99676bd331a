"""Pools of threads and stacks of contexts: what they are given runs, and what is entered is left at the end."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import sqlite3
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from commute import App, Event
from commute.derive.application import Derived

TABLE = "CREATE TABLE kite (id TEXT PRIMARY KEY, height INTEGER)"
connection = sqlite3.connect(":memory:", check_same_thread=False)
pool = ThreadPoolExecutor(2)
place: ContextVar[str] = ContextVar("place", default="park")


LOGGER = logging.getLogger("kites")


class Flown(Event):
    kite: str
    other: str = ""
    kites: list[str] = []  # noqa: RUF012 - of msgspec's


def lift(kite: str) -> str:
    connection.execute("UPDATE kite SET height = 9 WHERE id = ?", (kite,))
    return kite


def mapped(event: Flown) -> None:
    with ThreadPoolExecutor(4) as own:
        list(own.map(lift, event.kites))


def handed_in(event: Flown) -> None:
    futures = {pool.submit(lift, kite): kite for kite in event.kites}
    for future in as_completed(futures):
        lift(futures[future])


def a_result(event: Flown) -> None:
    done, _ = wait([pool.submit(lambda: event.other)])
    for future in done:
        lift(future.result())


def called_back(event: Flown) -> None:
    pool.submit(lambda: event.kite).add_done_callback(lambda future: lift(future.result()) and None)


def in_no_context_of_ours(event: Flown) -> None:
    place.set(event.kite)
    pool.submit(lambda: lift(place.get())).result()


def failing(event: Flown) -> None:
    def fails() -> str:
        lift(event.kite)
        raise ValueError(event.kite)

    pool.submit(fails)
    lift(event.other)


class Tied:
    def __init__(self) -> None:
        self.kites: list[str] = []

    def __enter__(self) -> Tied:
        return self

    def __exit__(self, *_: object) -> None:
        for kite in self.kites:
            lift(kite)


@contextmanager
def tied() -> Generator[list[str]]:
    kites: list[str] = []
    yield kites
    for kite in kites:
        lift(kite)


@contextmanager
def opened() -> Generator[sqlite3.Connection]:
    own = sqlite3.connect(":memory:")
    try:
        yield own
    finally:
        own.close()


def left_at_the_end(event: Flown) -> None:
    with ExitStack() as stack:
        stack.enter_context(Tied()).kites.append(event.kite)


def closed(event: Flown) -> None:
    with ExitStack() as stack:
        one, two = stack.enter_context(opened()), stack.enter_context(contextlib.closing(sqlite3.connect(":memory:")))
        one.execute("DELETE FROM kite WHERE id = ?", (event.kite,))
        two.execute("DELETE FROM kite WHERE id = ?", (event.other,))


def called_at_the_end(event: Flown) -> None:
    stack = ExitStack()
    stack.callback(lift, event.kite)
    stack.close()


def behind_a_yield(event: Flown) -> None:
    with ExitStack() as stack:
        stack.enter_context(tied()).append(event.kite)


def entered_by_hand(event: Flown) -> None:
    context = tied()
    context.__enter__().append(event.kite)
    context.__exit__(None, None, None)


@contextlib.contextmanager
def logged() -> Iterator[Any]:
    """A session as services make it: what comes is logged, undone and raised again."""
    own = sqlite3.connect(":memory:")
    try:
        yield own
        if not own.in_transaction:
            own.commit()
    except sqlite3.Error:
        LOGGER.exception("undone: %s", own)
        own.rollback()
        raise
    finally:
        own.close()


def entered_by_hand_and_logged(event: Flown) -> None:
    context = logged()
    own = context.__enter__()
    own.execute("DELETE FROM kite WHERE id = ?", (event.kite,))
    context.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (entered_by_hand_and_logged, {"x"}),
        (mapped, {"a", "b"}),
        (handed_in, {"a", "b"}),
        (a_result, {"y"}),
        (called_back, {"x"}),
        (failing, {"x", "y"}),
        (left_at_the_end, {"x"}),
        (closed, {"x", "y"}),
        (called_at_the_end, {"x"}),
    ],
)
def test_what_is_handed_over_is_in_the_footprint(function: Callable[[Flown], None], expected: set[str]) -> None:
    app, one = derived(function)
    assert not one.everything, one.everything
    footprint = app.handlers[0].events[0].declared.footprint(Flown(kite="x", other="y", kites=["a", "b"]))
    assert {access.key.removeprefix("kite/") for access in footprint} == expected


def test_a_thread_has_no_variables_of_the_handlers_context() -> None:
    app, one = derived(in_no_context_of_ours)
    footprint = app.handlers[0].events[0].declared.footprint(Flown(kite="x"))
    assert one.everything or {access.key for access in footprint} & {"kite", "kite/park"}


@pytest.mark.parametrize("function", [behind_a_yield, entered_by_hand])
def test_what_comes_behind_a_yield_later_is_not_guessed(function: Callable[[Flown], None]) -> None:
    assert derived(function)[1].everything


def derived(function: Callable[[Flown], None]) -> tuple[App[Any], Any]:
    app: App[Any] = App("kites", "memory://", derive=True)
    app.on(Flown)(function)
    found = app.derived()
    assert isinstance(found, Derived)
    (one,) = found.found.values()
    return app, one


def written_as_a_table(event: Flown) -> None:
    buffer = io.StringIO()
    rows = connection.execute("SELECT * FROM kite").fetchall()
    writer = csv.writer(buffer)
    writer.writerow(["id", "height"])
    writer.writerows(rows)
    print(buffer.getvalue())


class Lifts:
    """Takes what is written to it for the names of kites."""

    def write(self, kite: str) -> None:
        connection.execute("UPDATE kite SET height = 9 WHERE id = ?", (kite,))


def written_to_an_object(event: Flown) -> None:
    csv.DictWriter(Lifts(), ["id"]).writerow({"id": event.kite})


class Sky:
    """Asks the database whether a kite is up."""

    def __contains__(self, kite: str) -> bool:
        return connection.execute("SELECT 1 FROM kite WHERE id = ?", (kite,)).fetchone() is not None


sky = Sky()


def asked_with_in(event: Flown) -> None:
    if event.kite not in sky:
        connection.execute("DELETE FROM kite WHERE id = ?", (event.kite,))


def test_what_writers_of_tables_and_in_call() -> None:
    app: App[Any] = App("kites", "memory://", derive=True)
    for function in (written_as_a_table, written_to_an_object, asked_with_in):
        app.on(Flown)(function)
    found = {
        handler.name: {(access.mode, access.key) for access in handler.events[0].declared.footprint(Flown(kite="k"))}
        for handler in app.handlers
    }
    assert found["written_as_a_table"] == {("read", "kite")}
    assert ("write", "kite") in found["written_to_an_object"]
    assert found["asked_with_in"] == {("write", "kite/k")}
