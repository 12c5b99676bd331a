"""A counterexample as a test that can be run: Python that makes the same events and asserts that they commute."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from math import isfinite
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec

from commute.codec import is_pydantic
from commute.verify.orders import Counterexample


def as_test(found: Counterexample, app: str, scene: Mapping[str, str] = MappingProxyType({})) -> str:
    """The text of a test module; `app` is ``module:name``. The test fails as long as the counterexample holds.

    `scene`: arguments of `assert_commutes` (``set_up``, ``clear``, ``look``) to the ``module:function`` that each is.
    """
    module, _, name = app.partition(":")
    imports: dict[str, set[str]] = {module: {name or "app"}}
    for role, place in scene.items():
        where, _, function = place.partition(":")
        imports.setdefault(where, set()).add(function if function == role else f"{function} as {role}")
    before = [spell(numbered.event, imports) for numbered in found.before]
    pair = [spell(numbered.event, imports) for numbered in (found.a, found.b)]
    lines = [f"    {text}," for text in (*before, *pair)]
    head = [f"from {where} import {', '.join(sorted(names))}" for where, names in sorted(imports.items())]
    types = "_".join(_word(numbered.event) for numbered in (found.a, found.b))
    return "\n".join(
        [
            "from commute.testing import assert_commutes",
            *head,
            "",
            "",
            f"def test_{types}_commute() -> None:",
            *(f"    # {found.one} / {found.other}: {difference}" for difference in found.differences[:2]),
            f"    assert_commutes({name or 'app'}, [",
            *(f"    {line}" for line in lines),
            f"    ]{''.join(f', {role}={role}' for role in scene)})",
            "",
        ]
    )


def spell(value: object, imports: dict[str, set[str]]) -> str:
    """An expression that makes `value`; what it needs is added to `imports`, by module."""

    def own() -> str:
        """The class of the value, by a name that is imported."""
        cls = type(value)
        imports.setdefault(cls.__module__, set()).add(cls.__qualname__.split(".")[0])
        return cls.__qualname__

    def all_of(several: Iterable[object]) -> str:
        return ", ".join(spell(one, imports) for one in several)

    names = field_names(value)
    if names is not None and is_pydantic(type(value)) and (aliases := _aliases(type(value))):
        given = {aliases.get(name, name): getattr(value, name) for name in names}
        return f"{own()}.model_validate({spell(given, imports)})"
    if names is not None:
        return f"{own()}({', '.join(f'{name}={spell(getattr(value, name), imports)}' for name in names)})"
    match value:
        case enum.Enum():
            return f"{own()}.{value.name}" if value.name in type(value).__members__ else f"{own()}({value.value!r})"
        case date() | time():  # a datetime is a date
            return f"{own()}.fromisoformat({value.isoformat()!r})"
        case timedelta():
            return f"{own()}(days={value.days}, seconds={value.seconds}, microseconds={value.microseconds})"
        case UUID() | Decimal():
            return f"{own()}({str(value)!r})"
        case float() if not isfinite(value):
            return f"float({str(value)!r})"
        case list():
            return f"[{all_of(value)}]"
        case tuple():
            return f"({all_of(value)}{',' * (len(value) == 1)})"
        case set() | frozenset():
            return f"{type(value).__name__}([{all_of(sorted(value, key=repr))}])"
        case dict():
            return "{" + ", ".join(f"{spell(key, imports)}: {spell(one, imports)}" for key, one in value.items()) + "}"
    return repr(value)


def field_names(value: object) -> list[str] | None:
    """The fields by which an event object is made, None for what is no such object."""
    if isinstance(value, type):
        return None
    if isinstance(value, msgspec.Struct):
        return list(value.__struct_fields__)
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    if is_pydantic(type(value)):
        return list(type(value).model_fields)  # type: ignore[attr-defined]
    return None


def _aliases(cls: Any) -> dict[str, str]:
    """The names by which a model alone takes its fields, of those that have another one."""
    by_name = cls.model_config.get("populate_by_name") or cls.model_config.get("validate_by_name")
    fields = {} if by_name else cls.model_fields
    return {name: field.alias for name, field in fields.items() if field.alias not in (None, name)}


def _word(event: object) -> str:
    name = event[0] if isinstance(event, tuple) else type(event).__name__
    return "".join(char.lower() if char.isalnum() else "_" for char in str(name))
