"""One abstract run of a handler: what it has touched so far, how deep it is, and how its parts call each other.

statements ─▶ expressions ─▶ calls ─▶ statements of the function that is called …
                   └▶ attributes ─▶ properties …                       plug-ins: what a library's objects do

Invariant: an effect is added once and never taken back; what is not followed adds Everything.
"""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from commute.derive.values import (
    Assembled,
    Begun,
    Computed,
    Const,
    Data,
    Either,
    Field,
    Handle,
    Items,
    Made,
    Own,
    Unknown,
    Value,
    either,
    pattern,
    shown,
    unwritten,
)
from commute.sql.schema import Schema
from commute.sql.statement import Touch

if TYPE_CHECKING:
    from commute.derive.knowledge import Knowledge

DEPTH_MAX = 60  # of calls
INSIDE = " > "  # between the application's line and the library's that it led to
STEPS_MAX = 60_000  # of statements and calls of one handler

T = TypeVar("T")
E = TypeVar("E", "TableAccess", "KeyAccess", "Everything")
Arguments: TypeAlias = Sequence[Value]
Named: TypeAlias = Mapping[str, Value]


@dataclass(frozen=True, slots=True, eq=False)
class TableAccess:
    """A touch with the values of this run in the place of parameters. `rows`: as of `Touch`; None: any row."""

    touch: Touch
    rows: tuple[dict[str, tuple[Value, ...]], ...] | None
    schema: Schema
    where: str

    @property
    def signature(self) -> str:
        """Equal for accesses that are the same."""
        rows = None
        if self.rows is not None:
            rows = [sorted((column, *map(signature, values)) for column, values in row.items()) for row in self.rows]
        touch = self.touch
        alike = pattern(value for row in self.rows or () for values in row.values() for value in values)
        return repr(
            (alike, touch.table, touch.mode, touch.kind, touch.columns and sorted(touch.columns), rows, self.where)
        )


@dataclass(frozen=True, slots=True)
class KeyAccess:
    """An access to a key that is no table: state of the program, a key of Redis, a service outside. A segment that is
    not known ends the path."""

    mode: str
    path: tuple[Value, ...]
    where: str

    @property
    def signature(self) -> str:
        return repr((self.mode, [*map(signature, self.path)], self.where, pattern(self.path)))


@dataclass(frozen=True, slots=True)
class Everything:
    """What could not be followed, where, and what would help; `around`: the function that one can say more of."""

    why: str
    where: str
    remedy: str = ""
    around: types.CodeType | None = None

    @property
    def signature(self) -> str:
        return repr((self.why, self.where))


Effect: TypeAlias = TableAccess | KeyAccess | Everything


def signature(value: Value) -> str:
    """Equal for values that cannot be told apart."""
    if isinstance(value, Handle) and value.kind == "cell":
        return f"cell {value.about['column']} of {value.about['access'].signature}"
    if isinstance(value, Const | Field | Computed):
        return shown(value)
    if isinstance(value, Assembled):
        return f"assembled {value.text!r}"
    if isinstance(value, Begun | Own) and value.start is not None:
        return f"{type(value).__name__} {signature(value.start)}"
    if isinstance(value, Either):
        return " or ".join(sorted(map(signature, value.options)))
    return type(value).__name__


def _has(code: types.CodeType, file: str, line: str) -> bool:
    """Whether a line is one of a function, or of one inside of it."""
    if not file or not code.co_filename.endswith(file):
        return False
    inner = any(isinstance(one, types.CodeType) and _has(one, file, line) for one in code.co_consts)
    return inner or any(str(number) == line for _, _, number in code.co_lines())


def _dotted(code: types.CodeType) -> str | None:
    """The name by which a function is trusted; None for one inside of another function."""
    if "<" in code.co_qualname:
        return None
    return next(
        (
            f"{name}.{code.co_qualname}"
            for name, module in list(sys.modules.items())
            if getattr(module, "__file__", None) == code.co_filename
        ),
        None,
    )


