"""State of the program itself: mutable globals, containers and attributes of objects that outlive the handler.

Such an object is a key, ``state/NAME``, with the item or attribute below it. Reading what no handler of the app
writes is no access; that is known when all handlers have been run (`application`).

A container is called by the place where it is met first: ``state/shop.cache`` is what the global ``cache`` of the
module ``shop`` holds. That the global is set to another one is an access to ``state/shop/cache``, so that who looks at
one entry does not wait for who sets another one. `observe.shared` sees the same names while handlers run.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import types
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from commute.derive.python.writers import attribute_later, fill, global_later, is_application
from commute.derive.run import Frame, KeyAccess, Run
from commute.derive.values import (
    Closure,
    Const,
    Data,
    Either,
    Handle,
    Items,
    Live,
    Unknown,
    Value,
    Was,
    either,
    is_plain,
    options,
)

STATE = "state"
VALUES_MAX = 16  # of a live container, any of which may be meant
_TYPED = (list, dict, set, frozenset, tuple)  # ``list[Line]`` is what a decoder makes
MUTABLE = (dict, list, set, bytearray)
_NAMED = (dict, list, set, deque)  # by their place


class Watched:
    """A container that somebody watches (`observe.shared`) in the place of `commute_original`."""

    __slots__ = ()
    commute_original: Any


def unwatched(thing: Any) -> Any:
    """The container that is read in the code."""
    return thing.commute_original if isinstance(thing, Watched) else thing


def global_value(run: Run, frame: Frame, name: str, where: str) -> Value:
    """A global as it is now, or a builtin."""
    found = global_of(run, frame.globals, name, where)
    if found is not None:
        return found
    if hasattr(builtins, name):
        return Live(getattr(builtins, name))
    return Unknown(f"{name} has no value")


def global_of(run: Run, names: dict[str, Any], name: str, where: str) -> Value | None:
    """A global as it is now, and as functions of the application are seen to set it; None if there is none."""
    from commute.derive.python.attributes import wrap

    own, certain = run.own_at((id(names), name))
    if certain:
        return either(own) or Data()
    later = global_later(run, names, name)
    if name not in names:
        if name not in rebound(str(names.get("__name__", ""))):
            return either(own)
        return either([*own, later if later is not None else Unknown(f"{name} has no value yet")])
    thing = unwatched(names[name])
    path = _binding(names, name)
    if isinstance(thing, _NAMED):
        run.knowledge.name_of(thing, f"{names.get('__name__')}.{name}")
    if not isinstance(thing, types.ModuleType | types.FunctionType | type):
        run.add(KeyAccess("read", path, where))
        if isinstance(thing, _PLAIN) and run.knowledge.changes(path):
            later = later if later is not None else Data("it changes")
    found = wrap(run, thing) if later is None else with_later(run, thing, later)
    return either([*own, found]) or found


def with_later(run: Run, thing: object, later: Value) -> Value:
    """What a live place may hold: what is there now, or what functions put there, of which plain data is not known."""
    from commute.derive.python.attributes import wrap

    now = [wrap(run, thing)] if thing is None or not isinstance(thing, _PLAIN) else [Was("it changes", now=thing)]
    known = [Data("it changes") if is_plain(option) else option for option in options(later)]
    if all(_leads_to_the_same(now[0], option) for option in known):
        return now[0]
    if any(isinstance(option, Closure) for option in known):
        return Unknown("a function that is put there while the program runs")
    return either([*now, *known]) or Data()


def _leads_to_the_same(now: Value | None, later: Value) -> bool:
    """Whether a connection, or a cursor of one, is as good as the one that is there: to the same tables, as far as they
    are known. What was asked of one is asked of the other then, since it is one at a time that stands there."""
    found = [one.about.get("connection", one) for one in (now, later) if isinstance(one, Handle)]
    if len(found) < 2 or any(one.kind != "connection" for one in found):
        return False
    one, other = (each.about["schema"] for each in found)
    return bool(one.dialect == other.dialect and (not other.tables or one.version == other.version))


_PLAIN = (str, int, float, bool, bytes, type(None))


@lru_cache(1_024)
def rebound(module: str) -> frozenset[str]:
    """The globals of a module that some function of it sets."""
    import sys

    found = sys.modules.get(module)
    try:
        tree = ast.parse(inspect.getsource(found)) if found is not None else None
    except (OSError, TypeError, SyntaxError):
        return frozenset()
    nodes = ast.walk(tree) if tree is not None else ()
    return frozenset(name for node in nodes if isinstance(node, ast.Global) for name in node.names)


def _binding(names: Mapping[str, Any], name: str) -> tuple[Value, ...]:
    """The key of a global itself: what it is set to, not what is inside of that."""
    if isinstance(names.get(name), _NAMED):
        return Const(STATE), Const(names.get("__name__")), Const(name)
    return Const(STATE), Const(f"{names.get('__name__')}.{name}")


def is_container(thing: object) -> bool:
    """Whether a live object is one that is called by its place, of a class of Python's own."""
    return isinstance(thing, _NAMED) and type(thing).__module__ in ("builtins", "collections")


