"""Traps and styles of services with SQLAlchemy: what is loaded at once, generic repositories over models, listeners, a
bus of messages, and what is made when it is first asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import Column, ForeignKey, Table, event, func, select, update
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    joinedload,
    mapped_column,
    relationship,
    scoped_session,
    selectinload,
    sessionmaker,
)

from commute import App, Event
from tests.corpus.case import Database, Options, case


class Base(DeclarativeBase):
    def to_dict(self) -> dict[str, Any]:
        return {column.name: getattr(self, column.name) for column in self.__table__.columns}


labelled = Table(
    "labelled",
    Base.metadata,
    Column("thing_id", ForeignKey("thing.id"), primary_key=True),
    Column("label_id", ForeignKey("label.id"), primary_key=True),
)


class Label(Base):
    __tablename__ = "label"
    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(default="")


class Thing(Base):
    __tablename__ = "thing"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default="")
    amount: Mapped[int] = mapped_column(default=0)
    labels: Mapped[list[Label]] = relationship(secondary=labelled, lazy="selectin")


class Owner(Base):
    __tablename__ = "owner"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default="")
    pets: Mapped[list[Pet]] = relationship(back_populates="owner")


class Pet(Base):
    __tablename__ = "pet"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("owner.id"))
    name: Mapped[str] = mapped_column(default="")
    owner: Mapped[Owner | None] = relationship(back_populates="pets")


class Seen(Base):
    __tablename__ = "seen"
    id: Mapped[int] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(default=0)


@event.listens_for(Owner, "after_update")
def owner_changed(_mapper: Any, connection: Any, owner: Owner) -> None:
    connection.execute(update(Seen).where(Seen.id == owner.id).values(count=7 + owner.id))


@event.listens_for(Pet, "before_delete", named=True)
def pet_leaves(**given: Any) -> None:
    given["connection"].execute(update(Seen).values(count=9))


HOME = Database(
    Base.metadata,
    rows=(
        "INSERT INTO label VALUES(1, 'x'), (2, 'y')",
        "INSERT INTO thing VALUES(1, 'a', 5), (2, 'b', 5), (3, 'c', 5)",
        "INSERT INTO labelled VALUES(1, 1), (2, 2)",
        "INSERT INTO owner VALUES(1, 'ann'), (2, 'bob')",
        "INSERT INTO pet VALUES(1, 1, 'rex'), (2, 2, 'tom'), (3, NULL, 'kim')",
        "INSERT INTO seen VALUES(1, 0), (2, 0)",
    ),
)
sessions: sessionmaker[Session] = sessionmaker(HOME.engine)
current = scoped_session(sessions)
HERE: dict[str, Any] = {"clear": HOME.clear, "look": HOME.look}


class First(Event):
    a: int
    b: int = 0
    s: str = ""


class Second(Event):
    a: int
    b: int = 0
    s: str = ""


@case("relation-loaded-at-once", **HERE, trap=True,
      dependent=[(First(a=1, s="x"), First(a=1, s="y"))],
      independent=[(First(a=1, s="x"), First(a=2, s="y"))])  # fmt: skip
def relation_loaded_at_once(app: App[Any], options: Options) -> None:
    """The mapping says that the labels come with the thing, though nobody looks at them."""

    @app.on(First, **options)
    def rename(event: First) -> None:
        with sessions.begin() as session:
            session.get_one(Thing, event.a).name = event.s


@case("relation-loaded-by-an-option", **HERE, trap=True,
      dependent=[(First(a=1, s="x"), First(a=1, s="y")), (First(a=1, s="x"), Second(a=1, s="y"))],
      independent=[])  # fmt: skip
def relation_loaded_by_an_option(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def rename(event: First) -> None:
        with sessions.begin() as session:
            found = session.scalars(select(Pet).where(Pet.id == event.a).options(joinedload(Pet.owner))).one()
            found.name = event.s

    @app.on(Second, **options)
    def again(event: Second) -> None:
        with sessions.begin() as session:
            owner = session.get_one(Owner, event.a, options=[selectinload(Owner.pets)])
            session.execute(update(Pet).where(Pet.id == owner.id).values(name=event.s))


@case("links-of-a-new-object", **HERE, trap=True,
      dependent=[(First(a=7, b=1), Second(a=7))],
      independent=[(First(a=7, b=1), First(a=8, b=2)), (First(a=7, b=1), Second(a=8))])  # fmt: skip
def links_of_a_new_object(app: App[Any], options: Options) -> None:
    """An object that is made with its links writes the table between the two."""

    @app.on(First, **options)
    def make(event: First) -> None:
        with sessions.begin() as session:
            session.add(Thing(id=event.a, labels=[session.get_one(Label, event.b)]))

    @app.on(Second, **options)
    def count(event: Second) -> None:
        with sessions.begin() as session:
            links = session.scalar(select(func.count()).select_from(labelled).where(labelled.c.thing_id == event.a))
            session.add(Seen(id=100 + event.a, count=links))


class ThingIn(BaseModel):
    id: int
    name: str = "new"


class ThingChange(BaseModel):
    name: str | None = None
    amount: int | None = None


Model = TypeVar("Model", bound=Base)


class Crud(Generic[Model]):
    """The repository that every second service has."""

    def __init__(self, model: type[Model]) -> None:
        self.model = model

    def create(self, session: Session, given: BaseModel) -> Model:
        made = self.model(**given.model_dump())
        session.add(made)
        session.flush()
        session.refresh(made)
        return made

    def update(self, session: Session, key: int, given: BaseModel | dict[str, Any]) -> Model:
        found = session.get_one(self.model, key)
        values = given if isinstance(given, dict) else given.model_dump(exclude_unset=True)
        for name in found.to_dict():
            if name in values:
                setattr(found, name, values[name])
        return found


things = Crud(Thing)


@case("columns-out-of-a-model", **HERE, trap=True,
      dependent=[(First(a=7, s="x"), Second(a=7, s="y"))],
      independent=[(First(a=7, s="x"), First(a=8, s="x")), (First(a=7, s="x"), Second(a=1, s="y")),
                   (Second(a=1, s="x"), Second(a=2, s="y"))])  # fmt: skip
def columns_out_of_a_model(app: App[Any], options: Options) -> None:
    """The key of the new row comes by a dict: it is not one that the database makes up."""

    @app.on(First, **options)
    def create(event: First) -> None:
        with sessions.begin() as session:
            things.create(session, ThingIn(id=event.a, name=event.s))

    @app.on(Second, **options)
    def update(event: Second) -> None:
        with sessions.begin() as session:
            things.update(session, event.a, ThingChange(name=event.s))
            things.update(session, event.a, {"amount": event.b})


@case("listener-by-way-of-a-parent", **HERE, trap=True,
      dependent=[(First(a=7, b=1), Second(a=1, b=3))],
      independent=[(First(a=7, b=1), Second(a=2, b=3)), (First(a=7, b=1), First(a=8, b=2))])  # fmt: skip
def listener_by_way_of_a_parent(app: App[Any], options: Options) -> None:
    """A new child changes the collection of its parent, and somebody listens to the parent's changes."""

    @app.on(First, **options)
    def add(event: First) -> None:
        with sessions.begin() as session:
            session.add(Pet(id=event.a, owner=session.get_one(Owner, event.b)))

    @app.on(Second, **options)
    def count(event: Second) -> None:
        with sessions.begin() as session:
            session.execute(update(Seen).where(Seen.id == event.a).values(count=event.b))


