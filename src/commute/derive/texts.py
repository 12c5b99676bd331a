"""Texts that are put together from pieces: what such a text certainly begins with, though not all of it is known.

    f"cart:{user_id}:{now}"   begins with   cart:{user_id}:        the event tells {user_id}, nobody {now}

Invariant: each text that the expression may give begins with the `start` of its Begun, or Begun is not what it is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product
from string import Formatter
from typing import Any, TypeAlias

from commute.derive.values import (
    EITHER_MAX,
    SOME,
    Assembled,
    Begun,
    Computed,
    Const,
    Count,
    Data,
    Field,
    Mosaic,
    Own,
    Value,
    compute,
    either,
    is_known,
    is_plain,
    mosaic,
    options,
)

# Of a text, a piece that is always the same, or a part by its number with the format that it is put in.
Pieces: TypeAlias = Sequence["str | tuple[int, str]"]
_PERCENT = re.compile(r"%(.)")
UP_TO = "up to what may be anything"  # the name of what cuts a pattern of keys


def put_together(name: str, function: Callable[..., Any], parts: Sequence[Value], pieces: Pieces) -> Value:
    """As `compute`, of a function that gives the text of these pieces: where not all of it is known, its beginning."""
    if all(map(is_known, parts)) or not all(map(is_plain, parts)):
        return compute(name, function, parts)
    if any(isinstance(option, Assembled | Count | Mosaic) for part in parts for option in options(part)):
        assembled = _assembled(name, parts, pieces)
        if assembled is not None:
            return assembled
        patches = mosaic([*(Const(one) for one in pieces if isinstance(one, str)), *parts])
        if patches is not None:
            return patches
    combinations = list(product(*map(options, parts)))
    if len(combinations) > EITHER_MAX:
        return begun(pieces, parts, f"{name} of too many values") if pieces else Data(name)
    found: list[Value] = []
    for one in combinations:
        whole = compute(name, function, one)
        start = begun(pieces, one, whole.why) if isinstance(whole, Data | Own) else whole
        if isinstance(whole, Own):
            found.append(replace(whole, start=start.start) if isinstance(start, Begun) else whole)
        else:
            found.append(start)
    return either(found) or Data(name)


def begun(pieces: Pieces, parts: Sequence[Value], why: str) -> Value:
    """A text of these pieces, as far as they are known from the first one on."""
    template = ""
    known: list[Value] = []
    for piece in pieces:
        if isinstance(piece, str):
            template += piece.replace("{", "{{").replace("}", "}}")
            continue
        at, form = piece
        value = parts[at]
        if isinstance(value, Begun) and form in ("{}", "{!s}"):
            template, known = template + "{}", [*known, value.start]
            break
        if not is_known(value):
            break
        template, known = template + form, [*known, value]
    if not template:
        return Data(why)
    start = compute(f"f{template!r}", template.format, known) if known else Const(template.format())
    return Data(why) if isinstance(start, Data) or start == Const("") else Begun(why, start=start)


def _assembled(name: str, parts: Sequence[Value], pieces: Pieces) -> Value | None:
    """A text of which a piece is assembled, or the number of a parameter, where all others are constant; else None."""
    combinations = list(product(*map(options, parts)))
    if len(combinations) > EITHER_MAX:
        return None
    found: list[Value] = []
    for one in combinations:
        several: list[Assembled | str] = []
        for piece in pieces:
            value = Const(piece) if isinstance(piece, str) else one[piece[0]]
            if isinstance(value, Assembled) and not isinstance(piece, str) and piece[1] == "{}":
                several.append(value)
            elif isinstance(value, Count) and _ends_with_dollar(several) and piece[1] == "{}":
                several[-1] = several[-1][:-1]  # type: ignore[index]
                several.append(_parameter(value))
            elif isinstance(value, Const) and (isinstance(piece, str) or piece[1] == "{}"):
                several.append(format(value.value))
            else:
                return None
        whole = in_one(several)
        plain = whole.counted or SOME in whole.text
        found.append(replace(whole, why=name) if plain else Const(whole.text))
    return either(found)


def _ends_with_dollar(several: Sequence[Assembled | str]) -> bool:
    return bool(several) and isinstance(several[-1], str) and several[-1].endswith("$")


def _parameter(count: Count) -> Assembled:
    """``$N`` by the length of a list: the one that stood at its end then, or one of which nobody knows which."""
    if count.last:
        return Assembled("a parameter", text=":counted0", counted=(count,))
    return Assembled("a parameter", text=f"${SOME}1{SOME}")


_COUNTED = re.compile(r":counted(\d+)\b")


def in_one(several: Iterable[Assembled | str]) -> Assembled:
    """The texts one behind the other, with all that they count."""
    text = ""
    counted: list[Count] = []
    for one in several:
        if isinstance(one, str):
            text += one
            continue
        numbers: list[int] = []
        for count in one.counted:
            if count not in counted:
                counted.append(count)
            numbers.append(counted.index(count))
        parts = _COUNTED.split(one.text)  # every second one is a number
        text += "".join(f":counted{numbers[int(part)]}" if at % 2 else part for at, part in enumerate(parts))
    return Assembled("a text", text=text, counted=tuple(counted))


# One column that is set, or compared with something by itself: nothing around it changes what it means.
_SET = re.compile(
    r"\s*[\w.\"`\[\]]+\s*=\s*(?:[^;,()\0\1]|\((?:[^;()\0\1]|\((?:[^;()\0\1]|\([^;()\0\1]*\))*\))*\))+", re.DOTALL
)
_CONDITION = re.compile(r"[^;\0\1]+", re.DOTALL)
_GOES_ON = re.compile(r"\b(?:WHERE|RETURNING|LIMIT|UNION|OR|ON)\b|--|/\*", re.IGNORECASE)


def some_of(separator: str, pieces: Sequence[Value]) -> Value | None:
    """``separator.join(…)`` of any number of these pieces of SQL; None where they are not seen to be such."""
    texts = [
        one if isinstance(one, Assembled) else Assembled("a text", text=one.value)
        for one in pieces
        if isinstance(one, Assembled) or (isinstance(one, Const) and isinstance(one.value, str))
    ]
    plain = [one.text.replace(SOME, "") for one in texts]
    if len(texts) < len(pieces) or not texts or any(map(_GOES_ON.search, plain)):
        return None
    if separator.strip() == "," and all(map(_SET.fullmatch, plain)):
        return _loose(separator, texts, SOME, SOME)
    if separator.strip().upper() == "AND" and all(map(_CONDITION.fullmatch, plain)):
        return _loose(separator, texts, f"{SOME}(", f" OR 1 = 1){SOME}")
    return None


def _loose(separator: str, texts: Sequence[Assembled], before: str, behind: str) -> Assembled:
    several = [part for one in texts for part in (separator, before, one, behind)][1:]
    return replace(in_one(several), why="SQL with some of several pieces")


def is_text(value: Value) -> bool:
    """Whether it is certainly a text, so that what is added to it comes behind it."""
    if isinstance(value, Const):
        return isinstance(value.value, str)
    if isinstance(value, Computed):
        if value.name == "add":
            return any(map(is_text, value.parts))
        return value.name.startswith(("f'", 'f"')) or value.name in ("str.format", "str", "builtins.str", UP_TO)
    return isinstance(value, Begun) or (isinstance(value, Field) and value.hint is str)


def added(left: Value, right: Value) -> Value | None:
    """``left + right`` of texts that are not known to their ends; None for all else."""
    if isinstance(left, Mosaic) or isinstance(right, Mosaic):
        return mosaic([left, right]) or Data("a text")
    if isinstance(left, Assembled) or isinstance(right, Assembled):
        known = all(isinstance(one, Assembled) or (is_text(one) and isinstance(one, Const)) for one in (left, right))
        texts = [one if isinstance(one, Assembled) else str(getattr(one, "value", "")) for one in (left, right)]
        return in_one(texts) if known else Data("a text")
    if isinstance(left, Begun):
        return left
    if not is_known(left) or not is_text(left) or not isinstance(right, Data | Own):
        return None
    if isinstance(right, Begun):
        start = compute("add", lambda one, two: one + two, [left, right.start])
        return right if isinstance(start, Data) else Begun(right.why, start=start)
    return None if left == Const("") else Begun(right.why, start=left)


def of_format(template: str, count: int, names: Sequence[str]) -> Pieces:
    """The pieces of ``template.format(…)`` with so many arguments by place and these by name, in this sequence; up to
    what is more than a name."""
    pieces: list[str | tuple[int, str]] = []
    number = 0
    try:
        for literal, field, spec, conversion in Formatter().parse(template):
            pieces.append(literal)
            if field is None:
                continue
            place = int(field) if field.isdigit() else number if not field else None
            number += 1
            at = place if place is not None else count + names.index(field) if field in names else None
            if at is None or (place is not None and place >= count) or spec or conversion not in (None, "s"):
                break
            pieces.append((at, "{}"))
    except ValueError:
        return pieces
    return pieces


def of_percent(template: str) -> Pieces:
    """The pieces of ``template % …``, up to what is no plain ``%s`` or ``%d``. Parts are counted from 1: the text is
    the first one."""
    pieces: list[str | tuple[int, str]] = []
    end = number = 0
    for found in _PERCENT.finditer(template):
        pieces.append(template[end : found.start()])
        end = found.end()
        if found[1] == "%":
            pieces.append("%")
        elif found[1] == "s":
            number += 1
            pieces.append((number, "{}"))
        else:
            return pieces
    return [*pieces, template[end:]]


def lead(value: Value) -> str:
    """What every text that a known value may be begins with, whatever the event; "" where that is not seen."""
    if isinstance(value, Const):
        return value.value if isinstance(value.value, str) else ""
    if not isinstance(value, Computed):
        return ""
    parts = value.parts
    if value.name.startswith(("f'", 'f"')):
        return _lead_of_format(str(ast.literal_eval(value.name[1:])), parts)
    first = parts[0] if parts else None
    if value.name == "str.format" and isinstance(first, Const):
        return str(first.value).partition("{")[0]
    if value.name == "%" and isinstance(first, Const):
        return str(first.value).partition("%")[0]
    if value.name == "join" and len(parts) > 1:
        rest = lead(Computed("join", value.function, (parts[0], *parts[2:])))
        between = str(parts[0].value) if isinstance(parts[0], Const) and len(parts) > 2 else None
        return _after(parts[1], rest, between)
    if value.name == "add" and is_text(value):
        return _after(parts[0], lead(parts[1]), "")
    if value.name == UP_TO and first is not None:
        return up_to(lead(first))
    return ""


def _after(first: Value, rest: str, between: str | None) -> str:
    """What two texts begin with, the second one behind the first."""
    whole = isinstance(first, Const) and between is not None
    return lead(first) + (f"{between}{rest}" if whole else "")


def _lead_of_format(template: str, parts: Sequence[Value]) -> str:
    found, left = "", iter(parts)
    for literal, field, spec, conversion in Formatter().parse(template):
        found += literal
        if field is None:
            continue
        part = next(left, None)
        if part is None or spec or conversion not in (None, "s"):
            return found
        if not isinstance(part, Const):
            return found + lead(part)
        found += str(part.value) if conversion == "s" else format(part.value)
    return found


_WILD = re.compile(r"[*?\[\\]")


def up_to(pattern: str) -> str:
    """The beginning of a pattern of keys that stands for itself."""
    found = _WILD.search(pattern)
    return pattern if found is None else pattern[: found.start()]
