"""Events of log files as handlers take them: every command that reads a log beside an app gives them the same data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict

from commute.app import App
from commute.cli.reading import events_for
from commute.logs import LogOptions


class Order(msgspec.Struct, frozen=True):
    id: int
    paid: bool = False
    coupon: float | None = None


@dataclass(frozen=True)
class Row:
    id: int
    coupon: float | None = None


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    sku: str
    count: int = 1


def _events(tmp_path: Path, cls: type | None, text: str, options: LogOptions | None = None) -> list[object]:
    path = tmp_path / "log"
    path.write_text(text)
    app: App[None] = App("recorded", "memory://")
    if cls is None:

        async def plain(event: dict[str, object]) -> None: ...

        app.on("order", writes="x")(plain)
    else:

        async def handle(event: object) -> None: ...

        handle.__annotations__["event"] = cls
        app.on(cls, writes="x", type="order")(handle)
    assert all(type_ == "order" for type_, _ in events_for(app, str(path), options or LogOptions()))
    return [data for _, data in events_for(app, str(path), options or LogOptions())]


def _line(record: Mapping[str, object]) -> str:
    return json.dumps(record) + "\n"


@pytest.mark.parametrize("cls", [Order, Row, None])
def test_a_field_called_like_an_identity_is_the_events_where_its_class_has_it(tmp_path: Path, cls: type | None) -> None:
    text = _line({"type": "order", "id": 7, "time": 5})
    (data,) = _events(tmp_path, cls, text)
    assert isinstance(data, dict)
    assert data["id"] == 7
    if cls is None:  # who said that it is the identity has said that it is no part of the event
        assert _events(tmp_path, cls, text, LogOptions(id_field="id", time_field="time")) == [{}]


def test_a_class_that_forbids_it_does_not_get_it(tmp_path: Path) -> None:
    assert _events(tmp_path, Strict, _line({"type": "order", "id": 7, "sku": "tea"})) == [{"sku": "tea"}]


def test_cells_of_a_table_are_what_the_class_says(tmp_path: Path) -> None:
    text = "type,id,paid,coupon\norder,7,true,\norder,8,false,1.5\norder,x,,\n"
    seven, eight, wrong = _events(tmp_path, Order, text)
    assert seven == {"id": 7, "paid": True, "coupon": None}
    assert eight == {"id": 8, "paid": False, "coupon": 1.5}
    assert wrong == {"id": "x", "paid": "", "coupon": ""}  # as it stands, so that the refusal says what is wrong
    assert _events(tmp_path, Strict, "type,sku,count\norder,tea,3\n") == [{"sku": "tea", "count": 3}]


def test_text_in_json_stays_text(tmp_path: Path) -> None:
    assert _events(tmp_path, Order, _line({"type": "order", "id": "7"})) == [{"id": "7"}]
