"""What an attribute is: of classes as Python resolves them now, of objects made here, of data of the event.

Nothing of the program is run for it: lookups are static, and properties are followed like any function.
"""

from __future__ import annotations

import enum
import functools
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args, get_origin

from commute.derive.python.writers import attribute_later, is_followed, is_own, replaced
from commute.derive.run import Run
from commute.derive.trusted import FUNCTIONS, names_of
from commute.derive.values import (
    Bound,
    Closure,
    Computed,
    Const,
    Data,
    Either,
    Entries,
    Field,
    Handle,
    Items,
    Live,
    Made,
    Own,
    Unknown,
    Value,
    Written,
    compute,
    drawn,
    either,
)
from commute.footprints.schema import fields_of

_PLAIN = (str, int, float, bool, bytes, type(None), complex, type(Ellipsis))


def wrap(run: Run, thing: object) -> Value:
    """A live object as a value: constants as such, what a plug-in knows as its handle, all else as it is."""
    from commute.derive.python.state import unwatched

    thing = unwatched(thing)
    if isinstance(thing, _PLAIN) and not isinstance(thing, enum.Enum):
        return Const(thing)
    if isinstance(thing, enum.Enum):
        return Const(thing)
    for plugin in run.plugins:
        known = plugin.wrap(run, thing)
        if known is not None:
            return known
    if isinstance(thing, tuple | frozenset) and not hasattr(thing, "_fields"):
        return Items("tuple", [wrap(run, inner) for inner in thing]) if len(thing) <= 64 else Live(thing)
    return Live(thing)


def class_attribute(cls: object, name: str) -> Any:
    """What the class has under a name, without running descriptors; None if nothing."""
    try:
        found = inspect.getattr_static(cls, name)
    except AttributeError:
        return None
    return found


def has_method(cls: type, name: str) -> types.FunctionType | None:
    """The Python function that a class has for a special method; None where it has none, or one in C."""
    return _method_of(cast(Any, cls), name)


@functools.lru_cache(16_384)
def _method_of(cls: Any, name: str) -> types.FunctionType | None:
    for base in getattr(cls, "__mro__", ()):
        found = base.__dict__.get(name)
        if found is not None:
            inner = found.__func__ if isinstance(found, classmethod | staticmethod) else found
            return inner if isinstance(inner, types.FunctionType) else None
    return None


def method_for(value: Value, name: str) -> types.FunctionType | None:
    """The Python function that the class of an object has for a special method, which is called without being named."""
    cls = value.cls if isinstance(value, Made) else type(value.value) if isinstance(value, Live) else None
    return None if cls is None else has_method(cls, name)


def get(run: Run, value: Value, name: str, where: str) -> Value:
    """``value.name``."""
    if isinstance(value, Either):
        # What is asked of None raises: the others are what comes back.
        there = Either(tuple(option for option in value.options if option != Const(None)))
        return either(run.each(there, lambda one: get(run, one, name, where))) or Data()
    for plugin in run.plugins:
        answer = plugin.attribute(run, value, name, where)
        if answer is not None:
            return answer
    if isinstance(value, Made):
        return _of_made(run, value, name, where)
    if isinstance(value, Field):
        return _of_field(run, value, name, where)
    if isinstance(value, Live):
        return _of_live(run, value, name, where)
    if isinstance(value, Handle) and value.kind == "super":
        return _of_super(run, value, name, where)
    if isinstance(value, Written) and value.value is None:
        return Handle("method", {"of": Data("it fails"), "name": name})
    if isinstance(value, Const) and value.value is None:
        return run.widen(f".{name} of None: what is there when the handler runs is set elsewhere", where)
    if isinstance(value, Handle) and value.kind == "method":
        of_data = isinstance(value.about["of"], Data) and not name.startswith("__")
        return _part(run, name) if of_data else Data(f"{name} of a method")
    member = value.value if isinstance(value, Const) else value.function if isinstance(value, Computed) else None
    kind = member if isinstance(member, type) else type(member)
    if issubclass(kind, enum.Enum):
        return _of_member(run, value, kind, name, where)
    if isinstance(value, Data):
        return _part(run, name)
    if isinstance(value, Items | Entries | Const | Computed | Own):
        return Handle("method", {"of": value, "name": name})
    if isinstance(value, Closure):
        return Data("an attribute of a function")
    if isinstance(value, Bound):
        if name == "__self__":
            return value.first
        return get(run, value.function, name, where) if name in ("__name__", "__func__") else Data()
    if isinstance(value, Unknown):
        return value
    return run.widen(f"attribute {name} of what is not followed", where)


def _part(run: Run, name: str) -> Value:
    """A part of plain data, or a method: one for each name, so that a walk from part to part comes to an end."""
    found: Value = run.kept.setdefault(("a part of data", name), Handle("method", {"of": Data(), "name": name}))
    return found


