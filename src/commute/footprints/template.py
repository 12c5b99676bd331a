"""Key templates: ``order/{order_id}``, and the keys that they name in an event.

A template says what a handler touches in a form that can be read without running anything: the banner shows
it, `relation` compares it with others, and an event's keys follow from it alone. This module is the plain
version; `fast` compiles the common shapes and is tested against it.

    key        = segment *("/" segment)         ``*`` may be the last segment: the subtree, the same as
    leaving it out segment    = *(text | field)                text has none of / * % { } field      = "{"
    path ["?"] "}"             ``?``: no access when null or absent path       = name *("." name)
    a name ``*`` stands for each element of a list

Fields below one list belong to one element (``{lines.*.depot}/{lines.*.sku}``: one key an element); two
lists give all pairs. Invariant: one value fills one placeholder and never leaves its segment.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

import msgspec

from commute.errors import RejectedError, UsageError
from commute.footprints.schema import ABSENT, NoKeyError, Place, UnknownFieldError, place
from commute.footprints.segment import DEPTH_MAX, SEGMENT_BYTES_MAX, segment

ACCESSES_MAX = 1_024

_PARTS = re.compile(r"\{([^{}]*)\}")
_NOT_TEXT = re.compile(r"[*%{}\x00-\x1f\x7f-\x9f]")
_PLAIN = (str, int, float, list, tuple)
_NAME = re.compile(r"[^\s.*?{}/%]+")


Wrong: TypeAlias = Callable[[str], UsageError]  # from what is wrong to the error that says where


@dataclass(frozen=True, slots=True)
class Field:
    """A placeholder. ``path`` has no empty name; ``*`` in it stands for the elements of a list."""

    path: tuple[str, ...]
    optional: bool = False

    @property
    def name(self) -> str:
        return ".".join(self.path)

    def __str__(self) -> str:
        return f"{{{self.name}{'?' if self.optional else ''}}}"


Part: TypeAlias = str | Field
Segment: TypeAlias = tuple[Part, ...]  # Invariant: not empty, and no two texts side by side


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed key template. ``segments`` is without a final ``*``; empty, it is the root: everything."""

    segments: tuple[Segment, ...]
    subtree: bool = False  # written with a final ``*``; changes nothing but how it is shown

    @property
    def fields(self) -> tuple[Field, ...]:
        return tuple(part for parts in self.segments for part in parts if isinstance(part, Field))

    def __str__(self) -> str:
        texts = ["".join(map(str, parts)) for parts in self.segments]
        return "/".join([*texts, "*"] if self.subtree else texts)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a template was written, for messages: the handler, the argument and ``file:line``."""

    handler: str
    argument: str
    where: str | None = None

    def error(self, text: str, slug: str) -> UsageError:
        return UsageError(f"{self.handler}: {text}", slug=slug, where=self.where)


def parse(text: str, site: Site) -> Template:
    """The template that `text` spells. Raises UsageError: ``template`` with what is wrong with it,
    ``key-too-deep``.
    """

    def wrong(why: str) -> UsageError:
        return site.error(f'{site.argument}="{text}": {why}', "template")

    if not isinstance(text, str):
        raise site.error(f"{site.argument}={text!r}: a key is text", "template")
    raw = text.split("/")
    subtree = raw[-1] == "*"
    if subtree:
        raw.pop()
    if any(not part for part in raw) or not text:
        raise wrong("a segment is empty; an access to everything is *")
    segments = tuple(_parse_segment(part, wrong) for part in raw)
    if len(segments) > DEPTH_MAX:
        raise site.error(f'{site.argument}="{text}": {len(segments)} segments, {DEPTH_MAX} are allowed', "key-too-deep")
    return Template(segments, subtree)


def _parse_segment(text: str, wrong: Wrong) -> Segment:
    parts: list[Part] = []
    for index, piece in enumerate(_PARTS.split(text)):
        if index % 2:
            parts.append(_parse_field(piece, wrong))
        elif piece:
            literal = unicodedata.normalize("NFC", piece)
            if _NOT_TEXT.search(literal) is not None:
                raise wrong(
                    f"{piece} cannot stand in a key: * is for the last segment alone, {{ }} hold a field's "
                    "name, and % and control characters are for encoded values"
                )
            if len(literal.encode()) > SEGMENT_BYTES_MAX:
                raise wrong(f"a segment has more than {SEGMENT_BYTES_MAX} bytes")
            parts.append(literal)
    return tuple(parts)


def _parse_field(text: str, wrong: Wrong) -> Field:
    path = tuple(text.removesuffix("?").split("."))
    if path[0] == "*" or not all(name == "*" or _NAME.fullmatch(name) for name in path):
        raise wrong(f"{{{text}}} names no field: write {{field}}, {{a.b}}, {{lines.*.sku}} or {{coupon?}}")
    return Field(path, text.endswith("?"))


def check(template: Template, cls: type | None, site: Site) -> tuple[Place, ...]:
    """Where each field of `template` leads in events of `cls`; the import-time check.

    Raises UsageError: ``unknown-field`` (with did-you-mean), ``key-type`` for what cannot be a key,
    ``optional-field`` for what may be null without a ``?``. Events without a class are checked one by one
    instead.
    """
    return tuple(_check_field(field, template, cls, site) for field in template.fields)


def _check_field(field: Field, template: Template, cls: type | None, site: Site) -> Place:
    shown = f'{site.argument}="{template}"'
    try:
        found = place(cls, field.path)
    except UnknownFieldError as error:
        text = unknown_field(error.owner.__name__, error.name, error.known)
        raise site.error(f"{shown}: {text}", "unknown-field") from None
    except NoKeyError as error:
        raise site.error(
            f"{shown}: {field} is {error}; that cannot be part of a key. Use an int, a str, a bool, a UUID, "
            "a date, a UTC datetime, an enum or a Decimal; of a list, {name.*}",
            "key-type",
        ) from None
    if cls is not None and ABSENT in found.kinds and not field.optional:
        raise site.error(optional_field(field), "optional-field")
    return found


def unknown_field(owner: str, name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known) or 'none'}"
    return f"{owner} has no field {name}; {hint}"


def optional_field(field: Field) -> str:
    return f"{field} may be null. Write {{{field.name}?}} to touch nothing then, or give the field a value."


def keys(template: Template, event: object, accesses_max: int = ACCESSES_MAX) -> list[str]:
    """The distinct keys that `template` names in `event`, in the sequence of the data; the plain version.

    O(elements of its lists, plus keys). Raises RejectedError: ``missing-field``, ``key-type``, ``key-value``,
    ``key-too-long``, ``too-many-keys`` for more than `accesses_max`.
    """
    wanted = [(slot, field.path, field) for slot, field in enumerate(template.fields)]
    found: dict[str, None] = {}
    for values in _combinations(wanted, event, accesses_max):
        found[_spell(template, iter(values))] = None
    if len(found) > accesses_max:
        raise too_many(accesses_max)
    return list(found)


def too_many(accesses_max: int) -> RejectedError:
    return RejectedError(
        f"more than {accesses_max} keys, and nothing is run with fewer. Name a subtree (order/*), split the "
        "event, or raise accesses_max",
        slug="too-many-keys",
    )


def _spell(template: Template, values: Iterator[str]) -> str:
    texts = []
    for parts in template.segments:
        text = "".join(next(values) if isinstance(part, Field) else part for part in parts)
        if len(parts) > 1 and len(text.encode()) > SEGMENT_BYTES_MAX:
            raise RejectedError(
                f"a segment of {template} is longer than {SEGMENT_BYTES_MAX} bytes", slug="key-too-long"
            )
        texts.append(text)
    return "/".join(texts)


_Wanted: TypeAlias = Sequence[tuple[int, tuple[str, ...], Field]]  # slot, path from the value at hand, field


def _combinations(wanted: _Wanted, base: object, accesses_max: int) -> list[list[str]]:
    """Every combination of segments for the wanted fields, by slot; the fields of one list vary together.

    Equal combinations are merged list by list, before lists are multiplied: the product is then as large as
    the number of keys, and can be refused before it is built.
    """
    combinations: list[dict[int, str]] = [{}]
    groups: dict[tuple[str, ...], list[tuple[int, tuple[str, ...], Field]]] = {}
    for slot, path, field in wanted:
        if "*" in path:
            star = path.index("*")
            groups.setdefault(path[:star], []).append((slot, path[star + 1 :], field))
            continue
        value = _walk(base, path, field)
        if value is None:
            return []
        combinations[0][slot] = segment(value, at=field.name)
    for prefix, members in groups.items():
        field = next((field for _, _, field in members if field.optional), members[0][2])
        elements = _elements(_walk(base, prefix, field), field)
        slots = [slot for slot, _, _ in members]
        distinct: dict[tuple[str, ...], None] = {}
        for element in elements:
            distinct.update(dict.fromkeys(map(tuple, _combinations(members, element, accesses_max))))
        if len(combinations) * len(distinct) > accesses_max:
            raise too_many(accesses_max)
        combinations = [known | dict(zip(slots, values, strict=True)) for known in combinations for values in distinct]
    return [[chosen[slot] for slot, _, _ in wanted] for chosen in combinations]


def _elements(value: object, field: Field) -> Sequence[object]:
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, set | frozenset):
        return list(value)
    raise RejectedError(
        f"{field}: expected a list, got {type(value).__name__}; without a list there is no *", slug="key-type"
    )


def _walk(value: object, path: Sequence[str], field: Field) -> object:
    """The value at `path`, or None where it is null or absent and the field may be."""
    for name in path:
        if isinstance(value, Mapping):
            value = value.get(name, msgspec.UNSET)
        elif isinstance(value, _PLAIN):  # parsed JSON: its Python attributes are no fields
            value = msgspec.UNSET
        else:
            value = getattr(value, name, msgspec.UNSET)
        if value is None or value is msgspec.UNSET:
            break
    if value is not None and value is not msgspec.UNSET:
        return value
    if field.optional:
        return None
    raise RejectedError(
        f"{field} {'is null' if value is None else 'is not in the data'}, and nothing is run with fewer "
        f"keys. Write {{{field.name}?}} if it may be so",
        slug="missing-field",
    )
