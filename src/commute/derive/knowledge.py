"""What is known of an application beyond the code of one handler: what is trusted, declared, named, and what
changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from commute.derive.values import Const, Value
from commute.sql.schema import Schema


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a function of the application is said to touch, in templates over its parameters: ``order/{order_id}``."""

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()


@dataclass(slots=True)
class Knowledge:
    """`schema_for` gives the schema of a live connection; `changing` are paths of the program's own state
    that some handler writes, found by the runs before this one."""

    trusted: frozenset[str] = frozenset()
    declared: dict[object, Declaration] = field(default_factory=dict)
    schema: Schema = field(default_factory=Schema)  # of the app's own tables in its store
    changing: set[tuple[str, ...]] = field(default_factory=set)
    names: dict[int, str] = field(default_factory=dict)
    kept: list[object] = field(default_factory=list)  # what has a name, so that no other object gets its id
    schemas: dict[int, Schema] = field(default_factory=dict)
    written: Callable[[str], Schema] = lambda dialect: Schema({}, dialect)  # what the code itself defines
    later: dict[tuple[str, int, str], Value | None] = field(default_factory=dict)  # what `writers` found
    state: Value | None = None  # what the lifespan yields
    stored: dict[str, bool] = field(default_factory=dict)  # whether any function of the application sets an attribute
    put: dict[int, Value] = field(default_factory=dict)  # into live containers, by handlers (`kept`)
    unfilled: set[int] = field(default_factory=set)  # empty containers that only their function has: its defaults
    variables: dict[int, Value] = field(default_factory=dict)  # put into variables of contexts, as `put`
    singletons: dict[int, Value] = field(default_factory=dict)  # what providers of containers make once
    news: int = 0  # how often something was found there that was not there in the runs before
    setting_up: dict[object, int] = field(default_factory=dict)  # functions that it is running now
    schema_for: Callable[[object], Schema | None] = lambda thing: None
    schema_in: Callable[[str], Schema | None] = lambda path: None  # of a file of SQLite's

    def name_of(self, thing: object, place: str | None = None) -> str:
        """One name for each object that outlives a handler: of the `place` where it was met first, if that is said,
        else of its class, numbered."""
        known = self.names.get(id(thing))
        if known is None:
            kind = type(thing)
            base = f"{kind.__module__}.{kind.__qualname__}" if kind.__module__ != "builtins" else kind.__qualname__
            if place is not None:
                base = place
            elif isinstance(thing, type):
                base = f"{thing.__module__}.{thing.__qualname__}"
            taken, number = set(self.names.values()), 1
            known = base
            while known in taken:
                number += 1
                known = f"{base}#{number}"
            self.names[id(thing)] = known
            self.kept.append(thing)
        return known

    def is_trusted(self, names: Iterable[str]) -> bool:
        """Whether the application says of a function, by one of its names, that it touches nothing."""
        return any(name in self.trusted for name in names)

    def changes(self, path: Sequence[Value]) -> bool:
        """Whether some handler may write at this path, above it or below it."""
        mine = tuple(str(part.value) for part in path if isinstance(part, Const))
        return any(mine[: len(other)] == other[: len(mine)] for other in self.changing)
