"""A counterexample as a test that can be run: Python that makes the same events and asserts that they commute."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
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
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        return repr(value)
    names = field_names(value)
    if names is not None:
        cls = type(value)
        imports.setdefault(cls.__module__, set()).add(cls.__qualname__.split(".")[0])
        given = ", ".join(f"{name}={spell(getattr(value, name), imports)}" for name in names)
        return f"{cls.__qualname__}({given})"
    if isinstance(value, enum.Enum):
        imports.setdefault(type(value).__module__, set()).add(type(value).__name__)
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, datetime | date | UUID | Decimal):
        imports.setdefault(type(value).__module__, set()).add(type(value).__name__)
        if isinstance(value, datetime | date):
            return f"{type(value).__name__}.fromisoformat({value.isoformat()!r})"
        return f"{type(value).__name__}({str(value)!r})"
    if isinstance(value, list):
        return f"[{', '.join(spell(item, imports) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {spell(item, imports)}" for key, item in value.items()) + "}"
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


def _word(event: object) -> str:
    name = event[0] if isinstance(event, tuple) else type(event).__name__
    return "".join(char.lower() if char.isalnum() else "_" for char in str(name))