def set_global(run: Run, frame: Frame, name: str, value: Value, where: str) -> None:
    """A global is set. What is put there is found again by `writers`; a function or class in the place of another one
    is not followed."""
    run.assigned.setdefault((id(frame.globals), name), []).append(value)
    run.put_own((id(frame.globals), name), value)
    if isinstance(frame.globals.get(name), type | types.FunctionType):
        run.widen(f"{name} is put in the place of another one while the program runs", where)
    if not first_made(run, frame.globals.get(name), value):
        run.add(KeyAccess("write", _binding(frame.globals, name), where))


def first_made(run: Run, now: object, value: Value) -> bool:
    """Whether it is something that is made where it is first asked for, and the same whoever asks: then nobody waits
    for the place, and what is in it has a name in keys of its own."""
    from commute.derive.python.kept import is_resource, keep

    if now is not None or not is_resource(value):
        return False
    keep(value)
    return True


def path_of(run: Run, thing: object) -> tuple[Value, ...]:
    """The key of an object that outlives the handler: one for each object."""
    return Const(STATE), Const(run.knowledge.name_of(thing))


def live_read(run: Run, value: Live, key: Value | None, where: str) -> Value | None:
    """An element of a live container, any of them with `key` None."""
    from commute.derive.python.attributes import has_method, wrap

    thing = value.value
    if isinstance(thing, MUTABLE):
        run.add(KeyAccess("read", _inside(run, thing, key), where))
    elif isinstance(thing, tuple | frozenset | range | types.MappingProxyType):
        pass
    elif (
        isinstance(thing, type)
        and (method := has_method(type(thing), "__iter__")) is not None
        and is_application(method.__code__.co_filename)
    ):
        from commute.derive.python.items import element

        return element(run, run.call(Live(method), [value], {}, where), where)
    elif isinstance(thing, type):
        members = getattr(thing, "__members__", None)
        return Data() if members is None else either([Const(member) for member in members.values()])
    else:
        method = has_method(type(thing), "__iter__")
        if method is not None and key is None:
            from commute.derive.python.items import element

            return element(run, run.call(Live(method), [value], {}, where), where)
        return run.widen(f"a {type(thing).__name__} of the program is read", where)
    if isinstance(thing, MUTABLE) and run.knowledge.changes(path_of(run, thing)):
        return changing(run, thing, list(thing) if key is None and isinstance(thing, Mapping) else _values(thing))
    inside = list(thing) if not isinstance(thing, Mapping) else list(thing.values() if key is not None else thing)
    if len(inside) > VALUES_MAX:
        return Data() if all(isinstance(one, _PLAIN) for one in inside) else Unknown("one of too many objects")
    if isinstance(thing, MUTABLE):
        fill(run, thing)
    put = run.knowledge.put.get(id(thing)) if key is not None or not isinstance(thing, Mapping) else None
    found = either([*(wrap(run, inner) for inner in inside), *([] if put is None else [put])])
    empty = isinstance(thing, tuple | frozenset) or id(thing) in run.knowledge.unfilled
    return found if found is not None or empty else _not_yet(run, thing)


