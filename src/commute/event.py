"""Events: immutable facts with a type name; `Event` is the base class for those who have no classes yet.

An event class is any of `Event`, msgspec.Struct, dataclass, TypedDict or pydantic model. `Event` adds two
things to a Struct: it is frozen and keyword-only without being told so, and it knows its type name. It has
no fields of its own, so that users may call theirs ``id``, ``type``, ``time`` or ``source``: what
CloudEvents calls so belongs to the message and is found on the context, not on the event.

Invariant: a class has one type name, its own: a subclass does not inherit it, since two classes with one
name could not be told apart on arrival.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, dataclass_transform

import msgspec

from commute.errors import UsageError

Rename: TypeAlias = Literal["lower", "upper", "camel", "pascal", "kebab"]

_TYPE_ATTRIBUTE = "__commute_type__"  # a dunder: no user's field can have this name by accident
_WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])")
_NOT_IN_TYPE = re.compile(r"[\s\x00-\x1f\x7f]")


def snake_case(name: str) -> str:
    """The type name that a class name stands for: ``SKUAdded`` gives ``sku_added``."""
    return _WORD_START.sub("_", name).lower().strip("_")


def check_type_name(name: str) -> str:
    """`name` itself, if it can be the type of an event: one word, not empty. Raises UsageError
    (``event-type``).
    """
    if not isinstance(name, str) or not name or _NOT_IN_TYPE.search(name):
        raise UsageError(f"{name!r} cannot be the type of an event: give one word, no spaces", slug="event-type")
    return name


class EventMeta(msgspec.StructMeta):
    """The metaclass of `Event`: makes each class frozen, keyword-only and named.

    ``type=`` is the type name; all other keywords are those of msgspec.Struct.
    """

    def __new__(
        mcls,
        name: str,
        bases: tuple[Any, ...],
        namespace: dict[str, Any],
        *,
        type: str | None = None,
        **config: Any,
    ) -> EventMeta:
        if not (config.setdefault("frozen", True) and config.setdefault("kw_only", True)):
            raise UsageError(f"{name}: an event is frozen and keyword-only", slug="event-type")
        cls = super().__new__(mcls, name, bases, namespace, **config)
        setattr(cls, _TYPE_ATTRIBUTE, snake_case(name) if type is None else check_type_name(type))
        return cls


# On the class, not on its metaclass: msgspec marks Struct itself, and type checkers take the nearest mark.
@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Event(msgspec.Struct, metaclass=EventMeta, frozen=True, kw_only=True):
    """Base class of events: frozen, keyword-only, compared by value; no fields of its own.

    ``class OrderCreated(Event): order_id: int`` has the type ``order_created``; to choose another one,
    ``class OrderCreated(Event, type="shop.order.created")``. Values are checked when the event is published
    and when it arrives, not when it is made.
    """

    if TYPE_CHECKING:

        def __init_subclass__(
            cls,
            *,
            type: str | None = None,
            rename: Rename | Mapping[str, str] | Callable[[str], str | None] | None = None,
            omit_defaults: bool = False,
            forbid_unknown_fields: bool = False,
            eq: bool = True,
            repr_omit_defaults: bool = False,
            gc: bool = True,
            weakref: bool = False,
            dict: bool = False,
            cache_hash: bool = False,
        ) -> None: ...


def has_own_type(cls: type) -> bool:
    """Whether the class carries a type name itself (an `Event`), so that a registration may not rename it."""
    return isinstance(cls, EventMeta)


def event_type(cls: type) -> str:
    """The type name of an event class: what ``type=`` gave it, else its name in snake case."""
    own = cls.__dict__.get(_TYPE_ATTRIBUTE)
    return own if isinstance(own, str) else snake_case(cls.__name__)
