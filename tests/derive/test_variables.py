"""Variables of a context: what a handler has put there itself, what others may have, and where that is not known."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar, Token
from typing import Any

import pytest
from sqlalchemy import String, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from commute import App, Event


class Base(DeclarativeBase):
    pass


class Jar(Base):
    __tablename__ = "jar"
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String, default="")


class Opened(Event):
    id: int
    room: int


sessions = sessionmaker(create_engine("sqlite://"))
CURRENT: ContextVar[Session] = ContextVar("CURRENT")
MAYBE: ContextVar[Session | None] = ContextVar("MAYBE", default=None)
WHICH: ContextVar[int] = ContextVar("WHICH")
TRACE: ContextVar[str] = ContextVar("TRACE", default="-")
NEVER: ContextVar[Any] = ContextVar("NEVER")
which_one = WHICH.get


@asynccontextmanager
async def scope() -> AsyncGenerator[Session]:
    session = sessions()
    token = CURRENT.set(session)
    try:
        yield session
        session.commit()
    finally:
        CURRENT.reset(token)


class Jars:
    @property
    def session(self) -> Session:
        if found := MAYBE.get():
            return found
        raise RuntimeError("no session")

    def label(self, id: int, text: str) -> None:
        jar = self.session.get(Jar, id)
        if jar is not None:
            jar.label = text


def in_a_scope(function: Callable[[int], Awaitable[None]]) -> Callable[[int], Awaitable[None]]:
    @functools.wraps(function)
    async def inner(id: int) -> None:
        async with scope():
            await function(id)

    return inner


@in_a_scope
async def relabel(id: int) -> None:
    jar = CURRENT.get().get(Jar, id)
    if jar is not None:
        jar.label = TRACE.get()


async def by_scope(event: Opened) -> None:
    await relabel(event.id)


async def by_repository(event: Opened) -> None:
    MAYBE.set(sessions())
    Jars().label(event.id, "new")


async def by_value(event: Opened) -> None:
    WHICH.set(event.id)
    sessions().get(Jar, which_one())


async def in_another_task(event: Opened) -> None:
    async def inner() -> None:
        WHICH.set(event.room)
        sessions().get(Jar, WHICH.get())

    WHICH.set(event.id)
    await asyncio.gather(inner())


async def set_in_another_task(event: Opened) -> None:
    async def inner() -> None:
        WHICH.set(event.room)

    WHICH.set(event.id)
    await asyncio.gather(inner())
    sessions().get(Jar, WHICH.get())


async def made_before_it_is_set_again(event: Opened) -> None:
    async def inner() -> None:
        sessions().get(Jar, WHICH.get())

    WHICH.set(event.id)
    coroutine = inner()
    WHICH.set(event.room)
    await coroutine


async def after_the_reset(event: Opened) -> None:
    WHICH.set(event.id)
    token = WHICH.set(event.room)
    WHICH.reset(token)
    sessions().get(Jar, WHICH.get())


async def perhaps_set(event: Opened) -> None:
    WHICH.set(event.id)
    if event.room > 3:
        WHICH.set(event.room)
    sessions().get(Jar, WHICH.get())


async def what_others_left(_event: Opened) -> None:
    sessions().get(Jar, WHICH.get())


async def after_a_reset_to_nothing(event: Opened) -> None:
    token: Token[int] = WHICH.set(event.id)
    WHICH.reset(token)
    sessions().get(Jar, WHICH.get())


async def in_a_thread(event: Opened) -> None:
    WHICH.set(event.id)
    await asyncio.get_running_loop().run_in_executor(None, lambda: sessions().get(Jar, WHICH.get()))


async def never_set(_event: Opened) -> None:
    NEVER.get().touch()


def derived(*bodies: Callable[[Opened], Awaitable[None]]) -> list[Any]:
    app: App[Any] = App("jars", "memory://", derive=True)
    for number, body in enumerate(bodies):
        app.on(Opened)(_named(body, f"handler{number}"))
    found = app.derived()
    assert found is not None
    return [found.found[one.name, one.events[0].type] for one in app.handlers]


def _named(body: Callable[[Opened], Awaitable[None]], name: str) -> Any:
    async def handler(event: Opened) -> None:
        await body(event)

    handler.__name__ = handler.__qualname__ = name
    return handler


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (by_scope, {"jar/{id}"}),
        (by_repository, {"jar/{id}"}),
        (by_value, {"jar/{id}"}),
        (in_another_task, {"jar/{room}"}),
        (set_in_another_task, {"jar/{room}", "jar/{id}"}),
        (made_before_it_is_set_again, {"jar/{room}", "jar/{id}"}),
        (after_the_reset, {"jar/{id}"}),
        (perhaps_set, {"jar/{room}", "jar/{id}"}),
        (what_others_left, {"jar"}),
        (after_a_reset_to_nothing, {"jar"}),
        (in_a_thread, {"jar"}),
    ],
)
def test_what_is_in_it(body: Any, expected: set[str]) -> None:
    found = derived(body, by_value)[0]
    assert found.everything == ()
    keys = {str(key) for key in found.keys}
    if "jar" in expected:
        assert "jar" in keys, keys
    else:
        assert keys == expected


def test_who_comes_later_may_have_set_it_too() -> None:
    async def sets_a_session(_event: Opened) -> None:
        MAYBE.set(sessions())

    async def asks(event: Opened) -> None:
        Jars().label(event.id, "new")

    found = derived(asks, sets_a_session)
    assert {str(key) for key in found[0].keys} == {"jar/{id}"}


def test_where_nobody_sets_it_the_remedy_is_named() -> None:
    found = derived(never_set)[0]
    assert [one.why for one in found.everything][:1] == ["nothing is seen to put anything into the variable NEVER"]
    assert "set it in the handler" in found.everything[0].remedy
