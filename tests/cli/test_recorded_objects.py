"""Logs of other systems beside an app: their names for types, and the objects that they list beside the fields."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from commute import App, Event
from commute.cli import main
from commute.cli.reading import events_for
from commute.logs import LogOptions
from commute.runtime.recorded import one_word, type_here

OCEL = {
    "ocel:global-log": {"ocel:attribute-names": [], "ocel:object-types": ["order", "Customer Order"]},
    "ocel:events": {
        "1": {
            "ocel:activity": "Place Order",
            "ocel:timestamp": "2026-01-01T00:00:00Z",
            "ocel:omap": ["o-1", "i-1", "i-2", "c-7"],
            "ocel:vmap": {"price": 3},
        },
        "2": {
            "ocel:activity": "pick item",
            "ocel:timestamp": "2026-01-01T00:01:00Z",
            "ocel:omap": ["i-1"],
            "ocel:vmap": {},
        },
    },
    "ocel:objects": {
        "o-1": {"ocel:type": "order", "ocel:ovmap": {}},
        "i-1": {"ocel:type": "item", "ocel:ovmap": {}},
        "i-2": {"ocel:type": "item", "ocel:ovmap": {}},
        "c-7": {"ocel:type": "Customer Order", "ocel:ovmap": {}},
    },
}


class PlaceOrder(Event):
    order: str
    item: list[str]
    customer_order: str | None = None


class PickItem(Event):
    item: str


@dataclass(frozen=True)
class Placed:
    order: str
    price: int


class Picked(BaseModel):
    item: list[str]


class Row(Event, type="txn"):
    row: list[int]
    objects: list[tuple[str, str, str]]


def taken(tmp_path: Path, log: str, *classes: Any, **options: Any) -> list[tuple[str, object]]:
    path = tmp_path / "log"
    path.write_text(log)
    app: App[None] = App("objects", "memory://")
    for number, one in enumerate(classes):
        type_, cls = one if isinstance(one, tuple) else (None, one)

        async def handle(event: Any) -> None: ...

        handle.__name__ = f"handle_{number}"
        handle.__annotations__["event"] = dict if isinstance(cls, str) else cls
        app.on(cls, writes=f"x/{number}", **({} if type_ is None else {"type": type_}))(handle)
    return events_for(app, str(path), LogOptions(**options))


def test_objects_are_fields_as_the_class_has_them(tmp_path: Path) -> None:
    assert taken(tmp_path, json.dumps(OCEL), PlaceOrder, PickItem) == [
        ("place_order", {"order": "o-1", "item": ["i-1", "i-2"], "customer_order": "c-7", "price": 3}),
        ("pick_item", {"item": "i-1"}),
    ]


def test_every_kind_of_class_gets_them(tmp_path: Path) -> None:
    found = taken(tmp_path, json.dumps(OCEL), ("place_order", Placed), ("pick_item", Picked))
    assert found == [("place_order", {"order": "o-1", "price": 3}), ("pick_item", {"item": ["i-1"]})]


def test_without_a_class_they_are_lists(tmp_path: Path) -> None:
    _, (type_, picked) = taken(tmp_path, json.dumps(OCEL), "place_order", "pick_item")
    assert (type_, picked) == ("pick_item", {"objects": [["item", "i-1"]], "item": ["i-1"]})


def test_what_the_class_cannot_hold_is_rejected_by_its_own_name(tmp_path: Path) -> None:
    class Narrow(Event, type="place_order"):
        item: str

    ((_, data), _) = taken(tmp_path, json.dumps(OCEL), Narrow, PickItem)
    assert data == {"item": ["i-1", "i-2"], "price": 3}, "two are not one: for the intake to refuse"


def test_modes_and_numbers(tmp_path: Path) -> None:
    log = json.dumps({"type": "txn", "ts": 1, "objects": [["row", 7, "r"], ["row", 8, "w"]]}) + "\n"
    ((_, data),) = taken(tmp_path, log, Row)
    assert data == {"row": [7, 8], "objects": [["row", "7", "read"], ["row", "8", "write"]], "ts": 1}


def test_a_field_of_the_log_stays(tmp_path: Path) -> None:
    log = json.dumps({"type": "pick item", "ts": 1, "item": "other", "objects": [["item", 7, "w"]]}) + "\n"
    assert taken(tmp_path, log, PickItem) == [("pick_item", {"item": "other", "ts": 1})]
    table = "type,order_id,sku\npicked,7,tea\n"
    assert taken(tmp_path, table, "picked", key_fields=("order_id",)) == [("picked", {"order_id": "7", "sku": "tea"})]


def test_case_and_resource_of_a_case_log_are_fields(tmp_path: Path) -> None:
    class Checked(Event):
        case: str
        resource: str

    log = "case:concept:name,concept:name,time:timestamp,org:resource\nc-1,Checked,2026-01-01T00:00:00Z,ann\n"
    ((type_, data),) = taken(tmp_path, log, Checked)
    assert type_ == "checked"
    assert isinstance(data, dict)
    assert (data["case"], data["resource"]) == ("c-1", "ann")


@pytest.mark.parametrize(
    ("name", "word"),
    [("place order", "place_order"), ("Place Order", "place_order"), ("A_Submitted (COMPLETE)", "a_submitted_complete"),
     ("PickItem", "pick_item"), ("sent", "sent")],
)  # fmt: skip
def test_one_word(name: str, word: str) -> None:
    assert one_word(name) == word
    assert type_here(name, [word]) == word
    assert type_here(name, [name, word]) == name, "the log's own name comes first"
    assert type_here(name, ["other"]) == (word if " " in name else name)


APP = """
from commute import App, Event

class PlaceOrder(Event):
    order: str

class PickItem(Event):
    item: str

app = App("ocel", "memory://")

@app.on(PlaceOrder, writes="order/{order}")
async def place(event: PlaceOrder) -> None: ...

@app.on(PickItem, writes="item/{item}")
async def pick(event: PickItem) -> None: ...
"""


def test_every_command_with_an_app_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ocelshop.py").write_text(APP)
    (tmp_path / "log.jsonocel").write_text(json.dumps(OCEL))
    monkeypatch.chdir(tmp_path)
    at = ("--app-dir", str(tmp_path))
    for arguments in (
        ("replay", "log.jsonocel", "ocelshop:app", "--memory", "--picture", "x.html", "--json"),
        ("advise", "ocelshop:app", "--log", "log.jsonocel", "--picture", "y.html", "--json"),
        ("check", "ocelshop:app", "--log", "log.jsonocel", "--json"),
        ("observe", "ocelshop:app", "log.jsonocel", "--json"),
        ("explain", "ocelshop:app", "log.jsonocel:1", "log.jsonocel:2", "--json"),
    ):
        found = CliRunner().invoke(main, [*arguments, *at])
        assert found.exit_code == 0, (arguments, found.output)
        document = json.loads(found.stdout)
        assert document.get("dead", 0) == 0
        assert document.get("rejected", 0) == 0
        assert "place_order" in found.stdout, arguments
