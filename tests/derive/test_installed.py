"""An application that is installed is followed as one: what its functions set is not what it was at import."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import commute
from commute import App, Event
from commute.derive.application import derive
from commute.derive.python import writers

STORAGE = """
from sqlalchemy import create_engine, text

pool = None


class Service:
    def __init__(self):
        self.engine = None

    def start(self):
        self.engine = create_engine("sqlite://")

    def count(self, number):
        if self.engine is not None:
            with self.engine.begin() as connection:
                connection.execute(text("UPDATE shelf SET n = n * 2 WHERE id = :id"), {"id": number})


service = Service()


def startup():
    global pool
    pool = create_engine("sqlite://")


def count(number):
    if pool is not None:
        with pool.begin() as connection:
            connection.execute(text("UPDATE shelf SET n = n * 2 WHERE id = :id"), {"id": number})
"""


class Counted(Event):
    number: int


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A package of two modules where libraries lie."""
    (tmp_path / "installed_shelf").mkdir()
    (tmp_path / "installed_shelf" / "__init__.py").write_text("")
    (tmp_path / "installed_shelf" / "storage.py").write_text(STORAGE)
    monkeypatch.syspath_prepend(tmp_path)
    folders = (*writers._installed(), tmp_path.resolve())
    monkeypatch.setattr(writers, "_installed", lambda: folders)
    writers.is_application.cache_clear()
    yield importlib.import_module("installed_shelf.storage")
    writers.is_application.cache_clear()
    for name in ("installed_shelf.storage", "installed_shelf"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("what", ["a global", "an attribute"])
def test_what_is_none_at_import_is_what_a_startup_makes_of_it(installed: Any, what: str) -> None:
    assert not writers.is_application(installed.__file__)

    def counted(event: Counted) -> None:
        installed.count(event.number) if what == "a global" else installed.service.count(event.number)

    app: App[Any] = App("shelf", "memory://")
    app.on(Counted, derive=True)(counted)
    found = derive(app.handlers, ddl=["CREATE TABLE shelf(id INTEGER PRIMARY KEY, n INTEGER)"])
    declared = found.declared(app.handlers[0], app.handlers[0].events[0]).declared
    assert any(access.key in ("*", "shelf", "shelf/7") and access.mode == "write"
               for access in declared.footprint(Counted(number=7)))  # fmt: skip


def test_what_is_installed_is_not_the_applications_and_this_library_is_not() -> None:
    assert not writers.is_application(pytest.__file__)
    assert not writers.is_application(writers.__file__)
    assert not writers.is_application(commute.__file__)
    assert writers.is_application(__file__)
