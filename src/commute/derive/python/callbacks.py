"""Functions that are handed over: whoever has got one may call it, where it gets it or at any time from then on.

So it is run where it is handed over, and once more when the handler is through: it sees then what any variable around
it has ever held, since nobody knows between which two assignments it runs.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Sequence

from commute.derive.python.attributes import has_method
from commute.derive.run import Apart, Arguments, Run
from commute.derive.trusted import touches_nothing
from commute.derive.values import Bound, Closure, Either, Handle, Live, Made, Value, either, options

GUESSED_MAX = 8  # arguments that a library may call a function with


def later_too(run: Run, body: Callable[[], object]) -> None:
    """Run the body when the handler is through, in a context that is not known."""
    if run.late is not None:
        run.late.append(lambda: run.within(Apart(), body))


def call_back(run: Run, value: Value, arguments: Sequence[Value], where: str) -> Value | None:
    """Call the value if it is a function, with as many of the arguments as it takes: now, and never again."""
    return run.within(Apart(), lambda: _called_back(run, value, arguments, where))


def called_by_library(run: Run, value: Value, given: Value, where: str) -> Value | None:
    """The same with any number of arguments, by code that may keep the function."""
    found = run.within(Apart(), lambda: _guessed(run, value, given, where))
    if found is not None:
        later_too(run, lambda: _guessed(run, value, given, where))
    return found


def _guessed(run: Run, value: Value, given: Value, where: str) -> Value | None:
    """A parameter that has a default may be left out or not."""
    counts = {GUESSED_MAX, *(_required(one) for one in options(value))}
    found = [_called_back(run, value, [given] * count, where) for count in sorted(counts)]
    return either([one for one in found if one is not None])


def _required(value: Value) -> int:
    """How many arguments a function has to be called with."""
    if isinstance(value, Closure):
        taken = value.node.args
        return len(taken.posonlyargs) + len(taken.args) - len(taken.defaults)
    if isinstance(value, Bound):
        return max(0, _required(value.function) - 1)
    if not isinstance(value, Live) or not callable(value.value):
        return GUESSED_MAX
    try:
        parameters = inspect.signature(value.value).parameters.values()
    except (TypeError, ValueError):
        return GUESSED_MAX
    return sum(one.default is one.empty and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
               for one in parameters)  # fmt: skip


def _called_back(run: Run, value: Value, arguments: Arguments, where: str) -> Value | None:
    if isinstance(value, Either):
        found = run.each(value, lambda option: _called_back(run, option, arguments, where))
        return either([one for one in found if one is not None])
    if isinstance(value, Handle) and value.kind in ("partial", "attrgetter", "itemgetter", "methodcaller"):
        return run.call(value, list(arguments)[:1], {}, where)
    if isinstance(value, Closure):
        taken = value.node.args
        count = len(taken.posonlyargs) + len(taken.args)
        return run.call(value, list(arguments)[: count if taken.vararg is None else None], {}, where)
    if isinstance(value, Bound):
        return _called_back(run, value.function, [value.first, *arguments], where)
    if isinstance(value, Live) and isinstance(value.value, types.FunctionType | types.MethodType | functools.partial):
        return run.call(value, list(arguments)[: _taken(value.value, len(arguments))], {}, where)
    if isinstance(value, Live) and isinstance(value.value, functools._lru_cache_wrapper):
        return _called_back(run, Live(value.value.__wrapped__), arguments, where)
    cls = value.cls if isinstance(value, Made) else type(value.value) if isinstance(value, Live) else object
    method = has_method(cls, "__call__")
    if method is None or touches_nothing(method):
        return None
    return _called_back(run, Bound(Live(method), value), arguments, where)


def _taken(function: object, given: int) -> int:
    """How many of the given arguments a function takes by their place."""
    try:
        kinds = [one.kind for one in inspect.signature(function).parameters.values()]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return given
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return given
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(kind in by_place for kind in kinds)
