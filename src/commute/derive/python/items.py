"""What is done with values: items and elements, reading as a whole, entering and leaving a context."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from commute.derive.python.asked import HASH, ask
from commute.derive.python.attributes import class_attribute, has_method, wrap
from commute.derive.python.kept import later, note_put, touch
from commute.derive.python.state import live_item, live_read, set_live
from commute.derive.run import Run
from commute.derive.values import (
    Bound,
    Closure,
    Computed,
    Const,
    Data,
    Either,
    Entries,
    Field,
    Handle,
    Items,
    Live,
    Made,
    Own,
    Unknown,
    Value,
    compute,
    drawn,
    either,
    is_plain,
    options,
    unwritten,
)

NEXT_MAX = 20


def escape(run: Run, value: Value, where: str, seen: set[int] | None = None) -> None:
    """The value went to where it may be read as a whole: whatever reading it touches is touched."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    for option in options(value):
        if any(plugin.escape(run, option, where) for plugin in run.plugins):
            continue
        if isinstance(option, Items):
            for inner in (*(option.known or ()), *([option.element] if option.element is not None else [])):
                escape(run, inner, where, seen)
        elif isinstance(option, Entries):
            for inner in (*option.known.values(), *([option.other] if option.other is not None else [])):
                escape(run, inner, where, seen)
        elif isinstance(option, Made):
            for inner in list(option.attributes.values()):
                escape(run, inner, where, seen)


def item(run: Run, value: Value, key: Value, where: str) -> Value:
    """``value[key]``."""
    for plugin in run.plugins:
        answer = plugin.call(run, Handle("item"), [value, key], {}, where)
        if answer is not None:
            return answer
    if isinstance(value, Either):
        there = Either(tuple(one for one in value.options if one != Const(None)))  # an item of None raises
        return either(run.each(there, lambda one: item(run, one, key, where))) or Data()
    ask(run, key, where, ("__index__", *HASH))
    if isinstance(value, Items | Entries):
        touch(run, "read", value, key if isinstance(value, Entries) else None, where)
    if isinstance(value, Items):
        settled(value)
        at = key.value if isinstance(key, Const) and isinstance(key.value, int) else None
        if value.known is not None and at is not None and -len(value.known) <= at < len(value.known):
            return value.known[at]
        if value.head is not None and at is not None and 0 <= at < len(value.head):
            return value.head[at]
        return value.any() or Unknown("an element of an empty list")
    if isinstance(value, Entries):
        if value.grows:
            from commute.derive.python.library import grow

            grow(value)
            value.key = either([key, *([value.key] if value.key is not None else [])])
        if isinstance(key, Const) and _hashable(key.value) and key.value in value.known:
            found = [value.known[key.value]] + ([value.other] if value.other is not None else [])
            return drawn(either(found) or Data(), None)
        return drawn(value.any() or Unknown("an entry that is not there"), None)
    if isinstance(value, Field):
        return field_item(value, key)
    if isinstance(value, Handle) and value.kind == "method" and is_plain(value.about["of"]):
        return Data(f"a part of .{value.about['name']}")
    if isinstance(value, Const):
        return compute("item", operator.getitem, [value, key]) if is_plain(key) else wrap_any(run, value.value)
    if isinstance(value, Live):
        return live_item(run, value, key, where)
    if isinstance(value, Made) and hasattr(value.cls, "_fields"):
        return item(run, _as_tuple(value), key, where)
    if isinstance(value, Made):
        method = has_method(value.cls, "__getitem__")
        if method is not None:
            return run.call(Live(method), [value, key], {}, where)
    if isinstance(value, Data | Computed | Own):
        return compute("item", operator.getitem, [value, key])
    return run.widen("an item of what is not known", where)


def _as_tuple(value: Made) -> Items:
    """A named tuple as the tuple that it is."""
    fields: Any = value.cls
    return Items("tuple", [value.attributes.get(name, Data()) for name in fields._fields])


def wrap_any(run: Run, values: Any) -> Value:
    """One of the elements of a constant; what has none is no container, and an item of it fails."""
    inside = values.values() if isinstance(values, Mapping) else values if isinstance(values, _HOLDS) else ()
    return either([wrap(run, inner) for inner in inside]) or Data()


