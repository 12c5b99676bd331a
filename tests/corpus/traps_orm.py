"""Traps for whoever reads code that uses an ORM: what a flush writes, an attribute loads, or a listener does."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, String, event, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker

from commute import App, Event
from tests.corpus.case import Database, Options, case
from tests.corpus.model import SHOP, Customer, Goods, Order, sessions

HERE = {"clear": SHOP.clear, "look": SHOP.look, "trap": True}


class Touched(Event):
    order_id: int
    word: str = "x"


class Renamed(Event):
    customer_id: int
    name: str


class Priced(Event):
    sku: str
    price: int


class Dropped(Event):
    order_id: int


class Reordered(Event):
    order_id: int
    sku: str


class Totalled(Event):
    customer_id: int


def to_dict(order: Order) -> dict[str, object]:
    """A serialiser, which walks relations."""
    return {"id": order.id, "customer": order.customer.name, "lines": [line.goods.price for line in order.lines]}


@case(
    "row-handed-to-a-serialiser",
    **HERE,
    dependent=[
        (Touched(order_id=1), Renamed(customer_id=7, name="z")),
        (Touched(order_id=1), Priced(sku="tea", price=9)),
    ],
    independent=[],
    reach="table",
)
def serialiser(app: App[Any], options: Options) -> None:
    @app.on(Touched, **options)
    def touch(event: Touched) -> None:
        with sessions.begin() as session:
            order = session.get_one(Order, event.order_id)
            order.note = str(to_dict(order))

    @app.on(Renamed, **options)
    def rename(event: Renamed) -> None:
        with sessions.begin() as session:
            session.get_one(Customer, event.customer_id).name = event.name

    @app.on(Priced, **options)
    def price(event: Priced) -> None:
        with sessions.begin() as session:
            session.get_one(Goods, event.sku).price = event.price


@case(
    "delete-with-cascade",
    **HERE,
    dependent=[(Dropped(order_id=1), Reordered(order_id=1, sku="tea"))],
    independent=[],
    reach="table",
)
def delete_with_cascade(app: App[Any], options: Options) -> None:
    @app.on(Dropped, **options)
    def drop(event: Dropped) -> None:
        with sessions.begin() as session:
            session.delete(session.get_one(Order, event.order_id))

    @app.on(Reordered, **options)
    def reorder(event: Reordered) -> None:
        from tests.corpus.model import OrderLine

        with sessions.begin() as session:
            line = session.get(OrderLine, (event.order_id, event.sku))
            if line is not None:
                line.quantity += 10
            else:
                session.add(Order(id=100 + event.order_id, customer_id=7, note="no line"))


@case(
    "orphans-of-a-list",
    **HERE,
    dependent=[(Touched(order_id=1), Reordered(order_id=1, sku="tea"))],
    independent=[],
    reach="table",
)
def orphans_of_a_list(app: App[Any], options: Options) -> None:
    """An emptied relation deletes rows of another table."""

    @app.on(Touched, **options)
    def touch(event: Touched) -> None:
        with sessions.begin() as session:
            session.get_one(Order, event.order_id).lines = []

    @app.on(Reordered, **options)
    def reorder(event: Reordered) -> None:
        from tests.corpus.model import OrderLine

        with sessions.begin() as session:
            found = session.scalars(select(OrderLine).where(OrderLine.sku == event.sku)).all()
            session.get_one(Goods, event.sku).stock = len(found)


@case(
    "backref-moves-a-row",
    **HERE,
    dependent=[(Touched(order_id=1), Totalled(customer_id=8))],
    independent=[],
    reach="table",
)
def backref_moves_a_row(app: App[Any], options: Options) -> None:
    """An order appended to a customer's list is an update of the order."""

    @app.on(Touched, **options)
    def touch(event: Touched) -> None:
        with sessions.begin() as session:
            customer = session.get_one(Customer, 8)
            customer.orders.append(session.get_one(Order, event.order_id))

    @app.on(Totalled, **options)
    def total(event: Totalled) -> None:
        with sessions.begin() as session:
            count = session.scalar(select(func.count()).where(Order.customer_id == event.customer_id))
            session.get_one(Customer, event.customer_id).name = f"{count} orders"


