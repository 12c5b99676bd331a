"""Lacks that are planted in code which sends no statement itself: flushes, lazy relations, cascades of the mapper,
functions of another module; each with a declaration that has it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import ForeignKey, StaticPool, create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from commute import App
from commute.errors import UndeclaredAccessError
from commute.testing import run
from tests.observe.elsewhere import award
from tests.observe.planted import Changed


class Base(DeclarativeBase):
    """The tables as an application maps them."""


class Customer(Base):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    points: Mapped[int]


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    status: Mapped[str]
    customer: Mapped[Customer] = relationship()
    lines: Mapped[list[Line]] = relationship(cascade="all, delete-orphan")


class Line(Base):
    __tablename__ = "line"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    sku: Mapped[str]


def _flush(session: Session, changed: Changed) -> None:
    session.get_one(Order, changed.order_id).status = "paid"


def _lazy(session: Session, changed: Changed) -> None:
    assert session.get_one(Order, changed.order_id).customer.points == 0


def _through_relation(session: Session, changed: Changed) -> None:
    session.get_one(Order, changed.order_id).customer.points = 3


def _cascade(session: Session, changed: Changed) -> None:
    session.delete(session.get_one(Order, changed.order_id))


def _child(session: Session, changed: Changed) -> None:
    order = session.get_one(Order, changed.order_id)
    order.lines.append(Line(sku=changed.sku))


def _elsewhere(session: Session, changed: Changed) -> None:
    award(session.connection(), changed.customer_id)


def _query(session: Session, changed: Changed) -> None:
    assert session.scalars(select(Order).where(Order.customer_id == changed.customer_id)).all()


def _listener(session: Session, changed: Changed) -> None:
    event.listen(session, "after_flush", lambda one, _context: award(one.connection(), changed.customer_id), once=True)
    session.get_one(Order, changed.order_id).status = "sent"


ORDER, CUSTOMER, LINES = "order/{order_id}", "customer/{customer_id}", "order/{order_id}/line"
ROWS: list[tuple[Callable[[Session, Changed], None], dict[str, Any], str, dict[str, Any]]] = [
    (_flush, {"reads": ORDER}, f'writes="{ORDER}"', {"writes": ORDER}),
    (_lazy, {"reads": ORDER}, f'reads="{CUSTOMER}"', {"reads": [ORDER, CUSTOMER]}),
    (_through_relation, {"reads": [ORDER, CUSTOMER]}, f'writes="{CUSTOMER}"', {"reads": ORDER, "writes": CUSTOMER}),
    # The statement has no more than the line's own key: in general that may be a line of any order.
    (_cascade, {"reads": ORDER, "adds": LINES}, 'writes="order"', {"writes": [ORDER, LINES]}),
    (_child, {"reads": [ORDER, LINES]}, f'writes="{LINES}"', {"reads": ORDER, "writes": LINES}),
    (_elsewhere, {"writes": ORDER}, f'adds="{CUSTOMER}"', {"adds": CUSTOMER}),
    (_query, {"reads": ORDER}, 'reads="order"', {"reads": "order"}),
    (_listener, {"writes": ORDER}, f'adds="{CUSTOMER}"', {"writes": ORDER, "adds": CUSTOMER}),
]


@pytest.fixture
def engine(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    caplog.set_level(logging.CRITICAL, "commute")
    made = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(made)
    with Session(made) as session, session.begin():
        session.add_all([Customer(id=7, points=0), Order(id=1, customer_id=7, status="new", lines=[Line(sku="mug")])])
        session.add(Order(id=2, customer_id=7, status="new", lines=[Line(sku="tea")]))
    yield made
    made.dispose()


def app_for(engine: Any, use: Callable[[Session, Changed], None], options: dict[str, Any]) -> App[Any]:
    app: App[Any] = App("mapped", "memory://")

    @app.on(Changed, **options)
    def change(event: Changed) -> None:
        with Session(engine) as session, session.begin():
            use(session, event)

    return app


@pytest.mark.parametrize(("use", "wrong", "lacks", "right"), ROWS, ids=[row[0].__name__ for row in ROWS])
def test_a_planted_lack_is_caught(
    engine: Any,
    use: Callable[[Session, Changed], None],
    wrong: dict[str, Any],
    lacks: str,
    right: dict[str, Any],
) -> None:
    with pytest.raises(UndeclaredAccessError) as caught:
        run(app_for(engine, use, wrong), [Changed()], sanitize=True)
    assert caught.value.message.endswith(f"declare {lacks}")
    with Session(engine) as session:  # nothing of it has happened
        assert session.get_one(Customer, 7).points == 0
        assert [line.sku for line in session.get_one(Order, 1).lines] == ["mug"]
    result = run(app_for(engine, use, right), [Changed()], sanitize=True)
    assert not result.dead