def _of_member(run: Run, value: Value, cls: type, name: str, where: str) -> Value:
    """A part of a member of an enumeration, or what its class has."""
    if name in ("value", "name"):
        return compute(name, lambda member: getattr(member, name), [value])
    if name == "__class__":
        return Live(cls)
    known = class_attribute(cls, name)
    if isinstance(known, property):
        return run.call(Live(known.fget), [value], {}, where)
    if isinstance(known, types.FunctionType | classmethod | staticmethod):
        return bind(run, known, value, cls, where)
    held = getattr(value.value, "__dict__", {}) if isinstance(value, Const) else {}
    return wrap(run, held[name]) if name in held else Handle("method", {"of": value, "name": name})


def _of_made(run: Run, made: Made, name: str, where: str) -> Value:
    if name == "__class__":
        return Live(made.cls)
    if name == "__dict__":
        return Entries(made.attributes, holder=made)
    if has_method(made.cls, "__getattribute__") is not None:
        return run.widen(f"{made.cls.__name__}.__getattribute__ is not followed", where)
    known = class_attribute(made.cls, name)
    if isinstance(known, property | functools.cached_property):
        function = known.fget if isinstance(known, property) else known.func
        found = run.call(Live(function), [made], {}, where)
        found = (either([found, made.attributes[name]]) or found) if name in made.attributes else found
        if isinstance(known, functools.cached_property):
            made.attributes[name] = found
        return found
    if _is_data_descriptor(known):
        return bind(run, known, made, made.cls, where)
    if name in made.attributes:
        if made.state:
            from commute.derive.python.kept import touch

            touch(run, "read", made, Const(name), where)
        return drawn(made.attributes[name], None)
    if known is not None:
        return _of_class(run, made.cls, name, known, where) or bind(run, known, made, made.cls, where)
    hint = _annotation(made.cls, name)
    method = has_method(made.cls, "__getattr__")
    if hint is not None:  # one object, whoever asks
        one = made.attributes.setdefault(name, typed(run, hint, where))
        return one if method is None else either([one, run.call(Live(method), [made, Const(name)], {}, where)]) or one
    if method is not None:
        return run.call(Live(method), [made, Const(name)], {}, where)
    if made.complete:
        return Unknown(f"{made.cls.__name__} has no {name} that is known")
    return run.widen(f"{made.cls.__name__}.{name} is not known", where)


def _is_data_descriptor(known: object) -> bool:
    return has_method(type(known), "__get__") is not None and has_method(type(known), "__set__") is not None


def _of_class(run: Run, cls: type, name: str, known: object, where: str) -> Value | None:
    """Plain state of a class that is read through an object or a class below it; None for what is bound."""
    owner = next((base for base in cls.__mro__ if name in base.__dict__), None)
    if owner is None or callable(known) or hasattr(type(known), "__get__") or issubclass(cls, enum.Enum):
        return None
    from commute.derive.python.state import live_attribute

    return live_attribute(run, Live(owner), name, known, where)


def bind(run: Run, known: Any, first: Value, cls: type, where: str) -> Value:
    """What a class attribute is when it is taken from an object: a function gets it as its first argument."""
    if isinstance(known, types.FunctionType):
        if replaced(run, cls, known.__name__):
            return run.widen(f"{cls.__name__}.{known.__name__} is replaced while the program runs", where)
        return Bound(Live(known), first)
    if isinstance(known, staticmethod):
        return Live(known.__func__)
    if isinstance(known, classmethod):
        return Bound(Live(known.__func__), Live(cls))
    if isinstance(known, functools.partialmethod):
        return run.widen("a partial method is not followed", where)
    if isinstance(known, types.BuiltinFunctionType | types.MethodDescriptorType | types.WrapperDescriptorType):
        return Bound(Live(known), first)
    if isinstance(known, types.MemberDescriptorType):
        hint = _annotation(cls, known.__name__)
        return Data(f"{known.__name__} was not set") if hint is None else typed(run, hint, where)
    getter = has_method(type(known), "__get__")
    if getter is not None:
        return run.call(Live(getter), [Live(known), first, Live(cls)], {}, where)
    if hasattr(known, "__wrapped__") and callable(known):
        return Bound(Live(known), first)
    return wrap(run, known)


def _annotation(cls: type, name: str) -> Any:
    """The annotation of an attribute, evaluated; None if there is none or it cannot be evaluated."""
    for base in cls.__mro__:
        if name in inspect.get_annotations(base):
            try:
                return typing.get_type_hints(base).get(name)
            except Exception:  # noqa: BLE001 - names for type checkers only
                return None
    return None


