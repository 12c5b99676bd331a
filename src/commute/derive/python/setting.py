"""``value.name = new``: what the class of the object has for it, or the attribute itself."""

from __future__ import annotations

import types

from commute.derive.models.fields import assigned
from commute.derive.python.attributes import class_attribute, has_method
from commute.derive.python.kept import is_resource, later, touch
from commute.derive.python.state import first_made, set_live
from commute.derive.run import Run
from commute.derive.trusted import touches_nothing
from commute.derive.values import (
    Const,
    Data,
    Either,
    Field,
    Live,
    Made,
    Value,
    either,
    is_harmless,
    unwritten,
)


def set_attribute(run: Run, value: Value, name: str, new: Value, where: str) -> None:
    """``value.name = new``."""
    if isinstance(value, Either):
        run.each(value, lambda option: set_attribute(run, option, name, new, where))
        return
    if any(plugin.assign(run, value, name, new, where) for plugin in run.plugins):
        return
    if name == "__dict__":
        run.widen("the attributes of an object are replaced all at once", where)
    if isinstance(value, Made):
        _set_made(run, value, name, new, where)
    elif isinstance(value, Live):
        if not _by_descriptor(run, value, name, new, where):
            _set_live(run, value, name, new, where)
    elif isinstance(value, Field):
        run.widen("the event itself is changed", where)
    elif not isinstance(value, Const | Data) or not (isinstance(value, Const) or is_harmless(new)):
        run.assigned.setdefault((0, name), []).append(new)
        run.widen(f"attribute {name} of {value} is set", where)


def _set_made(run: Run, made: Made, name: str, new: Value, where: str) -> None:
    found = class_attribute(made.cls, name)
    method = has_method(made.cls, "__setattr__")
    if isinstance(found, property) and found.fset is not None:
        run.call(Live(found.fset), [made, new], {}, where)
    elif method is not None and not touches_nothing(method):
        run.call(Live(method), [made, Const(name), new], {}, where)
    elif found is not None and has_method(type(found), "__set__"):
        run.call(Live(has_method(type(found), "__set__")), [Live(found), made, new], {}, where)
    else:
        set_raw(run, made, name, new if method is None else assigned(run, made, name, new, where), where)


def _set_live(run: Run, value: Live, name: str, new: Value, where: str) -> None:
    held = vars(value.value) if isinstance(value.value, types.ModuleType) else value.value
    run.assigned.setdefault((id(held), name), []).append(new)
    run.put_own((id(held), name), new)
    if not first_made(run, getattr(held, "__dict__", {}).get(name, held), new):
        set_live(run, value, name, where)


def _by_descriptor(run: Run, value: Live, name: str, new: Value, where: str) -> bool:
    """Whether a property or the like of its class sets an attribute of a live object."""
    found = None if isinstance(value.value, type | types.ModuleType) else class_attribute(type(value.value), name)
    method = has_method(type(found), "__set__")
    if isinstance(found, property) and found.fset is not None:
        run.call(Live(found.fset), [value, new], {}, where)
        return True
    if method is not None:
        run.call(Live(method), [Live(found), value, new], {}, where)
        return True
    return False


def set_raw(run: Run, value: Value, name: str, new: Value, where: str) -> None:
    """As ``object.__setattr__`` does, which calls no method of the class."""
    if not isinstance(value, Made):
        run.widen(f"attribute {name} is set behind its class", where)
        return
    held = value.attributes.get(name, Const(None))
    if not (value.state and is_resource(held, maybe=True) and first_made(run, None, new)):
        touch(run, "write", value, Const(name), where)
    put = later(new) if value.state else unwritten(new)
    value.attributes[name] = either([value.attributes.get(name, put), put]) or put
