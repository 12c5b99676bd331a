"""Copies of objects, and such with other values in some fields: `dataclasses.replace`, ``model_copy(update=...)``."""

from __future__ import annotations

import types
from typing import Any

from commute.derive.models.fields import fields_of_class
from commute.derive.python.asked import ask, read_as_whole
from commute.derive.python.attributes import class_attribute, get, has_method
from commute.derive.python.library import copy_of, entries_of
from commute.derive.python.state import live_read
from commute.derive.run import Arguments, Named, Run
from commute.derive.source import source_of
from commute.derive.trusted import touches_nothing
from commute.derive.values import (
    Const,
    Data,
    Entries,
    Field,
    Live,
    Made,
    Unknown,
    Value,
    either,
    is_plain,
    options,
)
from commute.footprints.schema import fields_of


def bare(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    """object.__new__: an object whose constructor does not run."""
    found: list[Value] = []
    for option in options(arguments[0]):
        if not isinstance(option, Live) or not isinstance(option.value, type):
            return run.widen("an object of a class that is not known is made", where)
        found.append(run.made.setdefault((id(option.value), hash((where, "bare"))), Made(option.value)))
    return either(found) or Data()


def copied(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    """What is copied is looked at, with all that is in it; the copy of an object is taken for the object itself."""
    given = arguments[0]
    seen: set[int] = set()
    left = list(options(given))
    while left:
        one = left.pop()
        if isinstance(one, Live) and isinstance(one.value, dict | list | set) and id(one.value) not in seen:
            seen.add(id(one.value))
            live_read(run, one, None, where)
            inside = one.value.values() if isinstance(one.value, dict) else one.value
            left += [Live(inner) for inner in inside if isinstance(inner, dict | list | set)]
        elif isinstance(one, Live):
            read_as_whole(run, one, where)
    ask(run, given, where, ("__copy__", "__deepcopy__"))
    own = [_own_copy(run, one, where) for one in options(given) if isinstance(one, Made)]
    return either([copy_of(given), *(one for one in own if one is not None)]) or Data()


def _own_copy(run: Run, value: Made, where: str) -> Value | None:
    """What the application's own method makes for a copy."""
    found = [
        run.call(Live(method), [value, Data("what was copied")][: method.__code__.co_argcount], {}, where)
        for method in (has_method(value.cls, "__copy__"), has_method(value.cls, "__deepcopy__"))
        if method is not None and not touches_nothing(method)
    ]
    return either(found)


def replaced(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    """``replace(value, name=...)``: another object of the class, which is made as any other is."""
    changes = entries_of(run, named["**"], where) if "**" in named else Entries()
    changes.known.update({name: value for name, value in named.items() if name != "**"})
    return _copies(run, arguments[0], changes, where, anew=True)


def model_copied(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    """``model.model_copy(update={...})``: fields are taken as they are, nothing is validated."""
    given = named.get("update", Const(None))
    changes = Entries() if given == Const(None) else entries_of(run, given, where)
    return _copies(run, arguments[0], changes, where, anew=False)


def _copies(run: Run, value: Value, changes: Entries, where: str, *, anew: bool) -> Value:
    found = [_copy(run, option, changes, where, anew=anew) for option in options(value)]
    return either(found) or Data()


def _copy(run: Run, value: Value, changes: Entries, where: str, *, anew: bool) -> Value:
    cls: Any = value.cls if isinstance(value, Made) else value.hint if isinstance(value, Field) else None
    if isinstance(value, Made):
        attributes = dict(value.attributes)
    elif isinstance(cls, type) and fields_of(cls) is not None:
        attributes = {name: get(run, value, name, where) for name in fields_of(cls) or ()}
    else:
        return Data("a changed part of the event") if is_plain(value) else Unknown("a changed copy of an object")
    if changes.other is not None:
        attributes = {name: either([old, changes.other]) or old for name, old in attributes.items()}
    attributes |= {str(name): new for name, new in changes.known.items()}
    own = class_attribute(cls, "__init__")
    if anew and isinstance(own, types.FunctionType) and source_of(own.__code__) is not None:
        names = fields_of_class(cls) or list(attributes)
        return run.call(Live(cls), [], {name: one for name, one in attributes.items() if name in names}, where)
    made = Made(cls, attributes, value.complete if isinstance(value, Made) else True)
    after = has_method(cls, "__post_init__") if anew else None
    if after is not None:
        run.call(Live(after), [made], {}, where)
    return made
