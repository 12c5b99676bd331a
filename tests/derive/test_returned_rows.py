"""What changes return, statements that are put together from the columns of a table, and conditions in pairs."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import ForeignKey, StaticPool, case, create_engine, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship, sessionmaker

from commute import App, Event
from commute.observe.watch import watching
from commute.testing import run


class Base(DeclarativeBase):
    pass


class Parcel(Base):
    __tablename__ = "parcel"
    id: Mapped[int] = mapped_column(primary_key=True)
    weight: Mapped[int] = mapped_column(default=0)
    parts: Mapped[list[Part]] = relationship()


class Part(Base):
    __tablename__ = "part"
    id: Mapped[int] = mapped_column(primary_key=True)
    parcel_id: Mapped[int] = mapped_column(ForeignKey("parcel.id"))
    weight: Mapped[int] = mapped_column(default=0)


class Weighed(Event):
    id: int
    weight: int


engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
sessions = sessionmaker(engine)


def of_an_update(session: Session, event: Weighed) -> None:
    change = update(Parcel).where(Parcel.id == event.id).values(weight=event.weight).returning(Parcel)
    found = session.scalars(change).first()
    if found is not None:
        found.weight += len(found.parts)


def of_an_insert(session: Session, event: Weighed) -> None:
    session.execute(delete(Parcel).where(Parcel.id == event.id))
    made = session.execute(insert(Parcel).values(id=event.id).returning(Parcel)).scalar_one()
    made.weight = event.weight


def of_a_delete(session: Session, event: Weighed) -> None:
    gone = session.execute(delete(Parcel).where(Parcel.id == event.id).returning(Parcel.id, Parcel.weight)).first()
    if gone is not None:
        session.execute(delete(Part).where(Part.parcel_id == gone.id))


def from_columns(session: Session, event: Weighed) -> None:
    row = upsert(Parcel).values(id=event.id, weight=event.weight)
    session.execute(
        row.on_conflict_do_update(
            index_elements=["id"], set_={one.name: one for one in row.excluded if not one.primary_key}
        )
    )


def but_some_columns(session: Session, event: Weighed) -> None:
    old = session.get_one(Parcel, event.id)
    columns = Parcel.__table__.columns
    values = {one.name: getattr(old, one.name) for one in columns if one.name not in ("id", "height")}
    session.execute(update(Parcel).where(Parcel.id == event.id).values(**values))


def in_pairs(session: Session, event: Weighed) -> None:
    heavy = func.sum(case((Part.weight > event.weight, 1), else_=0))
    session.execute(select(Part.parcel_id, heavy).where(Part.parcel_id == event.id).group_by(Part.parcel_id)).all()


def the_first_with_its_parts(session: Session, event: Weighed) -> None:
    session.query(Parcel).options(joinedload(Parcel.parts)).filter(Parcel.id == event.id).first()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (of_an_update, {("write", "parcel/{id}"), ("read", "part/{id}")}),
        (of_an_insert, {("write", "parcel/{id}")}),
        (of_a_delete, {("write", "parcel/{id}"), ("write", "part/{id}")}),
        (from_columns, {("write", "parcel/{id}")}),
        (but_some_columns, {("write", "parcel/{id}")}),
        (in_pairs, {("read", "part/{id}")}),
        (the_first_with_its_parts, {("read", "parcel/{id}"), ("read", "part/{id}")}),
    ],
)
def test_it_is_followed(body: Any, expected: set[tuple[str, str]]) -> None:
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with sessions.begin() as filled:
        filled.add_all([Parcel(id=1, parts=[Part(id=1)]), Parcel(id=2)])
    app: App[Any] = App("parcels", "memory://", derive=True)

    @app.on(Weighed)
    def weigh(event: Weighed) -> None:
        with sessions.begin() as session:
            body(session, event)

    found = app.derived()
    assert found is not None
    derivation = found.found["weigh", app.handlers[0].events[0].type]
    assert derivation.everything == ()
    keys = {(key.mode, str(key)) for key in derivation.keys}
    assert expected <= keys
    assert not any("/" not in key for _, key in keys), keys
    with watching(app) as watch:
        run(app, [Weighed(id=1, weight=2), Weighed(id=3, weight=2)])
    assert watch.undeclared == []


def found_by(session: Session, id: int | None = None, above: int | None = None, among: list[int] | None = None) -> Any:
    query = select(Parcel)
    if id:
        query = query.where(Parcel.id == id)
    if above:
        query = query.where(Parcel.weight > above)
    if among:
        query = query.where(Parcel.id.in_(among))
    return session.scalars(query).all()


def test_a_condition_for_what_is_not_given_restricts_nothing() -> None:
    app: App[Any] = App("parcels", "memory://", derive=True)

    @app.on(Weighed)
    def weigh(event: Weighed) -> None:
        with sessions() as session:
            found_by(session, id=event.id)

    found = app.derived()
    assert found is not None
    derivation = found.found["weigh", app.handlers[0].events[0].type]
    assert derivation.everything == ()
    assert ("read", "parcel") in {(key.mode, str(key)) for key in derivation.keys}, (
        "whether there is an id is not known"
    )
