"""Events of every supported kind, for the tests of this folder."""

from __future__ import annotations

import dataclasses
import enum
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType, NotRequired, TypedDict
from uuid import UUID

import msgspec
import pydantic

from commute.event import Event

Sku = NewType("Sku", str)


class Kind(enum.Enum):
    BOOK = "book"
    TEA = "tea/green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Line(msgspec.Struct, frozen=True):
    sku: Sku
    amount: int = 1
    depot: str = "north"
    serials: tuple[int, ...] = ()


class Address(msgspec.Struct, frozen=True):
    city: str
    country: str | None = None

    @property
    def label(self) -> str:
        return f"{self.city}, {self.country}"


class OrderCreated(Event, type="shop.order.created"):
    order_id: int
    customer_id: str = "c7"
    lines: list[Line] = msgspec.field(default_factory=list)
    gifts: list[Line] = msgspec.field(default_factory=list)
    coupon: str | None = None
    address: Address = Address("Rome")
    billing: Address | None = None
    tags: tuple[str, ...] = ()
    marks: set[str] = msgspec.field(default_factory=set)


class PaymentProcessed(Event):
    order_id: int
    id: str = ""
    type: str = ""
    time: str = ""
    source: str = ""


class Everything(Event):
    """A field of each type that a key can take, and of each that it cannot."""

    number: int = 1
    text: str = "t"
    flag: bool = True
    uid: UUID = UUID(int=1)
    day: date = date(2024, 2, 29)
    at: datetime = datetime(2024, 2, 29)  # without a time zone on purpose
    price: Decimal = Decimal("1.50")
    kind: Kind = Kind.BOOK
    level: Level = Level.LOW
    word: Literal["a", "b"] = "a"
    marked: Annotated[str, msgspec.Meta(max_length=9)] = "m"
    ratio: float = 0.5
    raw: bytes = b""
    table: dict[str, int] = msgspec.field(default_factory=dict)
    line: Line = Line(Sku("tea-9"))
    anything: Any = None
    either: int | str = 1
    unset: int | msgspec.UnsetType = msgspec.UNSET


class PlainStruct(msgspec.Struct):
    order_id: int


@dataclasses.dataclass
class PlainClass:
    order_id: int
    lines: list[Line] = dataclasses.field(default_factory=list)


class Typed(TypedDict):
    order_id: int
    coupon: NotRequired[str]
    lines: NotRequired[list[Line]]


class Model(pydantic.BaseModel):
    order_id: int
    ratio: float = 0.5
    coupon: str | None = None


class Aliased(pydantic.BaseModel):
    order_id: int = pydantic.Field(alias="orderId")
