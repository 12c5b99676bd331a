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


def differences(one: End, other: End, *, sequence: bool) -> list[Difference]:
    """The first differences; empty where both ends are the same. `sequence`: also that of what was published."""
    found: list[Difference] = []
    for table in sorted({*one.tables, *other.tables}):
        numbered = table in one.numbered
        found += _rows(table, one.tables.get(table, ()), other.tables.get(table, ()), numbered=numbered)
    if one.outside != other.outside:
        found.append(Difference("state", "outside the store", _shown(one.outside), _shown(other.outside)))
    for event, result in one.results.items():
        if other.results.get(event) != result:
            found.append(Difference("result", event, result, other.results.get(event, "none")))
    if Counter(one.left) != Counter(other.left):
        found.append(Difference("emission", "published", *_only(one.left, other.left)))
    elif sequence and list(one.left) != list(other.left):
        at = next(at for at, pair in enumerate(zip(one.left, other.left, strict=True)) if pair[0] != pair[1])
        found.append(Difference("emission", f"number {at + 1}", one.left[at], other.left[at]))
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
    return [Difference("state", f"table {table}", a, b) for a, b in lines][:DIFFERENCES_MAX]


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
    return [_shown(row) for row in rows] + ["no such row"] * (width - len(rows))


def _only(one: Sequence[str], other: Sequence[str]) -> tuple[str, str]:
    mine, yours = Counter(one) - Counter(other), Counter(other) - Counter(one)
    return next(iter(mine), "none"), next(iter(yours), "none")


def _shown(value: object) -> str:
    text = repr(dict(value) if isinstance(value, Mapping) else value)
    return text if len(text) <= 200 else f"{text[:199]}…"
