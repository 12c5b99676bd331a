"""What could not be followed names a line that helps: with it in the application, the handler is followed."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import pytest

from commute import App, Event
from commute.cli.derivation import REASONS_SHOWN_MAX, provenance_lines


class Seen(Event):
    id: int


class Shop:
    """Its methods ask things by names that nobody knows before they run."""

    word = "id"

    def asks(self, event: Seen) -> object:
        return getattr(event, input())

    def through_another(self, event: Seen) -> object:
        return self.asks(event)

    def inside(self, event: Seen) -> object:
        def inner() -> object:
            for one in globals()[input()]:
                one.run(event)
            return None

        return inner()


def loops(event: Seen) -> object:
    return [one.run(event) for one in globals()[input()]]


def of_a_context(_event: Seen) -> str:
    return copy_context().run(str)


@contextmanager
def opened() -> Generator[object]:
    yield open


def in_a_with(event: Seen) -> object:
    with opened():
        return getattr(event, input())


shop = Shop()
connection = sqlite3.connect(":memory:", check_same_thread=False)
connection.execute("CREATE TABLE seen (id INTEGER PRIMARY KEY)")


def touches(event: Seen) -> object:
    connection.execute("INSERT INTO seen (id) VALUES (?)", (event.id,))
    return getattr(event, input())


def touches_through(event: Seen) -> object:
    writes(event)
    return getattr(event, input())


def writes(event: Seen) -> None:
    connection.execute("INSERT INTO seen (id) VALUES (?)", (event.id,))


def first_imported(event: Seen) -> object:
    import this  # nobody has it loaded: it prints a poem

    return this.d[str(event.id)]


TRUST = re.compile(r'app\.trust\("([\w.]+)"\)')


def reasons(body: Any, trusted: list[str]) -> list[Any]:
    app: App[Any] = App("shop", "memory://", derive=True)
    app.trust(*trusted)

    @app.on(Seen)
    def see(event: Seen) -> None:
        body(event)

    found = app.derived()
    assert found is not None
    return list(found.found[app.handlers[0].name, app.handlers[0].events[0].type].everything)


@pytest.mark.parametrize("body", [shop.through_another, shop.inside, loops, of_a_context, in_a_with])
def test_the_lines_that_are_named_help(body: Any) -> None:
    found = reasons(body, [])
    assert found
    names = [match for one in found for match in TRUST.findall(one.remedy)]
    assert names, found
    assert not any(name.endswith(".opened") for name in names), "it does not touch what is done in its body"
    assert reasons(body, names[:1]) == []


@pytest.mark.parametrize("body", [touches, touches_through])
def test_what_touches_something_is_not_to_be_trusted(body: Any) -> None:
    found = reasons(body, [])
    assert found
    for one in found:
        assert "app.trust" not in one.remedy
        assert one.remedy.endswith(f"app.accesses(writes=...)({__name__}.{body.__name__})")


def test_a_module_that_is_not_there_yet_is_to_be_imported() -> None:
    (first, *_) = reasons(first_imported, [])
    assert first.remedy.startswith("`import this` where the app is made")


def test_of_many_reasons_the_first_ones_are_shown_and_each_remedy_once() -> None:
    app: App[Any] = App("shop", "memory://", derive=True)

    def asks_much(event: Seen) -> object:
        found: list[object] = [getattr(event, input()), getattr(event, input()), globals()[input()]]
        found += [getattr(event, input()), getattr(event, input())]
        return [*found, getattr(event, input()), getattr(event, input())]

    @app.on(Seen)
    def seen(event: Seen) -> None:
        asks_much(event)
        asks_much(event)

    found = app.derived()
    assert found is not None
    reasons = found.found["seen", "seen"].everything
    assert len(reasons) > REASONS_SHOWN_MAX
    lines = [line for line in provenance_lines(app) if "EVERYTHING" in line]
    assert len(lines) == REASONS_SHOWN_MAX + 1
    assert lines[-1].endswith(
        f"{len(reasons) - REASONS_SHOWN_MAX} more reasons, often for one of those above: --json has all"
    )
    for remedy in {one.remedy for one in reasons if one.remedy}:
        assert sum(remedy in line for line in lines) <= 1
    assert any(one.remedy and one.remedy in line for one in reasons for line in lines)