_HOLDS = (str, bytes, tuple, list, set, frozenset, range)


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def field_item(value: Field, key: Value) -> Value:
    """``event["order_id"]``, or any element of a list of the event."""
    origin = get_origin(value.hint) or value.hint
    arguments = get_args(value.hint)
    if isinstance(key, Const) and isinstance(key.value, str):
        if origin in (dict, Mapping) or origin is Any or origin is object:
            return Field((*value.path, key.value), arguments[1] if len(arguments) == 2 else Any, value.draws)
        fields = class_attribute(origin, "__annotations__") or {}
        return Field((*value.path, key.value), fields.get(key.value, Any), value.draws)
    placed = origin is tuple and arguments and ... not in arguments
    if placed and isinstance(key, Const) and type(key.value) is int:
        return compute("item", operator.getitem, [value, key])
    if origin in (list, tuple, set, frozenset, Sequence):
        return Field((*value.path, "*"), arguments[0] if arguments else Any, (*value.draws, object()))
    if origin is str:
        return compute("item", operator.getitem, [value, key])
    if isinstance(key, Const) and isinstance(key.value, int) and origin is Any:
        return Field((*value.path, "*"), Any, (*value.draws, object()))
    return Data("a part of the event")


def put(run: Run, value: Value, key: Value, new: Value | None, where: str) -> None:
    """The same with the key at hand."""
    new = None if new is None else unwritten(new)
    for option in options(value):
        handled = any(
            plugin.call(run, Handle("set-item"), [option, key, new or Data()], {}, where) is not None
            for plugin in run.plugins
        )
        if handled:
            continue
        if isinstance(option, Items | Entries) and option.state:
            touch(run, "write", option, key if isinstance(option, Entries) else None, where)
            new = None if new is None else later(new)
        if isinstance(option, Entries):
            option.sure = False
            if new is not None and isinstance(key, Handle) and key.kind == "sa":  # a column
                option.known[key] = new
            elif new is not None and isinstance(key, Const) and _hashable(key.value):
                option.known[key.value] = either([option.known.get(key.value, new), new]) or new
            elif option.holder is not None:
                run.widen("an attribute with a computed name is set", where, "write the attribute out")
            elif new is not None:
                option.other = either([option.other, new] if option.other is not None else [new])
                option.key = either([option.key, key] if option.key is not None else [key])
        elif isinstance(option, Items):
            option.head = option.tail = None
            option.moved = object()
            if new is None:
                option.known, option.element = None, option.any()
            else:
                option.known, option.element = None, either([v for v in (option.any(), new) if v is not None])
        elif isinstance(option, Live):
            note_put(run, option.value, new)
            set_live(run, option, key, where)
        elif isinstance(option, Made) and has_method(option.cls, "__setitem__" if new is not None else "__delitem__"):
            method = has_method(option.cls, "__setitem__" if new is not None else "__delitem__")
            run.call(Live(method), [option, key, *([new] if new is not None else [])], {}, where)
        elif isinstance(option, Field):
            run.widen("the event itself is changed", where)
        elif not isinstance(option, Data | Const | Computed) or isinstance(new, Made | Closure | Bound):
            run.widen("an item of what is not known is set", where)


def settled(value: Value) -> Value:
    """The value with all that has come to what it looks at since it was made: a view of a dict, an iterator."""
    for option in options(value):
        if isinstance(option, Items) and option.again is not None:
            found = option.again()
            if option.view is not None:
                option.known = option.view() if option.placed is None or option.placed() else None
            if option.known is None:
                inside = [one for one in (option.element, found) if one is not None]
                option.element = either(inside)
    return value