@case(
    "update-of-what-was-found-by-a-filter",
    **HERE,
    dependent=[(Totalled(customer_id=7), Touched(order_id=3))],
    independent=[],
    reach="table",
)
def update_of_what_was_found(app: App[Any], options: Options) -> None:
    @app.on(Totalled, **options)
    def total(event: Totalled) -> None:
        with sessions.begin() as session:
            for order in session.scalars(select(Order).where(Order.customer_id == event.customer_id)):
                order.status += "+"

    @app.on(Touched, **options)
    def touch(event: Touched) -> None:
        with sessions.begin() as session:
            session.get_one(Order, event.order_id).status += event.word


class Listening(DeclarativeBase):
    pass


class Account(Listening):
    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int] = mapped_column(default=0)


class Ledger(Listening):
    __tablename__ = "ledger"
    id: Mapped[int] = mapped_column(primary_key=True)
    last: Mapped[int] = mapped_column(default=0)


LEDGER = Database(
    Listening.metadata, rows=("INSERT INTO account VALUES(1, 0), (2, 0)", "INSERT INTO ledger VALUES(1, 0)")
)
ledger_sessions: sessionmaker[Session] = sessionmaker(LEDGER.engine)


@event.listens_for(ledger_sessions, "before_flush")
def note(session: Session, _context: object, _instances: object) -> None:
    """A listener that every flush tells."""
    for changed in [one for one in session.dirty if isinstance(one, Account)]:
        session.get_one(Ledger, 1).last = changed.id


class Booked(Event):
    account: int


@case(
    "session-listener",
    trap=True,
    clear=LEDGER.clear,
    look=LEDGER.look,
    dependent=[(Booked(account=1), Booked(account=2))],
    independent=[],
    reach="table",
)
def session_listener(app: App[Any], options: Options) -> None:
    @app.on(Booked, **options)
    def book(event: Booked) -> None:
        with ledger_sessions.begin() as session:
            session.get_one(Account, event.account).balance += 1


@case(
    "add-in-python-is-a-write",
    trap=True,
    clear=LEDGER.clear,
    look=LEDGER.look,
    dependent=[(Booked(account=1), Booked(account=1))],
    independent=[],
)
def add_in_python(app: App[Any], options: Options) -> None:
    """Two of them lose an update if they run together."""
    plain: sessionmaker[Session] = sessionmaker(LEDGER.engine)

    @app.on(Booked, **options)
    def book(event: Booked) -> None:
        with plain() as session:
            balance = session.scalar(select(Account.balance).where(Account.id == event.account))
            session.rollback()
            session.get_one(Account, event.account).balance = (balance or 0) + 1
            session.commit()


class Tree(DeclarativeBase):
    pass


class Node(Tree):
    __tablename__ = "node"
    name: Mapped[str] = mapped_column(String, primary_key=True)
    parent: Mapped[str | None] = mapped_column(ForeignKey("node.name"))
    weight: Mapped[int] = mapped_column(default=0)
    up: Mapped[Node | None] = relationship(remote_side=[name])


TREE = Database(Tree.metadata, rows=("INSERT INTO node VALUES('root', NULL, 0), ('a', 'root', 1), ('b', 'root', 1)",))
tree_sessions: sessionmaker[Session] = sessionmaker(TREE.engine)


class Weighed(Event):
    name: str
    weight: int


@case(
    "walk-to-a-shared-parent",
    trap=True,
    clear=TREE.clear,
    look=TREE.look,
    dependent=[(Weighed(name="a", weight=2), Weighed(name="b", weight=3))],
    independent=[],
    reach="table",
)
def walk_to_a_parent(app: App[Any], options: Options) -> None:
    @app.on(Weighed, **options)
    def weigh(event: Weighed) -> None:
        with tree_sessions.begin() as session:
            node: Node | None = session.get_one(Node, event.name)
            while node is not None:
                node.weight = node.weight * 2 + event.weight
                node = node.up
