"""What an expression is for one event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from commute.derive.values import Computed, Const, Field, Value


class NoValueError(Exception):
    """An expression has no value for an event: a function of it fails."""


def evaluate(value: Value, event: object) -> Iterator[Any]:
    """The values of a known expression for one event, one for each combination of elements. Raises NoValueError."""
    prefixes = sorted(_prefixes(value), key=len)
    for places in _elements(prefixes, event, {}):
        yield _evaluate(value, event, places)


Places: TypeAlias = dict[tuple[str, ...], Any]


def _prefixes(value: Value) -> set[tuple[str, ...]]:
    """The lists that an expression goes through, by path up to and with the ``*``."""
    if isinstance(value, Computed):
        return set().union(*map(_prefixes, value.parts))
    if isinstance(value, Field):
        return {value.path[: at + 1] for at, name in enumerate(value.path) if name == "*"}
    return set()


def _elements(prefixes: Sequence[tuple[str, ...]], event: object, places: Places) -> Iterator[Places]:
    if not prefixes:
        yield places
        return
    prefix, *rest = prefixes
    for element in _at(prefix[:-1], event, places) or ():
        yield from _elements(rest, event, {**places, prefix: element})


def _evaluate(value: Value, event: object, places: Places) -> Any:
    if isinstance(value, Const):
        return value.value
    if isinstance(value, Field):
        return _at(value.path, event, places)
    assert isinstance(value, Computed), f"{value} cannot be told from the event"
    try:
        return value.function(*(_evaluate(part, event, places) for part in value.parts))
    except NoValueError:
        raise
    except Exception as error:
        raise NoValueError(f"{value.name}: {type(error).__name__}: {error}") from error


def _at(path: tuple[str, ...], event: object, places: Places) -> Any:
    for length in range(len(path), 0, -1):
        if path[:length] in places:
            found, rest = places[path[:length]], path[length:]
            break
    else:
        found, rest = event, path
    for name in rest:
        if found is None:
            raise NoValueError(f"{'.'.join(path)} has no value")
        found = found.get(name) if isinstance(found, Mapping) else getattr(found, name)
    return found
