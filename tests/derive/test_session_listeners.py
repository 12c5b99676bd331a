"""Functions that listen to sessions are followed with the objects that the session may have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import ForeignKey, StaticPool, create_engine, delete, event, inspect, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, object_session, relationship, sessionmaker

from commute import App, Event
from commute.observe.watch import watching
from commute.testing import run


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(default=0)


class Shelf(Base):
    __tablename__ = "shelf"
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(default="")
    books: Mapped[list[Book]] = relationship(back_populates="shelf", passive_deletes=True)


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("shelf.id"))
    shelf: Mapped[Shelf | None] = relationship(back_populates="books")


class Touched(Event):
    id: int


def note_deleted(session: Session, gone: object) -> None:
    """Tells the relations of what is deleted, as applications do that keep both sides of them fresh."""
    for relation in inspect(gone).mapper.relationships:
        if relation.back_populates:
            there = getattr(gone, relation.key)
            for one in there if relation.uselist else [there]:
                if one is not None and inspect(one).persistent:
                    session.expire(one, [relation.back_populates])


def count_deleted(_session: Session, gone: Any) -> None:
    inside = object_session(gone)
    if inside is not None:
        inside.execute(update(Note).where(Note.id == 1).values(count=5))


def count_dirty(session: Session, _context: object, _instances: object) -> None:
    for one in session.dirty:
        if isinstance(one, Shelf):
            session.get_one(Note, 2).count = one.id


def only_look(session: Session) -> None:
    for one in session.new:
        _ = one.id


def relabel(session: Session) -> None:
    for one in session.dirty:
        if isinstance(one, Shelf):
            one.label = "seen"


def nothing(*_given: object) -> None:
    pass


def deletes(session: Session, event_: Touched) -> None:
    session.delete(session.get_one(Shelf, event_.id))


def deletes_by_statement(session: Session, event_: Touched) -> None:
    session.get_one(Shelf, event_.id)
    session.execute(delete(Shelf).where(Shelf.id == event_.id))


def changes(session: Session, event_: Touched) -> None:
    session.get_one(Shelf, event_.id).label = "new"


def loads(session: Session, event_: Touched) -> None:
    session.get(Note, event_.id)


def derived(name: str, listener: Callable[..., object], body: Callable[[Session, Touched], None]) -> Any:
    """The keys of a handler whose session has a listener, what was undeclared of a run, and what was not followed."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as filled:
        filled.add_all([Note(id=1), Note(id=2), Shelf(id=1), Shelf(id=2), Book(id=1, shelf_id=1)])
        filled.commit()
    sessions = sessionmaker(engine)
    event.listen(sessions, name, listener)
    app: App[Any] = App("shelves", "memory://", derive=True)

    @app.on(Touched)
    def touch(event: Touched) -> None:
        with sessions() as session:
            body(session, event)
            session.commit()

    found = app.derived()
    assert found is not None
    with watching(app) as watch:
        run(app, [Touched(id=1)])
    derivation = found.found[app.handlers[0].name, app.handlers[0].events[0].type]
    return {(key.mode, str(key)) for key in derivation.keys}, watch.undeclared, derivation.everything


@pytest.mark.parametrize(
    ("name", "listener", "body", "expected", "absent"),
    [
        ("persistent_to_deleted", note_deleted, deletes, {("read", "book")}, "note"),
        ("persistent_to_deleted", note_deleted, changes, {("write", "shelf/{id}")}, "book"),
        ("persistent_to_deleted", count_deleted, deletes, {("write", "note/1")}, None),
        ("persistent_to_deleted", count_deleted, deletes_by_statement, {("write", "note/1")}, None),
        ("before_flush", count_dirty, changes, {("write", "note/2")}, None),
        ("before_flush", count_dirty, loads, {("read", "note/{id}")}, "shelf"),
        ("before_commit", only_look, changes, {("write", "shelf/{id}")}, "note"),
        ("before_commit", relabel, deletes_by_statement, {("write", "shelf/{id}")}, "note"),
        ("after_begin", nothing, changes, {("write", "shelf/{id}")}, "note"),
    ],
)
def test_it_is_followed(
    name: str, listener: Any, body: Any, expected: set[tuple[str, str]], absent: str | None
) -> None:
    keys, undeclared, everything = derived(name, listener, body)
    assert everything == ()
    assert undeclared == []
    assert expected <= keys, keys
    assert absent is None or not any(key.split("/")[0] == absent for _, key in keys), keys


def test_one_that_may_change_statements_is_everything_and_named() -> None:
    _, _, everything = derived("do_orm_execute", nothing, changes)
    assert [one.why for one in everything] == ["a listener of do_orm_execute of the session is not followed"]
