"""Classes whose constructor is written by a library, from their fields: what it sets."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import types
import uuid
from typing import Any, Literal, Union, cast, get_args, get_origin

import msgspec

from commute.codec import is_pydantic
from commute.derive.models import model_validators
from commute.derive.python.attributes import class_attribute, has_method, wrap
from commute.derive.run import Arguments, Named, Run
from commute.derive.values import Computed, Const, Data, Field, Live, Made, Unknown, Value, Written, either, options
from commute.footprints.schema import fields_of

GIVEN = "fields that were given"  # under which a run keeps them, by object: in all calls that made it


def fields_of_class(cls: type) -> list[str] | None:
    """The names of what a generated constructor sets; None for another class."""
    if hasattr(cls, "_fields") and issubclass(cls, tuple):
        return list(cls._fields)  # type: ignore[attr-defined]
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls) if field.init]
    found = fields_of(cast(Any, cls))
    return None if found is None else list(found)


def set_fields(run: Run, made: Made, arguments: Arguments, named: Named, where: str) -> bool:
    """Set the attributes as a generated constructor does; False where there are no fields."""
    from commute.derive.models.conforming import conform

    names = fields_of_class(made.cls)
    if names is None:
        return False
    cls: Any = made.cls
    called = {name: _called(made.cls, name) for name in names}
    given = dict(zip(names, arguments, strict=False))
    for name in names:
        by_name = next((named[one] for one in called[name] or () if one in named), None)
        given |= {} if by_name is None else {name: by_name}
    before = run.kept.get((GIVEN, id(made)), given.keys())
    run.kept[GIVEN, id(made)] = frozenset(before & given.keys())
    model = is_pydantic(made.cls)
    if model:
        named_so = {name: taken for name, taken in called.items() if taken is not None} if "**" in named else {}
        spread = {name: _by_name(run, named["**"], taken, where) for name, taken in named_so.items()}
        given = model_validators.before(run, made.cls, {**spread, **given}, where)
    for name in names:
        value = given.get(name)
        if called[name] is None:
            value = Unknown(f"{name}, which is given under one of several names")
        elif value is None and "**" in named and not model:
            value = _by_name(run, named["**"], called[name] or (), where)
        elif value is None:
            value = field_default(run, made.cls, name, where)
            if model and _validates_default(made.cls, name):
                value = model_validators.before(run, made.cls, {name: value}, where, whole=False)[name]
                value = model_validators.after(run, made.cls, name, value, given, where)
        elif model:
            value = conform(run, cls.model_fields[name].annotation, _converted(made.cls, name, value), where)
            value = model_validators.after(run, made.cls, name, value, given, where)
        _put(run, made, name, value, where)
    if dataclasses.is_dataclass(made.cls):
        for field in dataclasses.fields(made.cls):
            if not field.init and (field.default_factory is not dataclasses.MISSING):
                value = run.call(wrap(run, field.default_factory), [], {}, where)
                made.attributes[field.name] = either([made.attributes.get(field.name, value), value]) or value
    after = has_method(made.cls, "model_post_init")
    if after is not None and model and not after.__module__.startswith("pydantic"):
        run.call(Live(after), [made, Data("the context of a model")], {}, where)
    if model:
        model_validators.whole(run, made, where)
    return True


def _validates_default(cls: Any, name: str) -> bool:
    return bool(cls.model_fields[name].validate_default or cls.model_config.get("validate_default"))


def _put(run: Run, made: Made, name: str, value: Value, where: str) -> None:
    """As a generated constructor does: that of a dataclass by the methods that the class has for it."""
    from commute.derive.python.setting import set_attribute

    written = dataclasses.is_dataclass(made.cls)
    frozen = written and made.cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    descriptor = has_method(type(class_attribute(made.cls, name)), "__set__")
    if written and (descriptor is not None or (not frozen and has_method(made.cls, "__setattr__") is not None)):
        set_attribute(run, made, name, value, where)
    else:
        made.attributes[name] = either([made.attributes.get(name, value), value]) or value


def _called(cls: Any, name: str) -> tuple[str, ...] | None:
    """The names under which a constructor takes a field, the first one before the others; None for a path."""
    if not is_pydantic(cls):
        return (name,)
    field = cls.model_fields[name]
    alias = field.validation_alias or field.alias
    if alias is None:
        return (name,)
    if not isinstance(alias, str):
        return None
    by_name = any(cls.model_config.get(option) for option in ("populate_by_name", "validate_by_name"))
    return (alias, name) if by_name else (alias,)


def assigned(run: Run, made: Made, name: str, new: Value, where: str) -> Value:
    """What an attribute of an object is once a library's ``__setattr__`` has set it to a value."""
    cls: Any = made.cls
    if not is_pydantic(cls):
        return either([new, Data(f"{name}, converted")]) or new
    if not cls.model_config.get("validate_assignment") or name not in cls.model_fields:
        return new
    if validates(cls):
        run.widen(f"the validators of {cls.__name__} are not followed", where)
    return _converted(cls, name, new)


