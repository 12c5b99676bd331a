"""Functions of libraries that call the application back: decorators that repeat, contexts, classes to be filled in."""

from __future__ import annotations

import inspect
import types
from typing import Any

from commute.derive.python.attributes import wrap
from commute.derive.python.writers import is_application, is_own
from commute.derive.run import Arguments, Named, Run
from commute.derive.source import only_closes, source_of_function
from commute.derive.trusted import DECORATORS
from commute.derive.values import Closure, Data, Handle, Live, Made, Unknown, Value, either, is_plain, options


def decorates(thing: types.FunctionType) -> bool:
    """Whether a library's decorator was put around it, which is known to call it and no other."""
    return str(thing.__globals__.get("__name__", "")).split(".")[0] in DECORATORS


def repeated(run: Run, thing: types.FunctionType, arguments: Arguments, named: Named, where: str) -> Value:
    """What is tried again: it runs, and so do the functions that were given for the time between."""
    from commute.derive.python.callbacks import called_by_library

    original: Any = thing.__wrapped__  # type: ignore[attr-defined]
    held = [*getattr(getattr(thing, "retry", None), "__dict__", {}).values()]
    held += [cell.cell_contents for cell in thing.__closure__ or () if cell != types.CellType()]
    for one in (part for some in held for part in (some if isinstance(some, list | tuple) else (some,))):
        if isinstance(one, types.FunctionType | types.MethodType) and one is not original and _ours(one):
            called_by_library(run, Live(one), Unknown("the state of a repetition"), where)
    found: Value = run.call(wrap(run, original), arguments, named, where)
    return found


def checks_arguments(thing: types.FunctionType) -> bool:
    """Whether it is what ``pydantic.validate_call`` puts around a function."""
    return str(thing.__globals__.get("__name__", "")) == "pydantic._internal._validate_call"


def validated(run: Run, thing: types.FunctionType, arguments: Arguments, named: Named, where: str) -> Value:
    """The function is called with what its arguments are converted to."""
    original: Any = thing.__wrapped__  # type: ignore[attr-defined]
    given = [_converted(one) for one in arguments]
    found: Value = run.call(wrap(run, original), given, {name: _converted(one) for name, one in named.items()}, where)
    return found


def _converted(value: Value) -> Value:
    return either([Data("an argument, converted") if is_plain(one) else one for one in options(value)]) or Data()


def _ours(function: Any) -> bool:
    return is_application(str(getattr(getattr(function, "__code__", None), "co_filename", "")))


def in_context(run: Run, arguments: Arguments, where: str) -> Value:
    """A context of an application of Flask's: its end calls what was registered for that."""
    app = arguments[0].value if arguments and isinstance(arguments[0], Live) else None
    for function in getattr(app, "teardown_appcontext_funcs", ()):
        if _ours(inspect.unwrap(function)):
            run.call(Live(function), [Data("an exception or none")], {}, where)
    return Data("a context")


LEAVES_OPEN = ("collections", "_collections_abc", "json", "string", "html", "argparse")  # methods that subclasses fill


def fills_in(value: Value) -> str:
    """The application's class whose methods a library's method calls; empty for none."""
    for option in options(value):
        cls = option.cls if isinstance(option, Made) else type(option.value) if isinstance(option, Live) else object
        if is_own(cls):
            return cls.__name__
    return ""


def leaves_quietly(function: Value, made: Value) -> bool:
    """Whether a generator that makes a context of `made` does no more behind its yield than to close something."""
    session = all(isinstance(one, Handle) for one in options(made))
    if isinstance(function, Closure):
        return only_closes(function.node, session=session)
    thing = inspect.unwrap(function.value) if isinstance(function, Live) and callable(function.value) else None
    source = source_of_function(thing) if isinstance(thing, types.FunctionType) else None
    return source is not None and only_closes(source.node, session=session)
