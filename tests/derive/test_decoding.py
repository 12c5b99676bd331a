"""Objects that libraries make out of texts and rows: their types say what is inside, and methods are followed."""

from __future__ import annotations

import enum
import sqlite3
from typing import Any

import msgspec
import pydantic
import pytest

from commute import App, Event
from commute.derive.application import Derived

TABLES = """CREATE TABLE crate (id TEXT PRIMARY KEY, label TEXT);"""
connection = sqlite3.connect(":memory:", check_same_thread=False)
connection.executescript(TABLES)


class Colour(enum.Enum):
    RED = "red"

    def paint(self) -> None:
        connection.execute("UPDATE crate SET label = 'red'")


class Label(msgspec.Struct):
    text: str
    crate: str = ""
    parts: list[Part] = []
    colour: Colour | None = None

    def stick(self) -> None:
        connection.execute("UPDATE crate SET label = ? WHERE id = ?", (self.text, self.crate))


class Part(msgspec.Struct):
    crate: str

    def drop(self) -> None:
        connection.execute("DELETE FROM crate WHERE id = ?", (self.crate,))


class Stuck(msgspec.Struct):
    text: str

    def __post_init__(self) -> None:
        connection.execute("UPDATE crate SET label = 'stuck'")


class Shown(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(from_attributes=True)
    text: str


class Carried(pydantic.BaseModel):
    crate: str

    def carry(self) -> None:
        connection.execute("UPDATE crate SET label = 'away' WHERE id = ?", (self.crate,))


class Printed(Event):
    crate: str
    raw: bytes = b"{}"


def reads(event: Printed) -> None:
    label = msgspec.json.decode(event.raw, type=Label)
    label.text += "!"
    connection.execute("UPDATE crate SET label = ? WHERE id = ?", (label.text, event.crate))


def sticks(event: Printed) -> None:
    msgspec.json.decode(event.raw, type=Label).stick()


def drops(event: Printed) -> None:
    for label in msgspec.convert(msgspec.json.decode(event.raw), list[Label]):
        for part in label.parts:
            part.drop()


def paints(event: Printed) -> None:
    colour = msgspec.msgpack.decode(event.raw, type=Label).colour
    if colour is not None:
        colour.paint()


def shows(event: Printed) -> None:
    shown = Shown.model_validate(msgspec.json.decode(event.raw, type=Label))
    shown.text = shown.text.upper()
    connection.execute("UPDATE crate SET label = ? WHERE id = ?", (shown.model_dump()["text"], event.crate))


def is_stuck(event: Printed) -> None:
    stuck = msgspec.json.decode(event.raw, type=Stuck)
    stuck.text = "x"


decoder = msgspec.json.Decoder(list[Label])
adapter = pydantic.TypeAdapter(dict[str, Carried])


def by_a_decoder(event: Printed) -> None:
    for label in decoder.decode(event.raw):
        label.stick()


def by_an_adapter(event: Printed) -> None:
    adapter.validate_json(event.raw)["x"].carry()


def by_a_union(event: Printed) -> None:
    label = msgspec.json.decode(event.raw, type=Label | None)
    if label is not None:
        label.stick()


def by_a_hook(event: Printed) -> None:
    msgspec.json.decode(event.raw, type=Label, dec_hook=lambda kind, given: kind(given)).stick()


def by_a_decoder_made_here(event: Printed) -> None:
    msgspec.json.Decoder(Label).decode(event.raw).stick()


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (reads, ["write crate/{crate}"]),
        (sticks, ["write crate"]),
        (drops, ["write crate"]),
        (paints, ["write crate"]),
        (shows, ["write crate/{crate}"]),
        (is_stuck, ["write crate"]),
        (by_a_decoder, ["write crate"]),
        (by_an_adapter, ["write crate"]),
        (by_a_union, ["write crate"]),
    ],
)
def test_a_type_says_what_is_inside(function: Any, expected: list[str]) -> None:
    one = derived(function)
    assert not one.everything, one.everything
    assert [f"{key.mode} {key}" for key in one.keys] == expected


@pytest.mark.parametrize("function", [by_a_hook, by_a_decoder_made_here])
def test_a_type_that_is_not_known_is_no_plain_data(function: Any) -> None:
    assert derived(function).everything


def derived(function: Any) -> Any:
    app: App[Any] = App("crates", "memory://", derive=True)
    app.on(Printed)(function)
    found = app.derived()
    assert isinstance(found, Derived)
    (one,) = found.found.values()
    return one