def live_values(run: Run, thing: Mapping[Any, Any]) -> Value:
    """Any value of a live dict."""
    from commute.derive.python.attributes import wrap

    inside = list(thing.values())
    if run.knowledge.changes(path_of(run, thing)) or len(inside) > VALUES_MAX:
        return changing(run, thing, inside)
    fill(run, thing)
    put = run.knowledge.put.get(id(thing))
    return either([*(wrap(run, one) for one in inside), *([] if put is None else [put])]) or _not_yet(run, thing)


def _not_yet(run: Run, thing: object) -> Value:
    """What a live container does not hold now: what handlers put there, or what the program does before they run."""
    fill(run, thing)
    return run.knowledge.put.get(id(thing)) or Unknown("what is put there before the handlers run")


def changing(run: Run, thing: object, inside: Sequence[object]) -> Value:
    """An element of a live container that handlers change: one of those that are in it now, or that are put there."""
    from commute.derive.python.attributes import wrap

    put = run.knowledge.put.get(id(thing))
    if len(inside) > VALUES_MAX or (put is None and not all(isinstance(one, _PLAIN) for one in inside)):
        return Unknown("it changes")
    now = [Data("it changes") if isinstance(one, _PLAIN) else wrap(run, one) for one in inside]
    return either([*now, *([put] if put is not None else [Data("it changes")])]) or Data("it changes")


def _values(thing: Any) -> list[Any]:
    return list(thing.values() if isinstance(thing, Mapping) else thing)


def live_entries(run: Run, value: Value, where: str) -> dict[str, Value] | None:
    """What a live dict holds by name, where no function of the application changes it; else None."""
    thing = value.value if isinstance(value, Live) else None
    if not isinstance(thing, dict) or not all(isinstance(key, str) for key in thing):
        return None
    fill(run, thing)
    if run.knowledge.changes(path_of(run, thing)) or id(thing) in run.knowledge.put:
        return None
    assert isinstance(value, Live)
    return {key: live_item(run, value, Const(key), where) for key in thing}


def live_item(run: Run, value: Live, key: Value, where: str) -> Value:
    """``live[key]``."""
    from commute.derive.python.attributes import has_method, wrap

    thing = value.value
    if isinstance(key, Either):
        return either([live_item(run, value, option, where) for option in key.options]) or Data()
    if any(thing is one for one in _TYPED) and isinstance(key, Live) and isinstance(key.value, type):
        return Live(thing[key.value])
    if any(thing is one for one in _TYPED) and isinstance(key, Items) and key.known is not None:
        parts = [one.value for one in key.known if isinstance(one, Live | Const)]
        if len(parts) == len(key.known):
            return Live(thing[tuple(parts)])
    method = has_method(type(thing), "__getitem__") if isinstance(thing, type) else None
    method = method or (has_method(thing, "__class_getitem__") if isinstance(thing, type) else None)
    if method is not None and is_application(method.__code__.co_filename):
        return run.call(Live(method), [value, key], {}, where)
    if isinstance(thing, type | types.GenericAlias) or hasattr(thing, "__origin__"):
        return value  # a generic class with its arguments
    method = has_method(type(thing), "__getitem__")
    if method is not None:
        return run.call(Live(method), [value, key], {}, where)
    method = has_method(type(thing), "__missing__")
    if method is not None:
        made = run.within(object(), lambda: run.call(Live(method), [value, key], {}, where))
        live_read(run, value, key, where)
        return either([made, changing(run, thing, list(thing.values()))]) or made
    if isinstance(thing, defaultdict) and thing.default_factory is not None:  # what is not there is made, and put there
        run.add(KeyAccess("write", _inside(run, thing, key), where))
    if isinstance(thing, Mapping) and isinstance(key, Const | Live):
        run_key = key.value
        if isinstance(thing, MUTABLE):
            path = _inside(run, thing, key)
            run.add(KeyAccess("read", path, where))
            if run.knowledge.changes(path):
                return changing(run, thing, _values(thing))
        try:
            return wrap(run, thing[run_key])
        except (KeyError, TypeError):
            return _not_yet(run, thing)
    if isinstance(thing, list | tuple) and isinstance(key, Const) and isinstance(key.value, int):
        live_read(run, value, key, where)
        try:
            inner = thing[key.value]
            return Data("it may change") if isinstance(inner, _PLAIN) and isinstance(thing, list) else wrap(run, inner)
        except IndexError:
            return _not_yet(run, thing)
    found = live_read(run, value, key, where)
    if isinstance(thing, MUTABLE) and found is not None and is_plain(found):
        return Data("it may change")
    return found or Data()


