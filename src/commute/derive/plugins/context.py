"""`ctx`, `app` and the blocks of the store, as inference sees them."""

from __future__ import annotations

from typing import Any, get_args

from commute.context import Context
from commute.derive.plugins.drivers import connection_of
from commute.derive.plugins.rawsql import statement, used
from commute.derive.python.attributes import typed
from commute.derive.run import Arguments, Named, Run
from commute.derive.values import Const, Data, Handle, Live, Own, Unknown, Value, options

_DATA = (
    *(
        "event_id",
        "type",
        "source",
        "position",
        "time",
        "attempt",
        "attributes",
        "raw",
        "correlation_id",
        "causation_id",
    ),
    *("idempotency_key", "log", "random", "new_id", "now"),
)


def context(hint: Any) -> Handle:
    """The second argument of a handler; `hint` is its annotation, whose argument is what ``lifespan`` yields."""
    return Handle("ctx", {"state": next(iter(get_args(hint)), None)})


class Commute:
    """The plug-in for commute's own objects."""

    def wrap(self, run: Run, thing: object) -> Value | None:
        module = type(thing).__module__
        if module == "commute.app" and type(thing).__name__ == "App":
            return Handle("app", {"of": thing})
        return None

    def call(self, run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
        if not isinstance(function, Handle) or function.kind not in ("ctx-method", "block-method", "app-method"):
            return None
        name = function.about["name"]
        if function.kind == "block-method":
            block = function.about["of"]
            parameters = arguments[1] if len(arguments) > 1 else named.get("parameters", named.get("params"))
            return statement(run, block, arguments[0], parameters, where) if name == "execute" and arguments else None
        if name == "transaction":
            if arguments:
                return run.widen("ctx.transaction(db) is not followed", where)
            schema = run.knowledge.schema
            block = run.kept.get("block")
            if block is None or block.about["schema"] is not schema:
                block = connection_of(schema, "sqlite")
                block.kind = "block"
                run.kept["block"] = block
            return Handle("context", {"value": block})
        if name == "new_id":
            return Own("ctx.new_id()")
        return Data(f"what ctx.{name} gives") if name != "publish" else Const(None)

    def attribute(self, run: Run, value: Value, name: str, where: str) -> Value | None:
        if not isinstance(value, Handle):
            return None
        if value.kind == "ctx":
            if name == "state":
                hint = value.about["state"]
                known = run.knowledge.state
                if known is not None and not any(isinstance(option, Unknown) for option in options(known)):
                    return known
                return (
                    typed(run, hint, where) if hint is not None else run.widen("ctx.state is of no known class", where)
                )
            if name in ("transaction", "publish"):
                return Handle("ctx-method", {"name": name})
            if name in ("event_id", "idempotency_key"):
                return Own(f"ctx.{name}")
            if name == "new_id":
                return Handle("ctx-method", {"name": name})
            return Data(f"ctx.{name}") if name in _DATA else None
        if value.kind == "block":
            if name == "changes":
                used(run, value)
                return Data("how many rows were changed")
            return Handle("block-method", {"of": value, "name": name}) if name == "execute" else None
        if value.kind == "app":
            if name in ("transaction", "publish", "publish_many", "publish_sync", "receipt"):
                return Handle("app-method", {"name": name})
            return Data(f"app.{name}")
        return None

    def assign(self, run: Run, value: Value, name: str, new: Value, where: str) -> bool:
        return False

    def escape(self, run: Run, value: Value, where: str) -> bool:
        return isinstance(value, Handle) and value.kind in ("ctx", "block", "app")


__all__ = ["Commute", "Context", "Live", "context"]
