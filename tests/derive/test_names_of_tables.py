"""One table is one key, however it is called: with a schema or without, in other letters, behind another statement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import MetaData, create_engine, select, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from commute import App, Event
from commute.core.footprint import conflicts
from commute.derive.application import derive

engine = create_engine("postgresql+psycopg://nobody:x@127.0.0.1:1/none", connect_args={"connect_timeout": 1})
sessions: sessionmaker[Session] = sessionmaker(engine)


class Public(DeclarativeBase):
    metadata = MetaData(schema="public")


class User(Public):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int]


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "Order"
    id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int]


class Changed(Event):
    id: int


def user_by_object(event: Changed) -> None:
    with sessions.begin() as session:
        session.get_one(User, event.id).n = 1


def user_by_query(event: Changed) -> None:
    with sessions.begin() as session:
        session.scalars(select(User).where(User.id == event.id)).one().n = 1


def user_by_statement(event: Changed) -> None:
    with sessions.begin() as session:
        session.execute(update(User).where(User.id == event.id).values(n=1))


def user_by_text(event: Changed) -> None:
    with sessions.begin() as session:
        session.execute(text("UPDATE users SET n = 2 WHERE id = :id"), {"id": event.id})


def order_by_object(event: Changed) -> None:
    with sessions.begin() as session:
        session.get_one(Order, event.id).n = 1


def order_by_statement(event: Changed) -> None:
    with sessions.begin() as session:
        session.execute(update(Order).where(Order.id == event.id).values(n=1))


def order_by_text(event: Changed) -> None:
    with sessions.begin() as session:
        session.execute(text('UPDATE "Order" SET n = 2 WHERE id = :id'), {"id": event.id})


def several_statements(event: Changed) -> None:
    with psycopg.connect("") as connection:
        connection.execute("BEGIN; UPDATE users SET n = 2; COMMIT")


def into_a_table(event: Changed) -> None:
    with psycopg.connect("") as connection:
        connection.execute("SELECT * INTO users FROM others")


USERS = (user_by_object, user_by_query, user_by_statement, user_by_text)
ORDERS = (order_by_object, order_by_statement, order_by_text)


def meet(a: Callable[..., Any], b: Callable[..., Any], ids: tuple[int, int]) -> bool:
    app: App[None] = App("names", "memory://")
    for function in dict.fromkeys((a, b)):
        app.on(Changed)(function)
    found = derive(app.handlers)
    made = {h.function: found.declared(h, h.events[0]).declared.footprint for h in app.handlers}
    return conflicts(made[a](Changed(id=ids[0])), made[b](Changed(id=ids[1])))


@pytest.mark.parametrize("a", USERS)
@pytest.mark.parametrize("b", USERS)
def test_a_schema_by_default_is_none(a: Callable[..., Any], b: Callable[..., Any]) -> None:
    assert meet(a, b, (1, 1))
    assert not meet(a, b, (1, 2))


@pytest.mark.parametrize("a", ORDERS)
@pytest.mark.parametrize("b", ORDERS)
def test_letters_in_upper_case_are_one_table(a: Callable[..., Any], b: Callable[..., Any]) -> None:
    assert meet(a, b, (1, 1))


@pytest.mark.parametrize("other", [several_statements, into_a_table])
def test_a_statement_behind_another_counts(other: Callable[..., Any]) -> None:
    assert meet(other, user_by_text, (1, 2))
