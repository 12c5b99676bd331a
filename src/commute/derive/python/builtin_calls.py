"""Builtins and methods of lists, dicts and texts: what they give, and which functions they call."""

from __future__ import annotations

import ast
import asyncio
import bisect
import builtins
import collections
import contextlib
import copy
import dataclasses
import functools
import heapq
import importlib
import inspect
import itertools
import logging
import operator
import random
import threading
import types
import typing
import uuid
from collections.abc import Callable
from typing import Any

from commute.derive.models.copies import bare, copied, replaced
from commute.derive.python import digests, expressions, library
from commute.derive.python.asked import HASH, SORT, ask
from commute.derive.python.attributes import class_attribute, get, has_method, wrap
from commute.derive.python.comprehensions import EACH_MAX
from commute.derive.python.conditions import is_instance
from commute.derive.python.container_methods import called, method_call
from commute.derive.python.importing import imported, module_named
from commute.derive.python.items import settled
from commute.derive.python.kept import note_put
from commute.derive.python.libraries import leaves_quietly
from commute.derive.python.logs import logger_of
from commute.derive.python.pairs import dict_of, numbered, zipped
from commute.derive.python.state import live_item, live_read, live_values, set_live
from commute.derive.run import Apart, Arguments, Later, Named, Run
from commute.derive.source import source_of
from commute.derive.values import (
    Bound,
    Computed,
    Const,
    Count,
    Data,
    Entries,
    Field,
    Handle,
    Items,
    Live,
    Made,
    Own,
    Value,
    either,
    is_plain,
    options,
)

Answer = Callable[[Run, Arguments, Named, str], Value | None]

_CONTEXT_CODE = contextlib.contextmanager(lambda: iter(())).__code__
_ASYNC_CODE = contextlib.asynccontextmanager(lambda: iter(())).__code__  # type: ignore[arg-type, return-value]
_GETTERS = (operator.attrgetter, operator.itemgetter, operator.methodcaller)
_REFUSED = ("exec", "eval", "compile", "open", "input", "globals", "locals", "breakpoint", "delattr", "dir")


def builtin_call(run: Run, thing: Any, arguments: Arguments, named: Named, where: str) -> Value | None:
    """What a function of this table gives; None for another one."""
    if isinstance(thing, types.FunctionType) and thing.__code__ in (_CONTEXT_CODE, _ASYNC_CODE):
        function = wrap(run, thing.__wrapped__)  # type: ignore[attr-defined]
        about = {"function": function, "arguments": list(arguments), "named": dict(named), "swallows": _catches(thing)}
        return Handle("context", about)
    if isinstance(thing, _GETTERS):
        return run.call(library.getter_of(run, thing, where), arguments, named, where)
    try:
        known = _TABLE.get(thing) or library.TABLE.get(thing) or digests.TABLE.get(thing)
    except TypeError:
        return None
    return None if known is None else known(run, arguments, named, where)


@functools.lru_cache(1_024)
def _catches(thing: types.FunctionType) -> bool:
    """Whether the generator of a context manager may swallow an exception."""
    source = source_of(inspect.unwrap(thing).__code__)
    nodes = () if source is None else ast.walk(source.node)
    return source is None or any(isinstance(node, ast.ExceptHandler) or _returns(node) for node in nodes)


def _returns(node: ast.AST) -> bool:
    """Whether a ``finally`` may return, which swallows what was raised."""
    last = node.finalbody if isinstance(node, ast.Try) else []
    return any(isinstance(part, ast.Return | ast.Break | ast.Continue) for one in last for part in ast.walk(one))


def _of(index: int, arguments: Arguments) -> Value:
    return arguments[index] if index < len(arguments) else Const(None)