def typed(run: Run, hint: Any, where: str) -> Value:
    """A value of which only the annotation is known: an object of the class or of a class below it."""
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return either([Const(None) if part is type(None) else typed(run, part, where) for part in arguments]) or Data()
    if origin is typing.Annotated:
        return typed(run, arguments[0], where)
    if origin in (list, tuple, set, frozenset, Sequence):
        inside = [typed(run, argument, where) for argument in arguments if argument is not Ellipsis]
        return Items("list", None, either(inside) or Unknown("an element of which nothing is said"))
    if origin in (dict, Mapping):
        one = typed(run, arguments[1], where) if len(arguments) == 2 else Unknown("an entry of which nothing is said")
        return Entries({}, one, Data())
    if isinstance(origin, type):
        for plugin in run.plugins:
            instance: Value | None = plugin.instance(run, origin) if hasattr(plugin, "instance") else None
            if instance is not None:
                return instance
    for plugin in run.plugins:
        known = plugin.wrap(run, hint)
        if known is not None and isinstance(known, Handle) and known.kind == "class":
            made: Value = known.about["instance"]()
            return made
    if isinstance(origin, type):
        if issubclass(origin, (*_PLAIN, enum.Enum)) or origin.__module__ in ("datetime", "uuid", "decimal"):
            return Data(f"some {origin.__name__}")
        if origin.__module__ not in ("builtins", "typing"):
            found = [Made(cls, {}, complete=False) for cls in concrete(origin)]
            return either(found) or Unknown(f"no concrete class of {origin.__name__} is known")
    return Unknown(f"all that is known of it is {hint}")


def concrete(cls: type) -> list[type]:
    """The class and all below it that can be made, as far as they are loaded."""
    found, left = [], [cls]
    while left:
        one = left.pop()
        left += type.__subclasses__(one)
        if not inspect.isabstract(one) and not getattr(one, "_is_protocol", False):
            found.append(one)
    return list(dict.fromkeys(found))


def _of_field(run: Run, value: Field, name: str, where: str) -> Value:
    """A part of the event, or what its class has: a property or a method is followed with the part as self."""
    hints = _unions(value.hint)
    found: list[Value] = []
    for hint in hints:
        origin = get_origin(hint) or hint
        if not isinstance(origin, type) or origin is object:
            found.append(Handle("method", {"of": value, "name": name}))
            continue
        fields = fields_of(origin) if origin.__module__ != "builtins" else None
        if name == "__class__":
            found.append(Live(origin))
        elif fields is not None and name in fields:
            found.append(Field((*value.path, name), _plain_hint(fields[name].annotation), value.draws))
        elif issubclass(origin, enum.Enum) and name in ("value", "name"):
            found.append(compute(name, lambda member, name=name: getattr(member, name), [value]))
        else:
            known = class_attribute(origin, name) if origin.__module__ != "builtins" else None
            if isinstance(known, property):
                found.append(run.call(Live(known.fget), [value], {}, where))
            elif isinstance(known, types.FunctionType | classmethod | staticmethod):
                found.append(bind(run, known, value, origin, where))
            elif origin.__module__ in ("datetime", "uuid", "decimal") and known is not None and not callable(known):
                found.append(compute(name, lambda part, name=name: getattr(part, name), [value]))
            else:
                found.append(Handle("method", {"of": value, "name": name}))
    return either(found) or Data()


def _unions(hint: Any) -> list[Any]:
    origin = get_origin(hint)
    if origin is typing.Annotated:
        return _unions(get_args(hint)[0])
    if origin in (typing.Union, types.UnionType):
        return [inner for part in get_args(hint) if part is not type(None) for inner in _unions(part)] or [Any]
    return [hint]


