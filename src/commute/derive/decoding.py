"""Objects that a library makes out of a text or of another object: what their classes say of their fields."""

from __future__ import annotations

import enum
import types
import typing
from typing import Any

from commute.codec import is_pydantic
from commute.derive.attributes import has_method
from commute.derive.expressions import escape
from commute.derive.fields import GIVEN, fields_of_class, is_scalar, validates
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
        return Unknown("what was decoded, of a type that is not known")
    return made_of(run, kind.value, arguments[0], where)


def by_decoder(run: Run, arguments: Arguments, named: Named, where: str) -> Value | None:
    """The same by an object that has the type: a Decoder of msgspec, a TypeAdapter of pydantic."""
    del named
    decoder: Any = arguments[0].value if isinstance(arguments[0], Live) and len(arguments) == 2 else None
    kind = getattr(decoder, "type", getattr(decoder, "_type", None))
    if kind is None or any(getattr(decoder, hook, None) for hook in _HOOKS):
        return Unknown("what was decoded, of a type that is not known")
    from commute.derive.from_attributes import by_attributes

    return by_attributes(run, kind, arguments[1], where) or made_of(run, kind, arguments[1], where)


def made_of(run: Run, kind: Any, given: Value, where: str) -> Value:
    """A value of this type, made of what is given, which is read as a whole. What its type does not say is not known;
    what its constructor calls is run."""
    escape(run, given, where)
    return _of(run, kind, where, loose=all(is_plain(one) or isinstance(one, Handle) for one in options(given)))


def _of(run: Run, kind: Any, where: str, *, loose: bool) -> Value:
    origin, inner = typing.get_origin(kind), [one for one in typing.get_args(kind) if one is not Ellipsis]
    if origin is typing.Annotated:
        return Unknown("what a validator gives") if callable(inner[-1]) else _of(run, inner[0], where, loose=loose)
    if is_scalar(kind) or (loose and kind in _LOOSE):
        return Data("what was decoded")
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return either([Const(member) for member in kind]) or Data()
    if origin in (typing.Union, types.UnionType):
        return either([_of(run, one, where, loose=loose) for one in inner]) or Data()
    if origin in _NESTED and inner:
        found = [_of(run, one, where, loose=loose) for one in inner]
        if origin is dict:
            return Entries({}, found[-1], Data("a name in what was decoded"))
        return Items(origin.__name__, None, either(found))
    made = _object(run, kind, where, loose=loose) if isinstance(kind, type) else None
    return made or Unknown(f"what was decoded as {getattr(kind, '__name__', kind)}")


def _object(run: Run, cls: Any, where: str, *, loose: bool) -> Made | None:
    names = fields_of_class(cls)
    if names is None or (is_pydantic(cls) and validates(cls)):
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
        made.attributes[name] = _of(run, hints.get(name), where, loose=loose)
    for name in ("__post_init__", "model_post_init"):
        after = has_method(cls, name)
        if after is not None and not touches_nothing(after):
            context = [Data("the context of a model")] if name == "model_post_init" else []
            run.call(Live(after), [made, *context], {}, where)
    return made
