"""In what two ends of the same events differ: state, results, emissions; but not in which row got which number.

Rows are compared without the values that a database generates (``INTEGER PRIMARY KEY`` of a row that did not give it),
since which row gets which number says nothing, unless something else holds that number: then the other row differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from commute.verify.trial import End, Rows

DIFFERENCES_MAX = 5  # that are kept of one pair of ends
SHOWN_MAX = 200  # characters of each side
BEFORE = 40  # of them before the first that differs, where that is further on

Aspect = Literal["state", "result", "emission"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs: where, and what it is on either side."""

    aspect: Aspect
    where: str
    one: str
    other: str

    def __str__(self) -> str:
        return f"{self.aspect} {self.where}: {self.one} or {self.other}"


def differences(one: End, other: End) -> list[Difference]:
    """The first differences; empty where both ends are the same, but for the sequence of what was published: children
    of independent events leave as they come."""
    found: list[Difference] = []
    for table in sorted({*one.tables, *other.tables}):
        numbered = table in one.numbered
        found += _rows(table, one.tables.get(table, ()), other.tables.get(table, ()), numbered=numbered)
    if one.outside != other.outside:
        found.append(Difference("state", "outside the store", *_shown(one.outside, other.outside)))
    for event, result in one.results.items():
        if other.results.get(event) != result:
            found.append(Difference("result", event, result, other.results.get(event, "none")))
    if Counter(one.left) != Counter(other.left):
        found.append(Difference("emission", "published", *_only(one.left, other.left)))
    return found[:DIFFERENCES_MAX]


def _rows(table: str, one: Rows, other: Rows, *, numbered: bool) -> list[Difference]:
    here, there = Counter(one), Counter(other)
    if here == there:
        return []
    mine, yours = list((here - there).elements()), list((there - here).elements())
    if numbered and _same_but_numbers(mine, yours):
        return []
    width = max(len(mine), len(yours))
    lines = zip(_padded(mine, width), _padded(yours, width), strict=True)
    return [Difference("state", f"table {table}", *_cut(a, b)) for a, b in lines][:DIFFERENCES_MAX]


def _same_but_numbers(mine: Sequence[tuple[Any, ...]], yours: Sequence[tuple[Any, ...]]) -> bool:
    """Whether the rows that differ are the same but for their first column, whose numbers are only dealt out otherwise.

    The first column, because a generated key stands there; a table that another one points at by such a number then
    differs in that other one.
    """
    if not mine or len(mine) != len(yours) or any(len(row) < 2 for row in (*mine, *yours)):
        return False
    numbers = [sorted(row[0] for row in rows if isinstance(row[0], int)) for rows in (mine, yours)]
    if numbers[0] != numbers[1] or len(numbers[0]) != len(mine):
        return False
    return Counter(row[1:] for row in mine) == Counter(row[1:] for row in yours)


def _padded(rows: Sequence[tuple[Any, ...]], width: int) -> list[str]:
    return [repr(row) for row in rows] + ["no such row"] * (width - len(rows))


def _only(one: Sequence[str], other: Sequence[str]) -> tuple[str, str]:
    mine, yours = Counter(one) - Counter(other), Counter(other) - Counter(one)
    return next(iter(mine), "none"), next(iter(yours), "none")


def _shown(one: object, other: object) -> tuple[str, str]:
    mine, yours = (repr(dict(value) if isinstance(value, Mapping) else value) for value in (one, other))
    return _cut(mine, yours)


def _cut(one: str, other: str) -> tuple[str, str]:
    """Two texts that differ, each short, and so that one sees in what."""
    differing = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    same = next(differing, min(len(one), len(other)))
    start = same - BEFORE if same > SHOWN_MAX // 2 and max(len(one), len(other)) > SHOWN_MAX else 0

    def cut(text: str) -> str:
        text = f"…{text[start:]}" if start else text
        return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 1]}…"

    return cut(one), cut(other)
