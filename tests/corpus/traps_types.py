"""Traps in types of columns: what is stored is not what the program has, so two values may be one row."""

from __future__ import annotations

import enum
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from commute import App, Event
from tests.corpus.case import Database, Options, case


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


class Size(str, enum.Enum):  # noqa: UP042 - what services have
    SMALL = "small"
    LARGE = "large"


class Mixed(str, enum.Enum):  # noqa: UP042
    SMALL = "small"
    LARGE = "SMALL"  # another one's name


class Shade(enum.Enum):
    DARK = 1
    LIGHT = 2


class Bucket(sa.types.TypeDecorator[int]):
    impl = sa.Integer
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value % 10


class Plain(sa.types.TypeDecorator[Color]):
    impl = sa.Enum(Color)
    cache_ok = True


class Folded(sa.String):
    def bind_processor(self, dialect: Any) -> Any:
        return lambda value: None if value is None else value.lower()


class Lowered(sa.types.UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "INTEGER"

    def bind_expression(self, bindvalue: Any) -> Any:
        return sa.func.abs(bindvalue)


YEAR: Any = sqlite.DATE(storage_format="%(year)04d", regexp="(?P<year>[0-9]+)")  # type: ignore[no-untyped-call]
TYPES: dict[str, Any] = {
    "color": sa.Enum(Color),
    "size": sa.Enum(Size),
    "mixed": sa.Enum(Mixed),
    "shade": sa.Enum(Shade, values_callable=lambda cls: [f"is {member.value}" for member in cls]),
    "plain": Plain(),
    "word": sa.Enum("red", "blue"),
    "price": sa.Numeric(20, 2),
    "bucket": Bucket(),
    "folded": Folded(),
    "lowered": Lowered(),
    "year": YEAR,
    "day": sa.Date(),
    "uuid": sa.Uuid(),
    "flag": sa.Boolean(),
}


class Base(DeclarativeBase):
    pass


MODELS: dict[str, Any] = {
    name: type(name.title(), (Base,), {
        "__tablename__": name, "__annotations__": {"key": Mapped[Any], "amount": Mapped[int]},
        "key": mapped_column(kind, primary_key=True), "amount": mapped_column(default=1),
    })
    for name, kind in TYPES.items()
}  # fmt: skip
ONE, OTHER = UUID(int=1), UUID(int=2)
HOME = Database(Base.metadata, rows=(
    "INSERT INTO color VALUES('RED', 1), ('BLUE', 1)", "INSERT INTO size VALUES('SMALL', 1), ('LARGE', 1)",
    "INSERT INTO mixed VALUES('SMALL', 1), ('LARGE', 1)",
    "INSERT INTO shade VALUES('is 1', 1), ('is 2', 1)", "INSERT INTO plain VALUES('RED', 1), ('BLUE', 1)",
    "INSERT INTO word VALUES('red', 1), ('blue', 1)", "INSERT INTO price VALUES(9007199254740992, 1), (7, 1)",
    "INSERT INTO bucket VALUES(3, 1), (4, 1)", "INSERT INTO folded VALUES('a', 1), ('b', 1)",
    "INSERT INTO lowered VALUES(3, 1)", "INSERT INTO year VALUES('2026', 1), ('2027', 1)",
    "INSERT INTO day VALUES('2026-01-02', 1), ('2026-01-03', 1)",
    f"INSERT INTO uuid VALUES('{ONE.hex}', 1), ('{OTHER.hex}', 1)", "INSERT INTO flag VALUES(0, 1), (1, 1)",
))  # fmt: skip
sessions: sessionmaker[Session] = sessionmaker(HOME.engine)
HERE: dict[str, Any] = {"trap": True, "clear": HOME.clear, "look": HOME.look}


class Put(Event):
    """One more is there, by the object."""

    n: int = 0
    s: str = ""
    color: Color = Color.RED
    size: Size = Size.SMALL
    mixed: Mixed = Mixed.SMALL
    shade: Shade = Shade.DARK
    day: date = date(2026, 1, 2)
    uuid: UUID = ONE
    flag: bool = False


class Twice(Put):
    """What is there is doubled, by a statement."""


class Text(Put):
    """The same, by a statement in text: nothing is converted."""


def both(app: App[Any], options: Options, name: str, key: Any) -> None:
    """Handlers that find a row of the model by what `key` makes of the event."""
    model = MODELS[name]

    @app.on(Put, **options)
    def put(event: Put) -> None:
        with sessions.begin() as session:
            found = session.get(model, key(event))
            if found is not None:
                found.amount = found.amount + 1

    @app.on(Twice, **options)
    def twice(event: Twice) -> None:
        with sessions.begin() as session:
            session.execute(sa.update(model).where(model.key == key(event)).values(amount=model.amount * 2))

    @app.on(Text, **options)
    def text(event: Text) -> None:
        with sessions.begin() as session:
            session.execute(sa.text(f"UPDATE {name} SET amount = amount * 2 WHERE key = :key"), {"key": event.s})


@case("enum-by-its-name", **HERE,
      dependent=[(Put(), Text(s="RED")), (Put(), Twice()), (Put(color=Color.BLUE), Text(s="BLUE"))],
      independent=[(Put(), Text(s="r")), (Put(), Twice(color=Color.BLUE))])  # fmt: skip
def enum_by_its_name(app: App[Any], options: Options) -> None:
    both(app, options, "color", lambda event: event.color)


@case("enum-of-texts", **HERE,
      dependent=[(Put(s="small"), Text(s="SMALL")), (Put(s="small"), Twice(s="SMALL")),
                 (Put(s="LARGE"), Text(s="LARGE"))],
      independent=[(Put(s="small"), Twice(s="LARGE")), (Put(s="small"), Text(s="small"))])  # fmt: skip
def enum_of_texts(app: App[Any], options: Options) -> None:
    both(app, options, "size", lambda event: event.s)


@case("enum-of-texts-by-member", **HERE,
      dependent=[(Put(size=Size.LARGE), Text(s="LARGE"))],
      independent=[(Put(size=Size.LARGE), Text(s="large"))])  # fmt: skip
def enum_of_texts_by_member(app: App[Any], options: Options) -> None:
    both(app, options, "size", lambda event: event.size)


@case("enum-with-another-ones-name", **HERE, reach="table",
      dependent=[(Put(mixed=Mixed.LARGE), Text(s="SMALL"))], independent=[])  # fmt: skip
def enum_with_another_ones_name(app: App[Any], options: Options) -> None:
    """SQLAlchemy looks the value up among the names, since the member is a text that equals one."""
    both(app, options, "mixed", lambda event: event.mixed)


@case("enum-with-values-of-its-own", **HERE,
      dependent=[(Put(), Text(s="is 1"))], independent=[(Put(), Text(s="is 2")), (Put(), Text(s="1"))])  # fmt: skip
def enum_with_values_of_its_own(app: App[Any], options: Options) -> None:
    both(app, options, "shade", lambda event: event.shade)


@case("decorated-enum", **HERE, dependent=[(Put(), Text(s="RED"))], independent=[(Put(), Twice(color=Color.BLUE))])
def decorated_enum(app: App[Any], options: Options) -> None:
    both(app, options, "plain", lambda event: event.color)


@case("enum-of-words", **HERE, dependent=[(Put(s="red"), Text(s="red"))], independent=[(Put(s="red"), Twice(s="blue"))])
def enum_of_words(app: App[Any], options: Options) -> None:
    both(app, options, "word", lambda event: event.s)


@case("decimals-that-are-one-float", **HERE,
      dependent=[(Put(s="9007199254740992"), Twice(s="9007199254740993")), (Put(s="7"), Twice(s="7.0")),
                 (Put(s="7"), Twice(s="7.0000000000000000001"))],
      independent=[(Put(s="7"), Twice(s="8"))])  # fmt: skip
def decimals_that_are_one_float(app: App[Any], options: Options) -> None:
    both(app, options, "price", lambda event: Decimal(event.s))


@case("bucket-of-numbers", **HERE, reach="table", dependent=[(Put(n=3), Twice(n=13)), (Put(n=23), Text(s="3"))],
      independent=[])  # fmt: skip
def bucket_of_numbers(app: App[Any], options: Options) -> None:
    both(app, options, "bucket", lambda event: event.n)


@case("text-that-is-folded", **HERE, reach="table", dependent=[(Put(s="A"), Twice(s="a"))], independent=[])
def text_that_is_folded(app: App[Any], options: Options) -> None:
    both(app, options, "folded", lambda event: event.s)


@case("value-in-a-function", **HERE, reach="table", dependent=[(Put(n=3), Twice(n=-3))], independent=[])
def value_in_a_function(app: App[Any], options: Options) -> None:
    both(app, options, "lowered", lambda event: event.n)


@case("day-of-which-the-year-is-kept", **HERE, reach="table",
      dependent=[(Put(), Twice(day=date(2026, 5, 5)))], independent=[])  # fmt: skip
def day_of_which_the_year_is_kept(app: App[Any], options: Options) -> None:
    both(app, options, "year", lambda event: event.day)


@case("days", **HERE, dependent=[(Put(), Twice())], independent=[(Put(), Twice(day=date(2026, 1, 3)))])
def days(app: App[Any], options: Options) -> None:
    both(app, options, "day", lambda event: event.day)


@case("uuid-as-hex", **HERE, dependent=[(Put(), Text(s=ONE.hex)), (Put(), Twice())],
      independent=[(Put(), Text(s=OTHER.hex)), (Put(), Twice(uuid=OTHER))])  # fmt: skip
def uuid_as_hex(app: App[Any], options: Options) -> None:
    both(app, options, "uuid", lambda event: event.uuid)


@case("flags", **HERE, dependent=[(Put(flag=True), Twice(flag=True))], independent=[(Put(), Twice(flag=True))])
def flags(app: App[Any], options: Options) -> None:
    both(app, options, "flag", lambda event: event.flag)
