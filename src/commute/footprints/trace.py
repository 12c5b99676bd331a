"""The template behind a function of the event, found by calling it with a recorder instead of an event.

``lambda e: f"order/{e.order_id}"`` is good to write: editors complete it, type checkers check it, renames
follow. But it hides its shape, and it would put values into keys unencoded. So it is called with an object
that hands out placeholders; what comes back is a template. That is believed only if it cannot depend on the
values: a placeholder that is compared, tested, measured or calculated with ends the trace, and the function
is called again with lists empty and of two elements and with fields null, in every combination. Each run
must give just what the template would give; then the template is used from that on, and the function is not
called any more.

Invariant: a traced function gives, for every event, the keys of its template (with values encoded). Where
that is not certain the answer is `Untraceable` with the reason; that costs speed in `explain`, never order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, combinations
from typing import Any, NoReturn, TypeAlias

from commute.errors import UsageError
from commute.footprints.opaque import opaque_test
from commute.footprints.schema import NoKeyError, UnknownFieldError, is_enum, may_be_null, place
from commute.footprints.template import Field, Site, Template, optional_field, parse

_VARIATIONS_MAX = 8  # lists and nullable fields; twice as many runs for each more
_MARK = re.compile("\x01([^\x01\x02]*)\x02([^\x02]*)\x02")  # path, and the elements it leads through
_PAD = "~" * 40
_NAME = re.compile(r"[^\s.*?{}/%|\x00-\x1f]+")

Path: TypeAlias = tuple[str, ...]
Keyed: TypeAlias = tuple[str, Template]  # mode and template
_Switch: TypeAlias = tuple[str, Path]  # "empty" or "null", and of what
_Spelled: TypeAlias = tuple[Keyed, tuple[int, ...]]  # and the elements that its fields came from


@dataclass(frozen=True, slots=True)
class Untraceable:
    """The function has no template that we can be sure of; `why` says what it did."""

    why: str


def trace_keys(function: Callable[[Any], object], cls: type | None, site: Site) -> tuple[Template, ...] | Untraceable:
    """The templates of a function that gives one key or several, or why there are none.

    Calls it a few times with a recorder of `cls` (None: a dict). Raises UsageError (``optional-field``,
    ``template``) for what is wrong whatever the event.
    """
    traced = _trace(function, cls, site, "")
    return traced if isinstance(traced, Untraceable) else tuple(template for _, template in traced)


def trace_accesses(function: Callable[[Any], object], cls: type | None, site: Site) -> tuple[Keyed, ...] | Untraceable:
    """As `trace_keys`, for a function that gives Access(key, mode)."""
    return _trace(function, cls, site, None)


class _Stop(BaseException):
    """The function looked at a value."""


@dataclass(slots=True)
class _Run:
    """One call: which lists are empty or have two elements, which fields are null, and what was seen on the
    way.
    """

    cls: type | None
    empty: frozenset[Path] = frozenset()
    null: frozenset[Path] = frozenset()
    elements: int = 1
    blank: bool = False  # every placeholder is formatted as an empty text
    pad: str = ""  # makes marks longer
    lists: dict[Path, None] = field(default_factory=dict)
    fields: dict[Path, None] = field(default_factory=dict)
    iterations: int = 0
    stopped: str = ""

    def stop(self, why: str) -> NoReturn:
        self.stopped = self.stopped or why  # kept, should the function swallow what we raise
        raise _Stop(why)

    def child(self, parent: Recorder, name: str) -> object:
        if name == "value" and is_enum(self.cls, parent._commute_path):
            return parent  # a key has the value of the member anyway
        path = (*parent._commute_path, name)
        if not _NAME.fullmatch(name):
            self.stop(f"the name {name!r} cannot stand in a template")
        try:
            place(self.cls, path)
        except UnknownFieldError as error:
            if hasattr(error.owner, name):
                self.stop(f"it uses {error.owner.__name__}.{name}, which is no field")
        except NoKeyError as error:
            if error.passed:
                self.stop(f"it uses .{name} of {'.'.join(parent._commute_path)}, which is {error}")
        self.fields[path] = None
        return None if path in self.null else Recorder(self, path, parent._commute_ids)


class Recorder:
    """Stands for a value of the event: the event itself, a part, an element of a list. All it can do is be
    named.
    """

    __slots__ = ("_commute_ids", "_commute_path", "_commute_run")

    def __init__(self, run: _Run, path: Path, ids: tuple[int, ...]) -> None:
        self._commute_run = run
        self._commute_path = path
        self._commute_ids = ids

    @property  # type: ignore[misc]  # isinstance asks for it, and must get the event's class
    def __class__(self) -> type:
        if self._commute_path:
            self._commute_run.stop(f"it asks for the class of {self._commute_name()}")
        return self._commute_run.cls or dict

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        if name == "get":
            return self._commute_get
        return self._commute_run.child(self, name)

    def __getitem__(self, name: object) -> object:
        if not isinstance(name, str):
            self._commute_run.stop(f"it takes single elements of {self._commute_name()}")
        return self._commute_run.child(self, name)

    def _commute_get(self, name: str, *default: object) -> object:
        if any(value is not None for value in default):
            self._commute_run.stop("it gives .get() a default")
        return self._commute_run.child(self, name)

    def __iter__(self) -> Iterator[object]:
        run, path = self._commute_run, self._commute_path
        if not path:
            run.stop("it iterates over the event")
        run.lists[path] = None
        for _ in range(0 if path in run.empty else run.elements):
            run.iterations += 1
            yield Recorder(run, (*path, "*"), (*self._commute_ids, run.iterations))

    def __str__(self) -> str:
        if not self._commute_path:
            self._commute_run.stop("it formats the whole event")
        if self._commute_run.blank:
            return ""
        ids = ",".join(map(str, self._commute_ids))
        return f"\x01{'.'.join(self._commute_path)}\x02{ids}{self._commute_run.pad}\x02"

    def __format__(self, spec: str) -> str:
        if spec:
            self._commute_run.stop(f"it formats {self._commute_name()} with :{spec}")
        return str(self)

    def __add__(self, other: object) -> str:
        return str(self) + self._commute_text(other)

    def __radd__(self, other: object) -> str:
        return self._commute_text(other) + str(self)

    def _commute_text(self, other: object) -> str:
        if type(other) is not str:
            self._commute_run.stop(f"it calculates with {self._commute_name()}")
        return other

    def _commute_name(self) -> str:
        return ".".join(self._commute_path) or "the event"


def _stopping(verb: str) -> Callable[..., NoReturn]:
    def stop(self: Recorder, *operands: object) -> NoReturn:
        self._commute_run.stop(f"it {verb} {self._commute_name()}")

    return stop


_LOOKS = {
    "compares": ("eq", "ne", "lt", "le", "gt", "ge", "hash"),
    "tests": ("bool", "contains"),
    "reverses": ("reversed",),  # no len here: list() asks for it, so `opaque_test` looks for it instead
    "calculates with": (
        *(
            "sub",
            "rsub",
            "mul",
            "rmul",
            "truediv",
            "rtruediv",
            "floordiv",
            "rfloordiv",
            "mod",
            "rmod",
            "pow",
            "rpow",
        ),
        *(
            "and",
            "rand",
            "or",
            "ror",
            "xor",
            "rxor",
            "lshift",
            "rlshift",
            "rshift",
            "rrshift",
            "divmod",
            "rdivmod",
        ),
        *("neg", "pos", "abs", "invert", "round", "int", "index", "float", "complex", "bytes", "trunc"),
    ),
    "shows": ("repr",),
    "calls": ("call",),
    "awaits": ("await", "enter", "aiter"),
}
for _verb, _names in _LOOKS.items():
    for _name in _names:
        setattr(Recorder, f"__{_name}__", _stopping(_verb))


def _trace(
    function: Callable[[Any], object], cls: type | None, site: Site, mode: str | None
) -> tuple[Keyed, ...] | Untraceable:
    hidden = opaque_test(function)
    try:
        found = _Trace(function, cls, site, mode).result()
    except _Failed as failed:
        return Untraceable(hidden or str(failed))
    except _Stop as stop:  # says more than `hidden` does: which field was looked at
        return Untraceable(str(stop))
    except UsageError:
        if not hidden:
            raise
        return Untraceable(hidden)
    return Untraceable(hidden) if hidden else found


@dataclass(slots=True)
class _Trace:
    function: Callable[[Any], object]
    cls: type | None
    site: Site
    mode: str | None  # of all its keys; None: the function gives Access(key, mode)

    def result(self) -> tuple[Keyed, ...]:
        base, spelled = self.run(_Run(self.cls), first=True)
        known = tuple(dict.fromkeys(keyed for keyed, _ in spelled))
        optional: list[Path] = []
        lists: list[Path] = []
        seen: set[frozenset[_Switch]] = set()
        runs = [base]  # whose fields and lists have not been looked at yet: each may show new ones
        while runs:
            lists += [path for run in runs for path in run.lists if path not in lists]
            fields = dict.fromkeys(path for run in runs for path in run.fields)
            optional += [path for path in fields if path not in optional and self.is_optional(path, known)]
            switches = [("empty", path) for path in lists] + [("null", path) for path in optional]
            if len(switches) > _VARIATIONS_MAX:
                raise _Stop("it uses too many lists and nullable fields to be sure")
            chosen = [subset for subset in _subsets(switches) if subset not in seen]
            seen.update(chosen)
            runs = [self.check_without(subset, known) for subset in chosen]
        self.check_twice(known)
        self.check_text(known)
        return tuple((mode, _with_optional(template, optional)) for mode, template in known)

    def is_optional(self, path: Path, known: tuple[Keyed, ...]) -> bool:
        """Whether the function, where this nullable field is null, leaves out the keys that it is part of."""
        if not may_be_null(self.cls, path):
            return False
        try:
            _, spelled = self.run(_Run(self.cls, null=frozenset((path,))))
        except _Failed:
            return False  # required: the template rejects an event without it, too
        given = {keyed for keyed, _ in spelled}
        if given == {keyed for keyed in known if not _uses(keyed[1], path)}:
            return True
        if given != {(mode, _none_for(template, path)) for mode, template in known}:
            raise _Stop(f"it tests whether {'.'.join(path)} is null")
        if self.cls is not None:
            raise self.site.error(optional_field(Field(path)), "optional-field")
        return False

    def check_without(self, chosen: frozenset[_Switch], known: tuple[Keyed, ...]) -> _Run:
        empty = frozenset(path for what, path in chosen if what == "empty")
        null = frozenset(path for what, path in chosen if what == "null")
        run, spelled = self.run(_Run(self.cls, empty=empty, null=null))
        without = {keyed for keyed in known if not any(_uses(keyed[1], path) for path in (*empty, *null))}
        if {keyed for keyed, _ in spelled} != without:
            paths = ", ".join(".".join(path) for path in (*empty, *null))
            raise _Stop(f"its other keys depend on whether {paths or 'something'} is empty or null")
        return run

    def check_twice(self, known: tuple[Keyed, ...]) -> None:
        """Two elements in each list: every template once for each combination of elements."""
        _, spelled = self.run(_Run(self.cls, elements=2))
        for keyed in known:
            times = len({ids for other, ids in spelled if other == keyed})
            lists = {path[: i + 1] for path in _paths(keyed[1]) for i, name in enumerate(path) if name == "*"}
            if times != 2 ** len(lists):
                raise _Stop("it does not treat all elements of a list alike")
        if {keyed for keyed, _ in spelled} != set(known):
            raise _Stop("it does not treat all elements of a list alike")

    def check_text(self, known: tuple[Keyed, ...]) -> None:
        """Nothing depends on the text of placeholders: with longer marks the same, without any just the
        rest.
        """
        _, longer = self.run(_Run(self.cls, pad=_PAD))
        if {keyed for keyed, _ in longer} != set(known):
            raise _Stop("it looks at formatted text")
        wanted = {(mode, _MARK.sub("", text)) for mode, text in self.texts(_Run(self.cls))}
        if set(self.texts(_Run(self.cls, blank=True))) != wanted:
            raise _Stop("it looks at formatted text")

    def run(self, run: _Run, *, first: bool = False) -> tuple[_Run, list[_Spelled]]:
        """What the function gives under the conditions of `run`. Raises _Stop, and _Failed if the function
        raises.

        In the first run a template that cannot be parsed is an error of the user's.
        """
        try:
            return run, [self.spell(mode, text) for mode, text in self.texts(run)]
        except UsageError as error:
            if first:
                raise
            raise _Stop(f"it gives no key: {error.message}") from error

    def texts(self, run: _Run) -> list[tuple[str, str]]:
        """Mode and text of each key that the function gives, marks in it."""
        try:
            given = list(self.call(run))
        except _Stop:
            raise
        except Exception as error:
            if run.stopped:
                raise _Stop(run.stopped) from error
            raise _Failed(f"it raised {type(error).__name__}: {error}") from error
        if run.stopped:
            raise _Stop(run.stopped)
        found = []
        for mode, key in given:
            text = str(key) if type(key) is Recorder else key
            if type(text) is not str or type(mode) is not str:
                raise _Stop(f"it gave {type(text).__name__} for a key")
            found.append((mode, text))
        return found

    def call(self, run: _Run) -> Iterable[tuple[str, object]]:
        given = self.function(Recorder(run, (), ()))
        if self.mode is None:
            return [(mode, key) for key, mode in given]  # type: ignore[attr-defined]
        # By exact type: isinstance would ask a recorder for its class.
        if type(given) is str or (type(given) is Recorder and not self.is_list(given)):
            return [(self.mode, given)]
        keys: Iterable[Any] = sorted(given) if type(given) in (set, frozenset) else given  # type: ignore
        return [(self.mode, key) for key in keys]

    def is_list(self, recorder: Recorder) -> bool:
        try:
            place(self.cls, recorder._commute_path)
        except NoKeyError as error:
            return not error.passed
        except UnknownFieldError:
            return False
        return False

    def spell(self, mode: str, text: str) -> _Spelled:
        """The template in a text with marks, and the elements that its fields came from."""
        if {"\x01", "\x02"} & set(_MARK.sub("", text)):
            raise _Stop("it takes formatted text apart")
        if "{" in text or "}" in text or "%" in text or "?" in text:
            raise _Stop("its text has { } % or ?")
        origin: dict[Path, int] = {}
        for match in _MARK.finditer(text):
            path = tuple(match[1].split("."))
            stars = [path[: i + 1] for i, name in enumerate(path) if name == "*"]
            for star, element in zip(stars, filter(None, match[2].rstrip("~").split(",")), strict=True):
                if origin.setdefault(star, int(element)) != int(element):
                    raise _Stop(f"it combines elements of {'.'.join(star[:-1])} with each other")
        template = parse(_MARK.sub(lambda match: f"{{{match[1]}}}", text), self.site)
        return (mode, template), tuple(origin.values())


class _Failed(_Stop):
    """The function raised."""


def _subsets(switches: list[_Switch]) -> Iterable[frozenset[_Switch]]:
    return map(frozenset, chain.from_iterable(combinations(switches, n) for n in range(len(switches) + 1)))


def _paths(template: Template) -> list[Path]:
    return [known.path for known in template.fields]


def _uses(template: Template, path: Path) -> bool:
    return any(known[: len(path)] == path for known in _paths(template))


def _none_for(template: Template, path: Path) -> Template:
    """The template as it comes out when the function formats None."""
    segments = []
    for parts in template.segments:
        pieces: list[str | Field] = []
        for part in parts:
            piece = "None" if isinstance(part, Field) and part.path == path else part
            if pieces and isinstance(piece, str) and isinstance(pieces[-1], str):
                pieces[-1] += piece
            else:
                pieces.append(piece)
        segments.append(tuple(pieces))
    return Template(tuple(segments), template.subtree)


def _with_optional(template: Template, optional: list[Path]) -> Template:
    def marked(part: str | Field) -> str | Field:
        if isinstance(part, Field) and any(part.path[: len(path)] == path for path in optional):
            return Field(part.path, optional=True)
        return part

    return Template(tuple(tuple(map(marked, parts)) for parts in template.segments), template.subtree)
