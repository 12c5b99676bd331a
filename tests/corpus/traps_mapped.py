"""Traps for whoever reads mapped classes: what an attribute is beyond a column of its own table."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, event, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    column_property,
    mapped_column,
    relationship,
    sessionmaker,
    synonym,
    validates,
)

from commute import App, Event
from tests.corpus.case import Database, Options, case


class Base(DeclarativeBase):
    pass


class Staff(Base):
    __tablename__ = "staff"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    boss_id: Mapped[int | None]
    name: Mapped[str] = mapped_column(default="")
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "staff"}  # noqa: RUF012 - SQLAlchemy's

    def describe(self) -> str:
        return self.name


class Chief(Staff):
    __tablename__ = "chief"
    id: Mapped[int] = mapped_column(ForeignKey("staff.id"), primary_key=True)
    bonus: Mapped[int] = mapped_column(default=0)
    __mapper_args__ = {"polymorphic_identity": "chief"}  # noqa: RUF012

    def describe(self) -> str:
        return f"{self.name} {self.bonus}"


class Tag(Base):
    __tablename__ = "tag"
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"))
    word: Mapped[str] = mapped_column(default="")

    def __init__(self, word: str) -> None:
        self.word = word


class Person(Base):
    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String, unique=True)
    first: Mapped[str] = mapped_column(default="")
    count: Mapped[int] = mapped_column(default=5)
    tags: Mapped[list[Tag]] = relationship()
    words: AssociationProxy[list[str]] = association_proxy("tags", "word")
    given = synonym("first")
    __table_args__ = (CheckConstraint("count >= 0"),)

    @validates("email")
    def lower(self, _: str, value: str) -> str:
        return value.lower()

    @hybrid_property
    def full(self) -> str:
        return self.first

    @full.inplace.setter
    def _set_full(self, value: str) -> None:
        self.first = value


Person.tag_count = column_property(
    select(func.count(Tag.id)).where(Tag.person_id == Person.id).correlate_except(Tag).scalar_subquery()
)


class Address(Base):
    __tablename__ = "address"
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int]
    label: Mapped[str] = mapped_column(default="home")
    mail: Mapped[str]
    __table_args__ = (UniqueConstraint("person_id", "label"),)


Index("one_mail", func.lower(Address.mail), unique=True)


class Heard(Base):
    __tablename__ = "heard"
    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(default="")


class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(default="")


def hear(_: object, connection: Any, target: Heard) -> None:
    connection.execute(update(Note).values(word=target.word))


event.listen(Heard, "before_insert", hear)

HOME = Database(
    Base.metadata,
    rows=(
        "INSERT INTO staff VALUES(1, 'chief', 2, 'ann'), (2, 'chief', NULL, 'bob')",
        "INSERT INTO chief VALUES(1, 10), (2, 20)",
        "INSERT INTO person(id, email, first, count) VALUES(1, 'p@x', 'p', 5), (2, 'q@x', 'q', 5)",
        "INSERT INTO tag VALUES(1, 1, 'red'), (2, 2, 'blue')",
        "INSERT INTO note VALUES(1, '-')",
    ),
    numbered=("tag", "address"),
)
sessions: sessionmaker[Session] = sessionmaker(HOME.engine)
HERE: dict[str, Any] = {"clear": HOME.clear, "look": HOME.look, "trap": True, "reach": "table"}


class First(Event):
    a: int
    s: str = ""
    b: int = 0


class Second(Event):
    a: int
    s: str = ""
    b: int = 0


def note(session: Session, a: int, word: object) -> None:
    session.add(Note(id=100 + a, word=str(word)))


@case("base-table-of-a-subclass", **HERE, dependent=[(First(a=1), Second(a=1, s="z"))],
      independent=[(First(a=1), Second(a=2, s="z"))])  # fmt: skip
def base_table_of_a_subclass(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def read(event: First) -> None:
        with sessions.begin() as session:
            note(session, event.a, session.get_one(Chief, event.a).name)

    @app.on(Second, **options)
    def rename(event: Second) -> None:
        with sessions.begin() as session:
            session.get_one(Staff, event.a).name = event.s


@case("method-of-a-subclass", **HERE, dependent=[(First(a=1), Second(a=1, b=7))], independent=[])
def method_of_a_subclass(app: App[Any], options: Options) -> None:
    """The object turns out to be of a subclass, whose method reads another table."""

    @app.on(First, **options)
    def read(event: First) -> None:
        with sessions.begin() as session:
            note(session, event.a, session.get_one(Staff, event.a).describe())

    @app.on(Second, **options)
    def pay(event: Second) -> None:
        with sessions.begin() as session:
            session.get_one(Chief, event.a).bonus = event.b


@case("second-object-of-a-self-join", **HERE, dependent=[(First(a=1, s="x"), Second(a=2, s="z"))], independent=[])
def second_object_of_a_self_join(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def name_boss(event: First) -> None:
        boss = aliased(Staff)
        with sessions.begin() as session:
            query = select(Staff, boss).join(boss, Staff.boss_id == boss.id).where(Staff.id == event.a)
            _, found = session.execute(query).one()
            found.name = event.s

    @app.on(Second, **options)
    def rename(event: Second) -> None:
        with sessions.begin() as session:
            session.get_one(Staff, event.a).name = event.s


@case("attribute-read-after-it-was-set", **HERE, dependent=[(First(a=1, b=2), Second(a=2, s="z"))], independent=[])
def attribute_read_after_it_was_set(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def promote(event: First) -> None:
        with sessions.begin() as session:
            staff = session.scalars(select(Staff).where(Staff.boss_id == 2)).first()
            if staff is not None:
                staff.boss_id = event.b
                session.get_one(Staff, staff.boss_id).name = "boss"

    @app.on(Second, **options)
    def rename(event: Second) -> None:
        with sessions.begin() as session:
            session.get_one(Staff, event.a).name = event.s


@case("column-that-is-a-query", **HERE, dependent=[(First(a=1), Second(a=1, s="new"))], independent=[])
def column_that_is_a_query(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def read(event: First) -> None:
        with sessions.begin() as session:
            person: Any = session.get_one(Person, event.a)
            note(session, event.a, person.tag_count)

    @app.on(Second, **options)
    def add(event: Second) -> None:
        with sessions.begin() as session:
            tag = Tag(event.s)
            tag.person_id = event.a
            session.add(tag)


@case("association-proxy", **HERE, dependent=[(First(a=1, s="new"), Second(a=1))], independent=[])
def by_association_proxy(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def add(event: First) -> None:
        with sessions.begin() as session:
            session.get_one(Person, event.a).words.append(event.s)

    @app.on(Second, **options)
    def read(event: Second) -> None:
        with sessions.begin() as session:
            words = session.scalars(select(Tag.word).where(Tag.person_id == event.a)).all()
            note(session, event.a, words)


@case("setter-of-a-hybrid", **HERE, dependent=[(First(a=1, s="x"), Second(a=1, s="y"))],
      independent=[(First(a=1, s="x"), Second(a=2, s="y"))])  # fmt: skip
def setter_of_a_hybrid(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def by_hybrid(event: First) -> None:
        with sessions.begin() as session:
            session.get_one(Person, event.a).full = event.s

    @app.on(Second, **options)
    def by_synonym(event: Second) -> None:
        with sessions.begin() as session:
            session.get_one(Person, event.a).given = event.s


@case("validator-that-folds", **HERE, dependent=[(First(a=11, s="N@x"), Second(a=12, s="n@X"))], independent=[])
def validator_that_folds(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def one(event: First) -> None:
        join(event.a, event.s)

    @app.on(Second, **options)
    def two(event: Second) -> None:
        join(event.a, event.s)


def join(number: int, email: str) -> None:
    try:
        with sessions.begin() as session:
            session.add(Person(id=number, email=email))
    except IntegrityError:
        return


@case("constraints-of-mapped-tables", **HERE,
      dependent=[(First(a=1, s="A@x"), First(a=2, s="a@x")), (First(a=1, s="u@x"), First(a=1, s="v@x")),
                 (Second(a=1, b=4), Second(a=1, b=3))],
      independent=[(Second(a=1, b=4), Second(a=2, b=3))])  # fmt: skip
def constraints_of_mapped_tables(app: App[Any], options: Options) -> None:
    """An index over a function, a default in a unique constraint, a CHECK."""

    @app.on(First, **options)
    def move(event: First) -> None:
        try:
            with sessions.begin() as session:
                session.add(Address(person_id=event.a, mail=event.s))
        except IntegrityError:
            return

    @app.on(Second, **options)
    def take(event: Second) -> None:
        try:
            with sessions.begin() as session:
                session.execute(update(Person).where(Person.id == event.a).values(count=Person.count - event.b))
        except IntegrityError:
            return


@case("listener-of-a-mapped-class", clear=HOME.clear, look=HOME.look, trap=True, reach="everything",
      dependent=[(First(a=1, s="x"), Second(a=1, s="y"))], independent=[])  # fmt: skip
def listener_of_a_mapped_class(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def add(event: First) -> None:
        with sessions.begin() as session:
            session.add(Heard(id=event.a, word=event.s))

    @app.on(Second, **options)
    def write(event: Second) -> None:
        with sessions.begin() as session:
            session.get_one(Note, event.a).word = event.s


@case("statement-of-one-of-two-classes", **HERE,
      dependent=[(First(a=1, b=1), Second(a=1, s="x")), (First(a=1, b=0), Second(a=1, s="x"))],
      independent=[])  # fmt: skip
def statement_of_one_of_two_classes(app: App[Any], options: Options) -> None:
    """What is selected is decided by the event, and so is a condition that looks at another table."""

    @app.on(First, **options)
    def count(event: First) -> None:
        with sessions.begin() as session:
            what: Any = Staff.name if event.b else Note.word
            conditions = [Note.id == 1]
            if not event.s:
                conditions.append(Note.word.in_(select(Person.first)))
            seen = session.scalars(select(what)).all()
            counted = session.scalar(select(func.count(Note.id)).where(*conditions))
            session.add(Note(id=100 + event.a, word=f"{sorted(seen)} {counted}"))

    @app.on(Second, **options)
    def rename(event: Second) -> None:
        with sessions.begin() as session:
            session.get_one(Staff, event.a).name = event.s
            session.get_one(Note, event.a).word = event.s


@case("condition-in-a-list", **HERE, dependent=[(First(a=1), Second(a=1, s="-"))], independent=[])
def condition_in_a_list(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def count(event: First) -> None:
        with sessions.begin() as session:
            conditions = [Note.id == 1]
            if not event.s:
                conditions.append(Note.word.in_(select(Person.first)))
            session.execute(update(Note).where(*conditions).values(word="seen"))

    @app.on(Second, **options)
    def rename(event: Second) -> None:
        with sessions.begin() as session:
            session.get_one(Person, event.a).first = event.s


@case("statement-with-a-condition-more", clear=HOME.clear, look=HOME.look,
      dependent=[(First(a=1, s="x"), Second(a=1, s="y"))],
      independent=[(First(a=1, s="x"), Second(a=2, s="y"))])  # fmt: skip
def statement_with_a_condition_more(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def rename(event: First) -> None:
        with sessions.begin() as session:
            query = select(Person).where(Person.id == event.a)
            if event.b:
                query = query.where(Person.count > 1)
            person = session.scalars(query).first()
            if person is not None:
                for name, value in {"first": event.s, "count": 3}.items():
                    setattr(person, name, value)

    @app.on(Second, **options)
    def name(event: Second) -> None:
        with sessions.begin() as session:
            session.get_one(Person, event.a).first = event.s
