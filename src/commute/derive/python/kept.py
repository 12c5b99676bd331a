"""What handlers put into containers that outlive them, as a later handler finds it.

Of the event that a value came from, nothing is known later: its fields are plain data then. An object that holds such
fields is not known at all, since it is one for all events here.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from commute.derive.run import KeyAccess, Run
from commute.derive.values import (
    Begun,
    Computed,
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
    unwritten,
)

_CLEAN = ("connection", "session", "session-maker", "app", "context-maker", "identity", "variable")


def outlives(value: Value, names: dict[str, int], seen: set[int]) -> None:
    """Gives everything in the value a name in keys, since it is the same for all events."""
    for option in options(value):
        if id(option) in seen or not isinstance(option, Made | Items | Entries):
            continue
        seen.add(id(option))
        _undecided(option)
        kind = option.cls.__qualname__ if isinstance(option, Made) else type(option).__name__.lower()
        names[kind] = names.get(kind, 0) + 1
        option.state = kind if names[kind] == 1 else f"{kind}#{names[kind]}"
        inside: list[Value | None] = []
        if isinstance(option, Made):
            inside += option.attributes.values()
        elif isinstance(option, Items):
            inside += [*(option.known or ()), option.element]
        else:
            inside += [*option.known.values(), option.other]
        for one in inside:
            if one is not None:
                outlives(one, names, seen)


def keep(value: Value, seen: set[int] | None = None) -> None:
    """The same for what is put into a place of the program: all objects of a class have one name, since which of them
    a later handler meets is not known."""
    seen = set() if seen is None else seen
    for option in options(value):
        if id(option) in seen or not isinstance(option, Made | Items | Entries):
            continue
        seen.add(id(option))
        _undecided(option)
        option.state = option.state or (
            option.cls.__qualname__ if isinstance(option, Made) else type(option).__name__.lower()
        )
        for one in _inside(option):
            keep(one, seen)


def _undecided(value: Made | Items | Entries) -> None:
    """Other handlers may put something else into it, so nothing that was written there decides conditions."""
    if isinstance(value, Made):
        value.attributes.update({name: unwritten(one) for name, one in value.attributes.items()})
    elif isinstance(value, Entries):
        value.known.update({name: unwritten(one) for name, one in value.known.items()})
    elif value.known is not None:
        value.known[:] = map(unwritten, value.known)


def _inside(value: Made | Items | Entries) -> list[Value]:
    if isinstance(value, Made):
        return list(value.attributes.values())
    if isinstance(value, Items):
        return [*(value.known or ()), *([value.element] if value.element is not None else [])]
    return [*value.known.values(), *([value.other] if value.other is not None else [])]


_RESOURCES = ("redis", "session-maker", "app", "service", "connection", "variable")


def is_resource(value: Value, depth: int = 0, *, maybe: bool = False) -> bool:
    """Whether it is the same whichever event makes it: a client, a connection, a factory of sessions, or an object that
    holds only such things and constants. `maybe`: or nothing is there yet."""
    for option in options(value):
        if maybe and option == Const(None):
            continue
        if isinstance(option, Handle):
            if (option.kind not in _RESOURCES and not option.about.get("shared")) or option.about.get("pipe"):
                return False
        elif isinstance(option, Made):
            if depth > 4 or not all(
                isinstance(one, Const) or is_resource(one, depth + 1) for one in option.attributes.values()
            ):
                return False
        else:
            return False
    return True


def touch(run: Run, mode: str, value: Made | Items | Entries, key: Value | None, where: str) -> None:
    """An access to something that the lifespan made."""
    if value.state:
        path: tuple[Value, ...] = (Const("state"), Const(f"lifespan.{value.state}"))
        if key is not None and all(isinstance(one, Field | Computed | Const) for one in options(key)):
            path = (*path, key)
        run.add(KeyAccess(mode, path, where))


def note_put(run: Run, holder: object, value: Value | None) -> None:
    """`value` is put into a live container; None: nothing is."""
    if value is None or (isinstance(value, Unknown) and value.why.startswith("parameter ")):
        return
    known = run.knowledge.put.get(id(holder))
    new = later(value)
    run.knowledge.kept.append(holder)
    run.knowledge.put[id(holder)] = new if known is None else either([known, new]) or new


def remembered(run: Run, function: object, given: Sequence[Value], value: Value) -> Value:
    """What a function gives that remembers its results, called with these: perhaps what it gave for another event.

    It is known as far as it follows from texts that it was given; one that can be changed is the same for all events.
    """
    allowed = {path for one in given for option in options(one) if is_plain(option) for path in _texts(option)}
    return either([_remembered(run, function, option, allowed) for option in options(value)]) or value


def _remembered(run: Run, function: object, value: Value, allowed: set[tuple[str, ...]]) -> Value:
    if isinstance(value, Const | Live):
        return unwritten(value)
    if is_plain(value):
        follows = isinstance(value, Field | Computed | Begun) and _leaves(value) <= allowed
        return value if follows else Data("what was remembered")
    if not isinstance(value, Made | Items | Entries):
        return value if _is_clean(value, set()) else Unknown("what was remembered")
    if not _is_clean(value, set()):
        inside = [option for one in _inside(value) for option in options(one)]
        held = all(is_plain(one) and _leaves(one) <= allowed for one in inside)
        alone = isinstance(value, Made) or (isinstance(value, Items) and value.kind == "tuple")
        return value if held and alone else Unknown("what was remembered")
    if isinstance(value, Items) and value.kind == "tuple":
        return value
    key = ("remembered", id(function), type(value).__name__)
    known = run.knowledge.later.get(key)
    if known is None:
        keep(value)
        run.knowledge.kept.append(function)
        run.knowledge.later[key] = known = value
    return known


def _leaves(value: Value) -> set[tuple[str, ...]]:
    """The parts of the event that plain data is made of."""
    if isinstance(value, Field):
        return {value.path}
    if isinstance(value, Computed):
        return set().union(*map(_leaves, value.parts)) if value.parts else set()
    return _leaves(value.start) if isinstance(value, Begun) else set()


def _texts(value: Value) -> set[tuple[str, ...]]:
    """Those that a function was given as they are, of a type whose equal values are the same: not 1, 1.0 and True."""
    return {value.path} if isinstance(value, Field) and value.hint in (str, bytes, uuid.UUID) else set()


def later(value: Value) -> Value:
    """The value as a later handler finds it."""
    return either([_later(option, set()) for option in options(value)]) or Data()


def _later(value: Value, seen: set[int]) -> Value:
    if isinstance(value, Const | Live):
        return value
    if is_plain(value):
        return Data("what an earlier event left")
    if _is_clean(value, seen):
        return value
    return Unknown("what an earlier event left")


def _is_clean(value: Value, seen: set[int]) -> bool:
    """Whether nothing of an event is in it."""
    if id(value) in seen:
        return True
    seen.add(id(value))
    if isinstance(value, Const | Live | Data):
        return True
    if isinstance(value, Handle):
        return value.kind in _CLEAN or is_resource(value)
    if isinstance(value, Made):
        inside: list[Value] = list(value.attributes.values())
    elif isinstance(value, Items):
        inside = [*(value.known or ()), *([value.element] if value.element is not None else [])]
    elif isinstance(value, Entries):
        inside = [*value.known.values(), *([value.other] if value.other is not None else [])]
    else:
        return False
    return all(_is_clean(option, seen) for one in inside for option in options(one))
