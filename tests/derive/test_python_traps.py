"""Traps of Python itself: every handler is run on a real database, and its footprint holds all that was touched.

The truth is what SQLite was told, statement by statement. Nothing may be narrower; that some may be coarser is the
price, and how many is held too, so that soundness does not come by giving up.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import sqlite3
from types import ModuleType
from typing import Any

import pytest

from commute import App
from commute.core.footprint import READ, Footprint, conflicts
from commute.derive.application import derive
from tests.derive import (
    python_traps,
    python_traps_of_containers,
    python_traps_of_copies,
    python_traps_of_defaults,
    python_traps_of_doubts,
    python_traps_of_later,
    python_traps_of_methods,
    python_traps_of_models,
    python_traps_of_names,
    python_traps_of_objects,
    python_traps_of_paths,
    python_traps_of_state,
    python_traps_of_turns,
    python_traps_of_values,
)

EVENTS = [
    python_traps.E(
        id="i1",
        a="a1",
        b="b1",
        n=1,
        items=[
            python_traps.Item(sku="s1", depot="d1"),
            python_traps.Item(sku="s2", depot="d2"),
            python_traps.Item(sku="s3", depot="d1"),
        ],
    ),
    python_traps.E(
        id="i2",
        a="a2",
        b="b2",
        n=2,
        items=[python_traps.Item(sku="s4", depot="d3"), python_traps.Item(sku="s5", depot="d4")],
    ),
]
TRAPS = (
    python_traps,
    python_traps_of_objects,
    python_traps_of_containers,
    python_traps_of_paths,
    python_traps_of_values,
    python_traps_of_turns,
    python_traps_of_copies,
    python_traps_of_defaults,
    python_traps_of_names,
    python_traps_of_doubts,
    python_traps_of_later,
    python_traps_of_models,
    python_traps_of_methods,
)
EVERYTHING_MAX = 0.2  # share of the handlers here, which are all traps


def touched(said: list[str]) -> set[tuple[str, ...]]:
    """Table and key of each row that a statement names; keys come first in the primary key's sequence."""
    found: set[tuple[str, ...]] = set()
    for text in said:
        if match := re.match(r"UPDATE t SET n = \S+(?: \+ 1)? WHERE id = '?([^']*?)'?(?: AND .*)?$", text):
            found.add(("t", match[1]))
        elif match := re.match(r"UPDATE p SET .* WHERE depot = '(.*)' AND sku = '(.*)'$", text):
            found.add(("p", match[1], match[2]))
        elif match := re.match(r"UPDATE t SET .* WHERE id IN \((.*)\)$", text):
            found |= {("t", one.strip("'")) for one in match[1].split(",")}
        else:
            pytest.fail(f"a statement that this test cannot read: {text}")
    return found


def covers(footprint: Footprint, key: tuple[str, ...]) -> bool:
    text = "/".join(key)
    return any(
        access.mode != READ and (access.key in ("", text) or text.startswith(access.key + "/")) for access in footprint
    )


@pytest.mark.parametrize("module", TRAPS, ids=lambda module: module.__name__)
def test_no_footprint_is_narrower_than_what_the_database_sees(module: ModuleType) -> None:
    connection: sqlite3.Connection = python_traps.conn
    connection.execute("DROP TABLE IF EXISTS t")
    connection.execute("DROP TABLE IF EXISTS p")
    for text in python_traps.DDL:
        connection.execute(text)
    python_traps.forget()
    app = module.app
    found = derive(app.handlers)
    footprints = {h.name: found.declared(h, h.events[0]).declared.footprint for h in app.handlers}
    python_traps.startup()
    python_traps.holder.connect()
    python_traps_of_containers.startup()
    python_traps_of_values.startup()
    python_traps_of_defaults.startup()
    python_traps_of_names.startup()
    said: list[str] = []
    connection.set_trace_callback(said.append)
    narrower = []
    everything = 0
    for handler in app.handlers:
        for event in (*EVENTS, EVENTS[0]):
            said.clear()
            try:
                result = handler.function(event)
                if inspect.iscoroutine(result):
                    asyncio.run(result)
            except (AssertionError, AttributeError, KeyError, IndexError, TypeError, ValueError, UnboundLocalError):
                pass  # what a frozen event, or one without elements, does not allow: what came before counts
            footprint = footprints[handler.name](event)
            narrower += [(handler.name, key, footprint) for key in touched(said) if not covers(footprint, key)]
        everything += covers(footprints[handler.name](EVENTS[0]), ("nothing", "at all"))
    connection.set_trace_callback(None)
    assert not narrower
    assert everything <= len(app.handlers) * EVERYTHING_MAX


def meet(name: str, pairs: dict[str, Any]) -> bool:
    """Whether the two handlers of a pair conflict, for events that have nothing in common."""
    state = python_traps_of_state
    app: App[None] = App("state", "memory://")
    for event, handler in zip((state.A, state.B), pairs[name], strict=True):
        app.on(event)(handler)
    found = derive(app.handlers, ddl=python_traps.DDL)
    first, second = (found.declared(handler, handler.events[0]).declared.footprint for handler in app.handlers)
    return conflicts(first(state.A(k="k1", n=1)), second(state.B(k="k2", n=2)))


@pytest.mark.parametrize("name", python_traps_of_state.PAIRS)
def test_who_reads_what_another_handler_sets_waits_for_it(name: str) -> None:
    assert meet(name, python_traps_of_state.PAIRS)


@pytest.mark.parametrize("name", python_traps_of_state.APART)
def test_state_that_nobody_sets_keeps_nobody_waiting(name: str) -> None:
    assert not meet(name, python_traps_of_state.APART)
