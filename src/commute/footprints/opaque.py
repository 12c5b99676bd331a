"""Whether a function does anything with values that a recorder could not see, read from its bytecode.

A recorder sees what is asked of it. It does not see ``x is y``, ``type(x)``, or anything done with the text
that a placeholder was formatted to: ``str(e.kind) == "book"`` takes a branch and leaves no trace. So only
functions are traced that do what spelling keys needs: attributes and items, loops, formatting, ``is None``,
``isinstance``, a few builtins, constants, and other functions of the same kind. The list says what is
allowed, since what is not known may look.
"""

from __future__ import annotations

import builtins
import dis
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NewType

from commute.core.footprint import Access
from commute.footprints.schema import fields_of

_DEPTH_MAX = 8
_CALLS = (Access, chain, str, list, tuple, set, frozenset, map, zip, enumerate, range, reversed)
_BUILTINS = frozenset(("isinstance", "format", "iter", "next"))
_METHODS = frozenset(("format", "join", "get", "append", "extend", "add", "update", "from_iterable"))
_OPERATIONS = {
    "COMPARE_OP": "compares",
    "CONTAINS_OP": "looks whether one thing is in another",
    "BUILD_MAP": "builds a dict",
    "BUILD_CONST_KEY_MAP": "builds a dict",
    "MAP_ADD": "builds a dict",
    "IMPORT_NAME": "imports",
    "STORE_GLOBAL": "sets a global",
}


def opaque_test(function: Callable[[Any], object]) -> str:
    """What `function`, or one that it calls by name, does beyond spelling keys; ``""`` if nothing. Some 100
    µs.
    """
    seen: set[CodeType] = set()
    waiting: list[tuple[object, int]] = [(function, 0)]
    while waiting:
        current, depth = waiting.pop()
        bound: tuple[object, ...] = ()
        while isinstance(current, partial):
            bound += (*current.args, *current.keywords.values())
            current = current.func
        if isinstance(current, MethodType):
            current = current.__func__
        if not isinstance(current, FunctionType):
            return f"it is a {type(current).__name__}, whose code cannot be read"
        if depth > _DEPTH_MAX:
            return "it calls functions too deep to follow"
        defaults = (*(current.__defaults__ or ()), *(current.__kwdefaults__ or {}).values())
        values = {"a bound argument": bound, "a default": defaults}
        for code in _codes(current.__code__):
            if code in seen:
                continue
            seen.add(code)
            found = _opaque_operation(code) or _opaque_method(current, code)
            if found:
                return found
            values |= {name: (value,) for name, value in _named(current, code)}
        for name, parts in values.items():
            for part in parts:
                if isinstance(part, FunctionType):
                    waiting.append((part, depth + 1))
                elif not _is_harmless(part):
                    return f"it uses {name}, a {type(part).__name__}"
    return ""


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _opaque_operation(code: CodeType) -> str:
    before: dis.Instruction | None = None
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name in _OPERATIONS:
            return f"it {_OPERATIONS[name]}"
        if name == "IS_OP" and not (before is not None and before.opname == "LOAD_CONST" and before.argval is None):
            return "it compares with `is`"
        before = instruction
    return ""


def _opaque_method(function: FunctionType, code: CodeType) -> str:
    """A method called that is none of ours: of a text, or a module's function that is not written in
    Python.
    """
    modules = [value for _, value in _named(function, code) if isinstance(value, ModuleType)]
    for instruction in dis.get_instructions(code):
        called = instruction.opname == "LOAD_METHOD" or (
            instruction.opname == "LOAD_ATTR" and sys.version_info >= (3, 12) and (instruction.arg or 0) & 1
        )
        if not called or instruction.argval in _METHODS:
            continue
        if not any(_is_harmless(getattr(module, instruction.argval, dis)) for module in modules):
            return f"it calls .{instruction.argval}()"
    return ""


def _named(function: FunctionType, code: CodeType) -> Iterator[tuple[str, object]]:
    """What the names in `code` stand for: globals, builtins, functions in modules, and what its closure
    holds.
    """
    loaded = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    for name in loaded:
        value = function.__globals__.get(name, getattr(builtins, name, None))
        yield name, value
        if isinstance(value, ModuleType):
            parts = [(part, getattr(value, part)) for part in code.co_names if hasattr(value, part)]
            yield from ((part, known) for part, known in parts if isinstance(known, FunctionType))
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not yet filled
            yield name, cell


def _is_harmless(value: object) -> bool:
    """Whether a value that the function uses cannot tell it anything about a placeholder."""
    if value is None or isinstance(value, str | int | FunctionType | ModuleType | NewType):
        return value is not dis  # the mark of a missing attribute
    if isinstance(value, tuple):
        return all(map(_is_harmless, value))
    if isinstance(value, type):
        return value in _CALLS or value is dict or fields_of(value) is not None
    return getattr(value, "__name__", "") in _BUILTINS and value in vars(builtins).values()
