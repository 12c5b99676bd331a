"""Handler styles with SQLAlchemy's ORM: 2.x and 1.x queries, repositories, units of work, services, a message bus."""

from __future__ import annotations

import abc
from collections.abc import Callable
from types import TracebackType
from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, select, update
from sqlalchemy.orm import Session, registry, relationship, sessionmaker

from commute import App, Event
from tests.corpus.case import Database, Options, case
from tests.corpus.model import SHOP, Customer, Goods, Order, OrderLine, sessions

HERE = {"clear": SHOP.clear, "look": SHOP.look}


class Paid(Event):
    order_id: int
    word: str = "paid"


class Renamed(Event):
    customer_id: int
    name: str


class Noted(Event):
    order_id: int


class Stocked(Event):
    sku: str
    quantity: int


class Read(Event):
    sku: str
    order_id: int


class Made(Event):
    order_id: int
    customer_id: int
    skus: list[str]


@case(
    "orm-get-and-set",
    **HERE,
    dependent=[(Paid(order_id=1, word="a"), Paid(order_id=1, word="b"))],
    independent=[(Paid(order_id=1), Paid(order_id=2)), (Paid(order_id=1), Paid(order_id=3))],
)
def orm_get_and_set(app: App[Any], options: Options) -> None:
    @app.on(Paid, **options)
    def pay(event: Paid) -> None:
        with sessions() as session:
            order = session.get(Order, event.order_id)
            assert order is not None
            order.status = f"{order.status}, {event.word}"
            session.commit()


@case(
    "orm-lazy-relation",
    **HERE,
    reach="table",
    dependent=[(Noted(order_id=1), Renamed(customer_id=7, name="x"))],
    independent=[(Noted(order_id=1), Noted(order_id=2)), (Noted(order_id=2), Renamed(customer_id=7, name="x"))],
)
def orm_lazy_relation(app: App[Any], options: Options) -> None:
    """The name of an order's customer: which row that is, only the database knows."""

    @app.on(Noted, **options)
    def note(event: Noted) -> None:
        with sessions.begin() as session:
            order = session.get_one(Order, event.order_id)
            order.note = f"for {order.customer.name}"

    @app.on(Renamed, **options)
    def rename(event: Renamed) -> None:
        with sessions.begin() as session:
            session.get_one(Customer, event.customer_id).name = event.name


class OrderRepository:
    """The usual one."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def get(self, order_id: int) -> Order:
        return self.session.execute(select(Order).where(Order.id == order_id)).scalar_one()


@case(
    "orm-repository-select",
    **HERE,
    dependent=[(Paid(order_id=1, word="a"), Paid(order_id=1, word="b"))],
    independent=[(Paid(order_id=1), Paid(order_id=2))],
)
def orm_repository_select(app: App[Any], options: Options) -> None:
    @app.on(Paid, **options)
    def pay(event: Paid) -> None:
        with sessions() as session, session.begin():
            order = OrderRepository(session).get(event.order_id)
            order.status += event.word


class UnitOfWork:
    """Commits when it is left without an error."""

    session: Session

    def __init__(self, factory: Callable[[], Session]) -> None:
        self._factory = factory

    def __enter__(self) -> UnitOfWork:
        self.session = self._factory()
        self.orders = OrderRepository(self.session)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.session.commit()
        else:
            self.session.rollback()
        self.session.close()


class Service:
    """Injected where it is needed."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def pay(self, order_id: int, word: str) -> None:
        with self._unit as unit:
            order = unit.orders.get(order_id)
            order.status = order.status + word


@case(
    "unit-of-work-in-an-injected-service",
    **HERE,
    dependent=[(Paid(order_id=1, word="a"), Paid(order_id=1, word="b"))],
    independent=[(Paid(order_id=1), Paid(order_id=2))],
)
def unit_of_work_in_a_service(app: App[Any], options: Options) -> None:
    def make() -> Service:
        return Service(UnitOfWork(sessions))

    @app.on(Paid, **options)
    def pay(event: Paid) -> None:
        make().pay(event.order_id, event.word)


class AbstractGoods(abc.ABC):
    """Two bases, and the live object says which."""

    @abc.abstractmethod
    def add(self, sku: str, quantity: int) -> None: ...


class RealGoods(AbstractGoods):
    def add(self, sku: str, quantity: int) -> None:
        with sessions.begin() as session:
            session.execute(update(Goods).where(Goods.sku == sku).values(stock=Goods.stock + quantity))


class NoGoods(AbstractGoods):
    def add(self, sku: str, quantity: int) -> None:
        return


GOODS: AbstractGoods = RealGoods()


@case(
    "abstract-repository-and-add",
    **HERE,
    dependent=[(Stocked(sku="tea", quantity=2), Read(sku="tea", order_id=1))],
    independent=[
        (Stocked(sku="tea", quantity=2), Stocked(sku="tea", quantity=3)),
        (Stocked(sku="tea", quantity=2), Read(sku="mug", order_id=1)),
    ],
)
def abstract_repository(app: App[Any], options: Options) -> None:
    @app.on(Stocked, **options)
    def stock(event: Stocked) -> None:
        GOODS.add(event.sku, event.quantity)

    @app.on(Read, **options)
    def read(event: Read) -> None:
        with sessions.begin() as session:
            goods = session.get_one(Goods, event.sku)
            session.execute(update(Order).where(Order.id == event.order_id).values(note=f"{goods.stock}"))