_VALIDATORS = ("field_validators", "validators", "root_validators", "model_validators", "field_serializers")


def validates(cls: Any) -> bool:
    """Whether a model has validators of the application's own, in its body or in the annotations of its fields."""
    decorators = getattr(cls, "__pydantic_decorators__", None)
    said = [one for field in cls.model_fields.values() for one in field.metadata]
    inside = any(type(one).__module__.startswith("pydantic") for one in said)
    return inside or any(getattr(decorators, kind, None) for kind in _VALIDATORS)


def _by_name(run: Run, spread: Value, names: tuple[str, ...], where: str) -> Value:
    """What a field is given by ``**spread``."""
    from commute.derive.python.library import entries_of

    found = entries_of(run, spread, where)
    name = names[0]
    known = next((found.known[one] for one in names if one in found.known), None)
    if known is None and not (isinstance(found.key, Data) or found.key is None):
        return Unknown(f"{name}, which is given by name")  # or by default
    inside = [one for one in (known, found.other) if one is not None]
    return either(inside) or Unknown(f"{name}, which is not given")


_SCALARS = (
    str, int, float, bool, bytes, type(None), datetime.date, datetime.datetime, datetime.time, datetime.timedelta,
    decimal.Decimal, uuid.UUID,
)  # fmt: skip


def is_scalar(kind: Any) -> bool:
    """Whether a value of this type holds nothing else."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return all(map(is_scalar, get_args(kind)))
    return origin is Literal or kind in _SCALARS


def _converted(cls: Any, name: str, value: Value) -> Value:
    """What a model keeps of a value: that itself, if it is of the field's own type and nothing is said of its form."""
    field = cls.model_fields[name]
    config = cls.model_config
    shaped = field.metadata or any(key.startswith("str_") and config[key] for key in config)
    found: list[Value] = []
    for option in options(value):
        if isinstance(option, Unknown) and is_scalar(field.annotation):
            found.append(Data(f"{name}, of its type"))
            continue
        kind = option.hint if isinstance(option, Field) else type(option.value) if isinstance(option, Const) else None
        plain = isinstance(option, Const | Field | Computed)
        found.append(option if not plain or (kind is field.annotation and not shaped) else Data(f"{name}, converted"))
    return either(found) or Data()


def field_default(run: Run, cls: Any, name: str, where: str) -> Value:
    """What a field is when nothing is given for it."""
    value: Any = dataclasses.MISSING
    factory: Any = None
    if dataclasses.is_dataclass(cls):
        field = next((one for one in dataclasses.fields(cls) if one.name == name), None)
        value, factory = (field.default, field.default_factory) if field is not None else (value, None)
    elif issubclass(cls, msgspec.Struct):
        of_struct = next((one for one in msgspec.structs.fields(cls) if one.name == name), None)
        value, factory = (of_struct.default, of_struct.default_factory) if of_struct is not None else (value, None)
    elif is_pydantic(cls):
        value, factory = cls.model_fields[name].default, cls.model_fields[name].default_factory
    elif hasattr(cls, "_field_defaults"):
        value = cls._field_defaults.get(name, value)
    if callable(factory):
        return run.call(wrap(run, factory), [], {}, where)
    if value is dataclasses.MISSING or value is msgspec.NODEFAULT or type(value).__name__ == "PydanticUndefinedType":
        return Unknown(f"{name} by default")
    found = wrap(run, value)  # a parameter of the constructor that is left out
    return Written(found.value) if isinstance(found, Const) else found
