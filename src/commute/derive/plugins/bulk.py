"""``execute_values`` and ``execute_batch`` of psycopg2: one statement for many rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from commute.derive.run import Arguments, Named
from commute.derive.values import Const, Data, Mosaic, Value, options

FUNCTIONS = {"psycopg2.extras.execute_values": "values", "psycopg2.extras.execute_batch": "batch"}
_COLUMNS = re.compile(r"\bINSERT\s+INTO\s+[\w.\"]+\s*\(([^()]*)\)\s*VALUES\s+%s", re.IGNORECASE)
_PLACE = re.compile(r"%s")
Execute: TypeAlias = Callable[[Value, Value, Value], Value]  # on a cursor, of a text, with each of some rows


def execute_many(name: str, arguments: Arguments, named: Named, execute: Execute) -> Value:
    """What the function of that dotted name gives."""
    names = ("cur", "sql", "argslist", "template")
    given = [named.get(one, arguments[at] if at < len(arguments) else None) for at, one in enumerate(names)]
    cursor, text, rows, template = given
    if cursor is None or text is None or rows is None:
        return Data("a call that fails")
    if FUNCTIONS[name] == "batch":
        return execute(cursor, text, rows)
    for option in options(text):
        spelled = _spelled(option.value, template) if isinstance(option, Const) else None
        if spelled is not None:
            execute(cursor, Const(spelled), rows)
        elif isinstance(option, Const) and isinstance(option.value, str):  # its tables at least are known
            execute(cursor, Mosaic("", pieces=(option.value,)), rows)
        else:
            execute(cursor, option, rows)
    return Data("rows")


def _spelled(text: object, template: Value | None) -> str | None:
    """The text for one row; None where it is not known how many columns that has."""
    if not isinstance(text, str) or len(_PLACE.findall(text)) != 1:
        return None
    if template is not None and template != Const(None):
        each = template.value if isinstance(template, Const) and isinstance(template.value, str) else None
        return None if each is None else _PLACE.sub(lambda _: each, text)
    columns = _COLUMNS.search(text)
    if columns is None:
        return None
    places = ", ".join(["%s"] * len(columns[1].split(",")))
    return _PLACE.sub(f"({places})", text)
