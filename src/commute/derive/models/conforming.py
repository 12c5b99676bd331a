"""What pydantic makes of a value that is given for a field: dicts become models, lists are gone through.

An object of the type itself is taken as it is; of what is not known, its type says all.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from commute.codec import is_pydantic
from commute.derive.models import decoding
from commute.derive.run import Run
from commute.derive.values import Const, Data, Entries, Field, Items, Live, Made, Unknown, Value, either, is_plain

_SCHEMA = "__get_pydantic_core_schema__"
_ANY = (list, dict, set, tuple, frozenset, object)
_SEVERAL = (list, set, frozenset, tuple, Sequence)


def conform(run: Run, kind: Any, value: Value, where: str) -> Value:
    """The value as a field of this type holds it; what is called for it is run."""
    return either(run.each(value, lambda option: _conform(run, kind, option, where))) or Data()


def _conform(run: Run, kind: Any, value: Value, where: str) -> Value:
    origin, inner = typing.get_origin(kind), [one for one in typing.get_args(kind) if one is not Ellipsis]
    if origin is typing.Annotated:
        return annotated(run, inner, value, where)
    if kind is Any or isinstance(kind, typing.TypeVar):
        return value
    if origin in (typing.Union, types.UnionType):
        if isinstance(value, Const) and value.value is None:
            return value
        several = [one for one in inner if one is not type(None)]
        return either([_conform(run, one, value, where) for one in several]) or Data()
    if isinstance(value, Made) and origin is None and isinstance(kind, type) and issubclass(value.cls, kind):
        return value
    if isinstance(value, Items) and value.again is None and origin in _SEVERAL and inner:
        return _each(run, inner if origin is tuple else inner[:1], value, where)
    if isinstance(value, Entries) and origin in (dict, Mapping) and len(inner) == 2:
        held = {key: conform(run, inner[1], one, where) for key, one in value.known.items()}
        other = None if value.other is None else conform(run, inner[1], value.other, where)
        return Entries(held, other, value.key, sure=value.sure)
    if isinstance(value, Entries) and origin is None and (is_pydantic(kind) or dataclasses.is_dataclass(kind)):
        named = {str(key): one for key, one in value.known.items()}
        return run.call(Live(kind), [], named if value.other is None else {"**": value}, where)
    if kind in _ANY or isinstance(value, Field | Const):
        member = origin is None and isinstance(kind, type) and issubclass(kind, enum.Enum)
        return decoding.made_of(run, kind, value, where) if member and not isinstance(value, Const) else value
    known = is_plain(value) or isinstance(value, Items | Entries | Made)
    return decoding.made_of(run, kind, value, where) if known else value


def _each(run: Run, kinds: Sequence[Any], value: Items, where: str) -> Items:
    """The elements one by one, each as the type in its place, or as the one type of all."""
    known = None
    if value.known is not None:
        each = kinds if len(kinds) == len(value.known) else [kinds[0]] * len(value.known)
        known = [conform(run, kind, one, where) for kind, one in zip(each, value.known, strict=True)]
    loose = [] if value.element is None else [conform(run, kind, value.element, where) for kind in kinds]
    return Items(value.kind, known, either(loose))


def annotated(run: Run, inner: Sequence[Any], value: Value, where: str) -> Value:
    """What the validators give that stand in an annotation inside of another one."""
    kind, said = inner[0], inner[1:]
    names = [type(one).__name__ for one in said]
    other = [one for one, name in zip(said, names, strict=True) if not name.endswith("Validator")]
    if "WrapValidator" in names or any(callable(one) or hasattr(type(one), _SCHEMA) for one in other):
        run.widen("what is said of a type in its annotation is not followed", where)
        return Unknown("what a validator gives")
    for one in reversed([one for one, name in zip(said, names, strict=True) if name == "BeforeValidator"]):
        value = run.call(Live(one.func), [value], {}, where)
    shaped = bool(said)
    if "PlainValidator" not in names:
        value = conform(run, kind, value, where)
    if shaped and is_plain(value):
        value = Data("what was validated")  # it may be cut, stripped or made to another one of its type
    for one in said:
        if type(one).__name__ in ("AfterValidator", "PlainValidator"):
            value = run.call(Live(one.func), [value], {}, where)
    return value
