"""To delete an object, or to give it another collection, the flush loads who is at the other end of its relations."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, StaticPool, Table, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from commute import App, Event
from commute.observe.watch import watching
from commute.testing import run

engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


class Base(DeclarativeBase):
    pass


members = Table(
    "member", Base.metadata,
    Column("room", ForeignKey("room.id"), primary_key=True),
    Column("person", ForeignKey("person.id"), primary_key=True),
)  # fmt: skip


class Badge(Base):
    __tablename__ = "badge"
    id: Mapped[str] = mapped_column(primary_key=True)
    desk: Mapped[str] = mapped_column(ForeignKey("desk.id"), nullable=True)


class Desk(Base):
    __tablename__ = "desk"
    id: Mapped[str] = mapped_column(primary_key=True)
    room: Mapped[str] = mapped_column(ForeignKey("room.id"), nullable=True)
    badges: Mapped[list[Badge]] = relationship(lazy="selectin")


class Person(Base):
    __tablename__ = "person"
    id: Mapped[str] = mapped_column(primary_key=True)


class Room(Base):
    __tablename__ = "room"
    id: Mapped[str] = mapped_column(primary_key=True)
    people: Mapped[list[Person]] = relationship(secondary=members)
    desks: Mapped[list[Desk]] = relationship()


class Closed(Event):
    id: str


def deletes(session: Session, room: Room) -> None:
    session.delete(room)


def empties(session: Session, room: Room) -> None:
    room.people = []


def clears(session: Session, room: Room) -> None:
    room.desks = []


@pytest.mark.parametrize("change", [deletes, empties, clears])
def test_who_is_at_the_other_end_is_read(change: Any) -> None:
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        desk = Desk(id="d1", badges=[Badge(id="b1")])
        session.add(Room(id="r1", people=[Person(id="p1")], desks=[desk]))
        session.commit()
    app: App[Any] = App("rooms", "memory://", derive=True)

    @app.on(Closed)
    def close(event: Closed) -> None:
        with Session(engine) as session:
            room = session.get(Room, event.id)
            if room is not None:
                change(session, room)
            session.commit()

    with watching(app, refuse=False) as watch:
        run(app, [Closed(id="r1")])
    assert [str(one) for one in watch.undeclared] == []
    found = app.derived()
    assert found is not None
    (one,) = found.found.values()
    assert not one.everything
