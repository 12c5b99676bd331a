"""What Python asks of objects without being told to: their text, their hash, whether they are equal, less or true.

``str(x)``, ``{x: 1}``, ``x in found`` and ``sorted(found)`` run methods of the application's own classes. Whoever gives
an object to code that is not read has them run here.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
from collections import deque

from commute.derive.python.attributes import class_attribute, has_method
from commute.derive.python.state import MUTABLE, path_of
from commute.derive.python.writers import is_application, is_own
from commute.derive.run import KeyAccess, Run
from commute.derive.values import Const, Data, Entries, Handle, Items, Live, Made, Value, options

TEXT = ("__str__", "__repr__", "__format__")
HASH = ("__hash__", "__eq__")
SORT = ("__lt__", "__gt__", "__le__", "__ge__", "__eq__")
ALL = (
    *(*TEXT, *HASH, *SORT, "__len__", "__bool__", "__iter__", "__contains__", "__int__", "__float__", "__index__"),
    *(
        "__bytes__",
        "__fspath__",
        "__getitem__",
        "__round__",
        "__abs__",
        "__neg__",
        "__trunc__",
        "__floor__",
        "__ceil__",
    ),
    *("__divmod__", "__reversed__", "__complex__", "__copy__", "__deepcopy__", "__missing__"),
    *("__instancecheck__", "__subclasscheck__", "__conform__"),
)


def ask(run: Run, value: Value, where: str, names: tuple[str, ...] = ALL, seen: set[int] | None = None) -> None:
    """Run these methods of an object, and of all that it holds."""
    from commute.derive.python.items import escape

    seen = set() if seen is None else seen
    for option in options(value):
        if id(option) in seen:
            continue
        seen.add(id(option))
        if isinstance(option, Items):
            for inner in (*(option.known or ()), *([option.element] if option.element is not None else [])):
                ask(run, inner, where, names, seen)
        elif isinstance(option, Entries):
            for inner in (*option.known.values(), *([option.other] if option.other is not None else [])):
                ask(run, inner, where, names, seen)
            if option.key is not None:
                ask(run, option.key, where, names, seen)
        elif isinstance(option, Made):
            _ask_one(run, option, option.cls, where, names)
            computed = getattr(getattr(option.cls, "__pydantic_decorators__", None), "computed_fields", ())
            for name in computed if "__repr__" in names else ():
                run.get(option, name, where)
            for inner in list(option.attributes.values()):
                ask(run, inner, where, names, seen)
        elif isinstance(option, Handle) and option.kind in ("entity", "new"):
            _ask_one(run, option, option.about["class"], where, names, own=True)
            if set(TEXT) & set(names) and not _plain_text(option.about["class"]):
                escape(run, option, where)
        elif isinstance(option, Handle) and option.kind == "collection":
            ask(run, option.about["element"], where, names, seen)
        elif isinstance(option, Live) and isinstance(option.value, type):
            if is_own(type(option.value)):
                _ask_one(run, option, type(option.value), where, names)
        elif isinstance(option, Live) and not isinstance(option.value, types.ModuleType | types.FunctionType):
            read_as_whole(run, option, where)
            _ask_one(run, option, type(option.value), where, names)


def _plain_text(cls: type) -> bool:
    """Whether the text of a mapped object is written by the application, or tells nothing of it; not by a library that
    goes through its attributes."""
    found = class_attribute(cls, "__repr__")
    if found is object.__repr__ or str(getattr(found, "__module__", "")).startswith("flask_sqlalchemy"):
        return True  # the name of the class, and the key
    return has_method(cls, "__repr__") is not None and not _is_written(found)


def _is_written(function: object) -> bool:
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    return code is None or code.co_filename.startswith("<") or not is_application(code.co_filename)


def read_as_whole(run: Run, value: Live, where: str) -> None:
    """How many there are in a container of the program, or which, is looked at."""
    if isinstance(value.value, (*MUTABLE, deque)):
        run.add(KeyAccess("read", path_of(run, value.value), where))


def _ask_one(run: Run, value: Value, cls: type, where: str, names: tuple[str, ...], *, own: bool = False) -> None:
    """Run these methods of a class; `own`: those alone that the application has written."""
    for name in names:
        method = has_method(cls, name)
        if own and method is not None and _is_written(method):
            continue
        if method is None or method.__code__.co_filename.startswith("<") or _is_library(method):
            continue
        given: list[Value] = [value]
        given += [Const("") if name == "__format__" else Data("what it is compared with")] * (
            method.__code__.co_argcount - 1 - len(method.__defaults__ or ())
        )
        with run.apart(left_out=True):
            run.call(Live(method), given, {}, where)


def _is_library(method: types.FunctionType) -> bool:
    from commute.derive.trusted import touches_nothing

    return touches_nothing(method) or method.__code__.co_filename in (dataclasses.__file__, enum.__file__)
