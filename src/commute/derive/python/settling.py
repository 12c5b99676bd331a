"""When a loop has settled: what may still change from pass to pass, what becomes of that, and what is one all along."""

from __future__ import annotations

import ast

from commute.derive.run import Frame, Run
from commute.derive.values import Const, Data, Entries, Handle, Items, Live, Made, Value, is_plain, options


def alike(one: Value, other: Value) -> bool:
    if isinstance(one, Items) and isinstance(other, Items) and one.known is not None and other.known is not None:
        return len(one.known) == len(other.known) and all(map(alike, one.known, other.known))
    return one is other or one == other


_SETTLES = (Handle, Items, Entries, Const, Made, Live)  # there are only so many of them, one for each place in the code


def widen_changing(run: Run, frame: Frame, before: dict[str, Value], where: str) -> None:
    """What differs from pass to pass for ever is plain data, or not known at all: also where a pass was left early."""
    for name, value in frame.names.items():
        if name in before and before[name] != value:
            if is_plain(value):
                frame.assign(name, Data("it changes in a loop"))
            elif not all(isinstance(option, _SETTLES) for option in options(value)):
                frame.assign(name, run.widen(f"{name} changes in a loop", where))
            for names in frame.left[-1] if frame.names[name] is not value else ():
                names[name] = frame.names[name]


def widen_held(held: dict[Made, dict[str, Value]]) -> None:
    """The same for plain data in the attributes of objects."""
    for made, before in held.items():
        for name, value in made.attributes.items():
            if name in before and before[name] != value and is_plain(value):
                made.attributes[name] = Data("it changes in a loop")


def made_again(run: Run, frame: Frame, target: ast.expr, made_by: ast.expr, value: Value) -> Value:
    """One container for all that a statement makes for one object: objects that are made in one place are one here,
    and each time round a loop would add another container to what their attribute may be.

    No other name is bound to a container that was made in the statement itself, so nobody can tell it from the first.
    """
    if not (
        isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and _is_empty(run, frame, made_by)
    ):
        return value
    holder = run.evaluate(frame, target.value)
    if not isinstance(value, Items) or not isinstance(holder, Made) or holder.state:
        return value
    first: Items = run.kept.setdefault((made_by, holder), value)
    if first is not value:
        first.known, first.element = None, first.any()
    return first


def _is_empty(run: Run, frame: Frame, made_by: ast.expr) -> bool:
    """``[]``, ``list()`` or ``set()``."""
    if isinstance(made_by, ast.Call) and isinstance(made_by.func, ast.Name) and not (made_by.args or made_by.keywords):
        return run.evaluate(frame, made_by.func) in (Live(list), Live(set))
    return isinstance(made_by, ast.List) and not made_by.elts
