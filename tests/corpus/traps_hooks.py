"""Traps in what runs without being called by name: texts and comparisons of mapped objects, values after each change,
columns that are loaded later, finalizers, what subclasses fill in."""

from __future__ import annotations

import logging
from collections import UserDict
from typing import Any

from sqlalchemy import ForeignKey, func, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    column_property,
    mapped_column,
    relationship,
    selectinload,
    sessionmaker,
)

from commute import App, Event
from tests.corpus.case import Database, Options, case

logger = logging.getLogger(__name__)


class Base(DeclarativeBase):
    pass


class Clock(Base):
    __tablename__ = "clock"
    id: Mapped[int] = mapped_column(primary_key=True)
    hour: Mapped[int] = mapped_column(default=0)


class Box(Base):
    __tablename__ = "box"
    id: Mapped[int] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column(default=0)
    hour: Mapped[int] = mapped_column(default=0, onupdate=select(func.max(Clock.hour)).scalar_subquery())
    items: Mapped[list[Item]] = relationship(back_populates="box")
    latest: Mapped[int] = column_property(select(func.max(Clock.hour)).scalar_subquery(), deferred=True)

    def __repr__(self) -> str:
        return f"Box {self.id} of {len(self.items)}"

    def __lt__(self, other: Box) -> bool:
        return len(self.items) < len(other.items)


class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    box_id: Mapped[int | None] = mapped_column(ForeignKey("box.id"))
    box: Mapped[Box | None] = relationship(back_populates="items")


class Log(Base):
    __tablename__ = "log"
    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(default="")


HOME = Database(
    Base.metadata,
    rows=(
        "INSERT INTO clock VALUES(1, 5), (2, 3)",
        "INSERT INTO box VALUES(1, 1, 0), (2, 1, 0)",
        "INSERT INTO item VALUES(1, 1), (2, 1), (3, 2), (4, NULL)",
    ),
)
sessions: sessionmaker[Session] = sessionmaker(HOME.engine)
HERE: dict[str, Any] = {"clear": HOME.clear, "look": HOME.look, "trap": True}


class First(Event):
    a: int
    b: int = 0
    s: str = ""


class Second(Event):
    a: int
    b: int = 0


def moves_an_item(app: App[Any], options: Options) -> None:
    @app.on(Second, **options)
    def move(event: Second) -> None:
        with sessions.begin() as session:
            session.get_one(Item, event.a).box_id = event.b


def turns_the_clock(app: App[Any], options: Options) -> None:
    @app.on(Second, **options)
    def turn(event: Second) -> None:
        with sessions.begin() as session:
            session.get_one(Clock, event.a).hour = event.b


@case("text-of-an-object-or-none", **HERE, dependent=[(First(a=1), Second(a=4, b=1))], independent=[])
def text_of_an_object_or_none(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def write(event: First) -> None:
        with sessions.begin() as session:
            session.add(Log(id=event.a, word=f"{session.get(Box, event.a)!r}"))

    moves_an_item(app, options)


@case("comparison-of-objects", **HERE, dependent=[(First(a=1), Second(a=1, b=2))], independent=[])
def comparison_of_objects(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def write(event: First) -> None:
        with sessions.begin() as session:
            boxes = [session.get_one(Box, 2), session.get_one(Box, event.a)]
            session.add(Log(id=event.a, word=str(sorted(boxes)[0].id)))

    moves_an_item(app, options)


@case("value-after-each-change", **HERE, dependent=[(First(a=1, b=7), Second(a=1, b=9))], independent=[])
def value_after_each_change(app: App[Any], options: Options) -> None:
    """The column that is not set takes what a query says then."""

    @app.on(First, **options)
    def write(event: First) -> None:
        with sessions.begin() as session:
            session.get_one(Box, event.a).size = event.b

    turns_the_clock(app, options)


@case("attribute-that-is-set-to-a-query", **HERE, dependent=[(First(a=1), Second(a=1, b=9))], independent=[])
def attribute_that_is_set_to_a_query(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def write(event: First) -> None:
        with sessions.begin() as session:
            hour: Any = select(func.max(Clock.hour)).scalar_subquery()
            session.get_one(Item, 4).id = hour

    turns_the_clock(app, options)


@case("column-that-is-loaded-later", **HERE, dependent=[(First(a=1), Second(a=1, b=9))], independent=[])
def column_that_is_loaded_later(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def write(event: First) -> None:
        with sessions.begin() as session:
            box = session.scalars(select(Box).where(Box.id == event.a)).one()
            session.add(Log(id=event.a, word=str(box.latest)))

    turns_the_clock(app, options)


@case("relation-that-an-option-loads", **HERE, dependent=[(First(a=1, b=4), First(a=1, b=4))], independent=[])
def relation_that_an_option_loads(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def write(event: First) -> None:
        with sessions.begin() as session:
            statement = select(Item).where(Item.id == event.b).options(selectinload(Item.box).selectinload(Box.items))
            session.add(Log(word=str(session.scalars(statement).one().id), id=event.a))


@case("columns-by-names-that-are-perhaps-there", **HERE,
      dependent=[(First(a=7, s="x"), First(a=7, s="y"))], independent=[])  # fmt: skip
def columns_by_names_that_are_perhaps_there(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def write(event: First) -> None:
        values: dict[str, Any] = {"id": event.a, "word": event.s}
        with sessions.begin() as session:
            session.add(Log(**{name: value for name, value in values.items() if value}))


class Filled(UserDict[int, int]):
    """What a dict of the library asks its subclass for."""

    def __missing__(self, key: int) -> int:
        with sessions.begin() as session:
            session.get_one(Clock, key).hour += 10
        return key


@case("what-a-subclass-fills-in", **HERE, reach="everything",
      dependent=[(First(a=1), Second(a=1, b=9))], independent=[])  # fmt: skip
def what_a_subclass_fills_in(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def write(event: First) -> None:
        logger.debug("%s", Filled()[event.a])

    turns_the_clock(app, options)


class Leaving:
    def __init__(self, key: int) -> None:
        self.key = key

    def __del__(self) -> None:
        with sessions.begin() as session:
            session.get_one(Clock, self.key).hour += 10


@case("object-that-writes-when-it-goes", **HERE, reach="everything",
      dependent=[(First(a=1), Second(a=1, b=9))], independent=[])  # fmt: skip
def object_that_writes_when_it_goes(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def write(event: First) -> None:
        Leaving(event.a)

    turns_the_clock(app, options)
