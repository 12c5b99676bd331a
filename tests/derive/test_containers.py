"""Containers of dependency_injector: what providers make is followed, and shared where they keep it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
from dependency_injector import containers, providers
from dependency_injector.wiring import Closing, Provide, inject
from sqlalchemy import StaticPool, create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from commute import App, Event
from commute.observe.watch import watching
from commute.testing import run


class Base(DeclarativeBase):
    pass


class Boat(Base):
    __tablename__ = "boat"
    id: Mapped[int] = mapped_column(primary_key=True)
    crew: Mapped[int] = mapped_column(default=0)


class Started(Base):
    __tablename__ = "started"
    id: Mapped[int] = mapped_column(primary_key=True)


class Boarded(Event):
    id: int


engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


class Harbour:
    def __init__(self, name: str) -> None:
        self.name = name
        self.sessions = sessionmaker(engine)

    @contextmanager
    def session(self) -> Generator[Session]:
        with self.sessions() as session:
            yield session
            session.commit()


class Boats:
    def __init__(self, session: Callable[[], Any], by: int = 1) -> None:
        self.session = session
        self.by = by

    def board(self, id: int) -> None:
        with self.session() as session:
            boat = session.get(Boat, id)
            if boat is not None:
                boat.crew += self.by


class Quiet(Boats):
    def board(self, id: int) -> None:
        with self.session() as session:
            session.get(Boat, id)


class Writing:
    """It writes when it is made, whoever asks first."""

    def __init__(self) -> None:
        with sessionmaker(engine).begin() as session:
            session.execute(text("DELETE FROM started WHERE id = 1"))
        self.last = 0


def opened() -> Generator[Session]:
    session = sessionmaker(engine)()
    yield session
    session.commit()
    session.close()


class Port(containers.DeclarativeContainer):
    config = providers.Configuration()
    harbour = providers.Singleton(Harbour, name=config.name)
    boats = providers.Factory(Boats, session=harbour.provided.session)
    two = providers.Factory(Boats, harbour.provided.session, by=2)
    either = providers.Selector(config.kind, loud=boats, quiet=providers.Factory(Quiet, harbour.provided.session))
    writing = providers.Singleton(Writing)
    opened = providers.Resource(opened)
    names = providers.Aggregate(boats=boats)


port = Port()
port.config.from_dict({"name": "north", "kind": "loud"})


@inject
def board(id: int, boats: Boats = Provide[Port.boats]) -> None:
    boats.board(id)


@inject
def board_in(id: int, session: Session = Closing[Provide[Port.opened]]) -> None:
    boat = session.get(Boat, id)
    if boat is not None:
        boat.crew += 1


def injected(event: Boarded) -> None:
    board(event.id)


def injected_by_hand(event: Boarded) -> None:
    board(event.id, boats=Quiet(port.harbour().session))


def by_resource(event: Boarded) -> None:
    board_in(event.id)


def by_container(event: Boarded) -> None:
    port.boats(by=3).board(event.id)


def by_class(event: Boarded) -> None:
    Port.two().board(event.id)


def by_choice(event: Boarded) -> None:
    port.either().board(event.id)


def by_two(event: Boarded) -> None:
    port.writing()
    port.two().board(event.id)


def remembers(event: Boarded) -> None:
    port.writing().last = event.id


def by_aggregate(event: Boarded) -> None:
    port.names("boats").board(event.id)


def derived(*bodies: Callable[[Boarded], None]) -> tuple[App[Any], list[Any]]:
    app: App[Any] = App("port", "memory://", derive=True)
    for number, body in enumerate(bodies):

        def handler(event: Boarded, body: Callable[[Boarded], None] = body) -> None:
            body(event)

        handler.__name__ = f"handler{number}"
        app.on(Boarded)(handler)
    found = app.derived()
    assert found is not None
    return app, [found.found[one.name, one.events[0].type] for one in app.handlers]


@pytest.fixture(autouse=True)
def _wired() -> Generator[None]:
    Base.metadata.create_all(engine)
    with sessionmaker(engine).begin() as session:
        session.merge(Boat(id=1))
    port.wire(modules=[sys.modules[__name__]])
    yield
    port.unwire()


@pytest.mark.parametrize(
    ("body", "mode"),
    [
        (injected, "write"),
        (injected_by_hand, "read"),
        (by_resource, "write"),
        (by_container, "write"),
        (by_class, "write"),
        (by_choice, "write"),
    ],
)
def test_what_is_provided_is_followed(body: Any, mode: str) -> None:
    app, (found,) = derived(body)
    assert found.everything == ()
    assert {(key.mode, str(key)) for key in found.keys} == {("read", "boat/{id}"), (mode, "boat/{id}")}
    with watching(app) as watch:
        run(app, [Boarded(id=1), Boarded(id=2)])
    assert watch.undeclared == []


def test_what_is_made_once_may_be_made_by_any_handler_that_asks() -> None:
    _, found = derived(by_two, by_two)
    assert all(("write", "started/1") in {(key.mode, str(key)) for key in one.keys} for one in found)


def test_what_one_handler_puts_into_a_singleton_another_one_waits_for() -> None:
    _, found = derived(remembers, remembers)
    assert all(any(key.name[0] == "state" and key.mode == "write" for key in one.keys) for one in found)


def test_what_stands_in_the_place_of_a_provider_is_what_it_gives() -> None:
    with port.boats.override(providers.Factory(Quiet, session=port.harbour.provided.session)):
        _, (found,) = derived(injected)
    assert {(key.mode, str(key)) for key in found.keys} == {("read", "boat/{id}")}


def test_another_kind_of_provider_is_named() -> None:
    _, (found,) = derived(by_aggregate)
    assert "a provider of the kind Aggregate is not followed" in [one.why for one in found.everything]
