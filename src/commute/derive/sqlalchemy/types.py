"""What SQLAlchemy binds for a value: the name of an enum's member, a float for a Decimal, whatever a type of the
application's own makes of it.

Two values are one row where what is stored is equal, so keys are spelled from what is bound. SQLAlchemy's own
conversions compute and touch nothing, so they are asked; an application's are not.

Invariant: where it is not known what is bound, the value is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from commute.derive.values import STORED, Computed, Const, Data, Field, Value, either, is_stored, options

_HOOKS = ("bind_processor", "bind_expression", "process_bind_param", "process_literal_param", "load_dialect_impl",
          "dialect_impl", "adapt", "adapt_emulated_to_native", "coerce_compared_value")  # fmt: skip
_AS_THEY_ARE = (sa.types.NullType, sa.Boolean, sa.Integer, sa.Uuid)
_ITSELF = "the value itself"


def bound(value: Value, type_: Any, dialect: Any) -> Value:
    """The value as it is bound to a column or a parameter of this type."""
    how = _conversion(type_, dialect)
    if how == _ITSELF:
        return value
    return either([_converted(option, how) for option in options(value)]) or Data()


def binding(binds: Mapping[str, Any], dialect: Any) -> Callable[[str, Value], Value]:
    """The same by the name of one of a statement's parameters."""

    def converted(name: str, value: Value) -> Value:
        return bound(value, binds[name].type, dialect) if name in binds else value

    return converted


def _converted(value: Value, how: Callable[[Any], Any] | str) -> Value:
    if is_stored(value) or not isinstance(value, Const | Field | Computed):
        return value if callable(how) else _unless_known(value)
    if isinstance(value, Const) and value.value is None:
        return value
    return Computed(STORED, how, (value,)) if callable(how) else Data("converted by the type of its column")


def _unless_known(value: Value) -> Value:
    """A part of an object or a row is not known after a conversion that is not known."""
    kind = getattr(value, "kind", "")
    return Data("converted by the type of its column") if is_stored(value) or kind == "cell" else value


def is_plain(type_: Any) -> bool:
    """Whether only SQLAlchemy's own types convert its values, and these as their classes say."""
    known = sa.types.TypeDecorator.__mro__ if isinstance(type_, sa.types.TypeDecorator) else ()
    own = [cls for cls in type(type_).__mro__ if not cls.__module__.startswith("sqlalchemy") or known]
    return not any(hook in vars(cls) for cls in own if cls not in known for hook in _HOOKS)


def _conversion(type_: Any, dialect: Any) -> Callable[[Any], Any] | str:
    """What is done to a value: `_ITSELF` for nothing, a function, or why it is not known."""
    variant = (getattr(type_, "_variant_mapping", None) or {}).get(dialect.name)
    if variant is not None:
        return _conversion(variant, dialect)
    if not is_plain(type_):
        return "a type with a conversion of its own"
    if isinstance(type_, sa.types.TypeDecorator):
        return _conversion(type_.load_dialect_impl(dialect), dialect)
    if isinstance(type_, sa.Enum):
        return _ITSELF if type_.enum_class is None else _of_members(type_, dialect)
    if isinstance(type_, sa.Numeric) and not isinstance(type_, sa.Float):
        return _asked(type_, dialect)
    if isinstance(type_, sa.Date):
        written = vars(type_.dialect_impl(dialect))
        return "a format of its own" if "_storage_format" in written else _ITSELF
    return _ITSELF if isinstance(type_, (*_AS_THEY_ARE, sa.String)) else "a type that is not followed"


def _of_members(type_: Any, dialect: Any) -> Callable[[Any], Any] | str:
    """A member is looked up by its value too, if it is a text: one that equals another one's name is stored as that."""
    how = _asked(type_, dialect)
    names = dict(zip(map(id, type_._object_lookup.values()), type_._object_lookup, strict=True))
    if callable(how) and any(how(member) != names.get(id(member), how(member)) for member in type_.enum_class):
        return "an enum with a value that is another one's name"
    return how


def _asked(type_: Any, dialect: Any) -> Callable[[Any], Any] | str:
    processor: Callable[[Any], Any] | None = type_.dialect_impl(dialect).bind_processor(dialect)
    return _ITSELF if processor is None else processor
