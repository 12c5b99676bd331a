"""What a cursor has run last, so whose rows it gives: of one that is used again, in one branch or the other, any of
those that may have been the last one.

    execute(a)                        a | b | c       a: in the same stretch as the one that reads, so it certainly ran
    if x: execute(b)   fetch ──▶ b                    b, c: they may have run after it, or not
    if y: execute(c)   fetch ──▶ c, b or a
"""

from __future__ import annotations

from typing import TypeAlias

from commute.derive.run import Run
from commute.derive.values import Handle, Value, either

Ran: TypeAlias = list[tuple[tuple[object, ...], Value]]  # in which stretches of the run, and what it gives


def note(run: Run, cursor: Handle, rows: Value) -> None:
    """A cursor has run a statement: what it has run in this stretch before, and inside of it, is not the last one."""
    place = tuple(run.stretches)
    ran: Ran = cursor.about.get("ran", [])
    cursor.about["ran"] = [one for one in ran if one[0][: len(place)] != place] + [(place, rows)]


def last(run: Run, cursor: Handle) -> Value | None:
    """The rows that it gives here; None where this run has not used it."""
    found: list[Value] = []
    for place, rows in reversed(cursor.about.get("ran", ())):
        if not any(rows is one for one in found):
            found.append(rows)
        if place == tuple(run.stretches[: len(place)]):
            break
    return either(found)