@case("listener-that-is-called-by-name", **HERE, trap=True, reach="everything",
      dependent=[(First(a=3), Second(a=1, b=3))], independent=[])  # fmt: skip
def listener_that_is_called_by_name(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def delete(event: First) -> None:
        with sessions.begin() as session:
            session.delete(session.get_one(Pet, event.a))

    @app.on(Second, **options)
    def count(event: Second) -> None:
        with sessions.begin() as session:
            session.execute(update(Seen).where(Seen.id == event.a).values(count=event.b))


# -- a bus of messages --------------------------------------------------------------------------------------------


logger = logging.getLogger(__name__)


class Message:
    pass


class Order(Message):
    pass


class News(Message):
    pass


@dataclass
class Rename(Order):
    key: int
    name: str


@dataclass
class Count(Order):
    key: int
    count: int


@dataclass
class Renamed(News):
    key: int
    count: int


def rename(order: Rename, session: Session) -> list[Message]:
    session.get_one(Label, order.key).word = order.name
    return [Renamed(order.key, len(order.name))]


def count(order: Count, session: Session) -> list[Message]:
    session.get_one(Seen, order.key).count = order.count
    return []


def renamed(news: Renamed, session: Session) -> list[Message]:
    return count(Count(**asdict(news)), session)


def with_session(handler: Callable[..., list[Message]], given: dict[str, Any]) -> Callable[[Message], list[Message]]:
    return lambda message: handler(message, **given)


def bus() -> Callable[[Message], None]:
    given = {"session": current}
    kinds: dict[type[Message], Callable[..., list[Message]]] = {Rename: rename, Count: count}
    orders = {kind: with_session(one, given) for kind, one in kinds.items()}
    news: dict[type[Message], list[Callable[[Message], list[Message]]]] = {Renamed: [with_session(renamed, given)]}

    def handle(message: Message) -> None:
        queue = [message]
        while queue:
            message = queue.pop(0)
            if isinstance(message, News):
                for handler in news[type(message)]:
                    logger.debug("%s goes to %s", message, handler)
                    queue.extend(handler(message))
            else:
                queue.extend(orders[type(message)](message))
        current.commit()
        current.remove()

    return handle


handle = bus()


@case("messages-on-a-bus", **HERE,
      dependent=[(First(a=1, s="x"), First(a=1, s="yy")), (First(a=1, s="x"), Second(a=1, b=5)),
                 (Second(a=1, b=5), Second(a=1, b=6))],
      independent=[(First(a=1, s="x"), First(a=2, s="y")), (First(a=1, s="x"), Second(a=2, b=5)),
                   (Second(a=1, b=5), Second(a=2, b=6))])  # fmt: skip
def messages_on_a_bus(app: App[Any], options: Options) -> None:
    """A message leads to other ones; who handles which is found by its class."""

    @app.on(First, **options)
    def first(event: First) -> None:
        handle(Rename(event.a, event.s))

    @app.on(Second, **options)
    def second(event: Second) -> None:
        handle(Count(event.a, event.b))


# -- what is made when it is first asked for ----------------------------------------------------------------------


class Counter:
    def __init__(self, factory: sessionmaker[Session]) -> None:
        self.factory = factory

    def count(self, key: int, count: int) -> None:
        with self.factory.begin() as session:
            session.get_one(Seen, key).count = count


_counter: Counter | None = None


def counter() -> Counter:
    global _counter  # noqa: PLW0603 - the style that is tried
    if _counter is None:
        _counter = Counter(sessions)
    return _counter


@case("made-when-first-asked-for", **HERE,
      dependent=[(First(a=1, b=1), First(a=1, b=2))], independent=[(First(a=1, b=1), First(a=2, b=2))])  # fmt: skip
def made_when_first_asked_for(app: App[Any], options: Options) -> None:
    """Whoever comes first makes it, and it is the same then: that keeps nobody waiting."""

    @app.on(First, **options)
    def first(event: First) -> None:
        counter().count(event.a, event.b)


class Tally:
    def __init__(self) -> None:
        self.last = 0


_tally: Tally | None = None


def open_tally() -> None:
    global _tally  # noqa: PLW0603 - the same
    _tally = Tally()


def clear_with_tally() -> None:
    HOME.clear()
    open_tally()


@case("object-that-is-made-at-the-start", clear=clear_with_tally, look=HOME.look, trap=True,
      dependent=[(First(a=1, b=1), Second(a=2))], independent=[(Second(a=1), Second(a=2))])  # fmt: skip
def object_that_is_made_at_the_start(app: App[Any], options: Options) -> None:
    """A global that is set before the handlers run holds what one of them tells the other."""

    @app.on(First, **options)
    def first(event: First) -> None:
        assert _tally is not None
        _tally.last = event.b

    @app.on(Second, **options)
    def second(event: Second) -> None:
        assert _tally is not None
        with sessions.begin() as session:
            session.get_one(Seen, event.a).count = _tally.last
