"""Values in columns that SQLAlchemy watches, and its functions that say that an attribute has changed: both write the
row, though nothing is assigned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy.orm import attributes

from commute.derive.run import Arguments, Run
from commute.derive.sqlalchemy import objects
from commute.derive.values import Const, Data, Handle, Value, options

_LOOKS = ("get", "keys", "values", "items", "copy", "index", "count", "isdisjoint", "issubset", "issuperset", "union",
          "difference", "intersection")  # fmt: skip
_CHANGES: dict[Any, int] = {  # with the place of the new value
    attributes.flag_modified: 9, attributes.set_attribute: 2, attributes.set_committed_value: 2,
    attributes.del_attribute: 9,
}  # fmt: skip


def method_call(run: Run, value: Handle, name: str, arguments: Arguments, where: str) -> Value:
    """What a method of a dict or list gives that a column holds; the row is written if it may change it."""
    if name not in _LOOKS and not (name.startswith("__") and name != "__setitem__"):
        changed(run, value, where)
    return Data(f"what {name} of a value gives")


def changed(run: Run, value: Handle, where: str) -> None:
    """The value is another one."""
    objects.set_attribute(run, value.about["of"], value.about["name"], Data("a value that was changed"), where)


def changes(run: Run, function: Any, arguments: Arguments, where: str) -> Value | None:
    """Note what a function of SQLAlchemy's says of an attribute; None for another function."""
    try:
        at = _CHANGES.get(function)
    except TypeError:
        return None
    if at is None or len(arguments) < 2:
        return None
    for option in [one for one in options(arguments[0]) if one != Const(None)]:
        for name in options(arguments[1]):
            if not isinstance(option, Handle) or option.kind not in ("entity", "new") or not isinstance(name, Const):
                return run.widen("an attribute that is not known is changed", where)
            new = arguments[at] if at < len(arguments) else Data("a value that was changed")
            objects.set_attribute(run, option, str(name.value), new, where)
    return Const(None)


def watched(mapper: Any, name: str) -> bool:
    """Whether SQLAlchemy notices what is done to the value of an attribute: a ``MutableDict`` and the like."""
    dispatch = getattr(getattr(mapper.class_, name, None), "dispatch", None)
    return any(_watches(listener) for listener in getattr(dispatch, "set", ()) or ())


def _watches(listener: Any) -> bool:
    return any(getattr(one, "__module__", "") == "sqlalchemy.ext.mutable" for one in (listener, *_inside(listener)))


def _inside(listener: Any) -> Iterator[Any]:
    for cell in getattr(listener, "__closure__", None) or ():
        try:
            held = cell.cell_contents
        except ValueError:
            continue
        yield from held if isinstance(held, list | tuple) else (held,)
