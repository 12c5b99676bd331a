"""A model mapped with classes, for the ORM cases: customers, their orders, the lines of these, goods."""

from __future__ import annotations

from sqlalchemy import ForeignKey, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker

from tests.corpus.case import Database


class Base(DeclarativeBase):
    metadata = MetaData()


class Customer(Base):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String, default="")
    orders: Mapped[list[Order]] = relationship(back_populates="customer")


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    status: Mapped[str] = mapped_column(String, default="new")
    note: Mapped[str] = mapped_column(String, default="")
    customer: Mapped[Customer] = relationship(back_populates="orders")
    lines: Mapped[list[OrderLine]] = relationship(cascade="all, delete-orphan", back_populates="order")


class OrderLine(Base):
    __tablename__ = "line"
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    sku: Mapped[str] = mapped_column(ForeignKey("goods.sku"), primary_key=True)
    quantity: Mapped[int] = mapped_column(default=1)
    order: Mapped[Order] = relationship(back_populates="lines")
    goods: Mapped[Goods] = relationship()


class Goods(Base):
    __tablename__ = "goods"
    sku: Mapped[str] = mapped_column(String, primary_key=True)
    stock: Mapped[int] = mapped_column(default=0)
    price: Mapped[int] = mapped_column(default=1)


class Audit(Base):
    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(String)


ROWS = (
    "INSERT INTO customer VALUES(7, 'ann'), (8, 'bob')",
    "INSERT INTO goods VALUES('tea', 5, 2), ('mug', 5, 3), ('pot', 5, 4)",
    "INSERT INTO orders VALUES(1, 7, 'new', ''), (2, 8, 'new', ''), (3, 7, 'new', '')",
    "INSERT INTO line VALUES(1, 'tea', 1), (1, 'mug', 2), (2, 'tea', 1), (3, 'pot', 1)",
)

SHOP = Database(Base.metadata, rows=ROWS)
sessions: sessionmaker[Session] = sessionmaker(SHOP.engine)
