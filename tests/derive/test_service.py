"""Handlers of a service layer are followed without a line of configuration."""

from __future__ import annotations

import pytest

from commute.derive.application import derive
from tests.derive import service

TABLES = (
    "CREATE TABLE orders (id TEXT PRIMARY KEY, status TEXT, total TEXT)",
    "CREATE TABLE stock (sku TEXT PRIMARY KEY, qty INTEGER, reserved INTEGER)",
    "CREATE TABLE person (id INTEGER PRIMARY KEY, email TEXT UNIQUE, n INTEGER, seen INTEGER)",
    "CREATE TABLE audit (id TEXT PRIMARY KEY, h TEXT, at TEXT)",
    *service.DDL,
)
EXPECTED = {
    "count": {("add", "redis/hits:o1"), ("write", "redis/hits:o1"), ("read", "redis/hits:o1")},
    "env": {("write", "toggle/o1")},
    "aio": {("read", "toggle/o1"), ("write", "toggle/o1")},
    "handle": {("write", "person/a@b"), ("write", "audit")},
    "via_bus": {("write", "stock/tea"), ("write", "stock/mug")},
}


def test_every_handler_is_followed() -> None:
    found = derive(service.app.handlers)
    lost = {place: one.everything for place, one in found.found.items() if one.everything}
    assert not lost


@pytest.mark.parametrize("name", ["env", "aio"])
def test_keys_are_those_of_the_rows(name: str) -> None:
    found = derive(service.app.handlers, ddl=TABLES)
    handler = next(one for one in service.app.handlers if one.name == name)
    lines = [service.L(sku="tea", qty=1), service.L(sku="mug", qty=2)]
    event = service.E(id="o1", n=1, lines=lines, email="A@b")
    footprint = found.declared(handler, handler.events[0]).declared.footprint(event)
    joined = {access.key for access in footprint}
    assert joined == {key for _, key in EXPECTED[name]}
