"""The application's functions that pydantic calls for a type, wherever they stand in it.

It notes all of them in what it makes of the type, its core schema. Where it is not followed with what they are called,
they are run with anything.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Iterator
from typing import Any

from commute.codec import is_pydantic
from commute.derive.python.attributes import has_method, wrap
from commute.derive.python.callbacks import called_by_library
from commute.derive.run import Run
from commute.derive.trusted import touches_nothing
from commute.derive.values import Data, Unknown, Value

_SCALARS = (
    "str",
    "int",
    "float",
    "bool",
    "bytes",
    "decimal",
    "date",
    "datetime",
    "time",
    "timedelta",
    "uuid",
    "literal",
)


def schema_of(cls: Any) -> Any:
    """The core schema of a model, of a dataclass of pydantic's or of a TypeAdapter; None if it has none."""
    return getattr(cls, "core_schema", None) or getattr(cls, "__pydantic_core_schema__", None)


def run_inside(run: Run, schema: Any, where: str) -> bool:
    """Whether pydantic calls functions of the application for a type; they are run."""
    if schema is not None and not isinstance(schema, dict):
        run.widen("a type that pydantic has not completed yet is not followed", where)
        return True
    found = list(_functions(schema, set()))
    for function, plain in found:
        given: Value = Data("what is validated") if plain else Unknown("what is validated")
        called_by_library(run, wrap(run, function), given, where)
    return bool(found)


def serializes(schema: Any) -> bool:
    """Whether a type is put into dicts and texts by functions of the application."""
    if isinstance(schema, dict):
        own = schema.get("serialization")
        if own is not None and any(True for _ in _functions(own, set())):
            return True
        return any(serializes(part) for name, part in schema.items() if name not in ("metadata", "computed_fields"))
    return isinstance(schema, list | tuple) and any(map(serializes, schema))


def _functions(part: Any, seen: set[int]) -> Iterator[tuple[Any, bool]]:
    """The functions in a part of a schema; whether what they are given holds nothing else."""
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, dict):
        inner = part.get("schema")
        plain = isinstance(inner, dict) and inner.get("type") in _SCALARS
        for function in _of_class(part):
            yield function, False
        for name, one in part.items():
            if name in ("metadata", "cls"):
                continue
            for function, nested in _functions(one, seen):
                yield function, nested or (plain and name == "function")
    elif isinstance(part, list | tuple):
        for one in part:
            yield from _functions(one, seen)
    elif callable(part) and not isinstance(part, type) and _is_own(part):
        yield part, False


def _of_class(part: dict[str, Any]) -> Iterator[Any]:
    """What is called of a class that stands in a schema by its name."""
    cls = part.get("cls")
    names = [part.get("post_init"), "__init__" if part.get("custom_init") else None]
    if isinstance(cls, type) and issubclass(cls, enum.Enum):
        names.append("_missing_")
    elif isinstance(cls, type) and part.get("type") == "dataclass":
        names += ["__post_init__", "__setattr__"]
    for name in names:
        method = has_method(cls, name) if isinstance(name, str) and isinstance(cls, type) else None
        if method is not None and not touches_nothing(method):
            yield types.MethodType(method, cls) if name == "_missing_" else method


def _is_own(function: Any) -> bool:
    name = str(getattr(function, "__module__", None) or "")
    return name.split(".")[0] not in ("pydantic", "pydantic_core") and not touches_nothing(function)


def has_code(cls: Any) -> bool:
    """Whether pydantic calls functions of the application when it makes an object of a class."""
    schema = schema_of(cls) if is_pydantic(cls) or hasattr(cls, "__is_pydantic_dataclass__") else None
    return schema is not None and (not isinstance(schema, dict) or any(True for _ in _functions(schema, set())))
