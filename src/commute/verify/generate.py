"""Events made up from their classes, with values from few, so that they meet: the same order, the same goods.

Fields of one name share their values over all types: an order that one event creates is one that another pays.
"""

from __future__ import annotations

import enum
import typing
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin
from uuid import UUID

import msgspec

from commute.codec import Codec
from commute.errors import RejectedError
from commute.footprints.schema import fields_of

VALUES = 3  # different ones a field
DEPTH_MAX = 6
TRIES = 8  # to meet what a class asks of its values, before it is said that none is known

_FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_LISTS = (list, tuple, set, frozenset, Sequence, Collection, AbstractSet)


class CannotMakeError(Exception):
    """No event of a type can be made up; the text says why."""


def make(codec: Codec, chance: Random) -> object:
    """An event of the codec's type. Raises CannotMakeError: the type is a name alone, or refuses what is made up."""
    if codec.cls is None:
        raise CannotMakeError("it is a type name without a class: give a log")
    wrong = ""
    for _ in range(TRIES):
        data = msgspec.json.encode(_value(codec.cls, "", chance, 0))
        try:
            return codec.decode(data)
        except RejectedError as error:
            wrong = error.message
    raise CannotMakeError(f"what is made up is refused: {wrong}")


def _value(hint: object, name: str, chance: Random, depth: int) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (typing.Annotated, typing.Required, typing.NotRequired):
        return _value(arguments[0], name, chance, depth)
    if origin in (typing.Union, UnionType):
        return _value(chance.choice(arguments), name, chance, depth)
    if origin is Literal:
        return chance.choice(arguments)
    if origin in _LISTS or hint in _LISTS:
        return _several(arguments, name, chance, depth)
    if origin in (dict, Mapping) or hint is dict:
        value = arguments[1] if arguments else int
        return {f"k{at}": _value(value, name, chance, depth + 1) for at in range(chance.randint(0, 2))}
    if isinstance(hint, type):
        return _of_class(hint, name, chance, depth)
    return _scalar(object, name, chance)


def _several(arguments: tuple[Any, ...], name: str, chance: Random, depth: int) -> list[Any]:
    if depth > DEPTH_MAX:
        return []
    kinds = [argument for argument in arguments if argument is not Ellipsis] or [int]
    if len(kinds) > 1:
        return [_value(kind, name, chance, depth + 1) for kind in kinds]
    return [_value(kinds[0], name, chance, depth + 1) for _ in range(chance.randint(1, 2))]


def _of_class(cls: type, name: str, chance: Random, depth: int) -> Any:
    if issubclass(cls, enum.Enum):
        return chance.choice(list(cls)).value
    if cls in (NoneType, msgspec.UnsetType):
        return None
    fields = fields_of(cls)  # type: ignore[arg-type]  # a class is hashable
    if fields is None or depth > DEPTH_MAX:
        return _scalar(cls, name, chance)
    given = {
        field: _value(hint.annotation, field, chance, depth + 1)
        for field, hint in fields.items()
        if not (hint.may_be_missing and chance.random() < 0.5)
    }
    return {_key_of(cls, field): value for field, value in given.items()}


def _key_of(cls: type, field: str) -> str:
    """The name of a field in JSON."""
    renamed = getattr(cls, "__struct_encode_fields__", None)
    if renamed is not None:
        return str(dict(zip(cls.__struct_fields__, renamed, strict=True))[field])  # type: ignore[attr-defined]
    model = getattr(cls, "model_fields", {}).get(field)
    return str(getattr(model, "alias", None) or field)


def _scalar(cls: type, name: str, chance: Random) -> Any:
    pick = chance.randint(1, VALUES)
    if cls is bool:
        return pick == 1
    made: dict[type, Any] = {
        int: pick,
        float: float(pick),
        Decimal: str(pick),
        UUID: str(UUID(int=pick)),
        datetime: (_FIRST_DAY + timedelta(hours=pick)).isoformat(),
        date: (_FIRST_DAY + timedelta(days=pick)).date().isoformat(),
        bytes: "",
    }
    return made.get(cls, f"{name or 'text'}-{pick}")
