"""A message bus that looks its handlers up by the class of a message, and objects that are made each time round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from commute import App, Event
from commute.derive.application import derive


class Base(DeclarativeBase):
    pass


class Shelf(Base):
    __tablename__ = "shelf"
    code: Mapped[str] = mapped_column(primary_key=True)
    room: Mapped[int]


class Notice(Base):
    __tablename__ = "notice"
    code: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str]


MODES = (("read", "shelf"), ("write", "notice"))
ENGINE = create_engine("sqlite://")


@dataclass
class Put:
    code: str
    pieces: int


@dataclass
class Full:
    code: str
    wanted: int


@dataclass
class Note:
    code: str
    text: str


class Shelves:
    """What was loaded, in a list of its own."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.loaded: list[Shelf] = []

    def get(self, code: str) -> Shelf | None:
        found = self.session.get(Shelf, code)
        if found is not None:
            self.loaded.append(found)
        return found


@dataclass
class Bus:
    handlers: dict[type, list[Callable[..., None]]]
    open: list[Any] = field(default_factory=list)

    def handle(self, message: object) -> None:
        waiting = [message]
        while waiting:
            self.dispatch(waiting.pop(0), waiting)

    def dispatch(self, message: object, waiting: list[Any]) -> None:
        for handler in self.handlers[type(message)]:
            handler(message, waiting)


def put(message: Put, waiting: list[Any]) -> None:
    with Session(ENGINE) as session:
        shelves = Shelves(session)
        shelf = shelves.get(message.code)
        if shelf is None or shelf.room < message.pieces:
            waiting.append(Full(message.code, message.pieces))
        else:
            shelf.room -= message.pieces
        waiting.extend(Note(one.code, "seen") for one in shelves.loaded)
        session.commit()


def full(message: Full, waiting: list[Any]) -> None:
    waiting.append(Note(**{"code": message.code, "text": f"{asdict(message)['wanted']} wanted"}))


def note(message: Note, waiting: list[Any]) -> None:
    with Session(ENGINE) as session:
        session.merge(Notice(code=message.code, text=message.text))
        session.commit()


BUS = Bus({Put: [put], Full: [full], Note: [note]})


class Came(Event):
    code: str
    pieces: int


def came(event: Came) -> None:
    BUS.handle(Put(event.code, event.pieces))


def refilled(event: Came) -> None:
    with Session(ENGINE) as session:
        for code in (event.code, "rest"):
            shelves = Shelves(session)
            if code == event.code:
                shelves.get(code)
            if not shelves.loaded:
                session.merge(Notice(code=code, text="none"))
        session.commit()


def counted(event: Came) -> None:
    with Session(ENGINE) as session:
        first, second = Shelves(session), Shelves(session)
        first.get(event.code)
        for shelf in second.loaded:
            shelf.room = 0
        if first.loaded:
            second.loaded = first.loaded
        for shelf in second.loaded:
            shelf.room = event.pieces
        session.commit()


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (came, {("write", "shelf/a"), ("write", "notice/a")}),
        (refilled, {(mode, f"{table}/{code}") for mode, table in MODES for code in ("a", "rest")}),
        (counted, {("write", "shelf/a")}),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_it_is_followed(handler: Any, expected: set[tuple[str, str]]) -> None:
    app: App[Any] = App("shelves", "memory://")
    app.on(Came, derive=True)(handler)
    found = derive(app.handlers)
    (one,) = found.found.values()
    assert not one.everything
    footprint = found.declared(app.handlers[0], app.handlers[0].events[0]).declared.footprint(Came(code="a", pieces=2))
    assert {(access.mode, access.key) for access in footprint} == expected
