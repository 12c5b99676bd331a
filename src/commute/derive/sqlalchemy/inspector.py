"""SQLAlchemy's inspector: who asks which tables there are reads the schema.

Whoever changes that by a statement is EVERYTHING, so the one waits for the other.
"""

from __future__ import annotations

import sqlalchemy as sa

from commute.derive.plugins.rawsql import SCHEMA
from commute.derive.run import Arguments, KeyAccess, Named, Run
from commute.derive.values import Const, Data, Handle, Items, Live, Value, options

_INSPECTOR = "sa-inspector"
_ASKS = ("has_table", "has_schema", "has_index", "has_sequence", "get_pk_constraint", "get_table_comment",
         "get_view_definition", "get_table_options")  # fmt: skip
_LISTS = ("get_table_names", "get_view_names", "get_schema_names", "get_columns", "get_indexes", "get_foreign_keys",
          "get_unique_constraints", "get_check_constraints", "get_sequence_names", "get_temp_table_names")  # fmt: skip


class Inspectors:
    """See the module."""

    def wrap(self, run: Run, thing: object) -> Value | None:
        return Handle(_INSPECTOR) if isinstance(thing, sa.Inspector) else None

    def call(self, run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
        if isinstance(function, Live) and function.value is sa.inspect and len(arguments) == 1:
            connected = all(isinstance(one, Handle) and one.kind == "session" for one in options(arguments[0]))
            return Handle(_INSPECTOR) if connected else None
        if not isinstance(function, Handle) or function.kind != f"{_INSPECTOR}-method":
            return None
        run.add(KeyAccess("read", (Const(SCHEMA),), where))
        found = Data("what the schema says")
        return found if function.about["name"] in _ASKS else Items("list", None, found)

    def attribute(self, run: Run, value: Value, name: str, where: str) -> Value | None:
        if not isinstance(value, Handle) or value.kind != _INSPECTOR:
            return None
        if name in (*_ASKS, *_LISTS):
            return Handle(f"{_INSPECTOR}-method", {"name": name})
        return run.widen(f"{name} of an inspector is not followed", where)

    def assign(self, run: Run, value: Value, name: str, new: Value, where: str) -> bool:
        return False

    def escape(self, run: Run, value: Value, where: str) -> bool:
        return isinstance(value, Handle) and value.kind in (_INSPECTOR, f"{_INSPECTOR}-method")
