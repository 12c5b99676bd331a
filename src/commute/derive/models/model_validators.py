"""What pydantic calls while it makes a model: validators of fields, of the model, and those in annotations.

before ─▶ (pydantic converts) ─▶ after, plain                    wrap is given a function of pydantic's: not followed

What a validator gives takes the place of what it was given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from commute.derive.models.model_code import schema_of, serializes
from commute.derive.python.attributes import wrap
from commute.derive.run import Run
from commute.derive.values import Data, Entries, Live, Made, Unknown, Value, is_plain

_NOT_FOLLOWED = ("validators", "root_validators", "field_serializers", "model_serializers")
_BEFORE, _AFTER = ("before",), ("after", "plain")


def before(run: Run, cls: Any, given: dict[str, Value], where: str, *, whole: bool = True) -> dict[str, Value]:
    """What the fields are given when the validators that run first are through; `whole`: those of the model too."""
    kept = getattr(cls, "__pydantic_decorators__", None)
    if kept is None:
        return given
    if any(getattr(kept, kind, None) for kind in _NOT_FOLLOWED) or _around(cls, kept) or serializes(schema_of(cls)):
        run.widen(f"the validators of {cls.__name__} are not followed", where)
    for one in kept.model_validators.values():
        if one.info.mode == "before" and whole:
            found = _asked(run, one.func, [Entries(dict(given))], Data("about the validation"), where)
            given = _of(found, given)
    return {name: _through(run, cls, name, value, given, _BEFORE, where) for name, value in given.items()}


def after(run: Run, cls: Any, name: str, value: Value, given: Mapping[str, Value], where: str) -> Value:
    """What a field that is given is at the end."""
    return _through(run, cls, name, value, given, _AFTER, where)


def whole(run: Run, made: Made, where: str) -> None:
    """The validators that look at the model when all of its fields are set."""
    kept = getattr(made.cls, "__pydantic_decorators__", None)
    for one in kept.model_validators.values() if kept is not None else ():
        if one.info.mode == "after":
            _asked(run, one.func, [made], Data("about the validation"), where)


def from_object(run: Run, cls: Any, where: str) -> None:
    """The validators of a model that is made from an object, of which nothing is said."""
    given: dict[str, Value] = dict.fromkeys(cls.model_fields, Unknown("a part of what a model is made from"))
    for name, value in before(run, cls, given, where).items():
        after(run, cls, name, value, given, where)
    if getattr(cls, "__pydantic_decorators__", None) is not None:
        whole(run, Made(cls, dict(given)), where)


def _around(cls: Any, kept: Any) -> bool:
    decorated = [*kept.field_validators.values(), *kept.model_validators.values()]
    annotated = [type(one).__name__ for field in cls.model_fields.values() for one in field.metadata]
    return any(one.info.mode == "wrap" for one in decorated) or "WrapValidator" in annotated


def _through(
    run: Run, cls: Any, name: str, value: Value, given: Mapping[str, Value], modes: tuple[str, ...], where: str
) -> Value:
    kept = getattr(cls, "__pydantic_decorators__", None)
    if kept is None or name not in cls.model_fields:
        return value
    about: Value = Data("about the validation")
    if not all(map(is_plain, given.values())):
        about = Unknown("the fields before it")
    for one in cls.model_fields[name].metadata:
        kind = type(one).__name__
        if kind.endswith("Validator") and hasattr(one, "func") and kind.removesuffix("Validator").lower() in modes:
            value = _asked(run, one.func, [value], about, where)
    for one in kept.field_validators.values():
        if one.info.mode in modes and (name in one.info.fields or "*" in one.info.fields):
            value = _asked(run, one.func, [value], about, where)
    return value


def _asked(run: Run, function: Callable[..., Any], arguments: list[Value], about: Value, where: str) -> Value:
    """What a validator gives; one that takes one argument more is told about the validation."""
    try:
        count = len(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        count = len(arguments)
    more = [about] if count > len(arguments) else []
    return run.call(
        wrap(run, function) if not isinstance(function, type) else Live(function), [*arguments, *more], {}, where
    )


def _of(found: Value, given: dict[str, Value]) -> dict[str, Value]:
    """The fields out of the dict that a validator gives."""
    if isinstance(found, Entries) and found.other is None:
        return {str(name): value for name, value in found.known.items()}
    plain = all(map(is_plain, given.values())) and (is_plain(found) or isinstance(found, Entries))
    return dict.fromkeys(given, Data("what a validator gives") if plain else Unknown("what a validator gives"))
