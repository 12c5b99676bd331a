"""Functions that call themselves: all deeper activations as one, for what each of them is given.

Invariant: what stands for the deeper ones has been given whatever any of them is; else the function is not followed.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from commute.derive.run import Arguments, Frame, Named, Run, signature
from commute.derive.values import (
    Const,
    Data,
    Entries,
    Handle,
    Items,
    Unknown,
    Value,
    Written,
    either,
    is_plain,
    options,
)

SAME_MAX = 2  # activations of one function on top of each other


def inside_itself(
    run: Run, frame: Frame, identity: Any, defaults: Mapping[str, Value], arguments: Arguments, named: Named, where: str
) -> Value:
    """A function inside itself: run once more for all that are deeper, as long as they are given the same objects.
    What it was not given by the one above it stands for any plain data."""
    given = [*arguments, *named.values()]
    name = getattr(frame.node, "name", "a lambda")
    if identity in run.recursed:
        before, result = run.recursed[identity]
        if len(before) != len(given) or not all(map(_no_more, given, before)):
            run.varies.add(identity)
        return Data("what a function inside itself gives") if result is None else result
    above = run.given[identity]
    if len(above) != len(given):
        above = [Data()] * len(given)
    for kept in (_no_more, _never):  # as it was given by the one above; then with any plain data
        general = [old if kept(new, old) else _general(new) for new, old in zip(given, above, strict=True)]
        run.varies.discard(identity)
        result = _until_the_same(run, frame, identity, defaults, general, list(named), where)
        if identity not in run.varies:
            break
    else:
        return run.widen(f"{name} calls itself with other objects, which is not followed", where)
    return run.widen(f"what {name} gives is not followed", where) if result is None else result


def _never(value: Value, known: Value) -> bool:
    return False


def _until_the_same(
    run: Run,
    frame: Frame,
    identity: Any,
    defaults: Mapping[str, Value],
    given: Sequence[Value],
    names: Sequence[str],
    where: str,
) -> Value | None:
    """What the function gives, with that in the place of its own calls; None where it is more each time."""
    from commute.derive.python.calls import bind_parameters, entered, like

    node = frame.node
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    count = len(given) - len(names)
    result: Value | None = None
    try:
        for _ in range(SAME_MAX + 1):
            run.recursed[identity] = (list(given), result)
            new = like(frame)
            if not bind_parameters(
                run, new, node.args, defaults, given[:count], dict(zip(names, given[count:], strict=True))
            ):
                return run.widen(f"a call of {getattr(node, 'name', 'a lambda')} is not followed", where)
            found = either([entered(run, new, identity, None), *([] if result is None else [result])]) or Data()
            if not is_plain(found) and _all_data(found):
                found = Data("what a function inside itself gives")
            if result is not None and signature(found) == signature(result) and is_plain(found) == is_plain(result):
                return found
            result = found
    finally:
        run.recursed.pop(identity, None)
    return result if result is not None and is_plain(result) else None


def _general(value: Value) -> Value:
    """A value for all that a deeper call may be given in its place. Of a None that is in some place of the program, it
    is not known what is there when the handler runs."""
    if any(option == Const(None) and not isinstance(option, Written) for option in options(value)):
        return Unknown("what a function inside itself is given")
    if is_plain(value):
        return Data("anything plain")
    if isinstance(value, Items) and value.again is None:
        inside = value.any()
        if inside is None or _all_plain(inside):
            return Data("anything plain")
    return value


def _all_plain(value: Value) -> bool:
    for option in options(value):
        if isinstance(option, Items) and option.again is None:
            inside = option.any()
            if inside is not None and not _all_plain(inside):
                return False
        elif not is_plain(option):
            return False
    return True


def _all_data(value: Value) -> bool:
    """Whether there is nothing but plain data and what was read in it, however deep."""
    for option in options(value):
        if isinstance(option, Items | Entries):
            inside = option.any()
            if option.state or getattr(option, "again", None) is not None:
                return False
            if inside is not None and not _all_data(inside):
                return False
        elif not is_plain(option) and not (isinstance(option, Handle) and option.kind in ("row", "rows", "cell")):
            return False
    return True


def _no_more(value: Value, known: Value) -> bool:
    """Whether `known` stands for the value."""
    if isinstance(known, Written) and not isinstance(value, Written):
        return False
    if isinstance(known, Unknown):
        return True
    return (isinstance(known, Data) and _all_plain(value)) or value is known or value == known
