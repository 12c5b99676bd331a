"""A statement's text with its parameters numbered by place, and lists of parameters as one: what is parsed and cached.

Numbers come from the text, since a syntax tree walks LIMIT before WHERE. A list of any length becomes one parameter, so
that ``IN (?, ?)`` and ``IN (?, ?, ?)`` are one text.

    UPDATE t SET a = ? WHERE b IN (?, ?, ?)   ->   UPDATE t SET a = :p_0 WHERE b IN (:p_1)    layout ((0,), (1, 2, 3))
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

TEXTS_MAX = 4_096  # different ones that are remembered

_PIECE = re.compile(
    r"""(?P<skip>'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--[^\n]*|/\*.*?\*/|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|::)
    |%\((?P<percent>\w+)\)s
    |(?P<place>%s|\?(?!\d|[|&?]))
    |\?(?P<numbered>\d+)
    |\$(?P<dollar>\d+)
    |(?<![:\w])[:@](?P<named>[A-Za-z_]\w*)""",
    re.DOTALL | re.VERBOSE,
)
_LIST = re.compile(r"\(\s*:p_(\d+)(?:\s*,\s*:p_\d+)+\s*\)")
_IN = re.compile(r"\bIN\s*$", re.IGNORECASE)
PREFIX = "p_"


class Prepared(NamedTuple):
    """`text` with parameters ``:p_N`` and named ones; `layout[N]` are the places that N stands for in the statement."""

    text: str
    layout: tuple[tuple[int, ...], ...]


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
        return f":{found['percent'] or found['named']}"

    plain = _PIECE.sub(numbered, text.replace("%%", "%") if "%(" in text or "%s" in text else text)
    return _shortened(plain, places)


def _shortened(text: str, places: int) -> Prepared:
    """Lists behind IN as one parameter each. Numbers that follow move up, and the layout says where they were."""
    if not any(_IN.search(text, 0, found.start()) for found in _LIST.finditer(text)):
        return Prepared(text, tuple((at,) for at in range(places)))
    joined: dict[int, tuple[int, ...]] = {}

    def one(found: re.Match[str]) -> str:
        if not _IN.search(text, 0, found.start()):
            return found[0]
        numbers = [int(number) for number in re.findall(rf":{PREFIX}(\d+)", found[0])]
        joined[numbers[0]] = tuple(numbers)
        return f"(:{PREFIX}{numbers[0]})"

    short = _LIST.sub(one, text)
    inside = {number for numbers in joined.values() for number in numbers[1:]}
    left = [at for at in range(places) if at not in inside]
    renamed = {at: number for number, at in enumerate(left)}
    short = re.sub(rf":{PREFIX}(\d+)", lambda found: f":{PREFIX}{renamed[int(found[1])]}", short)
    return Prepared(short, tuple(joined.get(at, (at,)) for at in left))
