"""Classes of sessions: methods in the place of SQLAlchemy's, the class behind a session of asyncio, its engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, StaticPool, create_engine, event, text
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Query, Session, mapped_column, sessionmaker

from commute import App, Event
from commute.observe.watch import watching
from commute.testing import run


class Base(DeclarativeBase):
    pass


class Plant(Base):
    __tablename__ = "plant"
    id: Mapped[int] = mapped_column(primary_key=True)
    height: Mapped[int] = mapped_column(default=0)

    def grown(self) -> int:
        self.height += 1
        return self.height


class Tree(Plant):
    def grown(self) -> int:
        return super().grown() + 1


class Diary(Base):
    __tablename__ = "diary"
    id: Mapped[int] = mapped_column(primary_key=True)
    lines: Mapped[int] = mapped_column(default=0)


class Watered(Event):
    id: int


def write_down(session: Session) -> None:
    page = session.get(Diary, 1)
    if page is not None:
        page.lines += 1


class Committing(Session):
    def commit(self) -> None:
        write_down(self)
        super().commit()


class Flushing(Session):
    def flush(self, objects: Any = None) -> None:
        if self.dirty:
            self.connection().execute(text("UPDATE diary SET lines = 5 WHERE id = 1"))
        super().flush(objects)


class Finding(Session):
    @property
    def shelf(self) -> str:
        return "plants"

    def plant(self, id: int) -> Plant | None:
        write_down(self)
        return self.get(Plant, id)


class Executing(Session):
    def execute(self, *given: Any, **named: Any) -> Any:
        return super().execute(*given, **named)


class Heard(Session):
    pass


class HeardAsync(AsyncSession):
    sync_session_class = Heard


event.listen(Heard, "before_flush", lambda session, _context, _instances: write_down(session))


class Own(Query[Any]):
    def first(self) -> Any:
        write_down(self.session)
        return super().first()


def _engine() -> Engine:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as filled:
        filled.add_all([Plant(id=1), Diary(id=1)])
        filled.commit()
    return engine


ENGINE = _engine()
ASYNC = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)


def water(session: Any, event_: Watered) -> None:
    session.get(Plant, event_.id).height += 1
    session.commit()


def derivation(body: Callable[[Watered], Any]) -> tuple[App[Any], Any]:
    app: App[Any] = App("garden", "memory://", derive=True)
    app.on(Watered)(body)
    found = app.derived()
    assert found is not None
    return app, found.found[app.handlers[0].name, app.handlers[0].events[0].type]


def by_maker(event: Watered) -> None:
    with sessionmaker(ENGINE, class_=Committing)() as session:
        water(session, event)


def by_class(event: Watered) -> None:
    with Committing(ENGINE) as session:
        water(session, event)


def by_flush(event: Watered) -> None:
    with Flushing(ENGINE) as session:
        water(session, event)


def by_own_method(event: Watered) -> None:
    with Finding(ENGINE) as session:
        plant = session.plant(event.id)
        if plant is not None and session.shelf:
            plant.height += 1
        session.commit()


@pytest.mark.parametrize("body", [by_maker, by_class, by_flush, by_own_method])
def test_what_a_class_of_sessions_does_is_followed(body: Any) -> None:
    app, found = derivation(body)
    with watching(app) as watch:
        run(app, [Watered(id=1)])
    assert watch.undeclared == []
    assert found.everything == ()
    keys = {(key.mode, str(key)) for key in found.keys}
    assert {("write", "diary/1"), ("write", "plant/{id}")} <= keys


heard_by_maker = async_sessionmaker(ASYNC, sync_session_class=Heard)
heard_by_class = sessionmaker(ASYNC, class_=HeardAsync)  # type: ignore[call-overload]


async def behind_a_maker(event: Watered) -> None:
    async with heard_by_maker() as session:
        (await session.get_one(Plant, event.id)).height = 3
        await session.commit()


async def behind_a_class(event: Watered) -> None:
    async with heard_by_class() as session:
        (await session.get_one(Plant, event.id)).height = 3
        await session.commit()


async def behind_one_that_is_made(event: Watered) -> None:
    async with AsyncSession(ASYNC, sync_session_class=Heard) as session:
        (await session.get_one(Plant, event.id)).height = 3
        await session.commit()


async def of_a_subclass(event: Watered) -> None:
    async with HeardAsync(ASYNC) as session:
        (await session.get_one(Plant, event.id)).height = 3
        await session.commit()


@pytest.mark.parametrize("body", [behind_a_maker, behind_a_class, behind_one_that_is_made, of_a_subclass])
def test_who_listens_to_the_session_behind_one_of_asyncio_is_heard(body: Any) -> None:
    _, found = derivation(body)
    assert found.everything == ()
    assert ("write", "diary/1") in {(key.mode, str(key)) for key in found.keys}


def test_who_listens_to_one_session_is_heard() -> None:
    one = Session(ENGINE)
    event.listen(one, "before_flush", lambda session, _context, _instances: write_down(session))

    def one_session(event: Watered) -> None:
        one.get_one(Plant, event.id).height = 3
        one.commit()

    _, found = derivation(one_session)
    assert found.everything == ()
    assert ("write", "diary/1") in {(key.mode, str(key)) for key in found.keys}


def test_one_of_which_only_the_class_is_said_may_be_of_any_below_it() -> None:
    class Holder:
        session: Session

    holder = Holder()

    def held(event: Watered) -> None:
        found = Kept(holder.session).session.get(Plant, event.id)
        assert found is not None

    class Kept:
        def __init__(self, session: Session) -> None:
            self.session = session

    _, found = derivation(held)
    assert found.everything, "Executing is one of them"


def by_execute(event: Watered) -> None:
    with Executing(ENGINE) as session:
        session.get(Plant, event.id)


def by_query(event: Watered) -> None:
    with sessionmaker(ENGINE, query_cls=Own)() as session:
        session.query(Plant).filter(Plant.id == event.id).first()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (by_execute, "Executing.execute, which SQLAlchemy calls itself, is not followed"),
        (by_query, "queries are of a class of the application's"),
    ],
)
def test_what_is_not_followed_is_named(body: Any, why: str) -> None:
    _, found = derivation(body)
    assert why in [one.why for one in found.everything]


ENGINES = {"writer": ENGINE, "reader": ENGINE}


class Routing(Session):
    def get_bind(self, *_given: Any, clause: Any = None, **_named: Any) -> Engine:
        return ENGINES["writer" if self._flushing or clause is not None else "reader"]


def test_the_engines_behind_a_session_are_those_of_its_class() -> None:
    sessions = sessionmaker(class_=Routing)

    def routed(event: Watered) -> None:
        with sessions() as session:
            session.get_one(Plant, event.id).height = 3
            session.commit()

    app, found = derivation(routed)
    with watching(app) as watch:
        run(app, [Watered(id=1)])
    assert watch.undeclared == []
    assert found.everything == ()
    with ENGINE.begin() as connection:
        connection.execute(text("CREATE TRIGGER told AFTER UPDATE ON plant BEGIN UPDATE diary SET lines = 9; END"))
    try:
        _, found = derivation(routed)
        assert any(key.name == ("diary",) and key.mode == "write" for key in found.keys), "its catalogue is read"
    finally:
        with ENGINE.begin() as connection:
            connection.execute(text("DROP TRIGGER told"))


def test_the_session_of_a_scope_is_not_asked_for_while_it_is_read() -> None:
    def scope() -> int:
        raise LookupError("there is no scope before a handler runs")

    scoped = async_scoped_session(async_sessionmaker(ASYNC), scopefunc=scope)

    async def in_a_scope(event: Watered) -> None:
        await scoped.get(Plant, event.id)

    _, found = derivation(in_a_scope)
    assert found.everything == ()
    assert {str(key) for key in found.keys} == {"plant/{id}"}


def test_super_in_a_mapped_class_is_followed() -> None:
    def grows(event: Watered) -> None:
        with Session(ENGINE) as session:
            session.get_one(Tree, event.id).grown()
            session.commit()

    _, found = derivation(grows)
    assert found.everything == ()
    assert ("write", "plant") in {(key.mode, str(key).split("/")[0]) for key in found.keys}