def element(run: Run, value: Value, where: str) -> Value | None:
    """What a loop over the value binds; None where there is certainly nothing."""
    if isinstance(value, Either):
        there = Either(tuple(one for one in value.options if one != Const(None)))
        return either(one for one in run.each(there, lambda one: element(run, one, where)) if one is not None)
    for plugin in run.plugins:
        answer = plugin.call(run, Handle("iterate"), [value], {}, where)
        if answer is not None:
            return answer
    if isinstance(value, Items | Entries):
        touch(run, "read", value, None, where)
    if isinstance(value, Items):
        if value.again is not None:
            found = value.again()
            value.element = either([one for one in (value.element, found) if one is not None])
        inside = value.any()
        return None if inside is None else drawn(inside, object())
    if isinstance(value, Entries):
        keys: list[Value] = [Const(key) for key in value.known]
        return either([*keys, *([value.key or Data()] if value.other is not None else [])])
    if isinstance(value, Field):
        origin = get_origin(value.hint) or value.hint
        if origin in (dict, Mapping):
            return Data("a name in the event")
        arguments = get_args(value.hint)
        return Field((*value.path, "*"), arguments[0] if arguments else Any, (*value.draws, object()))
    if isinstance(value, Const):
        try:
            return either([wrap(run, inner) for inner in value.value])
        except TypeError:
            return Data()
    if isinstance(value, Live):
        return live_read(run, value, None, where)
    if isinstance(value, Made) and hasattr(value.cls, "_fields"):
        return element(run, _as_tuple(value), where)
    if isinstance(value, Made):
        method = has_method(value.cls, "__iter__") or has_method(value.cls, "__aiter__")
        if method is not None:
            made = run.call(Live(method), [value], {}, where)
            return element(run, made, where) if made is not value else _next(run, value, where)
    if isinstance(value, Data | Computed | Own):
        return Data("an element of what is not known")
    if isinstance(value, Handle) and value.kind == "method" and is_plain(value.about["of"]):
        return Data(f"a part of .{value.about['name']}")
    if isinstance(value, Handle) and value.kind in ("entity", "new") and not hasattr(value.about["class"], "__iter__"):
        return None  # it fails: another one of several is there
    return run.widen("a loop over what is not known", where)


EACH_MAX = 16  # elements that are told apart
COLUMNS_MAX = 64  # the same for those that a plug-in knows


def each(run: Run, value: Value) -> list[Value] | None:
    """The elements of a value in their sequence, where all are known, and they are few; else None."""
    if isinstance(value, Items):
        if value.state or (value.known is None and value.view is None) or (value.again and value.view is None):
            return None
        found = value.known if value.view is None else value.view()
        return None if found is None or not 1 < len(found) <= EACH_MAX else found
    if isinstance(value, Entries) and value.other is None and not value.state and value.holder is None:
        return [Const(key) for key in value.known] if 1 < len(value.known) <= EACH_MAX else None
    if isinstance(value, Handle):
        for plugin in run.plugins:
            answer = plugin.call(run, Handle("each"), [value], {}, "")
            if isinstance(answer, Items) and answer.known is not None and len(answer.known) <= COLUMNS_MAX:
                return answer.known
    return None


def _next(run: Run, value: Made, where: str) -> Value:
    method = has_method(value.cls, "__next__") or has_method(value.cls, "__anext__")
    if method is None:
        return Unknown("no next")
    from commute.derive.python.shape import shape_of

    found: list[Value] = []
    for _ in range(NEXT_MAX):  # each one may leave something else to the next
        before = shape_of(value)
        found.append(run.call(Live(method), [value], {}, where))
        if shape_of(value) == before or run.stop():
            return either(found) or Data()
    return run.widen("an iterator gives something else each time", where)


def enter(run: Run, context: Value, kind: str, where: str) -> Value:
    """What ``with context as x`` binds; `kind` is ``a`` for async."""
    return either(run.each(context, lambda option: _entered(run, option, kind, where))) or Data()


def _entered(run: Run, context: Value, kind: str, where: str) -> Value:
    return run.call(run.get(context, f"__{kind}enter__", where), [], {}, where)


def leave(run: Run, context: Value, kind: str, where: str) -> bool:
    """Leave it, with an exception or without; whether it may have swallowed one."""

    def left(option: Value) -> bool:
        kinds: list[Value] = [Either((Const(None), Data("an exception"))) for _ in range(3)]
        result = run.call(run.get(option, f"__{kind}exit__", where), kinds, {}, where)
        return not (isinstance(result, Const) and not result.value)

    return any(run.each(context, left))
