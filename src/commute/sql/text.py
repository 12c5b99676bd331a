"""A statement's text with its parameters numbered by place, and lists of parameters as one: what is parsed and cached.

Numbers come from the text, since a syntax tree walks LIMIT before WHERE. A list of any length becomes one parameter, so
that ``IN (?, ?)`` and ``IN (?, ?, ?)`` are one text; so does one of names, and one whose members are cast alike.

    UPDATE t SET a = ? WHERE b IN (?, ?, ?)       UPDATE t SET a = :…0 WHERE b IN (:…1)    layout ((0,), (1, 2, 3))
    SELECT a FROM t WHERE b IN (:b_1, :b_2)       SELECT a FROM t WHERE b IN (:b_1)        lists {"b_1": ("b_1", "b_2")}
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

TEXTS_MAX = 4_096  # different ones that are remembered

_SKIP = r"""(?P<skip>'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--[^\n]*|/\*.*?\*/|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|::)"""
_PIECE = re.compile(
    _SKIP
    + r"""
    |%\((?P<percent>\w+)\)s
    |(?P<place>%s|\?(?!\d|[|&?]))
    |\?(?P<numbered>\d+)
    |\$(?P<dollar>\d+)
    |\$(?P<called>[A-Za-z_]\w*)
    |(?<![:\w])[:@](?P<named>[A-Za-z_]\w*)""",
    re.DOTALL | re.VERBOSE,
)
PREFIX = "commute_place_"  # no parameter of an application's is called so
_ONE = r":(\w+)((?:::[\w .]+(?:\([\d, ]+\))?(?:\[\])*)?)"
_MEMBER = re.compile(_ONE)
_LIST = re.compile(
    rf"{_SKIP}|(?P<in>\bIN\s*)\(\s*(?P<members>{_ONE}(?:\s*,\s*{_ONE})+)\s*\)", re.DOTALL | re.IGNORECASE
)


class Prepared(NamedTuple):
    """`text` with parameters ``:commute_place_N`` and named ones; `layout[N]` are the places that N stands for in the
    statement, `lists[NAME]` the names that NAME stands for where it is a list."""

    text: str
    layout: tuple[tuple[int, ...], ...]
    lists: Mapping[str, tuple[str, ...]]

    def names(self, name: str) -> tuple[str, ...]:
        """Those that a parameter given by name stands for."""
        return self.lists.get(name, (name,))


@lru_cache(TEXTS_MAX)
def prepare(text: str, dialect: str) -> Prepared:
    """The text as it is parsed. O(text)."""
    places = 0

    def numbered(found: re.Match[str]) -> str:
        nonlocal places
        if found["skip"] is not None:
            return found[0]
        if found["place"] == "?" and "%s" in text and dialect != "sqlite":
            return found[0]  # an operator of PostgreSQL's
        if found["place"] is not None:
            places += 1
            return f":{PREFIX}{places - 1}"
        number = found["numbered"] or found["dollar"]
        if number is not None:
            places = max(places, int(number))
            return f":{PREFIX}{int(number) - 1}"
        if found["called"] is not None and dialect != "sqlite":
            return found[0]
        return f":{found['percent'] or found['named'] or found['called']}"

    plain = _PIECE.sub(numbered, text.replace("%%", "%") if "%(" in text or "%s" in text else text)
    return _shortened(plain, places)


def _shortened(text: str, places: int) -> Prepared:
    """Lists behind IN as one parameter each. Numbers that follow move up, and the layout says where they were."""
    joined: dict[int, tuple[int, ...]] = {}
    lists: dict[str, tuple[str, ...]] = {}

    counts = Counter(re.findall(r":(\w+)", text))

    def one(found: re.Match[str]) -> str:
        if found["skip"] is not None:
            return found[0]
        names, casts = zip(*(each.groups() for each in _MEMBER.finditer(found["members"])), strict=True)
        numbers = [number for number in map(place_of, names) if number is not None]
        if len({*casts}) > 1 or any(counts[name] > 1 for name in names):
            return found[0]  # one of them stands for one value too
        if not numbers:
            lists[names[0]] = names
        elif len(numbers) == len(names):
            joined[numbers[0]] = tuple(numbers)
        else:
            return found[0]
        return f"{found['in']}(:{names[0]}{casts[0]})"

    short = _LIST.sub(one, text)
    inside = {number for numbers in joined.values() for number in numbers[1:]}
    left = [at for at in range(places) if at not in inside]
    renamed = {at: number for number, at in enumerate(left)}
    if joined:
        short = re.sub(rf":{PREFIX}(\d+)", lambda found: f":{PREFIX}{renamed[int(found[1])]}", short)
    return Prepared(short, tuple(joined.get(at, (at,)) for at in left), lists)


def place_of(name: str) -> int | None:
    """The number of a parameter that is given by its place, None for one that is given by name."""
    number = name.removeprefix(PREFIX)
    return int(number) if number != name else None
