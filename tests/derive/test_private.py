"""Private names of classes, which are others than they are written."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from commute import App, Event
from commute.derive.python.private import class_around
from commute.testing import sanitizing
from commute.verify.trial import Numbered, Scene, trial

connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
connection.execute("CREATE TABLE jar (id TEXT PRIMARY KEY, lid TEXT)")


class Opened(Event):
    jar: str
    other: str = "other"


class _Shelf:
    __table = "jar"

    def __init__(self, key: str) -> None:
        self.__key = key

    @staticmethod
    def __query() -> str:
        return f"SELECT * FROM {_Shelf.__table} WHERE id = ?"

    def look(self) -> list[Any]:
        return connection.execute(self.__query(), (self.__key,)).fetchall()


class Inner(_Shelf):
    """Its key is another attribute than that of the class above it."""

    def __init__(self, key: str, other: str) -> None:
        super().__init__(other)
        self.__key = key

    def take(self) -> None:
        def taken() -> str:
            return self.__key

        connection.execute("DELETE FROM jar WHERE id = ?", (taken(),))


class Kept:
    def __init__(self) -> None:
        self.__last = "first"

    def put(self, key: str) -> None:
        self.__last = key

    def take(self) -> None:
        connection.execute("DELETE FROM jar WHERE id = ?", (self.__last,))


kept = Kept()


def looks(event: Opened) -> None:
    _Shelf(event.jar).look()


def takes(event: Opened) -> None:
    Inner(event.jar, event.other).take()


def looks_at_the_other(event: Opened) -> None:
    Inner(event.jar, event.other).look()


def puts_and_takes(event: Opened) -> None:
    kept.put(event.jar)
    kept.take()


def app_of(*functions: Any) -> App[Any]:
    app: App[Any] = App("jars", "memory://", derive=True)
    for function in functions:
        app.on(Opened)(function)
    return app


def test_each_class_has_its_own() -> None:
    app = app_of(looks, takes, looks_at_the_other, puts_and_takes)
    found = [
        {access.key for access in handler.events[0].declared.footprint(Opened(jar="7"))} for handler in app.handlers
    ]
    assert found[:3] == [{"jar/7"}, {"jar/7"}, {"jar/other"}]
    assert any(key.startswith("state/") for key in found[3])


@pytest.mark.parametrize("function", [looks, takes, looks_at_the_other, puts_and_takes])
def test_what_runs_is_inside_of_what_is_read(function: Any) -> None:
    app = app_of(function)
    with sanitizing(app):
        trial(app, [Numbered("event-1", Opened(jar="7"))], Scene())


def test_the_class_around_a_function() -> None:
    assert class_around("f") == class_around("f.<locals>.g") == ""
    assert class_around("A.m") == class_around("A.m.<locals>.g") == class_around("f.<locals>.A.m") == "A"
    assert class_around("A.B.m") == "B"
