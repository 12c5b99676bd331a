"""Objects as dicts and back: `dataclasses.asdict`, ``model_dump``, ``model_validate`` and the like, field by field.

Invariant: an entry is known only where it is certainly there; what an option may leave out is one of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

from commute.derive.models.copies import model_copied, replaced
from commute.derive.models.decoding import by_decoder, decoded, made_of
from commute.derive.models.fields import GIVEN, fields_of_class
from commute.derive.models.from_attributes import by_attributes
from commute.derive.models.model_validators import from_object
from commute.derive.python.attributes import get
from commute.derive.python.items import item
from commute.derive.run import Arguments, Named, Run
from commute.derive.trusted import names_of
from commute.derive.values import (
    Const,
    Data,
    Entries,
    Field,
    Handle,
    Items,
    Live,
    Made,
    Unknown,
    Value,
    either,
    is_plain,
    options,
)
from commute.footprints.schema import fields_of

_QUIET = ("mode", "warnings", "round_trip", "serialize_as_any", "recurse", "retain_collection_types", "dict_factory")
_LEAVES_OUT = ("exclude_unset", "exclude_defaults", "exclude_none", "exclude_computed_fields")


def dump_call(run: Run, thing: Any, arguments: Arguments, named: Named, where: str) -> Value | None:
    """What one of these functions gives; None for another one, or where nothing is known of the fields."""
    kind = _FUNCTIONS.get(names_of(thing)[0])
    if kind is None or not arguments:
        return None
    return kind(run, arguments, named, where)


def _dumped(run: Run, arguments: Arguments, named: Named, where: str) -> Value | None:
    if len(arguments) > 1 or not set(named) <= {*_QUIET, *_LEAVES_OUT, "exclude", "include"}:
        return None
    if named.get("dict_factory", Live(dict)) != Live(dict):
        return None
    found = [_one(run, option, named, where) for option in options(arguments[0])]
    known = [one for one in found if one is not None]
    return either(known) if len(known) == len(found) else None


def _one(run: Run, value: Value, named: Named, where: str) -> Value | None:
    names = _names(value)
    left = None if names is None else chosen(names, named)
    if names is None or left is None or (isinstance(value, Made) and not value.complete):
        return None
    made = Entries()
    as_text = named.get("mode", Const("python")) != Const("python")
    for name in left:
        held = get(run, value, name, where)
        inside = _plainly(run, held, where)
        if inside is None and all(is_plain(one) or isinstance(one, Unknown) for one in options(held)):
            inside = Unknown(f"{name} of what was dumped")  # its name is known, and so are the others
        if inside is None:
            return None
        if as_text and not isinstance(inside, Items | Entries):
            inside = (
                either([one if _same_in_text(one) else Data(f"{name} as text") for one in options(inside)]) or Data()
            )
        if _is_there(run, value, name, inside, named):
            made.known[name] = inside
        else:
            made.other = either([inside, *([made.other] if made.other is not None else [])])
            made.key = either([Const(name), *([made.key] if made.key is not None else [])])
    return made


def _names(value: Value) -> list[str] | None:
    if isinstance(value, Made):
        names = fields_of_class(value.cls)
        computed = getattr(getattr(value.cls, "__pydantic_decorators__", None), "computed_fields", ())
        return None if names is None else [*names, *computed]
    if isinstance(value, Field) and isinstance(value.hint, type):
        found = fields_of(value.hint)
        return None if found is None else list(found)
    return None


def chosen(names: Sequence[str], named: Named) -> list[str] | None:
    """The fields that ``include`` and ``exclude`` leave; None where that is not known."""
    left = list(names)
    for option, keeps in (("include", True), ("exclude", False)):
        given = named.get(option, Const(None))
        if given == Const(None):
            continue
        inside = given.any() if isinstance(given, Items) else None
        if inside is None or not all(isinstance(one, Const) for one in options(inside)):
            return None
        listed = {one.value for one in options(inside) if isinstance(one, Const)}
        left = [name for name in left if (name in listed) is keeps]
    return left


def _is_there(run: Run, value: Value, name: str, inside: Value, named: Named) -> bool:
    def asks(option: str) -> bool:
        return named.get(option, Const(False)) != Const(False)

    if asks("exclude_defaults") or asks("exclude_computed_fields"):
        return False
    if asks("exclude_none") and not all(_is_something(one) for one in options(inside)):
        return False
    if asks("exclude_unset"):
        return isinstance(value, Made) and name in run.kept.get((GIVEN, id(value)), ())
    return True


def _is_something(value: Value) -> bool:
    if isinstance(value, Field):
        return value.hint in (int, str, float, bool)
    return isinstance(value, Made | Items | Entries) or (isinstance(value, Const) and value.value is not None)


def _same_in_text(value: Value) -> bool:
    return (isinstance(value, Field) and value.hint in (int, str, bool)) or (
        isinstance(value, Const) and isinstance(value.value, int | str | bool | None)
    )


def _plainly(run: Run, value: Value, where: str) -> Value | None:
    """The value as such a function copies it: objects as dicts; None where it holds anything else."""
    found: list[Value] = []
    for option in options(value):
        if isinstance(option, Handle) and option.kind == "cell":
            found.append(option)
        elif is_plain(option):
            found.append(Data("a part of the event") if _has_fields(option) else option)
        elif isinstance(option, Made):
            inside = _one(run, option, {}, where)
            if inside is None:
                return None
            found.append(inside)
        elif isinstance(option, Items):
            several = _each_plainly(run, option, where)
            if several is None:
                return None
            loose = option.known is None
            found.append(Items(option.kind, None, either(several)) if loose else Items(option.kind, several))
        elif isinstance(option, Entries):
            inner = option.any()
            if inner is not None and not is_plain(inner):
                return None
            found.append(Entries(dict(option.known), option.other, option.key))
        else:
            return None
    return either(found)


def _each_plainly(run: Run, value: Items, where: str) -> list[Value] | None:
    inside = value.known or ([] if value.element is None else [value.element])
    several = [_plainly(run, one, where) for one in inside]
    known = [one for one in several if one is not None]
    return known if value.again is None and len(known) == len(several) else None


def _has_fields(value: Value) -> bool:
    return isinstance(value, Field) and isinstance(value.hint, type) and fields_of(value.hint) is not None


def _validated(run: Run, arguments: Arguments, named: Named, where: str) -> Value | None:
    """An object of a model, made from a dict."""
    if not isinstance(arguments[0], Live) or not hasattr(arguments[0].value, "model_fields"):
        return None
    cls, given = arguments[0].value, arguments[1] if len(arguments) == 2 and not named else None
    if len(arguments) == 2 and named.keys() <= {"from_attributes"}:
        forced = named.get("from_attributes", Const(False)) == Const(True)
        made = by_attributes(run, cls, arguments[1], where, forced=forced)
        if made is not None:
            return made
    names = fields_of_class(cls)
    if names is None or any(field.validation_alias or field.alias for field in cls.model_fields.values()):
        given = None
    if isinstance(given, Entries):
        known = {str(key): value for key, value in given.known.items()}
        rest: dict[str, Value] = {} if given.other is None else {"**": given}
        return run.call(arguments[0], [], {**known, **rest}, where)
    if isinstance(given, Field) and not get_args(given.hint) and given.hint in (dict, Any) and names is not None:
        by_name = {name: item(run, given, Const(name), where) for name in names}
        return run.call(arguments[0], [], by_name, where)
    from_object(run, cls, where)
    return made_of(run, cls, arguments[1], where) if len(arguments) > 1 else None


_FUNCTIONS: dict[str, Callable[[Run, Arguments, Named, str], Value | None]] = {
    "dataclasses.asdict": _dumped,
    "msgspec.structs.asdict": _dumped,
    "msgspec.structs.replace": replaced,
    "msgspec._core.replace": replaced,
    **dict.fromkeys((f"msgspec.{kind}.Decoder.decode" for kind in ("json", "msgpack")), by_decoder),
    **dict.fromkeys(
        (f"pydantic.type_adapter.TypeAdapter.validate_{kind}" for kind in ("python", "json", "strings")), by_decoder
    ),
    **dict.fromkeys((f"msgspec._core.{name}" for name in ("json_decode", "msgpack_decode", "convert")), decoded),
    "attr._funcs.asdict": _dumped,
    "pydantic.main.BaseModel.model_dump": _dumped,
    "pydantic.main.BaseModel.dict": _dumped,
    "pydantic.main.BaseModel.model_validate": _validated,
    "pydantic.main.BaseModel.model_copy": model_copied,
    "pydantic.main.BaseModel.copy": model_copied,
    **dict.fromkeys(
        (f"pydantic.main.BaseModel.{name}" for name in ("model_validate_json", "parse_obj", "from_orm")), _validated
    ),
}
