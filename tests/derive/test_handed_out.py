"""Objects that a class hands out itself, what is made where it is first asked for, and modules that are named."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import pytest
from sqlalchemy import Engine, StaticPool, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from commute import App, Event
from commute.derive.python.writers import is_application
from commute.testing import sanitizing
from commute.verify.trial import Numbered, Scene, trial

engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


class Base(DeclarativeBase):
    pass


class Crate(Base):
    __tablename__ = "crate"
    id: Mapped[int] = mapped_column(primary_key=True)
    room: Mapped[int]


class Opened(Event):
    id: int
    room: int


class Depot:
    """The only one."""

    _one: Depot | None = None
    _engine: Engine | None = None
    _sessions: scoped_session[Session] | None = None

    def __new__(cls) -> Self:
        if cls._one is None:
            cls._one = super().__new__(cls)
        return cls._one  # type: ignore[return-value]

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = create_engine("sqlite://", creator=engine.raw_connection, poolclass=StaticPool)
        return self._engine

    @property
    def session(self) -> scoped_session[Session]:
        if self._sessions is None:
            self._sessions = scoped_session(sessionmaker(bind=self.engine))
        return self._sessions


Depot()  # which opens its database later


class Counted:
    """One that is made anew each time, by a constructor of its own behind ``__new__``."""

    def __new__(cls, _id: int) -> Self:
        return super().__new__(cls)

    def __init__(self, id: int) -> None:
        self.id = id


class Other:
    def __new__(cls, id: int) -> int:  # type: ignore[misc]
        return id


def by_singleton(event: Opened) -> None:
    session = Depot().session
    session.execute(select(Crate).where(Crate.id == event.id)).all()
    session.remove()


def by_query(event: Opened) -> None:
    session = Depot().session
    session.query(Crate).filter(Crate.id == event.id).update({"room": event.room})
    session.commit()
    session.remove()


def by_constructor(event: Opened) -> None:
    with Session(engine) as session:
        session.get(Crate, Counted(event.id).id)


def by_another_class(event: Opened) -> None:
    with Session(engine) as session:
        session.get(Crate, Other(event.room))


def read(session: Session, id: int) -> None:
    session.get(Crate, id)


def by_module(event: Opened) -> None:
    with Session(engine) as session:
        importlib.import_module("tests.derive.test_handed_out").read(session, event.id)


@dataclass
class Change:
    room: int | None = None
    all: bool = False

    def perform(self, session: Session, id: int) -> None:
        statement = select(Crate)
        if not self.all:
            statement = statement.where(Crate.id == id)
        session.execute(statement).all()


def by_default(event: Opened) -> None:
    with Session(engine) as session:
        replace(Change(), room=event.room).perform(session, event.id)


def by_another_value(event: Opened) -> None:
    with Session(engine) as session:
        replace(Change(), all=True).perform(session, event.id)


KEPT = Change()


def by_what_others_change(event: Opened) -> None:
    with Session(engine) as session:
        KEPT.perform(session, event.id)


def changes(_event: Opened) -> None:
    KEPT.all = True


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (by_singleton, {"read crate/1"}),
        (by_query, {"write crate/1"}),
        (by_constructor, {"read crate/1"}),
        (by_another_class, {"read crate/7"}),
        (by_module, {"read crate/1"}),
        (by_default, {"read crate/1"}),
        (by_another_value, {"read crate"}),
    ],
)
def test_what_is_touched(function: Callable[[Opened], None], expected: set[str]) -> None:
    event = Opened(id=1, room=7)
    app = _app(function)
    Base.metadata.create_all(engine)
    with sanitizing(app):  # raises at the end
        trial(app, [Numbered("event-1", event)], Scene())
    footprint = app.handlers[0].events[0].declared.footprint(event)
    found = {f"{access.mode} {access.key}" for access in footprint}
    # Other tests may listen to all sessions of the process.
    assert {one for one in found if not one.split(" ")[1].startswith(("state/", "ledger/"))} == expected
    assert not any(one.startswith("write state/") for one in found), "made once, whoever asks"


def test_what_others_may_change_decides_nothing() -> None:
    app = _app(by_what_others_change, changes)
    footprint = app.handlers[0].events[0].declared.footprint(Opened(id=1, room=7))
    assert ("crate", "read") in {(access.key, access.mode) for access in footprint}


def test_a_module_that_is_not_there_yet_is_named_in_the_remedy() -> None:
    def loads(event: Opened) -> None:
        importlib.import_module("tests.derive.nowhere").read(event.id)

    app = _app(loads)
    found = app.derived()
    assert found is not None
    [one, *_] = found.found["loads", "opened"].everything
    assert "is imported first here" in one.why
    assert "`import tests.derive.nowhere`" in one.remedy


def test_what_lies_among_installed_packages_is_none_of_the_applications(tmp_path: Path) -> None:
    assert is_application(str(tmp_path / "shop" / "orders.py"))
    assert not is_application(str(tmp_path / "site-packages" / "shop" / "orders.py"))


def _app(*functions: Callable[[Opened], None]) -> App[Any]:
    app: App[Any] = App("depot", "memory://", derive=True)
    for function in functions:
        app.on(Opened)(function)
    app.derived()
    return app