def _plain_hint(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is typing.Annotated else hint


def _of_live(run: Run, value: Live, name: str, where: str) -> Value:
    from commute.derive.python.kept import remembered
    from commute.derive.python.state import live_attribute

    thing = value.value
    if name == "__dict__" and not isinstance(thing, type):
        return run.widen(f"the attributes of a {type(thing).__name__} of the program are taken as a dict", where)
    if isinstance(thing, types.ModuleType) and is_followed(vars(thing)):
        from commute.derive.python.state import global_of

        known = global_of(run, vars(thing), name, where)
        if known is not None:
            return known
    if isinstance(thing, types.ModuleType) and name not in vars(thing) and is_followed(vars(thing)):
        asked = vars(thing).get("__getattr__")
        if isinstance(asked, types.FunctionType):
            return run.call(Live(asked), [Const(name)], {}, where)
    if isinstance(thing, types.ModuleType):
        return wrap(run, getattr(thing, name)) if hasattr(thing, name) else run.widen(f"no {name} there", where)
    if name == "__class__":
        return Live(type(thing))
    if name == "__name__" and isinstance(getattr(thing, "__name__", None), str):
        return Const(thing.__name__)
    if isinstance(thing, type):
        return _of_live_class(run, value, thing, name, where)
    if has_method(type(thing), "__getattribute__") is not None:
        return run.widen(f"{type(thing).__name__}.__getattribute__ is not followed", where)
    known = class_attribute(type(thing), name)
    inside = _inside(thing)
    if inside is None:
        return run.widen(f"{type(thing).__name__} stands for an object that is not there yet", where,
                         "hand the object itself to what the handler calls")  # fmt: skip
    cached = isinstance(known, functools.cached_property) or type(known).__qualname__ == "cached_property"
    if _is_data_descriptor(known) and not (cached and isinstance(known, property)):
        return bind(run, known, value, type(thing), where)
    there = cached and name in inside
    if isinstance(known, property | functools.cached_property) and not there:
        function = known.fget if isinstance(known, property) else known.func
        if names_of(function)[0] in FUNCTIONS:
            return Data(f"{name} of a {type(thing).__name__}")
        found = run.call(Live(function), [value], {}, where)
        return remembered(run, known, [], found) if cached else found
    if name in inside:
        return live_attribute(run, value, name, inside[name], where)
    if isinstance(known, types.MemberDescriptorType):
        try:
            return live_attribute(run, value, name, known.__get__(thing), where)
        except AttributeError:
            return Data()
    if known is not None:
        if not hasattr(type(known), "__get__") and not isinstance(known, staticmethod):
            found = live_attribute(run, value, name, known, where)
            above = _of_class(run, type(thing), name, known, where)
            return found if above is None else either([found, above]) or found
        return bind(run, known, value, type(thing), where)
    return _not_there(run, value, name, where)


def _not_there(run: Run, value: Live, name: str, where: str) -> Value:
    """An attribute that a live object has not now."""
    thing = value.value
    own, certain = run.own_at((id(thing), name))
    if certain:
        return either(own) or Data()
    later = attribute_later(run, thing, name)
    method = has_method(type(thing), "__getattr__")
    asked = [] if method is None else [run.call(Live(method), [value, Const(name)], {}, where)]
    if own or later is not None or asked:
        return either([*own, *([] if later is None else [later]), *asked]) or Data()
    return run.widen(f"{type(thing).__name__} has no {name} that is known", where)


def _inside(thing: Any) -> dict[str, Any] | None:
    """The attributes of an object, None where asking for them fails: a proxy of what is there during a request."""
    try:
        found = getattr(thing, "__dict__", {})
    except Exception:  # noqa: BLE001 - whatever a proxy raises
        return None
    return found if isinstance(found, dict) else {}


def _of_live_class(run: Run, value: Live, thing: type, name: str, where: str) -> Value:
    known = class_attribute(thing, name)
    if isinstance(known, classmethod):
        return Bound(Live(known.__func__), value)
    if isinstance(known, staticmethod):
        return Live(known.__func__)
    of_class = any(name in base.__dict__ for base in thing.__mro__)
    if not of_class and is_own(type(thing)) and class_attribute(type(thing), name) is not None:
        above = class_attribute(type(thing), name)
        if isinstance(above, property):
            return run.call(Live(above.fget), [value], {}, where)
        return bind(run, above, value, type(thing), where)
    getter = has_method(type(known), "__get__")
    if getter is not None and is_own(type(known)):
        return run.call(Live(getter), [Live(known), Const(None), value], {}, where)
    if known is None and not of_class:
        return run.widen(f"{thing.__name__} has no {name} that is known", where)
    if isinstance(known, types.MemberDescriptorType | types.GetSetDescriptorType | property):
        return Data()
    from commute.derive.python.state import live_attribute

    found = live_attribute(run, value, name, known, where)
    above = None if name in thing.__dict__ else _of_class(run, thing, name, known, where)
    return found if above is None else either([found, above]) or found


def _of_super(run: Run, value: Handle, name: str, where: str) -> Value:
    owner, first = value.about["owner"], value.about["self"]
    cls = first.cls if isinstance(first, Made) else first.value if isinstance(first, Live) else None
    cls = cls if isinstance(cls, type) else type(cls)
    mro = list(cls.__mro__)
    for base in mro[mro.index(owner) + 1 :] if owner in mro else ():
        if name in base.__dict__:
            known = base.__dict__[name]
            if base is object and name in ("__setattr__", "__getattribute__"):
                return Bound(Live(known), first)
            if base is object and name == "__new__":
                return Live(object.__new__)
            if base is object:
                return Handle("method", {"of": Data(), "name": name})
            return bind(run, known, first, cls, where)
    return run.widen(f"super().{name} is not followed", where)
