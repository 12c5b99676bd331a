"""Loops in which each pass leaves another row, or another statement, to the next one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import ForeignKey, StaticPool, create_engine, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from commute import App, Event
from commute.testing import sanitizing
from commute.verify.trial import Numbered, Scene, trial

connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)


class Base(DeclarativeBase):
    pass


class Shelf(Base):
    __tablename__ = "shelf"

    id: Mapped[int] = mapped_column(primary_key=True)
    above_id: Mapped[int | None] = mapped_column(ForeignKey("shelf.id"))
    books: Mapped[int] = mapped_column(default=0)
    above: Mapped[Shelf | None] = relationship(remote_side=[id])


class Ladder(Base):
    __tablename__ = "ladder"

    id: Mapped[int] = mapped_column(primary_key=True)
    steps: Mapped[int] = mapped_column(default=0)


class Filled(Event):
    shelf: int
    times: list[int] = []  # noqa: RUF012 - of msgspec's


def objects(event: Filled) -> None:
    with Session(engine) as session:
        shelf = session.get(Shelf, event.shelf)
        while shelf is not None:
            shelf.books += 1
            shelf = shelf.above
        session.commit()


def numbers(event: Filled) -> None:
    number = event.shelf
    while number is not None:
        connection.execute("UPDATE shelf SET books = books + 1 WHERE id = ?", (number,)).fetchall()
        (number,) = connection.execute("SELECT above_id FROM shelf WHERE id = ?", (number,)).fetchone()


def a_column_and_then_another(event: Filled) -> None:
    row = connection.execute("SELECT id, above_id FROM shelf WHERE id = ?", (event.shelf,)).fetchone()
    number = row[0]
    for _ in event.times:
        connection.execute("UPDATE shelf SET books = 7 WHERE id = ?", (number,)).fetchall()
        number = row[1]


def statements(event: Filled) -> None:
    with Session(engine) as session:
        statement: Any = select(Shelf).where(Shelf.id == event.shelf)
        for _ in event.times:
            session.execute(statement)
            statement = update(Ladder).where(Ladder.id == event.shelf).values(steps=3)
        session.commit()


def conditions(event: Filled) -> None:
    with Session(engine) as session:
        statement: Any = update(Ladder).where(Ladder.id == event.shelf).values(steps=3)
        for number in event.times:
            session.execute(statement)
            statement = update(Ladder).where(Ladder.id == number).values(steps=3)
        session.commit()


def counted_with_some_left_out(event: Filled) -> None:
    count = 0
    with Session(engine) as session:
        for number in event.times:
            found = session.execute(select(Ladder).where(Ladder.id == number))
            ladder = found.scalar_one_or_none()
            if ladder is None:
                continue
            ladder.steps = 3
            count += 1
        session.commit()
    print(count)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (counted_with_some_left_out, {"write ladder/2", "write ladder/1"}),
        (objects, {"write shelf"}),
        (numbers, {"write shelf"}),
        (a_column_and_then_another, {"write shelf"}),
        (statements, {"read shelf/3", "write ladder/3"}),
        (conditions, {"write ladder/3", "write ladder/2", "write ladder/1"}),
    ],
)
def test_what_the_next_pass_touches_is_in_the_footprint(function: Callable[[Filled], None], expected: set[str]) -> None:
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Shelf(id=1), Shelf(id=2, above_id=1), Shelf(id=3, above_id=2)])
        session.add_all(Ladder(id=number) for number in (1, 2, 3))
        session.commit()
    app: App[Any] = App("shelves", "memory://", derive=True)
    app.on(Filled)(function)
    event = Filled(shelf=3, times=[2, 1, 1])
    with sanitizing(app):  # raises at the end
        trial(app, [Numbered("event-1", event)], Scene())
    footprint = app.handlers[0].events[0].declared.footprint(event)
    found = {f"{access.mode} {access.key}" for access in footprint}
    assert expected <= found
    assert not any(key.endswith(" ") for key in found), "not EVERYTHING"
