"""The parameters of a statement whose text is put together, as far as it is known where they stand."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from commute.derive.run import Run
from commute.derive.values import SEVERAL, SOME, Assembled, Data, Either, Entries, Items, Value, either, options

Sent: TypeAlias = Callable[[str, Value], Value]
_COUNTED = re.compile(r"counted(\d+)")
_NOT_BY_PLACE = re.compile(r"\?\d|\$\d|:\w|@\w|%\(|%%|--|/\*|\\|\$\$|['\"`]")  # or perhaps no place of a parameter
_QUOTED = re.compile(r"'[^'?%]*'|\"[^\"?%]*\"|`[^`?%]*`")


def _places(text: str, dialect: str) -> int | None:
    """How many parameters a statement has, where they are told by their place in it alone."""
    plain = _QUOTED.sub("", text)
    if _NOT_BY_PLACE.search(plain):
        return None
    return plain.count("?" if dialect == "sqlite" else "%s")


def loose(run: Run, parameters: Value | None, text: str, mark: str, dialect: str) -> Value | None:
    """Parameters of which only the last places are known, behind the last `mark`: before, there are any number."""
    if isinstance(parameters, Either):
        return either([loose(run, one, text, mark, dialect) or Data() for one in parameters.options])
    if not isinstance(parameters, Items):
        return parameters if parameters is None or isinstance(parameters, Entries) else Data("parameters of any number")
    one = parameters.any() or Data()
    last = run.tail_of(parameters)
    count = _places(text.replace(SOME, "").replace(SEVERAL, ""), dialect)
    behind = _places(text.rpartition(mark)[2], dialect)
    if count is None:
        return Items(parameters.kind, None, one)
    pieces = [_places(piece, dialect) or 0 for piece in text.split(mark)]
    before = pieces[0] - (pieces[1] if mark == SEVERAL else 0)  # this one stands behind its piece
    first = (parameters.known or parameters.head or [])[: max(before, 0)]
    known = last[-behind:] if behind else []
    return Items(parameters.kind, [*first, *[one] * (count - len(first) - len(known)), *known])


def fitting(run: Run, parameters: Value | None, text: str, dialect: str) -> Value | None:
    """Parameters as far as their places are known, since there are as many as the statement has places: another number
    of them is refused by the driver."""
    found = [one for one in options(parameters) if isinstance(one, Items)] if parameters is not None else []
    count = _places(text, dialect)
    if parameters is None or len(found) < len(options(parameters)) or count is None:
        return parameters
    fits = [one for one in found if one.known is None or len(one.known) == count] or found
    return either([_filled(run, one, count) for one in fits])


def _filled(run: Run, parameters: Items, count: int) -> Items:
    """The same list with its first and last elements where they stand."""
    if parameters.known is not None:
        return parameters
    head, last = parameters.head or [], run.tail_of(parameters)
    before = max(count - len(last), 0)
    middle = [parameters.any() or Data()] * max(before - len(head), 0)
    return Items(parameters.kind, [*head[:before], *middle, *last[len(last) - count + before :]])


def counted(text: Assembled, parameters: Value | None, bound: Sent) -> Sent:
    """What is sent for the parameters of a text that it numbers by the length of a list, where that list is sent: each
    stands where it stood then."""

    def sent(name: str, value: Value) -> Value:
        found = _COUNTED.fullmatch(name)
        if found is None:
            return bound(name, value)
        count = text.counted[int(found[1])]
        if not isinstance(parameters, Items):
            return Data("a parameter of a list that is not known")
        if parameters is count.of and parameters.moved is count.moved:
            return count.last[-1]
        inside = parameters.any()
        return inside if inside is not None else Data("a parameter by a number that is not known")

    return sent
