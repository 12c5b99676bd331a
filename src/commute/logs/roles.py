"""Which field of a table or of JSON records is the type, the time, the id; which are keys.

What the user names is taken; the rest is guessed from names that logs use, and every guess becomes a
note, with the option that overrides it. Keys are guessed only where nobody runs anything by them
(`LogOptions.guess`), save for the standard columns of case logs (IEEE 1849, XES, as written to CSV): a wrong key
costs speed, a missing one costs order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as with_default

from commute.logs.base import Builder, Touched, no_field, object_id
from commute.logs.modes import mode_of
from commute.logs.options import LogOptions

# Without case, blanks and punctuation, the likeliest first.
TYPES = ("conceptname", "type", "eventtype", "activity", "event", "eventname", "kind", "action", "topic")
# What says what happened where nothing else does: a column of states is as good, and people write their own language.
_STATES = ("status", "state", "step", "stage", "task", "operation", "vorgang", "aktivität", "ereignis", "schritt")
TIMES = (
    *("timetimestamp", "time", "timestamp", "ts", "datetime", "eventtime", "occurredat", "createdat", "date"),
    *("tsms", "unixts", "unixtime", "epoch", "starttime", "starttimestamp"),
)
TYPES_AROUND = ("detailtype", "name")  # only of an envelope: an event that has its own fields may be a person
_NAMES_INSIDE = ("type", "name", "kind", "action")  # of what happened, in an object that is called like a type
_LEVELS_MAX = 3  # of objects in objects, in which keys are looked for
IDS = ("id", "eventid", "uuid", "msgid", "messageid")
_CASES = ("caseid", "case", "caseno", "casenumber", "traceid", "processinstance")
_RESOURCES = ("orgresource", "resource", "orggroup")
# Times that only a person would see as such: a guess beyond the well-known names.
_TIME_PARTS = re.compile(r"(date|time|timestamp)$")
DATE = re.compile(r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})(?!\d)")
# What else is called like a key: a noun with an ending, or a bare noun that owns things.
_KEY_ENDINGS = re.compile(r"(id|no|nr|num|number|nummer|key|code|ref|uuid|sku)$")
_KEY_NOUNS = frozenset(
    [
        *(
            "account",
            "agent",
            "article",
            "author",
            "case",
            "cart",
            "clerk",
            "client",
            "contract",
            "customer",
            "device",
            "employee",
        ),
        *("file", "host", "invoice", "item", "job", "machine", "meter", "node", "order", "parcel", "patient"),
        *("product", "resource", "room", "sensor", "session", "shipment", "stock", "subject", "supplier", "ticket"),
        *("user", "vehicle", "warehouse"),
        *("artikel", "auftrag", "bestellung", "fahrzeug", "gerät", "konto", "kunde", "lager", "lieferant", "maschine"),
        *("mitarbeiter", "rechnung"),
    ]
)

CASE = "case:concept:name"
RESOURCE = ("org:resource", "org:group")

UNTYPED = "event"  # the type of every event of a log that has no such field


@dataclass(frozen=True, slots=True)
class Roles:
    """The field of each role, None where there is none; `keys` are pairs of field and object type.

    `spare`: those of `id` and `time` that were guessed, where handlers may take them for fields of the event.
    `case` and `resource` give keys of those two types; of `resource` the first field that has a value. `classes` counts
    the commutative classes that `mode` named.
    """

    type: str | None = None
    time: str | None = None
    id: str | None = None
    keys: tuple[tuple[str, str], ...] = ()
    case: str | None = None
    resource: tuple[str, ...] = ()
    mode: str | None = None
    spare: tuple[str, ...] = ()
    classes: Counter[str] = with_default(default_factory=Counter)

    @property
    def has_keys(self) -> bool:
        return bool(self.keys or self.case or self.resource)


def assign(
    name: str,
    fields: Mapping[str, int],
    builder: Builder,
    options: LogOptions,
    *,
    paths: bool,
    sample: Sequence[Mapping[str, object]] = (),
    objects: bool = False,
    inside: Mapping[str, int] | None = None,
) -> Roles:
    """The roles of the fields that a log has, with notes on all that was guessed.

    `fields` counts the records that have each; `sample` are some of them; `objects`: the records list what they touch,
    so keys need not be guessed. `inside`: the fields of what envelopes hold; then `fields` are those of the envelopes,
    which say what happened and when, and the keys lie inside. Raises UsageError for a named field that no record has;
    with `paths`, a name with dots (``order.id``) need only begin with one.
    """
    named = (options.type_field, options.time_field, options.id_field, options.mode_field)
    every = fields if inside is None else {**fields, **inside}
    for given in (*named, options.case_field, options.resource_field, *options.key_fields):
        if given is not None:
            _must_exist(name, given, every, paths)
    taken = {given for given in named if given is not None}
    nested = {f for f in fields if any(isinstance(record.get(f), dict | list) for record in sample)}
    names = TYPES if inside is None else (*TYPES, *TYPES_AROUND)
    kind = options.type_field or _guess(fields, names, taken | nested)
    if kind is None and options.guess:
        kind = _guess(fields, _STATES, taken | nested)
    if kind is None and paths:
        kind = _guess_inside(nested - taken, sample)
    taken |= {kind} if kind else set()
    time = options.time_field or _guess(fields, TIMES, taken)
    if time is None and options.guess:
        time = next((f for f in fields if f not in taken and _looks_like_time(f, sample)), None)
    taken |= {time} if time else set()
    identity = options.id_field or _guess(fields, IDS, taken)
    if identity is not None and not options.id_field and _comes_again(identity, sample):
        # Not of an event, but of what the events are about; an event's own id comes again where it was sent twice.
        builder.note(f"{identity} comes again, so it identifies no event; --id-field names what does")
        identity = None
    taken |= {identity} if identity else set()
    _note_roles(builder, options, kind, time, identity)
    case, resource = _case_log(fields if inside is None else inside, builder, options, objects=objects)
    keys = options.key_fields
    if options.guess and not (keys or case or resource or objects):
        keys = _guess_keys(fields, taken, sample) if inside is None else _guess_keys(inside, set(), sample)
        if not keys and paths and inside is None:
            keys = _guess_keys(dict.fromkeys(_paths(sample), 1), taken, sample)
        if keys:
            builder.note(f"keys: {', '.join(keys)} (guessed; --key FIELD, once for each, names others)")
    # What nobody runs is read as data of the id and the time once only.
    guessed = ((time, options.time_field), (identity, options.id_field)) if not options.guess else ()
    spare = tuple(f for f, said in guessed if f is not None and said is None and inside is None)
    return Roles(kind, time, identity, tuple((f, f) for f in keys), case, resource, options.mode_field, spare)


def _note_roles(
    builder: Builder, options: LogOptions, kind: str | None, time: str | None, identity: str | None
) -> None:
    if kind is None:
        builder.note(f"no field looks like the type, so every type is {UNTYPED!r}; --type-field names it")
    elif not options.type_field:
        builder.note(f"type: {kind} (guessed; --type-field names another)")
    if time is None:
        builder.note("no field looks like the time; --time-field names it")
    elif not options.time_field:
        builder.note(f"time: {time} (guessed; --time-field names another)")
    if identity and not options.id_field:
        builder.note(f"id: {identity} (guessed; --id-field names another)")


def _case_log(
    fields: Mapping[str, int], builder: Builder, options: LogOptions, *, objects: bool
) -> tuple[str | None, tuple[str, ...]]:
    """The fields of case and resource: as named, as the standard columns, or, where that is allowed, as guessed."""
    case = options.case_field
    resource: tuple[str, ...] = (options.resource_field,) if options.resource_field else ()
    if options.key_fields:
        return case, resource
    guessed = False
    if case is None and CASE in fields:
        case, guessed = CASE, True
    elif case is None and options.guess and not objects and not resource:
        case = _guess(fields, _CASES, set())
        guessed = case is not None
    if case is not None and not resource:
        resource = tuple(f for f in RESOURCE if f in fields)
        if not resource and options.guess and (found := _guess(fields, _RESOURCES, {case})):
            resource = (found,)
    if guessed:
        shown = " else ".join(resource)
        builder.note(
            f"keys: case = {case}" + (f", resource = {shown}" if shown else "")
            + " (guessed; --case-field, --resource-field and --key name others)"
        )  # fmt: skip
    return case, resource


def named_keys(key_fields: Sequence[str]) -> Roles:
    """Roles for a format that has its own type, time and id: keys only."""
    return Roles(keys=tuple((field, field) for field in key_fields))


def must_occur(name: str, roles: Roles, records: Iterable[Mapping[str, object]]) -> None:
    """Raise UsageError for a key field of `named_keys` that no record has: misspelt, it would lose order in silence."""
    missing = {field for field, _ in roles.keys}
    known: dict[str, None] = {}
    for record in records:
        missing -= record.keys()
        if not missing:
            return
        known.update(dict.fromkeys(record))
    for field, _ in roles.keys:
        if field in missing:
            raise no_field(name, field, known)


def note_no_keys(builder: Builder, fields: Iterable[str]) -> None:
    """Say that no event names an object, and how to tell which fields are keys."""
    names = ", ".join(fields)
    builder.note("no keys: events touch nothing; " + (f"--key FIELD names them, of: {names}" if names else "no fields"))


def keys_of(roles: Roles, lookup: Callable[[str], object], empty: dict[str, int]) -> tuple[Touched, ...]:
    """The keys of one record, whose fields `lookup` gives (None: absent). Lists give one key an element.

    `empty` counts, per field, the records without a value: these do not touch that key. Raises ValueError
    for a value that cannot be a key, and for a mode that is none.
    """
    found: list[Touched] = []
    mode: str | None = None
    if roles.mode is not None and not _is_nothing(word := lookup(roles.mode)):
        mode = mode_of(word, roles.classes)
    if roles.case is not None:
        _append(found, roles.case, "case", lookup(roles.case), mode, empty)
    if roles.resource:
        resource = next((f for f in roles.resource if not _is_nothing(lookup(f))), roles.resource[0])
        _append(found, resource, "resource", lookup(resource), mode, empty)
    for field, kind in roles.keys:
        _append(found, field, kind, lookup(field), mode, empty)
    return tuple(found)


def _append(
    found: list[Touched], field: str, kind: str, value: object, mode: str | None, empty: dict[str, int]
) -> None:
    if _is_nothing(value):
        empty[field] = empty.get(field, 0) + 1
        return
    elements = value if isinstance(value, list) else [value]
    found.extend((kind, object_id(element, f"key field {field}"), mode) for element in elements)


def field_of(record: Mapping[str, object], field: str) -> object:
    """The value of a field, or of a path with dots where there is no field of that name; None where
    absent."""
    if field in record or "." not in field:
        return record.get(field)
    value: object = record
    for part in field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _is_nothing(value: object) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _comes_again(name: str, sample: Sequence[Mapping[str, object]]) -> bool:
    values = [str(record[name]) for record in sample if not _is_nothing(record.get(name))]
    return plain_name(name) == "id" and len(set(values)) < len(values)


def _looks_like_time(name: str, sample: Sequence[Mapping[str, object]]) -> bool:
    """Whether a field is called like a time, or nearly all its sampled values are written like dates."""
    values = [str(record[name]) for record in sample if not _is_nothing(record.get(name))]
    dates = sum(DATE.match(value) is not None for value in values)
    return dates * 10 >= 9 * len(values) if dates else _TIME_PARTS.search(plain_name(name)) is not None


def plain_name(field: str) -> str:
    """A field's name without case, blanks and punctuation, to be compared."""
    return "".join(c for c in field.casefold() if c.isalnum())


