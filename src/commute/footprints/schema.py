"""Which fields an event class has, and what kind of value each holds: what templates are checked against.

A template that names no field, or one that may be null, would fail on the first event that shows it,
perhaps months after the mistake. Annotations tell it at import. All supported kinds of classes are read the
same way; what an annotation leaves open (``object``, a dict's entries) stays open and is checked per event.

Invariant: a kind not listed in `KINDS` cannot be a key.
"""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin
from uuid import UUID

import msgspec

from commute.codec import is_pydantic
from commute.errors import UsageError

ABSENT = "null"  # the kind of a field that may be null or missing
OPEN = "any"  # the kind of a field of which the annotation says nothing
KINDS: dict[type, str] = {
    bool: "bool",
    int: "int",
    str: "str",
    UUID: "UUID",
    datetime: "datetime",
    date: "date",
    Decimal: "Decimal",
}

Step: TypeAlias = Literal["attribute", "entry", "element"]  # of an object, of a mapping, of a list

_LISTS = (list, tuple, set, frozenset, Sequence, Collection, AbstractSet)
_NULLS = (None, NoneType, msgspec.UnsetType)
_WRAPPERS = tuple(
    form
    for name in ("Required", "NotRequired", "ReadOnly", "Final")
    if (form := getattr(typing, name, None)) is not None
)


class UnknownFieldError(Exception):
    """A path leads nowhere: the class `owner` has no field `name`; `known` are those that it has."""

    def __init__(self, owner: type, name: str, known: Sequence[str]) -> None:
        super().__init__(owner, name)
        self.owner = owner
        self.name = name
        self.known = known


class NoKeyError(Exception):
    """A path leads to something that cannot be a key; the text says what it is.

    `passed`: the path went on beyond it, into what has no fields.
    """

    def __init__(self, text: str, *, passed: bool = False) -> None:
        super().__init__(text)
        self.passed = passed


@dataclass(frozen=True, slots=True)
class Place:
    """What a path leads to: the kinds its value may have, `ABSENT` and `OPEN` included.

    `steps` tells how each name is followed, None where that is open.
    """

    kinds: frozenset[str]
    steps: tuple[Step, ...] | None


@dataclass(frozen=True, slots=True)
class FieldHint:
    annotation: object
    may_be_missing: bool


@cache
def fields_of(cls: type) -> Mapping[str, FieldHint] | None:
    """The fields of a class by name, or None if it has none that we can read. Raises UsageError
    (``event-class``) where an annotation cannot be evaluated.
    """
    if typing.is_typeddict(cls):
        names: Collection[str] = cls.__annotations__
        optional: Collection[str] = getattr(cls, "__optional_keys__", frozenset())
    elif issubclass(cls, msgspec.Struct):
        names, optional = cls.__struct_fields__, ()
    elif is_pydantic(cls):
        names, optional = getattr(cls, "model_fields", {}), ()
    elif dataclasses.is_dataclass(cls):
        names, optional = [field.name for field in dataclasses.fields(cls)], ()
    else:
        return None
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError) as error:
        raise UsageError(f"the annotations of {cls.__name__} cannot be read: {error}", slug="event-class") from error
    return {name: FieldHint(hints.get(name, Any), _may_be_missing(hints.get(name), name in optional)) for name in names}


def _may_be_missing(hint: object, optional: bool) -> bool:
    """A TypedDict whose annotations are texts does not know its optional keys itself."""
    origin = get_origin(hint)
    return origin is typing.NotRequired or (optional and origin is not typing.Required)


def place(cls: type | None, path: Sequence[str]) -> Place:
    """Where `path` leads in events of `cls` (None: dicts of any content); ``*`` stands for the elements of
    a list.

    Raises UnknownFieldError, and NoKeyError if the value there is a float, bytes, a dict, a list or the like.
    """
    if cls is None:
        steps: list[Step] = ["element" if name == "*" else "entry" for name in path]
        return Place(frozenset((OPEN,)), tuple(steps))
    return _follow(cls, tuple(path))


