"""Bytes to events and back, checked in both directions; one `Codec` per registered event.

Constructors of Structs and dataclasses do not look at types, so a wrong event would be stored, confirmed
and then rejected on arrival, when its producer is long gone. Therefore `encode` checks as strictly as
`decode`. Whatever is wrong, both raise RejectedError (slug ``invalid-data``) and nothing else: bytes come
from anybody.

Invariant: decoding a Struct is one call into msgspec. JSON has no NaN and no infinity: they are refused on
both sides instead of becoming null. Source of the texts: msgspec's, without its quotes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, is_typeddict
from uuid import UUID

import msgspec

from commute.errors import RejectedError, UsageError
from commute.event import check_type_name, event_type, has_own_type

if TYPE_CHECKING:
    from pydantic import BaseModel

# Kept as they are while an event is checked, so that a str in a UUID field is seen as the str it is.
_EXACT = (bytes, bytearray, datetime, date, time, timedelta, UUID, Decimal)

_Functions: TypeAlias = tuple[Callable[[bytes], object], Callable[[object], bytes], Callable[[bytes], object]]

Kind = Literal["struct", "dataclass", "typeddict", "pydantic", "dict"]


@dataclass(frozen=True, slots=True)
class Codec:
    """How the data of one event type is read and written.

    `cls` is the registered class, None for a type name alone: then events are dicts. `decode` gives an
    instance of `cls` from JSON bytes; `encode` gives JSON bytes that `decode` accepts. Both raise
    RejectedError (``invalid-data``) that names the field, and nothing else. About 0.5 µs (decode) and 1 µs
    (encode) for a small Struct.
    """

    event_type: str
    cls: type | None
    kind: Kind
    decode: Callable[[bytes], object]
    encode: Callable[[object], bytes]
    decode_text: Callable[[bytes], object]  # as `decode`, where a text may stand for what the class says: "42" for 42

    def recorded(self, data: Mapping[str, object], *, spare: Collection[str] = (), text: bool = False) -> bytes:
        """JSON of the event that a log has as `data`; if that cannot be one, as it stands, for the intake to refuse.

        Fields in `spare` may be the event's or not: they stay if its class takes them. `text`: the values are those of
        a table, so a number is taken out of its text where the class has a number, and an empty cell is missing. Raises
        ValueError and TypeError for what is no JSON.
        """
        whole = _json(data)
        if self.cls is None:
            return whole
        for fields in (data, {name: value for name, value in data.items() if name not in spare}):
            if _accepts(self.decode, plain := _json(fields)):
                return plain
            filled = {name: value for name, value in fields.items() if value != ""}
            for cells in (fields, filled) if text else ():
                try:
                    return self.encode(self.decode_text(_json(cells)))
                except RejectedError:
                    continue
        return whole

    @property
    def name(self) -> str:
        """What messages call the event: the class, or the type name in quotes."""
        return self.cls.__name__ if self.cls is not None else f'"{self.event_type}"'


def kind_of(cls: type) -> Kind:
    """Which of the supported kinds an event class is. Raises UsageError (``event-class``) for any other
    object.
    """
    if isinstance(cls, type):
        if issubclass(cls, msgspec.Struct):
            return "struct"
        if is_typeddict(cls):
            return "typeddict"
        if is_pydantic(cls):
            return "pydantic"
        if dataclasses.is_dataclass(cls):
            return "dataclass"
    raise UsageError(
        f"{getattr(cls, '__name__', cls)!s} is no event: give an Event, a msgspec.Struct, a dataclass, "
        "a TypedDict, a pydantic model, or a type name",
        slug="event-class",
    )


def is_pydantic(cls: type) -> bool:
    """Whether `cls` is a pydantic model. Never imports pydantic: a model's module has done so already."""
    pydantic = sys.modules.get("pydantic")
    model = getattr(pydantic, "BaseModel", None)
    return isinstance(model, type) and issubclass(cls, model)


