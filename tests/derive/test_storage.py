"""A service object that keeps its own sessions, and classes that load each other in many ways, are followed."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from sqlalchemy import ForeignKey, create_engine, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, scoped_session, sessionmaker

from commute import App, Event
from commute.derive.application import derive


class Base(DeclarativeBase):
    pass


class Study(Base):
    __tablename__ = "study"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


def _all_of(number: int) -> dict[str, Any]:
    """Columns and relations to the five classes, all of them loaded at once."""
    made: dict[str, Any] = {"__tablename__": f"part{number}", "id": mapped_column(primary_key=True)}
    made["__annotations__"] = {"id": Mapped[int]}
    for other in range(5):
        made[f"of{other}"] = mapped_column(ForeignKey(f"part{other}.id"))
        made["__annotations__"][f"of{other}"] = Mapped[int]
        made[f"to{other}"] = relationship(
            f"Part{other}", foreign_keys=[made[f"of{other}"]], remote_side=f"Part{other}.id", lazy="selectin"
        )
    return made


PARTS = [type(f"Part{number}", (Base,), _all_of(number)) for number in range(5)]


class Storage:
    """Names its engine, and is pickled without it."""

    def __init__(self) -> None:
        self.sessions = scoped_session(sessionmaker(create_engine("sqlite://")))

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.sessions = state["sessions"]

    def rename(self, number: int, name: str) -> None:
        session = self.sessions()
        study = session.get_one(Study, number)
        if not name:
            warnings.warn("no name", stacklevel=2)
        study.name = name
        session.commit()

    def now(self) -> Any:
        return self.sessions().execute(func.now()).scalar()

    def load(self, number: int) -> Any:
        return self.sessions().get(PARTS[0], number)


class Change:
    def __init__(self, number: int, *, name: str) -> None:
        self.number, self.name = number, name


class Renaming(Change):
    def __init__(self, number: int, name: str = "x", step: int = 1) -> None:
        super().__init__(number=number * step, name=name)


class Asked(Event):
    number: int
    name: str


STORAGE = Storage()


def late() -> scoped_session[Any]:
    return scoped_session(sessionmaker(create_engine("sqlite://")))


def renamed(event: Asked) -> None:
    STORAGE.rename(event.number, event.name)


def renamed_by_object(event: Asked) -> None:
    change = Renaming(event.number)
    STORAGE.rename(change.number, change.name)


def renamed_later(event: Asked) -> None:
    session = late()()
    session.get_one(Study, event.number).name = event.name
    session.commit()


def asked_for_time(event: Asked) -> None:
    STORAGE.now()


def loaded(event: Asked) -> None:
    STORAGE.load(event.number)


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (renamed, {("write", "study/7")}),
        (renamed_by_object, {("write", "study/7")}),
        (renamed_later, {("write", "study/7")}),
        (asked_for_time, set()),
        (loaded, {("read", "part0/7")} | {("read", f"part{number}") for number in range(5)}),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_it_is_followed(handler: Any, expected: set[tuple[str, str]]) -> None:
    app: App[Any] = App("storage", "memory://")
    app.on(Asked, derive=True)(handler)
    found = derive(app.handlers)
    (one,) = found.found.values()
    assert not one.everything
    footprint = found.declared(app.handlers[0], app.handlers[0].events[0]).declared.footprint(Asked(number=7, name="x"))
    assert {(access.mode, access.key) for access in footprint} == expected
