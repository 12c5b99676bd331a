"""Traps in what stands around mapped objects: sessions and queries of the application's own, collections that are
handed over, relations by another condition, objects of a row that another statement changes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, String, select, update
from sqlalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    Query,
    Session,
    mapped_column,
    relationship,
    sessionmaker,
)

from commute import App, Event
from tests.corpus.case import Database, Options, case


class Base(DeclarativeBase):
    pass


def ticked() -> int:
    with HOME.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE tick SET n = n * 3 + 1 WHERE id = 1")
    return 5


class Tick(Base):
    __tablename__ = "tick"

    id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int] = mapped_column(default=0)
    at: Mapped[int] = mapped_column(default=0, onupdate=ticked)


class Owner(Base):
    __tablename__ = "owner"

    id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int] = mapped_column(default=0)
    things: Mapped[list[Thing]] = relationship(back_populates="owner", cascade="all, delete-orphan")
    asked: DynamicMapped[Thing] = relationship(overlaps="things,owner")
    upto: Mapped[list[Thing]] = relationship(primaryjoin="Owner.id >= foreign(Thing.id)", viewonly=True)


class Thing(Base):
    __tablename__ = "thing"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("owner.id"))
    n: Mapped[int] = mapped_column(default=0)
    owner: Mapped[Owner | None] = relationship(back_populates="things", overlaps="asked")


class Code(Base):
    __tablename__ = "code"

    code: Mapped[str] = mapped_column(String, primary_key=True)
    n: Mapped[int] = mapped_column(default=0)


class AuditedSession(Session):
    def commit(self) -> None:
        self.execute(update(Tick).where(Tick.id == 1).values(n=Tick.n * 5 + 1, at=0))
        super().commit()


class AuditedQuery(Query[Any]):
    def all(self) -> list[Any]:
        self.session.execute(update(Tick).where(Tick.id == 1).values(n=Tick.n * 5 + 1, at=0))
        return super().all()


HOME = Database(
    Base.metadata,
    rows=(
        "INSERT INTO tick VALUES(1, 1, 0), (2, 1, 0)",
        "INSERT INTO owner VALUES(1, 1), (2, 1), (3, 1)",
        "INSERT INTO thing VALUES(1, 1, 1), (2, 2, 1), (3, NULL, 1)",
        "INSERT INTO code VALUES('2', 1), ('02', 1)",
    ),
)
sessions: sessionmaker[Session] = sessionmaker(HOME.engine)
audited: sessionmaker[AuditedSession] = sessionmaker(HOME.engine, class_=AuditedSession)
asking: sessionmaker[Session] = sessionmaker(HOME.engine, query_cls=AuditedQuery)
HERE: dict[str, Any] = {"clear": HOME.clear, "look": HOME.look, "trap": True}


class First(Event):
    a: int
    b: int = 0
    s: str = ""


class Second(Event):
    a: int
    s: str = ""


def doubles(app: App[Any], options: Options, model: Any, key: Any) -> None:
    @app.on(Second, **options)
    def double(event: Second) -> None:
        with sessions.begin() as session:
            session.execute(update(model).where(key == (event.s or event.a)).values(n=model.n * 2))


@case("session-of-its-own", **HERE, dependent=[(First(a=1), Second(a=1))], independent=[(First(a=1), Second(a=2))])
def session_of_its_own(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def touch(event: First) -> None:
        with audited() as session:
            session.execute(update(Owner).where(Owner.id == event.a).values(n=7))
            session.commit()

    @app.on(Second, **options)
    def double(event: Second) -> None:
        with HOME.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE tick SET n = n * 2 WHERE id = ?", (event.a,))


@case("query-of-its-own", **HERE, reach="everything", dependent=[(First(a=2), Second(a=1))], independent=[])
def query_of_its_own(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def look(event: First) -> None:
        with asking.begin() as session:
            session.query(Owner).filter_by(id=event.a).all()

    doubles(app, options, Tick, Tick.id)


@case("made-when-it-is-changed", **HERE, dependent=[(First(a=2), Second(a=1))], independent=[])
def made_when_it_is_changed(app: App[Any], options: Options) -> None:
    """A function makes the value of a column whenever a statement changes the row."""

    @app.on(First, **options)
    def change(event: First) -> None:
        with HOME.engine.begin() as connection:
            connection.execute(update(Tick).where(Tick.id == event.a).values(n=7))

    @app.on(Second, **options)
    def double(event: Second) -> None:
        with HOME.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE tick SET n = n * 2 WHERE id = ?", (event.a,))


@case("collection-handed-over", **HERE, reach="table",
      dependent=[(First(a=2, b=1), First(a=3, b=1))], independent=[])  # fmt: skip
def collection_handed_over(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def hand(event: First) -> None:
        with sessions.begin() as session:
            session.get_one(Owner, event.a).things = session.get_one(Owner, event.b).things


@case("collection-added-to-another", **HERE, reach="table",
      dependent=[(First(a=2, b=1), First(a=3, b=1))], independent=[])  # fmt: skip
def collection_added_to_another(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def hand(event: First) -> None:
        with sessions.begin() as session:
            session.get_one(Owner, event.a).things += session.get_one(Owner, event.b).things


@case("merged-with-what-hangs-on-it", **HERE, reach="table",
      dependent=[(First(a=1, b=9), Second(a=1))], independent=[])  # fmt: skip
def merged_with_what_hangs_on_it(app: App[Any], options: Options) -> None:
    """What the row had and the merged object has not is deleted."""

    @app.on(First, **options)
    def merge(event: First) -> None:
        with sessions.begin() as session:
            session.merge(Owner(id=event.a, things=[Thing(id=event.b)]))

    @app.on(Second, **options)
    def count(event: Second) -> None:
        with sessions.begin() as session:
            found = session.get(Thing, event.a)
            session.get_one(Code, "2").n = 0 if found is None else 5


@case("changed-by-a-query-of-a-relation", **HERE, reach="everything",
      dependent=[(First(a=1), Second(a=1))], independent=[])  # fmt: skip
def changed_by_a_query_of_a_relation(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def change(event: First) -> None:
        with sessions.begin() as session:
            session.get_one(Owner, event.a).asked.filter(Thing.n == 1).update({"n": 9})

    @app.on(Second, **options)
    def copy(event: Second) -> None:
        with sessions.begin() as session:
            session.get_one(Code, "2").n = session.get_one(Thing, event.a).n


@case("relation-by-another-condition", **HERE, reach="table",
      dependent=[(First(a=3), Second(a=1))], independent=[])  # fmt: skip
def relation_by_another_condition(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def each(event: First) -> None:
        with sessions.begin() as session:
            for thing in session.get_one(Owner, event.a).upto:
                thing.n += 3

    doubles(app, options, Thing, Thing.id)


@case("object-of-a-row-that-moved", **HERE, reach="table",
      dependent=[(First(a=1, b=3), Second(a=3))], independent=[])  # fmt: skip
def object_of_a_row_that_moved(app: App[Any], options: Options) -> None:
    """It was found by its owner, whom another statement changes before it is loaded again."""

    @app.on(First, **options)
    def move(event: First) -> None:
        with sessions.begin() as session:
            thing = session.scalars(select(Thing).where(Thing.owner_id == event.a)).one()
            session.execute(update(Thing).where(Thing.id == thing.id).values(owner_id=event.b))
            session.refresh(thing)
            session.execute(update(Owner).where(Owner.id == thing.owner_id).values(n=Owner.n + 3))

    doubles(app, options, Owner, Owner.id)


@case("number-read-back-for-a-text", **HERE,
      dependent=[(First(a=0, s="02"), Second(a=0, s="2"))],
      independent=[(First(a=0, s="02"), Second(a=0, s="02"))])  # fmt: skip
def number_read_back_for_a_text(app: App[Any], options: Options) -> None:
    """The row is found by a text in a column of numbers: what is read is the number."""

    @app.on(First, **options)
    def change(event: First) -> None:
        with HOME.engine.begin() as connection:
            row = connection.exec_driver_sql("SELECT id FROM owner WHERE id = ?", (event.s,)).fetchone()
            if row is not None:
                connection.exec_driver_sql("UPDATE code SET n = n + 3 WHERE code = ?", (str(row[0]),))

    doubles(app, options, Code, Code.code)
