"""When a loop has settled: what may still change from pass to pass, and what becomes of that."""

from __future__ import annotations

from commute.derive.run import Frame, Run
from commute.derive.values import Const, Data, Entries, Handle, Items, Live, Made, Value, is_plain, options


def alike(one: Value, other: Value) -> bool:
    if isinstance(one, Items) and isinstance(other, Items) and one.known is not None and other.known is not None:
        return len(one.known) == len(other.known) and all(map(alike, one.known, other.known))
    return one is other or one == other


_SETTLES = (Handle, Items, Entries, Const, Made, Live)  # there are only so many of them, one for each place in the code


def widen_changing(run: Run, frame: Frame, before: dict[str, Value], where: str) -> None:
    """What differs from pass to pass for ever is plain data, or not known at all."""
    for name, value in frame.names.items():
        if name in before and before[name] != value:
            if is_plain(value):
                frame.names[name] = Data("it changes in a loop")
            elif not all(isinstance(option, _SETTLES) for option in options(value)):
                frame.names[name] = run.widen(f"{name} changes in a loop", where)


def widen_held(held: dict[Made, dict[str, Value]]) -> None:
    """The same for plain data in the attributes of objects."""
    for made, before in held.items():
        for name, value in made.attributes.items():
            if name in before and before[name] != value and is_plain(value):
                made.attributes[name] = Data("it changes in a loop")
