"""What an expression may be in an abstract run: known, taken from the event, made on the way, or not known.

    Const      one Python value                     Made       an object of a class, made in this run
    Field      data of the event, by path           Items      a list, tuple, set or iterator
    Computed   a pure function of such values       Entries    a dict
    Live       an object of the running program     Closure    a function that was defined in this run
    Data       plain data, nobody knows which       Either     one of several
    Begun      Data: a text whose beginning is known
    Count      Data: a whole number
    Assembled  Data: SQL of pieces of which each may be left out
    Mosaic     Data: a text of pieces in any sequence
    Own        plain data that no other event has
    Unknown    anything, a way to the outside too   Handle     what a plug-in knows: a connection, a query, a row

Invariant: `Data` has no way to anything but itself: no method of it has an effect. What may have is `Unknown`.
"""

from __future__ import annotations

import ast
import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import product
from typing import Any, TypeAlias

from commute.derive.trusted import touches_nothing

SEVERAL = "\0"  # behind a piece of a text that stands there any number of times
_SPELLED = (float, Decimal, datetime.datetime, datetime.time, tuple, frozenset)  # that may be equal and look otherwise
EITHER_MAX = 12  # of what an expression may be; more is not known


@dataclass(frozen=True, slots=True, eq=False)
class Const:
    value: Any

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Const) or type(self.value) is not type(other.value):
            return False
        same = bool(self.value == other.value)
        return same and (not isinstance(self.value, _SPELLED) or repr(self.value) == repr(other.value))

    def __hash__(self) -> int:
        return hash(type(self.value).__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Certain(Const):
    """A Const that is this one in every run, so that it decides conditions: which database an engine is of. It is not
    equal to a Const that looks like it, which may be another one when the handler runs."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certain) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value)


@dataclass(frozen=True, slots=True, eq=False)
class Written(Const):
    """A Const that stands in the code itself, a literal or the default of a parameter, so that it decides conditions:
    a parameter that is not given is None in every run. It is equal to a Const of the same value, and one of both is
    that Const: where paths meet, it decides no more."""


@dataclass(frozen=True, slots=True)
class Field:
    """Data of the event at `path`; ``*`` stands for each element of a list. `hint` is its annotation.

    `draws` says for each ``*`` when the element was taken from its list: fields of one draw belong to one element, of
    two draws or of None perhaps to two.
    """

    path: tuple[str, ...]
    hint: Any = field(default=Any, compare=False)
    draws: tuple[object, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Computed:
    """A pure function of `parts`, which are Const, Field and Computed; `name` is how it is shown."""

    name: str
    function: Callable[..., Any] = field(compare=False)
    parts: tuple[Value, ...]


STORED = "as it is stored"  # the name of a conversion that is made for a database, and undone by reading


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """An object of the running program, as Python has it now."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Live) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@dataclass(frozen=True, slots=True)
class Data:
    """`why` it is not known."""

    why: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Begun(Data):
    """A text that certainly begins with `start`, which is known from the event; nobody knows how it goes on."""

    start: Value = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Was(Data):
    """What may be another one when the handler runs than `now`."""

    now: Any = field(kw_only=True, compare=False)


@dataclass(frozen=True, slots=True)
class Count(Data):
    """A whole number: how many there are of something. `last`: of a list, what stands at that number in it, from 1 on,
    and before; that stays there until its `Items.moved` is another one."""

    last: tuple[Value, ...] = ()
    of: Any = None
    moved: object = None


SOME = "\1"  # around a piece of a text that may be left out, or come several times


@dataclass(frozen=True, slots=True)
class Assembled(Data):
    """A text in whose place stands one of several, `text` without some of the pieces between `SOME`. `counted` are the
    parameters that it names ``:counted0``, ``:counted1`` …, by their number in a list."""

    text: str = field(kw_only=True)
    counted: tuple[Count, ...] = ()


@dataclass(frozen=True, slots=True)
class Mosaic(Data):
    """A text that is put together from these pieces, nobody knows which of them, how often and in which sequence."""

    pieces: tuple[str, ...] = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Own:
    """Plain data that no other event has: the event's id, and what is made from it or from chance one to one. `start`:
    of a text, what it begins with. `of`: the table whose row has it as its number, which a row of another may have
    too."""

    why: str = field(default="", compare=False)
    start: Value | None = field(default=None, kw_only=True)
    of: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class Unknown:
    why: str = field(compare=False)


@dataclass(slots=True, eq=False)
class Made:
    """An object of `cls` made in this run. Attributes that were set several times are Either."""

    cls: type
    attributes: dict[str, Value] = field(default_factory=dict)
    complete: bool = True  # False: it was not made here; its attributes are known by annotation alone
    state: str = ""  # what keys call it where it outlives the handler: made by the lifespan


@dataclass(slots=True, eq=False)
class Items:
    """`known` in sequence, None where only `element` is known: any of them. `kind`: list, tuple, set, iterator.

    `head`: where not all is known, the first ones. `tail`: the last ones, while the run is where they came to be so
    (`Run.apart`). `moved`: another one whenever something else was done to a list than to put elements behind it.
    """

    kind: str
    known: list[Value] | None
    element: Value | None = None
    again: Callable[[], Value | None] | None = None  # of a generator: what it yields when it is run here
    state: str = ""  # as of Made
    view: Callable[[], list[Value] | None] | None = None  # what is in the dict that this looks at, where all is known
    placed: Callable[[], bool] | None = None  # of a view: whether all of that is certainly there
    head: list[Value] | None = None
    tail: tuple[list[Value], tuple[object, ...]] | None = None
    moved: object = None

    def any(self) -> Value | None:
        """One of them; None for none at all."""
        return either([*(self.known or ()), *([self.element] if self.element is not None else [])])


def lazily(made: Items, make: Callable[[], Value]) -> Items:
    """An iterator that runs where it is consumed, and sees what has changed since it was `made`."""

    def again() -> Value | None:
        later = make()
        known = later.known if isinstance(later, Items) else None
        if made.known is None or known is None or len(known) != len(made.known):
            now = later.any() if isinstance(later, Items) else later
            made.known, made.element = None, either([one for one in (made.any(), now) if one is not None])
        else:
            made.known = [either(both) or both[0] for both in zip(made.known, known, strict=True)]
        return made.any()

    made.kind, made.again = "iterator", again
    return made


@dataclass(slots=True, eq=False)
class Entries:
    """`known` by constant key; `other`: values under keys that are not known."""

    known: dict[Any, Value] = field(default_factory=dict)
    other: Value | None = None
    key: Value | None = None  # of those in `other`
    state: str = ""  # as of Made
    grows: bool = False  # a key that is looked up is there from then on
    holder: Any = None  # the object whose attributes these are
    sure: bool = True  # False: an entry that is known may not be there
    make: Callable[[], Value] | None = None  # what is put under a key that is looked up

    def any(self) -> Value | None:
        return either([*self.known.values(), *([self.other] if self.other is not None else [])])


@dataclass(slots=True, eq=False)
class Closure:
    """A function of this run: its syntax, what it sees, its defaults; `owner` the class that it was found in."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    frame: Any  # the Frame in which it was defined
    defaults: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Bound:
    """A function with its first argument."""

    function: Value
    first: Value


@dataclass(slots=True, eq=False)
class Handle:
    """Something that a plug-in knows, with what it keeps of it."""

    kind: str
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Either:
    options: tuple[Value, ...]


Value: TypeAlias = (
    Const | Field | Computed | Live | Data | Own | Unknown | Made | Items | Entries | Closure | Bound | Handle | Either
)


def either(values: Iterable[Value]) -> Value | None:
    """One of several; None for none. Too many plain ones are Data, too many others Unknown."""
    found: dict[Value, None] = {}
    for value in values:
        for option in value.options if isinstance(value, Either) else (value,):
            if isinstance(option, Field | Computed | Begun) and option in found:
                known = next(one for one in found if one == option)
                if list(draws_of(known)) != list(draws_of(option)):
                    del found[known]
                    option = drawn(known, None)
            if option in found and isinstance(option, Const) and not isinstance(option, Written):
                del found[option]
            found.setdefault(option)
    if len(found) > 1 and any(isinstance(option, Unknown) for option in found):
        return next(option for option in found if isinstance(option, Unknown))
    if len(found) > EITHER_MAX:
        plain = all(is_plain(option) or (isinstance(option, Handle) and option.kind == "cell") for option in found)
        if plain:
            return _of_texts(found) or Data("one of too many values")
        return Unknown("one of too many objects")
    if len(found) <= 1:
        return next(iter(found), None)
    return Either(tuple(found))


TEXTS_MAX = 64  # that are known of a text which is one of many, or of such pieces


def _of_texts(several: Iterable[Value]) -> Mosaic | None:
    """One of many texts as one that is put together from them; None where one of them is not known, or none is a
    text."""
    pieces: dict[str, None] = {}
    for one in several:
        if isinstance(one, Mosaic):
            pieces |= dict.fromkeys(one.pieces)
        elif isinstance(one, Assembled):
            pieces[one.text.replace(SOME, "").replace(SEVERAL, "")] = None
        elif isinstance(one, Const) and isinstance(one.value, str):
            pieces[one.value.replace(SEVERAL, "")] = None
        elif isinstance(one, Count) or (isinstance(one, Const) and type(one.value) is int):
            pieces["1"] = None  # a number, whichever
        else:
            return None
    return Mosaic("one of many texts", pieces=tuple(sorted(pieces))) if 0 < len(pieces) <= TEXTS_MAX else None


def mosaic(several: Iterable[Value]) -> Mosaic | None:
    """A text that is put together from such texts, in whatever sequence; None where one of them is not known."""
    return _of_texts(option for value in several for option in options(value))


def draws_of(value: Value) -> Iterator[tuple[tuple[str, ...], object]]:
    """The lists that a value goes through, up to and with the ``*``, each with its draw."""
    if isinstance(value, Field) and value.draws:
        stars = [value.path[: at + 1] for at, name in enumerate(value.path) if name == "*"]
        yield from zip(stars, value.draws, strict=False)
    elif isinstance(value, Computed):
        for part in value.parts:
            yield from draws_of(part)
    elif isinstance(value, Begun):
        yield from draws_of(value.start)


def drawn(value: Value, draw: object) -> Value:
    """The value as it is taken from where it was kept: what was kept together is still of one element. `draw` None:
    it is not known with what it belongs together."""
    if isinstance(value, Field) and value.draws:
        taken = tuple(None if draw is None or one is None else (one, draw) for one in value.draws)
        return Field(value.path, value.hint, taken)
    if isinstance(value, Computed):
        return Computed(value.name, value.function, tuple(drawn(part, draw) for part in value.parts))
    if isinstance(value, Begun):
        return Begun(value.why, start=drawn(value.start, draw))
    if isinstance(value, Either):
        return Either(tuple(drawn(one, draw) for one in value.options))
    if isinstance(value, Items) and value.kind == "tuple" and value.known is not None:
        return Items("tuple", [drawn(one, draw) for one in value.known])
    return value


def together(values: Sequence[Value]) -> int:
    """How many of the values, from the first on, certainly belong to one element of each list that they go through."""
    seen: dict[tuple[str, ...], object] = {}
    for at, value in enumerate(values):
        for star, draw in draws_of(value):
            if star in seen and (draw is None or seen[star] != draw):
                return at
            seen[star] = draw
    return len(values)


def pattern(values: Iterable[Value]) -> tuple[int, ...]:
    """Which of the fields in the values were drawn together: equal for values that differ in nothing else."""
    draws = [draw for value in values for _, draw in draws_of(value)]
    return tuple(-1 if draw is None else draws.index(draw) for draw in draws) if len(draws) > 1 else ()


def unwritten(value: Value) -> Value:
    """The value where others may put another one in its place: it decides nothing."""
    return Const(value.value) if isinstance(value, Written) else value


def options(value: Value) -> Sequence[Value]:
    """What it may be, one by one."""
    return value.options if isinstance(value, Either) else (value,)


def is_plain(value: Value) -> bool:
    """Whether it is data that can be told from the event, or at least has no way to the outside."""
    return all(isinstance(option, Const | Field | Computed | Data | Own) for option in options(value))


def is_harmless(value: Value) -> bool:
    """Whether there is nothing of the application's in it that could be handed back, however deep."""
    for option in options(value):
        if isinstance(option, Items | Entries):
            inside = option.any()
            if inside is not None and not is_harmless(inside):
                return False
        elif isinstance(option, Live):
            if not touches_nothing(option.value if callable(option.value) else type(option.value)):
                return False
        elif not is_plain(option) and not (isinstance(option, Handle) and option.kind == "method"):
            return False
    return True


def is_known(value: Value) -> bool:
    """Whether it can be computed from the event."""
    return isinstance(value, Const | Field | Computed)


def is_stored(value: Value) -> bool:
    """Whether it, or one of what it may be, is what a column holds, which is not what reading it gives."""
    return any(isinstance(option, Computed) and option.name == STORED for option in options(value))


def compute(name: str, function: Callable[..., Any], parts: Sequence[Value]) -> Value:
    """The pure function of values: known where all are, one of several where a part is, else plain data."""
    if not all(map(is_plain, parts)):
        return Data(f"{name} of what is not known")
    combinations = list(product(*map(options, parts)))
    if len(combinations) > EITHER_MAX:
        return Data(f"{name} of too many values")
    found = [_computed(name, function, combination) for combination in combinations]
    return either(found) or Data(name)


_FORMATTED = re.compile(r"\{[^{}]*:[^{}]*\}")  # a format may cut off what tells values apart


def _computed(name: str, function: Callable[..., Any], parts: tuple[Value, ...]) -> Value:
    if not all(map(is_known, parts)):
        if name in ("str", "builtins.str") and len(parts) == 1 and isinstance(parts[0], Begun):
            return parts[0]
        own = [part for part in parts if isinstance(part, Own)]
        one_to_one = name in ("str", "builtins.str", "hex") or (name.startswith("f'") and not _FORMATTED.search(name))
        if len(own) == 1 and one_to_one and all(isinstance(part, Const | Own) for part in parts):
            return own[0]
        return Data(f"{name} of what is not known")
    if all(isinstance(part, Const) for part in parts):
        try:
            return Const(function(*(part.value for part in parts if isinstance(part, Const))))
        except Exception:  # noqa: BLE001 - it fails in the run too, and goes another way there
            return Data(f"{name} fails")
    return Computed(name, function, parts)


def shown(value: Value) -> str:
    """An expression as people read it: ``{order_id}``, ``upper({sku})``, ``'paid'``."""
    if isinstance(value, Const):
        return repr(value.value)
    if isinstance(value, Field):
        return "{" + ".".join(value.path) + "}"
    if isinstance(value, Computed):
        return f"{value.name}({', '.join(map(shown, value.parts))})"
    if isinstance(value, Begun):
        return f"{shown(value.start)}…"
    if isinstance(value, Either):
        return " or ".join(map(shown, value.options))
    return getattr(value, "why", "") or type(value).__name__.lower()
