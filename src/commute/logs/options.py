"""What a person may say about a log: the roles of its fields, and how its text is written."""

from __future__ import annotations

from dataclasses import dataclass, fields

from commute.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """All that can be said of a log; None: find out. What is found out becomes a note with the option that changes it.

    `guess`: also guess which fields are keys, and an encoding that is not UTF-8. Only for what nobody runs: a wrong key
    costs speed, but a missing one costs order.
    """

    type_field: str | None = None
    time_field: str | None = None
    id_field: str | None = None
    key_fields: tuple[str, ...] = ()  # each gives keys whose type is the field's name
    data_field: str | None = None  # what it holds is the event; what stands around it is an envelope
    case_field: str | None = None  # gives keys of type "case"
    resource_field: str | None = None  # gives keys of type "resource"
    mode_field: str | None = None  # how the event touches its keys: r, w, a, or a commutative class
    delimiter: str | None = None  # one character
    encoding: str | None = None  # a name that Python knows
    time_format: str | None = None  # as of strptime: %d.%m.%Y %H:%M
    guess: bool = False

    def refuse(self, name: str, format_name: str, *meaningless: str) -> None:
        """Raise UsageError if one of these was said: this format says it itself."""
        for field in fields(self):
            if field.name in meaningless and getattr(self, field.name) is not None:
                option = "--" + field.name.replace("_", "-")
                raise UsageError(f"{name}: {format_name} needs no {option}: it says that itself", slug="bad-log")