@dataclass(slots=True, eq=False)
class Frame:
    """One activation of a function. `outer`: the frame in which it was defined, for functions of this run."""

    node: ast.AST
    file: str
    line: int  # that is added to the lines of `node`
    globals: dict[str, Any]
    names: dict[str, Value] = field(default_factory=dict)
    outer: Frame | None = None
    cells: Mapping[str, Any] = field(default_factory=dict)  # of a live closure, by name
    owner: type | None = None  # the class whose method this is, for super()
    returned: list[Value] = field(default_factory=list)
    yielded: list[Value] = field(default_factory=list)
    on_yield: Callable[[Value], Value] | None = None  # what comes in the place of a yield
    trying: list[dict[str, list[Value]]] = field(default_factory=list)  # what was assigned inside of each open try
    closed: list[dict[str, Value]] = field(default_factory=list)  # names where it was left: functions in it see them
    left: list[list[dict[str, Value]]] = field(default_factory=list)  # names at break and continue, by open loop
    outside: set[str] = field(default_factory=set)  # declared global
    around: set[str] = field(default_factory=set)  # declared nonlocal
    ever: dict[str, list[Value]] = field(default_factory=dict)  # that was assigned to each name
    late: bool = False  # it runs at any time from where it came to be on
    activation: Activation = field(default_factory=lambda: Activation())
    site: str = ""  # in a library's function: the application's line that led there

    def where(self, node: ast.AST) -> str:
        here = f"{self.file}:{getattr(node, 'lineno', 0) + self.line}"
        return f"{self.site}{INSIDE}{here}" if self.site else here

    def assign(self, name: str, value: Value) -> None:
        self.names[name] = value
        self.ever.setdefault(name, []).append(value)
        for log in self.trying:
            log.setdefault(name, []).append(value)


def joined(several: Sequence[dict[str, Value]]) -> dict[str, Value]:
    """The names where several paths meet."""
    names = dict.fromkeys(name for one in several for name in one)
    return {name: either([one[name] for one in several if name in one]) or Data() for name in names}