def codec_for(event: type | str, *, type_name: str | None = None) -> Codec:
    """The codec of an event class or type name; `type_name` renames a plain class.

    Raises UsageError: ``event-class`` for what is no event, ``event-type`` for a name that cannot be one.
    """
    if isinstance(event, str):
        if type_name is not None:
            raise UsageError(f"type= renames a class, and {event!r} is a type name already", slug="event-type")
        return Codec(check_type_name(event), None, "dict", *_msgspec_functions(dict))
    kind = kind_of(event)
    if type_name is not None and has_own_type(event):
        raise UsageError(
            f'{event.__name__} is an Event: name it there, class {event.__name__}(Event, type="{type_name}")',
            slug="event-type",
        )
    name = check_type_name(type_name or event_type(event))
    if kind == "pydantic":
        return Codec(name, event, kind, *_pydantic_functions(cast("type[BaseModel]", event)))
    try:
        return Codec(name, event, kind, *_msgspec_functions(event))
    except (TypeError, NameError) as error:
        raise UsageError(f"{event.__name__} cannot be read from JSON: {error}", slug="event-class") from error


def describe(error: BaseException) -> str:
    """The text of a refused value as messages show it: ``expected int, got str at $.order_id``."""
    text = str(error).replace("`", "").replace(" - at ", " at ")
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeError):
        return f"text that is not UTF-8: {text}"
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _msgspec_functions(cls: type) -> _Functions:
    decode_json: Callable[[bytes], object] = msgspec.json.Decoder(cls).decode
    encode_json = msgspec.json.Encoder().encode
    expected = dict if is_typeddict(cls) else cls

    def decode(data: bytes) -> object:
        try:
            return decode_json(data)
        except Exception as error:
            raise _refusal(describe(error)) from error

    def decode_text(data: bytes) -> object:
        try:
            return msgspec.json.decode(data, type=cls, strict=False)
        except Exception as error:
            raise _refusal(describe(error)) from error

    def check(event: object) -> None:
        """The plain version: raises what is wrong with `event`, value by value."""
        plain = msgspec.to_builtins(event, builtin_types=_EXACT)
        _check_finite(plain, "$")
        msgspec.convert(plain, cls, builtin_types=_EXACT, strict=True)

    def encode(event: object) -> bytes:
        if not isinstance(event, expected):
            raise _refusal(f"expected {cls.__name__}, got {type(event).__name__}")
        try:
            data = encode_json(event)
            # What reads back as an equal event is right; what does not may still be (a tuple where a list is
            # meant), so the plain version decides.
            with contextlib.suppress(msgspec.MsgspecError):
                if decode_json(data) == event:
                    return data
            check(event)
            decode_json(data)
        except RejectedError:
            raise
        except Exception as error:
            raise _refusal(describe(error)) from error
        return data

    return decode, encode, decode_text


def _pydantic_functions(cls: type[BaseModel]) -> _Functions:
    from pydantic import ValidationError

    plain_json = msgspec.json.Decoder().decode  # refuses NaN, infinity and bombs, which pydantic's own parser takes
    validate_json = cls.model_validate_json

    def decode(data: bytes, strict: bool = True) -> object:
        try:
            plain_json(data)
            return validate_json(data, strict=strict)
        except ValidationError as error:
            raise _refusal(_first_of(error.errors(include_url=False))) from error
        except Exception as error:
            raise _refusal(describe(error)) from error

    def encode(event: object) -> bytes:
        if not isinstance(event, cls):
            raise _refusal(f"expected {cls.__name__}, got {type(event).__name__}")
        try:
            _check_finite(event.model_dump(), "$")
            data = event.model_dump_json(by_alias=True, round_trip=True, warnings=False).encode()
        except RejectedError:
            raise
        except Exception as error:
            raise _refusal(describe(error)) from error
        decode(data)
        return data

    return decode, encode, partial(decode, strict=False)


def _json(data: Mapping[str, object]) -> bytes:
    return json.dumps(data, ensure_ascii=False, allow_nan=False).encode()


def _accepts(decode: Callable[[bytes], object], data: bytes) -> bool:
    try:
        decode(data)
    except RejectedError:
        return False
    return True


def _first_of(errors: Sequence[Mapping[str, Any]]) -> str:
    first = errors[0]
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    text = str(first["msg"])
    return f"{text[:1].lower()}{text[1:]} at ${path}"


def _check_finite(value: object, path: str) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _refusal(f"{value} is no number in JSON, at {path}")
    elif isinstance(value, dict):
        for name, part in value.items():
            _check_finite(part, f"{path}.{name}")
    elif isinstance(value, list | tuple | set | frozenset):
        for index, part in enumerate(value):
            _check_finite(part, f"{path}[{index}]")


def _refusal(text: str) -> RejectedError:
    return RejectedError(text, slug="invalid-data")
