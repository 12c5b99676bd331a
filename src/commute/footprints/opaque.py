"""Which functions test values in ways that a recorder cannot see: identity, `type`, and `len`.

``x is y`` and ``type(x)`` ask no method of x, and ``len(x)`` asks the one that ``list(x)`` asks for a hint,
so a trace would take one branch and never know of the other. They leave marks in the bytecode, in that of
the functions called, too. ``is None`` is let through: the tracer covers it by making fields null.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

_DEPTH_MAX = 8
_OPAQUE_NAMES = frozenset(
    ("type", "id", "len", "vars", "dir", "globals", "locals", "eval", "exec", "open", "input")
)


def opaque_test(function: Callable[[Any], object]) -> str:
    """What `function`, or one that it calls by name, does that a recorder cannot see; ``""`` if nothing.
    Some 50 µs.
    """
    seen: set[CodeType] = set()
    waiting: list[tuple[object, int]] = [(function, 0)]
    while waiting:
        current, depth = waiting.pop()
        while isinstance(current, partial):
            current = current.func
        if isinstance(current, MethodType):
            current = current.__func__
        if not isinstance(current, FunctionType):
            if depth == 0:
                return f"it is a {type(current).__name__}, whose code cannot be read"
            continue
        if depth > _DEPTH_MAX:
            return "it calls functions too deep to follow"
        for code in _codes(current.__code__):
            if code in seen:
                continue
            seen.add(code)
            found = _opaque_code(code)
            if found:
                return found
            waiting += [(called, depth + 1) for called in _called(current, code)]
    return ""


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _opaque_code(code: CodeType) -> str:
    before: dis.Instruction | None = None
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name == "IS_OP" and not (
            before is not None and before.opname == "LOAD_CONST" and before.argval is None
        ):
            return "it compares with `is`"
        if name in ("LOAD_GLOBAL", "LOAD_NAME") and instruction.argval in _OPAQUE_NAMES:
            return f"it calls {instruction.argval}()"
        before = instruction
    return ""


def _called(function: FunctionType, code: CodeType) -> Iterator[object]:
    """The functions that `code` names: globals, attributes of modules, and what its closure holds."""
    known = [function.__globals__[name] for name in code.co_names if name in function.__globals__]
    for value in known:
        if isinstance(value, ModuleType):
            yield from (getattr(value, name) for name in code.co_names if hasattr(value, name))
        else:
            yield value
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not yet filled
            continue