@case(
    "query-of-1.x",
    **HERE,
    dependent=[(Paid(order_id=1, word="a"), Paid(order_id=1, word="b"))],
    independent=[(Paid(order_id=1), Paid(order_id=2))],
)
def query_of_1x(app: App[Any], options: Options) -> None:
    @app.on(Paid, **options)
    def pay(event: Paid) -> None:
        session = sessions()
        order = session.query(Order).filter_by(id=event.order_id).with_for_update().first()
        if order:
            order.status = event.word + order.status
            session.add(order)
            session.commit()
        session.close()


@case(
    "add-with-children",
    **HERE,
    dependent=[(Made(order_id=9, customer_id=7, skus=["tea"]), Made(order_id=9, customer_id=8, skus=["mug"]))],
    independent=[(Made(order_id=9, customer_id=7, skus=["tea"]), Made(order_id=10, customer_id=7, skus=["tea"]))],
)
def add_with_children(app: App[Any], options: Options) -> None:
    @app.on(Made, **options)
    def make(event: Made) -> None:
        with sessions.begin() as session:
            lines = [OrderLine(sku=sku, quantity=1) for sku in event.skus]
            session.add(Order(id=event.order_id, customer_id=event.customer_id, lines=lines))


@case(
    "merge",
    **HERE,
    dependent=[(Renamed(customer_id=7, name="x"), Renamed(customer_id=7, name="y"))],
    independent=[(Renamed(customer_id=7, name="x"), Renamed(customer_id=8, name="y"))],
)
def merge(app: App[Any], options: Options) -> None:
    @app.on(Renamed, **options)
    def rename(event: Renamed) -> None:
        with sessions.begin() as session:
            session.merge(Customer(id=event.customer_id, name=event.name))


# -- an imperative mapping, abstract units of work, and a message bus, as a well-known book has it ------------------


class Batch:
    """What the domain knows of a batch."""

    def __init__(self, ref: str, sku: str, quantity: int) -> None:
        self.ref, self.sku, self.quantity = ref, sku, quantity
        self.allocations: set[Allocation] = set()

    def allocate(self, allocation: Allocation) -> None:
        if sum(known.quantity for known in self.allocations) + allocation.quantity <= self.quantity:
            self.allocations.add(allocation)


class Allocation:
    """A line of an order, given to a batch."""

    def __init__(self, order: str, quantity: int) -> None:
        self.order, self.quantity = order, quantity


mapper = registry(metadata=MetaData())
batches = Table(
    "batches", mapper.metadata, Column("id", Integer, primary_key=True), Column("ref", String, unique=True),
    Column("sku", String), Column("quantity", Integer),
)  # fmt: skip
allocations = Table(
    "allocations", mapper.metadata, Column("id", Integer, primary_key=True), Column("order", String),
    Column("quantity", Integer), Column("batch_id", ForeignKey("batches.id")),
)  # fmt: skip
mapper.map_imperatively(Allocation, allocations)
mapper.map_imperatively(Batch, batches, properties={"allocations": relationship(Allocation, collection_class=set)})
DEPOT = Database(
    mapper.metadata,
    numbered=("allocations",),
    rows=("INSERT INTO batches VALUES(1, 'b1', 'tea', 10), (2, 'b2', 'tea', 10), (3, 'b3', 'mug', 10)",),
)
depot_sessions: sessionmaker[Session] = sessionmaker(DEPOT.engine)


class Allocated(Event):
    ref: str
    order: str
    quantity: int


class AbstractUnit(abc.ABC):
    """Rolls back unless told to commit."""

    def __enter__(self) -> AbstractUnit:
        return self

    def __exit__(self, *_: object) -> None:
        self.rollback()

    @abc.abstractmethod
    def commit(self) -> None: ...

    @abc.abstractmethod
    def rollback(self) -> None: ...

    @abc.abstractmethod
    def batch(self, ref: str) -> Batch: ...


class SqlUnit(AbstractUnit):
    def __init__(self, factory: Callable[[], Session] = depot_sessions) -> None:
        self.factory = factory

    def __enter__(self) -> AbstractUnit:
        self.session = self.factory()
        return super().__enter__()

    def __exit__(self, *args: object) -> None:
        super().__exit__(*args)
        self.session.close()

    def commit(self) -> None:
        self.session.commit()

    def rollback(self) -> None:
        self.session.rollback()

    def batch(self, ref: str) -> Batch:
        found = self.session.query(Batch).filter_by(ref=ref).first()
        assert found is not None
        return found


def allocate(event: Allocated, unit: AbstractUnit) -> None:
    with unit:
        unit.batch(event.ref).allocate(Allocation(event.order, event.quantity))
        unit.commit()


BUS: dict[type[Event], list[Callable[..., None]]] = {Allocated: [allocate]}


@case(
    "imperative-mapping-and-message-bus",
    clear=DEPOT.clear,
    look=DEPOT.look,
    dependent=[(Allocated(ref="b1", order="x", quantity=6), Allocated(ref="b1", order="y", quantity=6))],
    independent=[(Allocated(ref="b1", order="x", quantity=6), Allocated(ref="b2", order="y", quantity=6))],
)
def message_bus(app: App[Any], options: Options) -> None:
    @app.on(Allocated, **options)
    def handle(event: Allocated) -> None:
        unit = SqlUnit()
        queue: list[Event] = [event]
        while queue:
            message = queue.pop(0)
            for handler in BUS[type(message)]:
                handler(message, unit)
