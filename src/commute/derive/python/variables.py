"""Variables of a context (`contextvars`): what is in one while a handler runs.

What the handler itself has put there before is what it gets. Otherwise it gets what stood there when the worker
started, the default, or what another handler left: an ``async def`` handler runs in the context of its slot, which
others have run in. So all that the functions of the application put into a variable is taken together then.
"""

from __future__ import annotations

import types
from contextvars import ContextVar
from typing import Any

from commute.derive.python.attributes import wrap
from commute.derive.python.kept import later
from commute.derive.python.writers import homes, run_setters
from commute.derive.run import Apart, Arguments, Later, Named, Run, signature
from commute.derive.values import Const, Data, Handle, Unknown, Value, either, options

_PLACE = "a variable of a context"  # beside the identity of the variable, where a run notes what it has put there
_BEFORE = Unknown("what was there before")


class Variables:
    """The plug-in for `contextvars`."""

    def wrap(self, run: Run, thing: object) -> Value | None:
        if isinstance(thing, ContextVar):
            run.knowledge.kept.append(thing)
            made: Value = run.kept.setdefault(("variable", id(thing)), Handle("variable", {"of": thing}))
            return made
        owner = thing.__self__ if isinstance(thing, types.BuiltinMethodType) else None
        if isinstance(owner, ContextVar):  # ``get_session = SESSION.get``
            return Handle("variable-method", {"of": self.wrap(run, owner), "name": thing.__name__})  # type: ignore[attr-defined]
        return None

    def call(self, run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
        if not isinstance(function, Handle) or function.kind != "variable-method" or named:
            return None
        owner, name = function.about["of"], function.about["name"]
        variable: ContextVar[Any] = owner.about["of"]
        if name == "get":
            return _get(run, variable, arguments, where)
        if name == "set" and len(arguments) == 1:
            token = Handle("token", {"of": owner, "before": _own(run, variable)})
            run.put_own(_place(variable), arguments[0])
            _note(run, variable, arguments[0])
            return token
        if name == "reset" and len(arguments) == 1:
            _reset(run, variable, arguments[0])
            return Const(None)
        return None

    def attribute(self, run: Run, value: Value, name: str, where: str) -> Value | None:
        if isinstance(value, Handle) and value.kind == "variable":
            variable: ContextVar[Any] = value.about["of"]
            return Const(variable.name) if name == "name" else Handle("variable-method", {"of": value, "name": name})
        if isinstance(value, Handle) and value.kind == "token":
            return Unknown("what a token knows")
        return None

    def assign(self, run: Run, value: Value, name: str, new: Value, where: str) -> bool:
        return False

    def escape(self, run: Run, value: Value, where: str) -> bool:
        return isinstance(value, Handle) and value.kind in ("variable", "token")


def _place(variable: ContextVar[Any]) -> tuple[int, str]:
    return id(variable), _PLACE


def _own(run: Run, variable: ContextVar[Any]) -> tuple[list[Value], bool]:
    """What this run has put there, and whether nothing else can be there now."""
    found: list[Value] = []
    certain = False
    now = run.doubts()
    for doubts, value in run.own.get(_place(variable), ()):
        inside = [one for one in now if one not in doubts]
        if all(one in now for one in doubts) and not any(isinstance(one, Apart) for one in inside):
            certain = True
            if not any(isinstance(one, Later) for one in inside):  # else it runs when something else may be there
                found = []
        found.append(value)
    return found, certain and not any(one is _BEFORE for one in found)


def _get(run: Run, variable: ContextVar[Any], arguments: Arguments, where: str) -> Value:
    found, certain = _own(run, variable)
    if not certain:
        found = [*(one for one in found if one is not _BEFORE), *_others(run, variable, where), *arguments]
    known = either(found)
    if known is not None:
        return known
    return run.widen(
        f"nothing is seen to put anything into the variable {variable.name}", where,
        "set it in the handler, before it is asked for",
    )  # fmt: skip


def _others(run: Run, variable: ContextVar[Any], where: str) -> list[Value]:
    """What is there without this run: now, by default, and by whoever sets it."""
    if not homes(variable):
        return [run.widen(f"the variable {variable.name} is none of the application's", where)]
    run_setters(run, variable)
    known = run.knowledge.variables.get(id(variable))
    found: list[Value] = [] if known is None else [known]
    try:
        now = wrap(run, variable.get())
    except LookupError:
        return found
    plain = isinstance(now, Const) and now.value is not None
    return [*found, Data(f"what the variable {variable.name} holds") if plain else now]


def _reset(run: Run, variable: ContextVar[Any], token: Value) -> None:
    """What was there before the token was made is there again."""
    for option in options(token):
        known = option.about if isinstance(option, Handle) and option.kind == "token" else None
        before, certain = known["before"] if known is not None else ([], False)
        value = either(before) if certain else None
        run.put_own(_place(variable), _BEFORE if value is None else value)
        for one in before if value is None else ():
            run.own[_place(variable)].append(((object(),), one))  # perhaps, wherever it is asked for


def _note(run: Run, variable: ContextVar[Any], value: Value) -> None:
    """Who asks for it in another handler may find it."""
    if isinstance(value, Unknown) and value.why.startswith("parameter "):
        return  # whoever gives it is seen too
    known = run.knowledge.variables.get(id(variable))
    new = either([*([] if known is None else [known]), later(value)]) or later(value)
    if known is None or signature(known) != signature(new):
        run.knowledge.variables[id(variable)] = new
        run.knowledge.news += 1
