"""Models of pydantic that are made out of objects (``OrderRead.model_validate(order)``): field by field.

Only what the model has fields for is read of the object, and of the objects behind its relations what their models have
fields for. What cannot be told so is left to the caller, for whom the object is read as a whole.
"""

from __future__ import annotations

import enum
import types
import typing
from typing import Any

from commute.codec import is_pydantic
from commute.derive.models.fields import is_scalar
from commute.derive.python.attributes import class_attribute, get, has_method
from commute.derive.python.expressions import escape
from commute.derive.python.items import element
from commute.derive.run import Run
from commute.derive.values import Const, Data, Handle, Items, Live, Made, Unknown, Value, either, is_plain, options

_SEVERAL = (list, set, frozenset, tuple)
_DEPTH_MAX = 6  # of objects behind each other
_Inside = tuple[tuple[type, int], ...]


def by_attributes(
    run: Run, kind: Any, given: Value, where: str, *, forced: bool = False, inside: _Inside = ()
) -> Value | None:
    """What a type makes of an object, or of several; None where that is not told. `forced`: the call asks for the
    attributes where the model itself does not."""

    def again(inner: Any, value: Value) -> Value | None:
        return by_attributes(run, inner, value, where, forced=forced, inside=inside)

    origin, inner = typing.get_origin(kind), [one for one in typing.get_args(kind) if one is not Ellipsis]
    if origin in (typing.Union, types.UnionType):
        left = [one for one in inner if one is not type(None)]
        there = either([one for one in options(given) if one != Const(None)])
        if there is None:
            return Const(None)
        made = again(left[0], there) if len(left) == 1 else None
        return None if made is None else either([made, Const(None)])
    if origin in _SEVERAL and len(inner) == 1:
        if not all(isinstance(one, Items | Handle) for one in options(given)):
            return None
        each = element(run, given, where)
        made = None if each is None else again(inner[0], each)
        return None if made is None else Items("list", None, made)
    if isinstance(kind, type) and is_pydantic(kind):
        return _model(run, kind, given, where, forced, inside)
    return _scalar(kind, given)


def _scalar(kind: Any, given: Value) -> Value | None:
    """A part that holds nothing else: converted, and so not the value that it was, but where it has that type."""
    if not all(is_plain(one) or (isinstance(one, Handle) and one.kind == "cell") for one in options(given)):
        return None
    if is_scalar(kind) or kind in (dict, list, Any) or (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        return given
    return None


def _model(run: Run, cls: Any, given: Value, where: str, forced: bool, inside: _Inside) -> Value | None:
    if not (forced or cls.model_config.get("from_attributes")) or not _is_told(cls):
        return None
    if len(inside) >= _DEPTH_MAX or not all(map(_is_object, options(given))):
        return None
    objects = [one for one in options(given) if one != Const(None)]  # of None none is made
    if any((cls, id(one)) in inside for one in objects):
        return None
    return either([_made(run, cls, one, where, forced, (*inside, (cls, id(one)))) for one in objects])


def _made(run: Run, cls: Any, value: Value, where: str, forced: bool, inside: _Inside) -> Value:
    given: dict[str, Value] = {}
    for name, field in cls.model_fields.items():
        alias = field.validation_alias or field.alias or name
        asked = (alias, name) if cls.model_config.get("populate_by_name") else (alias,)
        for one in asked:
            if not _has(value, one):
                continue
            held = get(run, value, one, where)
            made = by_attributes(run, field.annotation, held, where, forced=forced, inside=inside)
            if made is None:
                escape(run, held, where)
                made = Data(name) if is_plain(held) else Unknown(f"{name}, made of an object")
            given[alias] = _same(value, one, field, made)
            break
    return run.call(Live(cls), [], given, where)


def _is_told(cls: Any) -> bool:
    """Whether nothing but pydantic and validators of single fields looks at the object."""
    kept = getattr(cls, "__pydantic_decorators__", None)
    early = kept is None or any(one.info.mode != "after" for one in kept.model_validators.values())
    own = has_method(cls, "__init__")
    named = all(isinstance(field.validation_alias or field.alias or "", str) for field in cls.model_fields.values())
    plain = own is None or own.__module__.startswith("pydantic")
    return not early and plain and named and "root" not in cls.model_fields


def _is_object(value: Value) -> bool:
    if isinstance(value, Handle):
        return value.kind in ("entity", "new")
    return isinstance(value, Made) or value == Const(None)


def _has(value: Value, name: str) -> bool:
    """Whether an object has an attribute: what it has not is left to the default."""
    if isinstance(value, Made):
        return name in value.attributes or class_attribute(value.cls, name) is not None or not value.complete
    return isinstance(value, Handle) and hasattr(value.about["class"], name)


def _same(value: Value, name: str, field: Any, made: Value) -> Value:
    """A column stays the value that it is in the row where the field has its type; else it may be another one."""
    if not any(isinstance(one, Handle) and one.kind == "cell" for one in options(made)):
        return made
    kinds = [one for one in (typing.get_args(field.annotation) or (field.annotation,)) if one is not type(None)]
    try:
        kind: Any = value.about["mapper"].columns[name].type.python_type  # type: ignore[union-attr]
    except (AttributeError, KeyError, NotImplementedError):
        kind = None
    return made if kinds == [kind] and not field.metadata else Data(f"{name}, converted")