def _type(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    value = _of(0, arguments)
    if len(arguments) != 1:
        return run.widen("a class is made while the handler runs", where)
    found = [
        get(run, option, "__class__", where) if isinstance(option, Made | Field | Live) else Data("a class")
        for option in options(value)
    ]
    return either(found) or Data("a class")


def _getattr(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    name = _of(1, arguments)
    if len(arguments) > 2 and isinstance(arguments[0], Made) and isinstance(name, Const):
        there = name.value in arguments[0].attributes or class_attribute(arguments[0].cls, name.value) is not None
        if not there and arguments[0].complete and has_method(arguments[0].cls, "__getattr__") is None:
            return arguments[2]
    if not all(isinstance(option, Const) and isinstance(option.value, str) for option in options(name)):
        return run.widen("getattr with a computed name is not followed", where, "write the attribute out")
    found = [get(run, arguments[0], str(option.value), where) for option in options(name) if isinstance(option, Const)]
    return either([*found, *arguments[2:]]) or Data()


def _setattr(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    from commute.derive.python.setting import set_attribute

    name = _of(1, arguments)
    if not all(isinstance(option, Const) for option in options(name)):
        return run.widen("setattr with a computed name is not followed", where, "write the attribute out")
    for option in options(name):
        if isinstance(option, Const):
            set_attribute(run, arguments[0], str(option.value), _of(2, arguments), where)
    return Const(None)


def _collect(kind: str) -> Answer:
    def collect(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
        if not arguments:
            return Items(kind, [])
        value = settled(arguments[0])
        for name in ("key", "default"):
            if name in named:
                called(run, named[name], [expressions.element(run, value, where) or Data()], where)
        if kind in ("set", "list", "sorted"):  # hashed, or sorted
            ask(run, value, where, HASH if kind == "set" else (*SORT, "__len__"))
        inside = expressions.element(run, value, where)
        known = value.known if isinstance(value, Items) and kind not in ("set", "iterator") else None
        if known is not None and (len(known) == 1 or kind != "sorted"):
            return Items("list" if kind == "sorted" else kind, list(known))
        if isinstance(value, Items) and kind in ("list", "tuple"):  # a copy keeps the ends that it has now
            return Items(kind, None, inside, head=value.head, tail=(list(run.tail_of(value)), ()))
        return Items("list" if kind == "sorted" else kind, None, inside)

    return collect


def _iter(run: Run, arguments: Arguments, named: Named, where: str) -> Value | None:
    """An iterator over its argument; what calls a function until it gives something is not known."""
    return library.lazy(_collect("iterator"))(run, arguments, named, where) if len(arguments) == 1 else None


def _map(run: Run, arguments: Arguments, _named: Named, where: str) -> Items:
    source = arguments[1] if len(arguments) == 2 else None
    known = source.known if isinstance(source, Items) and source.again is None else None
    if known is not None and len(known) <= EACH_MAX:
        return Items("iterator", [run.call(arguments[0], [one], {}, where) for one in known])
    given = [expressions.element(run, value, where) or Data() for value in arguments[1:]]
    return Items("iterator", None, run.call(arguments[0], given, {}, where))


def _filter(run: Run, arguments: Arguments, _named: Named, where: str) -> Items:
    found = expressions.element(run, arguments[1], where)
    if found is not None and not isinstance(arguments[0], Const):
        run.call(arguments[0], [found], {}, where)
    return Items("iterator", None, found)


def _one_of(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    """min, max, next: one of the elements."""
    values = list(arguments)
    found = expressions.element(run, values[0], where) if len(values) == 1 or _iterates(values[0]) else either(values)
    if "key" in named:
        called(run, named["key"], [found or Data()], where)
    rest = [*([named["default"]] if "default" in named else []), *(values[1:] if _iterates(values[0]) else [])]
    for value in values:
        ask(run, value, where, SORT)
    return either([*([found] if found is not None else []), *rest]) or Data()


def _iterates(value: Value) -> bool:
    return isinstance(value, Items | Entries | Handle | Made | Live)


def _reading(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    """len, sum, any, all, bool, print …: all of it is read, methods for it are called."""
    for value in arguments:
        for option in options(value):
            if isinstance(option, Made):
                ask(run, option, where)
            elif isinstance(option, Items | Handle | Live | Entries):
                found = (
                    expressions.element(run, option, where)
                    if not isinstance(option, Live)
                    else _live(run, option, where)
                )
                expressions.escape(run, option, where)
                ask(run, option, where)
                _ = found
    for value in named.values():  # print(..., file=value)
        ask(run, value, where, ("write", "flush"))
    if len(arguments) == 1 and isinstance(arguments[0], Const | Computed | Field) and is_plain(arguments[0]):
        return Data("a measure of it")
    return Data("what was read of it")


def _sum(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    """sum: of lists, or of objects that can be added, one of these."""
    measure = _reading(run, arguments, named, where)
    inside = expressions.element(run, arguments[0], where)
    if inside is None or is_plain(inside):
        return measure
    total: Value = arguments[1] if len(arguments) > 1 else named.get("start", Const(0))
    found = [total]
    for _ in range(2):
        total = expressions.operate(run, ast.Add, total, inside, where)
        found.append(total)
    return either(found[1:]) or measure


def _length(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    """How long a tuple is, which does not change."""
    one = arguments[0] if len(arguments) == 1 else None
    if isinstance(one, Items) and one.kind == "tuple" and one.known is not None and not one.state:
        return Const(len(one.known))
    if one is not None and all(map(_is_counted, options(one))):
        for option in options(one):
            expressions.element(run, option, where)
        if isinstance(one, Items) and one.kind == "list" and not one.state:
            return Count("what was counted", tuple(run.tail_of(one)), one, one.moved)
        return Count("what was counted")
    return Count(getattr(_reading(run, arguments, named, where), "why", ""))


def _is_counted(value: Value) -> bool:
    """Whether nobody looks at what is in it in order to count that."""
    return isinstance(value, Items) or (isinstance(value, Handle) and value.kind == "collection")


def _live(run: Run, value: Live, where: str) -> Value | None:
    return live_read(run, value, None, where) if isinstance(value.value, dict | list | set) else None


def _partial(_run: Run, arguments: Arguments, named: Named, _where: str) -> Value:
    return Handle("partial", {"function": arguments[0], "arguments": list(arguments[1:]), "named": dict(named)})


def _same(index: int) -> Answer:
    def same(_run: Run, arguments: Arguments, _named: Named, _where: str) -> Value:
        return _of(index, arguments)

    return same


def _gather(_run: Run, arguments: Arguments, _named: Named, _where: str) -> Value:
    known = [value for value in arguments if not (isinstance(value, Handle) and value.kind == "spread")]
    loose = [value.about["of"] for value in arguments if isinstance(value, Handle) and value.kind == "spread"]
    return Items("list", known) if not loose else Items("list", None, either([*known, *loose]))


def _later(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    """asyncio.to_thread(function, *arguments)."""
    return run.within(Later(), lambda: run.call(arguments[0], list(arguments[1:]), named, where))


def _wrapper(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    """functools.wraps(function): a decorator that changes nothing that runs."""
    return Handle("identity")


def _cached(_run: Run, arguments: Arguments, _named: Named, _where: str) -> Value:
    """functools.lru_cache: of a function the function, which runs at least once; else a decorator."""
    return Handle("identity") if not arguments or isinstance(arguments[0], Const) else arguments[0]


def _context(run: Run, arguments: Arguments, _named: Named, _where: str) -> Value:
    return Handle("context-maker", {"function": arguments[0]})


def _nothing(_run: Run, arguments: Arguments, _named: Named, _where: str) -> Value:
    return Handle("context", {"value": _of(0, arguments)})


def _chained(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    found = [expressions.element(run, one, where) for one in arguments]
    return Items("iterator", None, either([one for one in found if one is not None]))


def _flat(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    inside = expressions.element(run, _of(0, arguments), where)
    return Items("iterator", None, None if inside is None else expressions.element(run, inside, where))


def _starred(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    inside = expressions.element(run, _of(1, arguments), where)
    if inside is None:
        return Items("iterator", [])
    given = inside.known if isinstance(inside, Items) and inside.known is not None else None
    if given is None:
        return run.widen("starmap over what is not known", where)
    return Items("iterator", None, run.call(arguments[0], given, {}, where))


def _pushed(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    """A function that puts its second argument into the list that is its first."""
    return method_call(run, _of(0, arguments), "insert", [_of(1, arguments)], {}, where)


def _suppress(_run: Run, _arguments: Arguments, _named: Named, _where: str) -> Value:
    return Handle("context", {"value": Const(None), "swallows": True})


def _closing(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    return Handle("context", {"value": arguments[0], "close": arguments[0]})


def _refuse(name: str) -> Answer:
    def refuse(run: Run, _arguments: Arguments, _named: Named, where: str) -> Value:
        return run.widen(f"{name}() is not followed", where)

    return refuse


def _unique(_run: Run, _arguments: Arguments, _named: Named, _where: str) -> Value:
    return Own("a UUID made by chance")


_TABLE: dict[Any, Answer] = {
    isinstance: is_instance, type: _type, getattr: _getattr, setattr: _setattr, list: _collect("list"),
    tuple: _collect("tuple"), set: _collect("set"), frozenset: _collect("set"), sorted: _collect("sorted"),
    reversed: library.lazy(_collect("iterator")), iter: _iter, aiter: _iter, map: library.lazy(_map),
    filter: library.lazy(_filter), enumerate: library.lazy(numbered), zip: library.lazy(zipped),
    min: _one_of, max: _one_of, next: _one_of, anext: _one_of, dict: dict_of,
    len: _length, sum: _sum, any: _reading, all: _reading, print: _reading,
    functools.partial: _partial, functools.wraps: _wrapper, functools.lru_cache: _cached, functools.cache: _same(0),
    uuid.uuid4: _unique, uuid.uuid1: _unique, asyncio.gather: _gather, asyncio.to_thread: _later, asyncio.wait_for:
    _same(0), asyncio.shield: _same(0),
    asyncio.create_task: _same(0), asyncio.ensure_future: _same(0), asyncio.run: _same(0),
    asyncio.TaskGroup: lambda *_: Handle("context", {"value": Handle("loop")}),
    asyncio.get_running_loop: lambda *_: Handle("loop"), asyncio.get_event_loop: lambda *_: Handle("loop"),
    object.__new__: bare, logging.getLogger: logger_of, types.MappingProxyType: _same(0),
    copy.copy: copied, copy.deepcopy: copied, typing.cast: _same(1), dataclasses.replace: replaced,
    itertools.chain: library.lazy(_chained), itertools.chain.from_iterable: library.lazy(_flat),
    itertools.islice: library.lazy(_collect("iterator")), itertools.cycle: library.lazy(_collect("iterator")),
    itertools.starmap: library.lazy(_starred),
    heapq.heappush: _pushed, heapq.heappop: _one_of, bisect.insort: _pushed,
    random.choice: _one_of, collections.deque: _collect("deque"),
    contextlib.contextmanager: _context, contextlib.asynccontextmanager: _context, contextlib.suppress: _suppress,
    contextlib.nullcontext: _nothing, contextlib.closing: _closing,
    **{getattr(builtins, name): _refuse(name) for name in _REFUSED}, __import__: imported,
    importlib.import_module: module_named,
}  # fmt: skip


# -- the library that all apps have: partial functions, contexts, containers of the program -----------------------


_LOCKS = (
    *(type(threading.Lock()), type(threading.RLock()), threading.Semaphore, threading.BoundedSemaphore),
    *(threading.Condition, asyncio.Lock, asyncio.Semaphore, asyncio.BoundedSemaphore, asyncio.Condition),
)  # fmt: skip
_LOOP = ("run_in_executor", "create_task", "time")


class Library:
    """The plug-in for what this module makes, and for containers that outlive a handler."""

    def wrap(self, run: Run, thing: object) -> Value | None:
        return None

    def call(self, run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
        if isinstance(function, Bound) and isinstance(function.function, Live) and isinstance(function.first, Live):
            return _container(run, function.first, function.function.value, arguments, where)
        if not isinstance(function, Handle):
            return None
        about = function.about
        if function.kind in ("attrgetter", "itemgetter", "methodcaller"):
            return library.got(run, function, _of(0, arguments), where)
        if function.kind == "partial":
            return run.call(about["function"], [*about["arguments"], *arguments], {**about["named"], **named}, where)
        if function.kind == "hash-method":
            return digests.of_hash(about["of"].about, about["name"])
        if function.kind == "quiet":
            return Data("of a lock") if not arguments else Const(None)
        if function.kind == "loop.run_in_executor":
            return run.within(Apart(), lambda: run.call(arguments[1], list(arguments[2:]), {}, where))
        if function.kind == "loop.create_task":
            return _of(0, arguments)
        if function.kind.startswith("loop."):
            return Data("the time of a loop")
        if function.kind == "identity":
            return arguments[0] if arguments else Data()
        if function.kind == "context-maker":
            given = {"function": about["function"], "arguments": list(arguments), "named": dict(named)}
            return Handle("context", {**given, "swallows": True})
        if function.kind == "enter":
            if "function" in about:  # by hand: what comes behind the yield is run at once
                made = run.call(about["function"], about["arguments"], about["named"], where)
                value = expressions.element(run, made, where) or Const(None)
                if not leaves_quietly(about["function"], value):
                    return run.widen("what a context does when it is left by hand is not followed", where)
                return value
            return about["value"]  # type: ignore[no-any-return]
        if function.kind == "leave":
            if "close" in about:
                run.call(get(run, about["close"], "close", where), [], {}, where)
            return Data("whether it was swallowed") if about.get("swallows") else Const(None)
        return None

    def attribute(self, run: Run, value: Value, name: str, where: str) -> Value | None:
        if isinstance(value, Live) and type(value.value) in _LOCKS and hasattr(value.value, name):
            return Handle("quiet")
        if isinstance(value, Handle) and value.kind == "hash":
            return Handle("hash-method", {"of": value, "name": name})
        if isinstance(value, Handle) and value.kind == "loop":
            return Handle(f"loop.{name}") if name in _LOOP else None
        if isinstance(value, Handle) and value.kind == "context":
            if value.about.get("lock") and name in ("acquire", "release", "locked", "owned", "extend", "reacquire"):
                return Handle("quiet")
            if name in ("__enter__", "__aenter__"):
                return Handle("enter", value.about)
            if name in ("__exit__", "__aexit__"):
                return Handle("leave", value.about)
        if isinstance(value, Handle) and value.kind in ("partial", "identity", "context-maker"):
            return Data() if name.startswith("__") else None
        return None

    def assign(self, run: Run, value: Value, name: str, new: Value, where: str) -> bool:
        return isinstance(value, Handle) and value.kind in ("partial", "identity", "context-maker")

    def escape(self, run: Run, value: Value, where: str) -> bool:
        return isinstance(value, Handle) and value.kind in ("hash", "hash-method")


_READS = (
    *("get", "items", "values", "keys", "copy", "index", "count"),
    *("__contains__", "__getitem__", "__iter__", "__len__"),
)


def _container(run: Run, first: Live, method: Any, arguments: Arguments, where: str) -> Value | None:
    """A method in C of a dict, list or set of the program."""
    thing = first.value
    name = getattr(method, "__name__", "")
    if not isinstance(thing, dict | list | set) or isinstance(method, types.FunctionType):
        return None
    if name in ("get", "__getitem__"):
        found = live_item(run, first, _of(0, arguments), where)
        return either([found, *(arguments[1:] or [Const(None)])]) or found
    if name in _READS:
        found_any = live_read(run, first, None, where)
        if isinstance(thing, dict) and name in ("items", "values"):
            one_of = live_values(run, thing)
            return Items("list", None, one_of if name == "values" else Items("tuple", [Data("a key"), one_of]))
        return Items("list", None, found_any) if name in ("keys", "copy", "__iter__") else Data()
    keyed = ("pop", "setdefault", "__setitem__") if isinstance(thing, dict) else ("add", "discard", "remove")
    key = _of(0, arguments) if name in keyed and not isinstance(thing, list) else None
    for one in arguments[1:] if key is not None and isinstance(thing, dict) else arguments:
        inside = expressions.element(run, one, where) if name in ("extend", "update") else one
        note_put(run, thing, inside)
    set_live(run, first, key, where)
    return live_read(run, first, key, where) or Data()
