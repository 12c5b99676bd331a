"""Objects that a library makes out of a text or of another object: what their classes say of their fields."""

from __future__ import annotations

import enum
import types
import typing
from typing import Any

from commute.codec import is_pydantic
from commute.derive.models.fields import GIVEN, field_default, fields_of_class, is_scalar, validates
from commute.derive.models.model_code import has_code, run_inside, schema_of
from commute.derive.python.attributes import has_method
from commute.derive.python.expressions import escape
from commute.derive.python.writers import is_own
from commute.derive.run import Arguments, Named, Run
from commute.derive.trusted import touches_nothing
from commute.derive.values import (
    Const,
    Data,
    Entries,
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

_LOOSE = (dict, list, set, tuple, frozenset, Any)  # of plain data, which is what texts and rows are made of
_NESTED = (list, set, frozenset, tuple, dict)
_HOOKS = ("dec_hook", "float_hook")


def decoded(run: Run, arguments: Arguments, named: Named, where: str) -> Value | None:
    """``decode(text, type=T)`` and ``convert(thing, T)`` of msgspec; None without a type: that is plain data."""
    kind = named.get("type", arguments[1] if len(arguments) > 1 else None)
    if kind is None:
        return None if not any(hook in named for hook in _HOOKS) else Unknown("what a hook makes of a text")
    if not isinstance(kind, Live) or any(hook in named for hook in _HOOKS):
        return run.widen("what is decoded here is of a type that is not known", where, "name a class as the type")
    return made_of(run, kind.value, arguments[0], where)


def by_decoder(run: Run, arguments: Arguments, named: Named, where: str) -> Value | None:
    """The same by an object that has the type: a Decoder of msgspec, a TypeAdapter of pydantic."""
    del named
    decoder: Any = arguments[0].value if isinstance(arguments[0], Live) and len(arguments) == 2 else None
    kind = getattr(decoder, "type", getattr(decoder, "_type", None))
    if kind is None or any(getattr(decoder, hook, None) for hook in _HOOKS):
        return run.widen("what is decoded here is of a type that is not known", where, "name a class as the type")
    if is_adapter(decoder):
        run_inside(run, schema_of(decoder), where)
    from commute.derive.models.from_attributes import by_attributes

    return by_attributes(run, kind, arguments[1], where) or made_of(run, kind, arguments[1], where)


def is_adapter(thing: object) -> bool:
    """Whether it is a TypeAdapter of pydantic's."""
    return type(thing).__module__.startswith("pydantic.")


def made_of(run: Run, kind: Any, given: Value, where: str) -> Value:
    """A value of this type, made of what is given, which is read as a whole. What its type does not say is not known;
    what its constructor calls is run."""
    escape(run, given, where)
    return _of(run, kind, where, loose=all(is_plain(one) or isinstance(one, Handle) for one in options(given)))


def _of(run: Run, kind: Any, where: str, *, loose: bool) -> Value:
    origin, inner = typing.get_origin(kind), [one for one in typing.get_args(kind) if one is not Ellipsis]
    kind = getattr(kind, "__supertype__", kind)
    if origin is typing.Annotated:
        from commute.derive.models.conforming import annotated

        return annotated(run, inner, Data("what was decoded"), where)
    if is_scalar(kind) or (loose and kind in _LOOSE):
        return Data("what was decoded")
    if origin is None and isinstance(kind, type) and issubclass(kind, enum.Enum):
        return member_of(run, kind, Data("what was decoded"), where)
    if origin in (typing.Union, types.UnionType):
        return either([_of(run, one, where, loose=loose) for one in inner]) or Data()
    if origin in _NESTED and inner:
        found = [_of(run, one, where, loose=loose) for one in inner]
        if origin is dict:
            return Entries({}, found[-1], Data("a name in what was decoded"))
        return Items(origin.__name__, None, either(found))
    made = _object(run, kind, where, loose=loose) if origin is None and isinstance(kind, type) else None
    return made or _unknown(run, kind, inner, where)


def _unknown(run: Run, kind: Any, inner: list[Any], where: str) -> Unknown:
    """An object of which nothing is known but what is called for it."""
    name = getattr(kind, "__name__", kind)
    for one in inner:
        _of(run, one, where, loose=False)
    if not inner and isinstance(kind, type) and schema_of(kind) is not None:
        run_inside(run, schema_of(kind), where)
    elif not inner and kind is not Any and not (isinstance(kind, type) and not is_own(kind)):
        return run.widen(f"what is called to make a {name} is not followed", where)
    return Unknown(f"what was decoded as {name}")


def member_of(run: Run, cls: type[enum.Enum], given: Value, where: str) -> Value:
    """One of the members of an enumeration, which may have a method of its own for what is none of them."""
    missing = has_method(cls, "_missing_")
    if missing is not None and not touches_nothing(missing):
        run.within(object(), lambda: run.call(Live(missing), [Live(cls), given], {}, where))
    return either([Const(member) for member in cls]) or Data()


def _object(run: Run, cls: Any, where: str, *, loose: bool) -> Made | None:
    names = fields_of_class(cls)
    if names is None or (is_pydantic(cls) and validates(cls)) or (has_code(cls) and not is_pydantic(cls)):
        return None
    key = (id(cls), hash((where, "decoded")))
    if key in run.made:
        return run.made[key]
    made = run.made[key] = Made(cls)
    run.kept[GIVEN, id(made)] = frozenset()
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError):
        hints = {}
    for name in names:
        default = field_default(run, cls, name, where)
        loosely = is_plain(default) or default == Unknown(f"{name} by default")
        one = _of(run, hints.get(name), where, loose=loose)
        made.attributes[name] = one if loosely else either([one, default]) or one
    for name in ("__post_init__", "model_post_init"):
        after = has_method(cls, name)
        if after is not None and not touches_nothing(after):
            context = [Data("the context of a model")] if name == "model_post_init" else []
            run.call(Live(after), [made, *context], {}, where)
    return made
