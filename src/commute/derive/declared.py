"""Functions of which the application says what they touch: ``@app.accesses(writes="order/{order_id}")``.

The placeholders are the function's parameters; an attribute of one is followed: ``{order.id}``.
"""

from __future__ import annotations

import inspect
import re
import types
from typing import Any

from commute.derive.run import Arguments, KeyAccess, Named, Run
from commute.derive.values import Const, Data, Value

_FIELD = re.compile(r"\{([^{}]+)\}")


def declared_call(run: Run, thing: Any, arguments: Arguments, named: Named, where: str) -> Value | None:
    """Add what the function is said to touch and return plain data; None for a function of which nothing is said."""
    declaration = run.knowledge.declared.get(thing) if isinstance(thing, types.FunctionType) else None
    if declaration is None:
        return None
    parameters = list(inspect.signature(thing).parameters)
    given = dict(zip(parameters, arguments, strict=False)) | dict(named)
    for mode, templates in (("read", declaration.reads), ("write", declaration.writes), ("add", declaration.adds)):
        for template in templates:
            path = tuple(_segment(run, part, given, where) for part in template.split("/"))
            run.add(KeyAccess(mode, path, where))
    return Data(f"what {thing.__qualname__} returns")


def _segment(run: Run, part: str, given: dict[str, Value], where: str) -> Value:
    found = _FIELD.fullmatch(part)
    if found is None:
        return Const(part) if "{" not in part else Data(part)
    name, *rest = found[1].split(".")
    value = given.get(name, Data(name))
    for attribute in rest:
        value = run.get(value, attribute, where)
    return value