def _follow(annotation: object, path: tuple[str, ...]) -> Place:
    annotation = _bare(annotation)
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return _follow_union(get_args(annotation), path)
    if annotation in _NULLS:
        return Place(frozenset((ABSENT,)), None)
    if annotation in (Any, object) or isinstance(annotation, TypeVar):
        return Place(frozenset((OPEN, ABSENT)), None)
    if not path:
        return Place(frozenset(_leaf(annotation)), ())
    head, rest = path[0], path[1:]
    cls = origin or annotation
    if not isinstance(cls, type):
        raise NoKeyError(f"a {_text(annotation)}, which has no fields", passed=True)
    if head == "*":
        return _follow_list(annotation, cls, rest)
    fields = fields_of(cls)
    if fields is not None:
        if head not in fields:
            raise UnknownFieldError(cls, head, list(fields))
        step: Step = "entry" if typing.is_typeddict(cls) else "attribute"
        found = _follow(fields[head].annotation, rest)
        missing = frozenset((ABSENT,)) if fields[head].may_be_missing else frozenset[str]()
        return Place(found.kinds | missing, (step, *found.steps) if found.steps is not None else None)
    if issubclass(cls, dict | Mapping):
        values = get_args(annotation)[1:] or (object,)
        return Place(_follow(values[0], rest).kinds, None)
    raise NoKeyError(f"a {_text(annotation)}, which has no fields", passed=True)


def _follow_union(members: Sequence[object], path: tuple[str, ...]) -> Place:
    places = [_follow(member, path) for member in members]
    kinds = frozenset().union(*(found.kinds for found in places))
    steps = {found.steps for found in places if found.kinds != {ABSENT}}
    return Place(kinds, steps.pop() if len(steps) == 1 else None)


def _follow_list(annotation: object, cls: type, rest: tuple[str, ...]) -> Place:
    if not issubclass(cls, _LISTS) or issubclass(cls, str | bytes):
        raise NoKeyError(f"a {_text(annotation)}, which is no list", passed=True)
    items = [item for item in get_args(annotation) if item is not Ellipsis] or [object]
    found = _follow_union(items, rest)
    return Place(found.kinds, ("element", *found.steps) if found.steps is not None else None)


def may_be_null(cls: type | None, path: Sequence[str]) -> bool:
    """Whether the value at `path` may be null or missing where the one above it is there. False for unknown
    paths.
    """
    if cls is None:
        return True
    members, missing = _at(cls, path)
    return missing or any(member in _NULLS or member in (Any, object) for member in members)


def is_enum(cls: type | None, path: Sequence[str]) -> bool:
    """Whether the value at `path` is a member of an enum, or null."""
    members = [member for member in _at(cls, path)[0] if member not in _NULLS] if cls is not None else []
    return bool(members) and all(isinstance(member, enum.EnumType) for member in members)


def _at(cls: type, path: Sequence[str]) -> tuple[list[object], bool]:
    """The annotations of the value at `path`, unions taken apart, and whether it may be missing."""
    current: list[object] = [cls]
    missing = False
    for name in path:
        below: list[object] = []
        missing = False
        for member in _members(current):
            owner = get_origin(member) or member
            fields = fields_of(owner) if isinstance(owner, type) else None
            if member in (Any, object):
                below.append(member)
            elif fields is not None and name in fields:
                below.append(fields[name].annotation)
                missing = missing or fields[name].may_be_missing
            elif isinstance(owner, type) and issubclass(owner, Mapping):
                below += get_args(member)[1:] or (object,)
                missing = True
            elif name == "*":
                below += [item for item in get_args(member) if item is not Ellipsis]
        current = below
    return _members(current), missing


def _members(annotations: Sequence[object]) -> list[object]:
    """What the annotations stand for, unions taken apart."""
    found: list[object] = []
    for annotation in map(_bare, annotations):
        union = get_origin(annotation) in (Union, UnionType)
        found += _members(get_args(annotation)) if union else [annotation]
    return found


def _leaf(annotation: object) -> set[str]:
    if get_origin(annotation) is Literal:
        return {ABSENT if value is None else _value_kind(value) for value in get_args(annotation)}
    cls = get_origin(annotation) or annotation
    if not isinstance(cls, type):
        raise NoKeyError(f"a {_text(annotation)}")
    if issubclass(cls, enum.Enum):
        return {_value_kind(member.value) for member in cls}
    for known, kind in KINDS.items():
        if issubclass(cls, known):
            return {kind}
    raise NoKeyError(f"a {_text(annotation)}")


def _value_kind(value: object) -> str:
    if isinstance(value, enum.Enum):
        value = value.value
    for known, kind in KINDS.items():
        if isinstance(value, known):
            return kind
    raise NoKeyError(f"a {type(value).__name__}")


def _bare(annotation: object) -> object:
    """The annotation without what does not change its values: Annotated, NewType, aliases, Required and so
    on.
    """
    while True:
        origin = get_origin(annotation)
        if origin is typing.Annotated or origin in _WRAPPERS:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":  # Python 3.12: ``type Sku = str``
            annotation = annotation.__value__  # type: ignore[attr-defined]
        else:
            return annotation


def _text(annotation: object) -> str:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__name__
    return str(annotation).replace("typing.", "")
