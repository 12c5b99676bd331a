"""Methods of lists, dicts and texts: what they give, what they change, and which functions they call."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

from commute.derive.python import expressions
from commute.derive.python.asked import HASH, SORT, ask
from commute.derive.python.callbacks import call_back, called_by_library
from commute.derive.python.items import field_item
from commute.derive.python.kept import later, touch
from commute.derive.run import Arguments, Named, Run
from commute.derive.texts import added, of_format, put_together, some_of
from commute.derive.values import (
    SEVERAL,
    Const,
    Data,
    Either,
    Entries,
    Field,
    Handle,
    Items,
    Live,
    Value,
    compute,
    either,
    is_plain,
    mosaic,
    options,
)

_GROWS = ("append", "add", "appendleft", "insert")
_JOINS = ("extend", "update", "extendleft", "__ior__", "__iadd__")
_DROPS = ("remove", "discard", "clear", "sort", "reverse", "pop", "popleft", "popitem", "rotate", "__delitem__")


def method_call(run: Run, value: Value, name: str, arguments: Arguments, named: Named, where: str) -> Value:
    """``value.name(…)`` for a list, a dict, plain data or an object of the program with methods in C."""
    if isinstance(value, Either):
        given: list[Value] = []
        for one in value.options:
            with run.apart():
                given.append(method_call(run, one, name, arguments, named, where))
        return either(given) or Data()
    if isinstance(value, Items | Entries) and value.state:
        changes = name in (*_GROWS, *_JOINS, *_DROPS, "setdefault")
        by_key = isinstance(value, Entries) and name in ("get", "pop", "setdefault", "__getitem__", "__contains__")
        touch(run, "write" if changes else "read", value, first(arguments) if by_key else None, where)
        arguments = [*arguments[:1], *map(later, arguments[1:])] if by_key else [*map(later, arguments)]
    if isinstance(value, Items):
        return _items_method(run, value, name, arguments, named, where)
    if isinstance(value, Entries):
        return _entries_method(run, value, name, arguments, named, where)
    if isinstance(value, Field) and name == "get":
        found = field_item(value, first(arguments))
        return either([found, *(arguments[1:] or [Const(None)])]) or found
    if isinstance(value, Field) and name in ("items", "values", "keys", "copy"):
        return Data("a part of the event") if name != "copy" else value
    if isinstance(value, Field) and name in (*_GROWS, *_JOINS, *_DROPS, "setdefault") and not _text(value):
        return run.widen("the event itself is changed", where)
    if name == "join" and len(arguments) == 1 and isinstance(value, Const) and isinstance(arguments[0], Items):
        text = _joined(value, arguments[0])
        if text is not None:
            return text
    if is_plain(value):
        for argument in arguments:
            ask(run, argument, where)
            called_by_library(run, argument, Data(), where)
        for argument in named.values():
            ask(run, argument, where)
        if name in (*_GROWS, *_JOINS, "setdefault") and not all(map(_holds_plain, (*arguments, *named.values()))):
            return run.widen("an object is put into what is not followed", where)
        if name == "format" and all(map(is_plain, (*arguments, *named.values()))) and "**" not in named:
            parts = [value, *arguments, *named.values()]
            pieces = of_format(value.value, len(arguments), list(named)) if _constant(value) else []
            shifted = [one if isinstance(one, str) else (one[0] + 1, one[1]) for one in pieces]
            return put_together("str.format", _formatting(len(arguments), tuple(named)), parts, shifted)
        if named or not all(map(is_plain, arguments)):
            for argument in arguments:
                if isinstance(argument, Items) and name == "join":
                    return Data("joined texts")
            return Data(f"what {name} returns")
        return compute(f"str.{name}" if _text(value) else name, _method(name), [value, *arguments])
    return run.widen(f"method {name} of what is not known", where)


def _formatting(count: int, names: tuple[str, ...]) -> Callable[..., str]:
    def formatted(text: str, *values: Any) -> str:
        return text.format(*values[:count], **dict(zip(names, values[count:], strict=True)))

    return formatted


_PLACES = re.compile(r"[\s(]*(?:\?|%s)(?:[\s,]*(?:\?|%s))*[\s)]*")  # of parameters, in SQL


def _joined(separator: Const, parts: Items) -> Value | None:
    """``separator.join(parts)``; of placeholders without number, two that stand for any number of them."""
    if parts.known is not None and all(map(is_plain, parts.known)):
        pieces: list[str | tuple[int, str]] = []
        for at in range(1, len(parts.known) + 1):
            pieces += [*([str(separator.value)] if at > 1 else []), (at, "{}")]
        return put_together("join", lambda between, *texts: between.join(texts), [separator, *parts.known], pieces)
    one = parts.any()
    if parts.known is None and one is not None and isinstance(separator.value, str):
        assembled = some_of(separator.value, options(one))
        if assembled is not None:
            return assembled
    if parts.known is None and isinstance(one, Const) and _PLACES.fullmatch(str(one.value)):
        return Const(separator.value.join([one.value + SEVERAL] * 2))
    return None if one is None else _in_any_sequence(separator.value, one)


def _in_any_sequence(separator: str, piece: Value) -> Value | None:
    """What is joined from such pieces: behind each of them, the separator."""
    return mosaic(
        Const(f"{one.value}{separator}") if isinstance(one, Const) else added(one, Const(separator)) or Data()
        for one in options(piece)
    )


def _constant(value: Value) -> TypeGuard[Const]:
    return isinstance(value, Const) and isinstance(value.value, str)


def _holds_plain(value: Value) -> bool:
    inside = [value.any()] if isinstance(value, Items | Entries) else [value]
    return all(one is None or is_plain(one) or isinstance(one, Items | Handle) for one in inside)


def _text(value: Value) -> bool:
    return any(isinstance(option, Field) and option.hint is str for option in options(value))


@functools.lru_cache(1_024)
def _method(name: str) -> Callable[..., Any]:
    def method(value: Any, *arguments: Any) -> Any:
        return getattr(value, name)(*arguments)

    return method


def _items_method(run: Run, value: Items, name: str, arguments: Arguments, named: Named, where: str) -> Value:
    given = list(arguments)
    if value.kind == "set" or name in ("remove", "index", "count", "sort", "__contains__", "union", "difference"):
        for one in (value, *given):
            ask(run, one, where, (*HASH, *SORT))
    if name in ("append", "extend", "__iadd__") and value.kind in ("list", "deque") and not value.state:
        _at_the_end(run, value, name, given)
    elif name in (*_GROWS, *_JOINS, *_DROPS):
        value.head = value.tail = None
        value.moved = object()
    if name in _GROWS:
        new = given[-1] if given else Data()
        value.known, value.element = None, either([v for v in (value.any(), new) if v is not None])
        return Const(None)
    if name in _JOINS:
        found = [expressions.element(run, one, where) for one in given]
        known = [v for v in (value.any(), *found) if v is not None]
        value.known, value.element = None, either(known)
        return Const(None)
    if name in _DROPS:
        if "key" in named:
            called(run, named["key"], [value.any() or Data()], where)
        value.known, value.element = None, value.any()
        return (value.any() or Data()) if name.startswith("pop") else Const(None)
    if name in ("copy", "union", "difference", "intersection", "symmetric_difference", "__iter__", "__aiter__"):
        found = [expressions.element(run, one, where) for one in given]
        return Items(value.kind, None, either([v for v in (value.any(), *found) if v is not None]))
    if name in ("__next__", "__anext__"):
        return value.any() or Data()
    if name in ("index", "count", "issubset", "issuperset", "isdisjoint", "close", "aclose", "__len__", "__contains__"):
        return Data("a measure of a list")
    if name in ("send", "asend", "throw"):
        return run.widen("a generator that is sent values is not followed", where)
    return run.widen(f"method {name} of a list is not followed", where)


def _at_the_end(run: Run, value: Items, name: str, given: Sequence[Value]) -> None:
    """What comes behind the last element leaves the first ones where they are."""
    before = run.tail_of(value)
    if value.known is not None and value.kind == "list":  # of a deque, what is appended may push out the first one
        value.head = list(value.known)
    new: list[Value] | None = list(given[-1:])
    if name != "append":
        more = given[0] if len(given) == 1 else None
        new = list(more.known) if isinstance(more, Items) and more.known is not None and more.again is None else None
    value.tail = None if new is None else ([*before, *new], tuple(run.stretches))


def _entries_method(run: Run, value: Entries, name: str, arguments: Arguments, named: Named, where: str) -> Value:
    if name in ("pop", "popitem", "clear"):
        value.sure = False
    if name in ("get", "pop", "setdefault", "__getitem__"):
        default = list(arguments[1:]) or [Const(None)]
        if name == "setdefault" and len(arguments) == 2:
            expressions.put(run, value, arguments[0], arguments[1], where)
        if name != "__getitem__" and _lacks(value, first(arguments)):
            return either(default) or Data()
        found = expressions.item(run, value, first(arguments), where) if value.known or value.other else None
        return either([*([found] if found is not None else []), *default]) or Data()
    if name == "items":
        return _view(value, lambda: _pairs(value))
    if name == "values":
        return _view(value, lambda: (list(value.known.values()), value.other))
    if name in ("keys", "__iter__"):
        return _view(value, lambda: _keys(run, value, where))
    if name == "update":
        for one in (option for argument in arguments for option in options(argument)):
            if isinstance(one, Entries):
                for key, item in one.known.items():
                    expressions.put(run, value, Const(key), item, where)
                if one.other is not None:
                    expressions.put(run, value, one.key or Data(), one.other, where)
            else:
                expressions.put(run, value, Data(), expressions.item(run, one, Data(), where), where)
        for key, item in named.items():
            expressions.put(run, value, Const(key), item, where)
        return Const(None)
    if name == "copy":
        return Entries(dict(value.known), value.other, value.key, sure=value.sure)
    if name in ("clear", "popitem", "__len__", "__contains__"):
        return _pair(run, value, where) if name == "popitem" else Data()
    return run.widen(f"method {name} of a dict is not followed", where)


def _pair(run: Run, value: Entries, where: str) -> Value:
    """One of the entries."""
    return Items("tuple", [expressions.element(run, value, where) or Data(), value.any() or Data()])


def _keys(run: Run, value: Entries, where: str) -> tuple[list[Value] | None, Value | None]:
    named = all(isinstance(key, str | int) for key in value.known)
    if named and value.other is None and not value.grows:
        return [Const(key) for key in value.known], None
    return None, expressions.element(run, value, where)


def _lacks(value: Entries, key: Value) -> bool:
    """Whether a dict certainly has no such entry: what was ever put into it is known, and that is not among it."""
    plain = isinstance(key, Const) and isinstance(key.value, str | int)
    known = value.other is None and not value.state and not value.grows and value.holder is None
    return plain and known and isinstance(key, Const) and key.value not in value.known


def _pairs(value: Entries) -> tuple[list[Value], Value | None]:
    known: list[Value] = [Items("tuple", [Const(key), item]) for key, item in value.known.items()]
    return known, None if value.other is None else Items("tuple", [value.key or Data(), value.other])


def _view(value: Entries, inside: Callable[[], tuple[list[Value] | None, Value | None]]) -> Items:
    """What is in a dict, now and whenever it is looked at."""

    def again() -> Value | None:
        known, other = inside()
        return either([*(known or ()), *([other] if other is not None else [])])

    def now() -> list[Value] | None:
        known, other = inside()
        return None if other is not None or value.state or value.holder is not None else known

    known, other = inside()
    inside_now = either([*(known or ()), *([other] if other is not None else [])])
    if known is None or other is not None:
        return Items("list", None, inside_now, again)
    if not value.sure:  # one by one in loops, but not by place
        return Items("list", None, inside_now, again, view=now, placed=lambda: value.sure)
    return Items("list", known, None, again, view=now, placed=lambda: value.sure)


def called(run: Run, function: Value, arguments: Arguments, where: str) -> Value:
    found = [
        run.call(option, arguments, {}, where)
        if isinstance(option, Live) and isinstance(option.value, type)
        else call_back(run, option, arguments, where)
        for option in options(function)
    ]
    return either([one for one in found if one is not None]) or Data()


def first(arguments: Arguments) -> Value:
    """The first argument, None where there is none."""
    return arguments[0] if arguments else Const(None)