class Plugin(Protocol):
    """What the objects of a library do. Each answer is None where it does not know the object: then the next one is
    asked, and at the end the object is not followed."""

    def wrap(self, run: Run, thing: object) -> Value | None:
        """What a live object is, if it is one of the library's."""

    def call(self, run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
        """What a call gives; effects are added to `run`."""

    def attribute(self, run: Run, value: Value, name: str, where: str) -> Value | None:
        """What an attribute is."""

    def assign(self, run: Run, value: Value, name: str, new: Value, where: str) -> bool:
        """Whether it knew what setting an attribute does, and has done it."""

    def escape(self, run: Run, value: Value, where: str) -> bool:
        """The object went where it is read as a whole, to a serialiser say: whether it knew what that touches."""


class Activation:
    """A region around a function that runs. It is no doubt by itself; what comes behind the first place where the
    function may be `left` may not be done."""

    def __init__(self) -> None:
        self.left: object | None = None


class Apart:
    """A region that runs in a context which is not known: in another thread, or called back by a library."""


class Later:
    """A region that runs in a copy of the context, and later: a coroutine that is not awaited where it is made."""


class Run:
    """See the module. `plugins` are asked in sequence."""

    def __init__(self, knowledge: Knowledge, plugins: Sequence[Plugin]) -> None:
        self.knowledge = knowledge
        self.plugins = plugins
        self.effects: dict[str, Effect] = {}  # by signature
        self.touching: set[types.CodeType] = set()  # functions in which something was touched
        self.active: list[types.CodeType | ast.AST] = []
        self.sites: list[str] = []  # where each of these was called
        self.recursed: dict[Any, tuple[list[Value], Value | None]] = {}  # of functions inside themselves: given, gives
        self.given: dict[Any, list[Value]] = {}  # to the innermost activation of each function
        self.varies: set[Any] = set()  # functions inside themselves that were given something else each time
        self.made: dict[tuple[int, int], Made] = {}
        self.steps = 0
        self.discarded: ast.expr | None = None  # the expression whose value nobody looks at
        # What was put into live places; under 0, into unknown ones.
        self.assigned: dict[tuple[int, str], list[Value]] = {}
        self.regions: list[object] = []  # around the place that is read: what may be left out, and functions
        # What this run has put into live places, and what of that may not have been done.
        self.own: dict[tuple[int, str], list[tuple[tuple[object, ...], Value]]] = {}
        self.written = False  # whether the call that is made next stands so in the code, and is made once
        self.perhaps = 0  # parts of expressions around the place that is read, which may be left out
        self.stretches: list[object] = []  # in which the run is: what is done in one may not have been done behind it
        self.swallowed = 0  # how often a block was left that may have swallowed what was raised in it
        self.raised: list[Value] = []  # by the application's own code
        self.awaited: ast.expr | None = None  # the call whose coroutine is awaited where it is made
        self.direct = False  # whether the function that is entered next is so
        self.late: list[Callable[[], object]] | None = []  # coroutines that run later than where they are made
        self.on_yield: Callable[[Value], Value] | None = None  # for the generator that is entered next
        self.kept: dict[Any, Any] = {}  # for plug-ins: what they keep over the run
        self.evaluate: Callable[[Frame, ast.expr], Value]
        self.execute: Callable[[Frame, Sequence[ast.stmt]], bool]
        self.call: Callable[..., Value]
        self.get: Callable[[Value, str, str], Value]
        self.another: Callable[[], Run]  # with nothing in it, for what is not the handler

    def add(self, effect: E) -> E:
        """Note an effect; the one that was noted first is returned."""
        looks = isinstance(effect, KeyAccess) and effect.mode == "read" and effect.path[:1] == (Const("state"),)
        if not isinstance(effect, Everything) and not looks:
            self.touching.update(code for code in self.active if isinstance(code, types.CodeType))
        return self.effects.setdefault(effect.signature, effect)  # type: ignore[return-value]

    def found(self) -> list[Effect]:
        """The effects; of what was not followed, with the line that helps."""
        return [self._advised(one) if isinstance(one, Everything) else one for one in self.effects.values()]

    def _advised(self, one: Everything) -> Everything:
        """A function that touches something is not to be trusted to touch nothing, whatever else it does."""
        name = None if one.around is None else _dotted(one.around)
        if name is None:
            return one
        declared = f"app.accesses(writes=...)({name})"
        if one.around not in self.touching:
            declared = f'app.trust("{name}") if it touches nothing, else {declared}'
        return replace(one, remedy=" or ".join(part for part in (one.remedy, declared) if part))

    @contextmanager
    def apart(self, *, left_out: bool = False) -> Iterator[None]:
        """What is done in here may be left out, or not come to its end: a branch, a turn of a loop, a call, a block.
        `left_out`: it is a part of an expression, so no branch of statements says so."""
        self.stretches.append(object())
        self.perhaps += left_out
        self.regions += [object()] if left_out else []
        try:
            yield
        finally:
            if left_out:
                self.regions.pop()
            self.perhaps -= left_out
            self.stretches.pop()

    def doubts(self) -> tuple[object, ...]:
        """Why what is done here may not have been done when the run is behind it, one object for each reason."""
        marks = (one.left if isinstance(one, Activation) else one for one in self.regions)
        return tuple(one for one in marks if one is not None)

    def tail_of(self, items: Items) -> list[Value]:
        """The last elements of a list, as far as they are known where the run is."""
        if items.known is not None:
            return items.known
        if items.tail is None:
            return []
        last, where = items.tail
        return last if where == tuple(self.stretches[: len(where)]) else []

    def put_own(self, place: tuple[int, str], value: Value) -> None:
        """This run sets an attribute or a global of the program. Whoever else sets it waits for this event."""
        self.own.setdefault(place, []).append((self.doubts(), unwritten(value)))

    def within(self, region: object, body: Callable[[], T]) -> T:
        """What the body gives, which is read in a region of its own: it may not be run, or not to its end."""
        self.regions.append(region)
        try:
            return body()
        finally:
            self.regions.pop()

    def own_at(self, place: tuple[int, str]) -> tuple[list[Value], bool]:
        """What this run has put at a place, and whether it certainly has, so that nothing else is there."""
        found: list[Value] = []
        certain = False
        now = self.doubts()
        for doubts, value in self.own.get(place, ()):
            if all(one in now for one in doubts):
                certain = True
                if not any(isinstance(one, Later | Apart) and one not in doubts for one in now):
                    found = []  # else it runs when something else may be there
            found.append(value)
        return found, certain

    def each(self, value: Value, body: Callable[[Value], T]) -> list[T]:
        """What the body gives of each of what a value may be, of which only one is there in a real run."""
        if not isinstance(value, Either):
            return [body(value)]
        found = []
        for option in value.options:
            with self.apart(left_out=True):
                found.append(body(option))
        return found

    def how_much_is_put(self) -> dict[tuple[int, str], int]:
        """For `doubt`."""
        return {place: len(put) for place, put in self.own.items()}

    def doubt(self, before: Mapping[tuple[int, str], int]) -> None:
        """What was put into places since then may not have been put there after all."""
        mark = object()
        for place, put in self.own.items():
            known = before.get(place, 0)
            put[known:] = [((*doubts, mark), value) for doubts, value in put[known:]]

    def widen(self, why: str, where: str, remedy: str = "") -> Unknown:
        """Note that anything may be touched here; the value is not known either. To say what the function does in which
        it is helps too, and is all that can be done where that is a library's."""
        around = None if "app." in remedy else self._function_around(where)
        self.add(Everything(why, where, remedy, around))
        return Unknown(why)

    def _function_around(self, where: str) -> types.CodeType | None:
        """The innermost named function around a place, which can be declared; None in the handler itself. What is
        active inside of it is a context manager, whose ``with`` has the place in its body."""
        file, _, line = where.rpartition(INSIDE)[2].rpartition(":")
        named = (code for code in reversed(self.active[1:]) if isinstance(code, types.CodeType))
        inside = (code for code in named if code is not self.active[0] and _has(code, file, line))
        return next((code for code in inside if _dotted(code) is not None), None)

    def step(self, where: str) -> bool:
        """Whether the run may go on: it is bounded."""
        self.steps += 1
        if self.steps > STEPS_MAX:
            self.widen("this handler leads too far to be followed", where)
            return False
        return True

    def stop(self) -> bool:
        return self.steps > STEPS_MAX

    def data(self, why: str = "") -> Data:
        return Data(why)