def live_attribute(run: Run, value: Live, name: str, thing: Any, where: str) -> Value:
    """An attribute that a live object or class holds itself."""
    if isinstance(thing, types.FunctionType) and isinstance(value.value, type):
        return Live(thing)
    path = (*path_of(run, value.value), Const(name))
    thing = unwatched(thing)
    if isinstance(thing, _NAMED):
        run.knowledge.name_of(thing, f"{run.knowledge.name_of(value.value)}.{name}")
    run.add(KeyAccess("read", path, where))
    own, certain = run.own_at((id(value.value), name))
    if certain:
        return either(own) or Data()
    if own:
        return either([*own, _not_own(run, value, name, thing, path, where)]) or Data()
    return _not_own(run, value, name, thing, path, where)


def _not_own(run: Run, value: Live, name: str, thing: Any, path: tuple[Value, ...], where: str) -> Value:
    """The attribute as others leave it."""
    from commute.derive.python.attributes import bind, wrap

    if isinstance(value.value, type) and isinstance(thing, classmethod | staticmethod):
        return bind(run, thing, value, value.value, where)
    later = attribute_later(run, value.value, name)
    if later is not None:
        return with_later(run, thing, later)
    if run.knowledge.changes(path):
        return (
            Data(f"{name} changes") if isinstance(thing, _PLAIN) and thing is not None else Unknown(f"{name} changes")
        )
    return wrap(run, thing)


def set_live(run: Run, value: Live, key: Value | str | None, where: str) -> None:
    """An item or attribute of a live object is set; None: all of it may be."""
    at = Const(key) if isinstance(key, str) else key
    thing = value.value
    if isinstance(thing, types.ModuleType | type):
        name = key if isinstance(key, str) else ""
        held = thing.__dict__.get(name)
        if name in thing.__dict__ and not callable(held) and not hasattr(type(held), "__get__"):
            path = path_of(run, thing) if isinstance(thing, type) else _binding(thing.__dict__, name)
            run.add(KeyAccess("write", (*path, Const(name)) if isinstance(thing, type) else path, where))
            return
        run.widen(f"{getattr(thing, '__name__', thing)} is changed while the program runs", where)
        return
    from commute.derive.python.attributes import has_method

    method = (
        has_method(type(thing), "__setitem__") if not isinstance(key, str) else has_method(type(thing), "__setattr__")
    )
    if method is not None:
        run.call(Live(method), [value, at or Data(), Data()], {}, where)
        return
    run.add(KeyAccess("write", _inside(run, thing, at), where))


def _inside(run: Run, thing: object, key: Value | None) -> tuple[Value, ...]:
    """The key of an item or an attribute. Of a list there is the whole alone: an element has several indexes, and is
    looked for by its value too."""
    return _below(path_of(run, thing), None if isinstance(thing, list | bytearray) else key)


def _below(path: tuple[Value, ...], key: Value | None) -> tuple[Value, ...]:
    if key is None or not all(map(_may_be_segment, options(key))):
        return path
    return (*path, key)


def _may_be_segment(value: Value) -> bool:
    return not isinstance(value, Const) or isinstance(value.value, str | int)