def _guess(fields: Mapping[str, int], names: Sequence[str], without: set[str]) -> str | None:
    """The field that most records have, of those whose name is among `names`; the likeliest name where
    equal."""
    plain = {f: plain_name(f) for f in fields if f not in without}
    found = [f for f, short in plain.items() if short in names]
    return min(found, key=lambda f: (-fields[f], names.index(plain[f])), default=None)


def _guess_inside(nested: Iterable[str], sample: Sequence[Mapping[str, object]]) -> str | None:
    """The type where it is a name inside of an object: ``event.name``."""
    for field in sorted(nested, key=plain_name):
        if plain_name(field) not in TYPES:
            continue
        for name in _NAMES_INSIDE:
            if all(isinstance(field_of(record, f"{field}.{name}"), str) for record in sample):
                return f"{field}.{name}"
    return None


def _paths(sample: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """The fields inside of the objects that records hold, by path, down to a few levels; lists are not entered."""
    for record in sample:
        level = [("", record)]
        for _ in range(_LEVELS_MAX):
            below = [(f"{path}{name}.", held) for path, at in level for name, held in at.items()]
            level = [(path, held) for path, held in below if isinstance(held, dict)]
            yield from (path + name for path, held in level for name in held)


def _guess_keys(fields: Mapping[str, int], taken: set[str], sample: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """The fields that are called like keys and whose sampled values can be some: whole, short, not nested."""
    return tuple(
        f
        for f in fields
        if f not in taken
        and (
            (short := plain_name(f.rpartition(".")[2])) in _KEY_NOUNS
            or short.removesuffix("s") in _KEY_NOUNS
            or _KEY_ENDINGS.search(short)
        )
        and all(map(_can_be_key, (field_of(record, f) for record in sample)))
    )


def _can_be_key(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_can_be_key, value))
    whole = isinstance(value, (str, int)) or (isinstance(value, float) and value.is_integer())
    return value is None or (whole and len(str(value)) <= 128)


def _must_exist(name: str, field: str, fields: Mapping[str, int], paths: bool) -> None:
    if field in fields or (paths and field.partition(".")[0] in fields):
        return
    raise no_field(name, field, fields)
