"""Which database a live engine is of decides branches: those for other databases are not walked."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from commute import App, Event


class Base(DeclarativeBase):
    pass


class Score(Base):
    __tablename__ = "score"
    name: Mapped[str] = mapped_column(primary_key=True)
    points: Mapped[int]


class Other(Base):
    __tablename__ = "other"
    id: Mapped[int] = mapped_column(primary_key=True)


class Scored(Event):
    name: str
    points: int


engine = create_engine("sqlite://")
sessions = sessionmaker(engine)


class Store:
    kind = "sqlite"

    def __init__(self, engine: Engine) -> None:
        self.engine = engine


store = Store(engine)


def of_engine(session: Session, event: Scored) -> None:
    values = {"name": event.name, "points": event.points}
    if store.engine.name == "mysql":
        session.execute(mysql.insert(Score).values(values).on_duplicate_key_update(points=event.points))
    elif store.engine.name == "sqlite":
        made = sqlite.insert(Score).values(values)
        session.execute(made.on_conflict_do_update(index_elements=[Score.name], set_={"points": event.points}))
    else:
        raise NotImplementedError


def of_dialect(session: Session, _event: Scored) -> None:
    if session.get_bind().dialect.name in ("postgresql", "mysql"):
        session.get(Other, 1)


def by_a_name(session: Session, _event: Scored) -> None:
    name = engine.dialect.name
    if name != "sqlite":
        session.get(Other, 1)


def of_something_that_changes(session: Session, _event: Scored) -> None:
    if store.kind == "mysql":
        session.get(Other, 1)


def of_one_of_two(session: Session, event: Scored) -> None:
    name = engine.name if event.points else store.kind
    if name == "mysql":
        session.get(Other, 1)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (of_engine, {"score"}),
        (of_dialect, set()),
        (by_a_name, set()),
        (of_something_that_changes, {"other"}),
        (of_one_of_two, {"other"}),
    ],
)
def test_the_other_branches_are_not_walked(body: Any, expected: set[str]) -> None:
    app: App[Any] = App("scores", "memory://", derive=True)

    @app.on(Scored)
    def score(event: Scored) -> None:
        with sessions() as session:
            body(session, event)
            session.commit()

    found = app.derived()
    assert found is not None
    derivation = found.found[app.handlers[0].name, app.handlers[0].events[0].type]
    assert derivation.everything == ()
    assert {str(key).split("/")[0] for key in derivation.keys} == expected
