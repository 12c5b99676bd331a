"""Models of SQLModel: rows made from models, changed by them and dumped, and statements that select one thing."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from pydantic import field_validator
from sqlalchemy import StaticPool
from sqlmodel import Field, Session, SQLModel, create_engine, func, select

from commute import App, Event
from commute.observe.watch import watching
from commute.testing import run


class Crew(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = ""


class SailorBase(SQLModel):
    name: str
    age: int | None = None


class Sailor(SailorBase, table=True):
    id: int | None = Field(default=None, primary_key=True)
    crew_id: int | None = Field(default=None, foreign_key="crew.id")


class Badge(SQLModel, table=True):
    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    word: str


class Harbour(SQLModel, table=True):
    id: str = Field(primary_key=True)

    @field_validator("id")
    @classmethod
    def _lower(cls, value: str) -> str:
        return value.lower()


class SailorPublic(SailorBase):
    id: int


class SailorUpdate(SQLModel):
    name: str | None = None
    age: int | None = None


class Hired(Event):
    id: int
    name: str


engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


def create(session: Session, event: Hired) -> None:
    made = Sailor.model_validate(SailorBase(name=event.name), update={"crew_id": event.id})
    session.add(made)


def by_name(session: Session, event: Hired) -> None:
    session.add(Sailor(**SailorBase(name=event.name).model_dump(), id=event.id + 100))


def with_a_default(session: Session, event: Hired) -> None:
    session.add(Badge(word=event.name))


def change(session: Session, event: Hired) -> None:
    found = session.get(Sailor, event.id)
    if found is not None:
        found.sqlmodel_update(SailorUpdate(name=event.name).model_dump(exclude_unset=True))
        session.add(found)


def change_by_model(session: Session, event: Hired) -> None:
    found = session.exec(select(Sailor).where(Sailor.id == event.id)).first()
    if found is not None:
        found.sqlmodel_update(SailorUpdate(name=event.name), update={"age": 3})


def show(session: Session, event: Hired) -> None:
    found = session.exec(select(Sailor).where(Sailor.id == event.id)).one_or_none()
    if found is not None:
        SailorPublic.model_validate(found, update={"age": 3})
        found.model_dump(exclude={"age"})


def join(session: Session, event: Hired) -> None:
    together = select(Sailor, Crew).where(Sailor.crew_id == Crew.id, Sailor.id == event.id)
    for sailor, crew in session.exec(together):
        sailor.name = crew.name


def count(session: Session, event: Hired) -> None:
    session.exec(select(func.count()).select_from(Sailor).where(Sailor.id == event.id)).one()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (create, {("insert", "sailor/+new"), ("read", "crew/{id}")}),
        (by_name, {("write", "sailor")}),
        (change, {("read", "sailor/{id}"), ("write", "sailor/{id}")}),
        (change_by_model, {("read", "sailor/{id}"), ("write", "sailor/{id}")}),
        (show, {("read", "sailor/{id}")}),
        (join, {("read", "sailor/{id}"), ("write", "sailor/{id}"), ("read", "crew")}),
        (count, {("read", "sailor/{id}")}),
    ],
)
def test_it_is_followed(body: Any, expected: set[tuple[str, str]]) -> None:
    SQLModel.metadata.drop_all(engine)
    SQLModel.metadata.create_all(engine)
    with Session(engine) as filled:
        filled.add_all([Crew(id=1), Sailor(id=1, name="a", crew_id=1)])
        filled.commit()
    app: App[Any] = App("ship", "memory://", derive=True)

    @app.on(Hired)
    def hire(event: Hired) -> None:
        with Session(engine) as session:
            body(session, event)
            session.commit()

    found = app.derived()
    assert found is not None
    derivation = found.found["hire", app.handlers[0].events[0].type]
    assert derivation.everything == ()
    keys = {(key.mode, str(key)) for key in derivation.keys}
    assert {name.split("/")[0] for _, name in expected} == {name.split("/")[0] for _, name in keys}
    assert {mode for mode, _ in expected} <= {mode for mode, _ in keys}
    with watching(app) as watch:
        run(app, [Hired(id=1, name="b"), Hired(id=3, name="c")])
    assert watch.undeclared == []


def test_a_key_that_a_field_makes_up_is_a_new_row() -> None:
    app: App[Any] = App("ship", "memory://", derive=True)

    @app.on(Hired)
    def hire(event: Hired) -> None:
        with Session(engine) as session:
            with_a_default(session, event)
            session.commit()

    found = app.derived()
    assert found is not None
    keys = found.found["hire", app.handlers[0].events[0].type].keys
    assert {(key.mode, str(key)) for key in keys} == {("insert", "badge/+new")}


def test_what_validates_a_row_is_named() -> None:
    app: App[Any] = App("ship", "memory://", derive=True)

    @app.on(Hired)
    def build(event: Hired) -> None:
        with Session(engine) as session:
            session.add(Harbour.model_validate({"id": event.name}))
            session.commit()

    found = app.derived()
    assert found is not None
    everything = found.found["build", app.handlers[0].events[0].type].everything
    assert "the validators of Harbour are not followed" in [one.why for one in everything]
