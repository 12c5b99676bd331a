"""What mapped classes hold besides their columns: a session, a query, what is computed once, relations as queries."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import pytest
from sqlalchemy import ForeignKey, StaticPool, create_engine, func, select
from sqlalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    Session,
    mapped_column,
    relationship,
    scoped_session,
    sessionmaker,
)

from commute import App, Event
from commute.observe.watch import watching
from commute.testing import run

engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
scoped = scoped_session(sessionmaker(engine))


class Counting:
    """A descriptor of the application's own."""

    def __get__(self, owner: Any, cls: Any) -> int:
        return scoped.scalar(select(func.count()).select_from(Visitor)) or 0


class Base(DeclarativeBase):
    pass


class Finder:
    def any(self) -> Any:
        return scoped.scalars(select(Visitor)).first()


class Hall(Base):
    __tablename__ = "hall"
    id: Mapped[int] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column(default=0)
    visitors: DynamicMapped[Visitor] = relationship()
    session: ClassVar[Any] = scoped
    query: ClassVar[Any] = scoped.query_property()
    finder: ClassVar[Finder] = Finder()
    counted: ClassVar[Any] = Counting()

    def save(self) -> None:
        self.session.add(self)
        self.session.commit()

    @functools.cached_property
    def crowd(self) -> int:
        return len(self.session.scalars(select(Visitor)).all())

    @property
    def others(self) -> int:
        return int(self.query.filter(Hall.size > 3).count())


class Visitor(Base):
    __tablename__ = "visitor"
    id: Mapped[int] = mapped_column(primary_key=True)
    hall_id: Mapped[int] = mapped_column(ForeignKey("hall.id"))
    age: Mapped[int] = mapped_column(default=0)


class Guide(Base):
    __tablename__ = "guide"
    id: Mapped[int] = mapped_column(primary_key=True)
    visitor_id: Mapped[int] = mapped_column(ForeignKey("visitor.id"))


class Opened(Event):
    id: int


def saves(hall: Hall, event: Opened) -> None:
    made = Hall(id=event.id + 100)
    made.save()


def by_a_query(hall: Hall, _event: Opened) -> None:
    _ = hall.others


def once(hall: Hall, _event: Opened) -> None:
    _ = hall.crowd


def by_a_finder(hall: Hall, _event: Opened) -> None:
    hall.finder.any()


def by_a_descriptor(hall: Hall, _event: Opened) -> None:
    _ = hall.counted


def the_first(hall: Hall, event: Opened) -> None:
    found = hall.visitors.filter_by(age=0).order_by(Visitor.id).first()
    if found is not None:
        found.age = event.id


def with_guides(hall: Hall, _event: Opened) -> None:
    hall.visitors.filter(Guide.visitor_id == Visitor.id).limit(3).all()


def joined_to_guides(hall: Hall, _event: Opened) -> None:
    hall.visitors.join(Guide).filter(Visitor.age > 3).all()


def deletes_all(hall: Hall, _event: Opened) -> None:
    hall.visitors.filter(Visitor.age == 0).delete()


def derived(body: Any) -> tuple[App[Any], Any]:
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as filled:
        filled.add_all([Hall(id=1), Visitor(id=1, hall_id=1), Guide(id=1, visitor_id=1)])
        filled.commit()
    app: App[Any] = App("museum", "memory://", derive=True)

    @app.on(Opened)
    def opens(event: Opened) -> None:
        hall = scoped.get(Hall, event.id)
        if hall is not None:
            body(hall, event)
        scoped.commit()

    found = app.derived()
    assert found is not None
    return app, found.found["opens", app.handlers[0].events[0].type]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (saves, ("write", "hall")),
        (by_a_query, ("read", "hall")),
        (once, ("read", "visitor")),
        (by_a_finder, ("read", "visitor")),
        (by_a_descriptor, ("read", "visitor")),
        (the_first, ("write", "visitor")),
        (with_guides, ("read", "guide")),
        (joined_to_guides, ("read", "guide")),
    ],
)
def test_it_is_followed(body: Any, expected: tuple[str, str]) -> None:
    app, found = derived(body)
    assert found.everything == ()
    with watching(app) as watch:
        run(app, [Opened(id=1), Opened(id=2)])
    assert watch.undeclared == []
    modes = {"insert": "write"}
    assert expected in {(modes.get(key.mode, key.mode), key.name[0]) for key in found.keys}


def test_what_is_not_followed_is_named() -> None:
    _, found = derived(deletes_all)
    assert [one.why for one in found.everything] == ["delete of the dynamic relation visitors is not followed"]
