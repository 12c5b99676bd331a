"""Who may import whom: the rooms of the house, from the ground up.

A room may import itself and the rooms listed for it; a module alone at the top is a room of its own.
Imports under ``if TYPE_CHECKING`` load nothing and are free. A new room has to be added here, on purpose.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.house.tree import PACKAGE, SOURCE, modules, project, tree

GROUND = ("errors", "limits", "ids", "event", "wording")
PURE = (*GROUND, "core")
READING = (*PURE, "codec", "footprints", "logs", "handler", "context", "router")
STORING = (*GROUND, "database", "core.murmur2", "core.watermark", "core.footprint", "transports.base")
RUNNING = (*READING, "database", "store", "executors", "transports.base", "runtime")
ALL = (*RUNNING, "derive", "sql", "inference", "embedded", "postgres", "transports", "link", "receiving", "app", "")
# "" is the public face, commute/__init__.py

# Room -> what it may import besides itself. A name with a dot allows that module only.
ROOMS: dict[str, tuple[str, ...]] = {
    "errors": (),
    "limits": ("errors",),
    "ids": (),
    "wording": (),
    "event": ("errors", "limits", "ids"),
    "core": GROUND,
    "cloudevents": (*GROUND, "transports.base"),
    "codec": PURE,
    "footprints": (*PURE, "codec"),
    "logs": (*PURE, "footprints"),
    "analysis": (*PURE, "footprints", "logs"),
    "context": (*RUNNING, "transports.base"),
    "handler": (*PURE, "codec", "footprints"),
    "router": READING,
    "database": ("errors",),
    "embedded": (*GROUND, "database"),
    "transports": (*STORING, "embedded", "cloudevents"),
    "store": STORING,
    "executors": STORING,
    "runtime": (*RUNNING, "embedded.guard"),  # a handler process may not open the store either
    "postgres": (*GROUND, "database", "embedded.inflight", "store.schema", "transports.rows", "transports.finding"),
    "link": (*RUNNING, "embedded", "postgres", "transports", "cloudevents"),
    "receiving": (*STORING, "runtime.receipts", "store.receipts", "transports", "link"),
    "sql": (*GROUND, "footprints"),
    "derive": (*READING, "sql"),
    "inference": (*READING, "derive"),
    "observe": (*RUNNING, "sql", "derive", "inference", "embedded.block", "embedded.database", "postgres.block"),
    "sanitizer": ("errors", "observe.watch"),
    "app": (
        *RUNNING,
        "inference",
        "transports",
        "link",
        "receiving",
        "cloudevents",
        "cli.run",
        "sanitizer",
    ),  # App.run loads the command
    "": (*RUNNING, "app", "cloudevents"),
    "bridge": (*STORING, "core.retry", "runtime.world", "transports", "link"),
    "measure": ALL,
    "cli": (
        *ALL,
        "sanitizer",
        "observe",
        "analysis",
        "bridge",
        "demo",
        "replay",
        "measure",
        "report",
        "rehearsal",
        "trail",
        "verify",
    ),
    "demo": (*ALL, "replay"),
    "trail": (*PURE, "report"),
    "replay": (*ALL, "analysis", "report", "trail"),
    "report": (*PURE, "analysis"),
    "rehearsal": ALL,
    "verify": (*ALL, "rehearsal", "observe", "sanitizer"),
    "testing": (
        *ALL,
        "observe",
        "sanitizer",
        "demo",
        "replay",
        "cli",
        "bridge",
        "measure",
        "report",
        "rehearsal",
        "verify",
    ),
    "__main__": ("cli",),
}

# The pure rooms may use what computes and nothing that acts: no clock, no chance, no thread, no file.
PURE_STDLIB = frozenset(
    {"__future__", "abc", "array", "bisect", "collections", "dataclasses", "enum", "functools", "heapq"}
    | {"itertools", "math", "operator", "struct", "types", "typing"}
)
ONLY_COMPUTE = ("core", "analysis")
ACTS = frozenset({"open", "print", "input", "exec", "eval", "__import__"})

# Library -> the rooms (or modules) that may touch it. One room per library keeps it replaceable.
CLIENTS: dict[str, tuple[str, ...]] = {
    "apsw": ("embedded", "transports.sqlite", "transports.sqlite_doctor", "logs", "rehearsal", "demo"),
    "click": ("cli",),
    "confluent_kafka": (
        "transports.kafka",
        "transports.kafka_claim",
        "transports.kafka_client",
        "transports.kafka_doctor",
        "transports.kafka_reading",
        "transports.kafka_sending",
    ),
    "paho": ("transports.mqtt", "transports.mqtt_line", "transports.mqtt_doctor"),
    "pika": (
        "transports.rabbitmq",
        "transports.rabbitmq_claim",
        "transports.rabbitmq_connection",
        "transports.rabbitmq_doctor",
    ),
    "distributed": ("executors.dask",),
    "sqlglot": ("sql",),
    "sqlalchemy": ("derive.sqlalchemy",),
    "psycopg": ("postgres",),
    "pydantic": ("codec",),
    "watchfiles": ("cli",),
    "zmq": ("transports.zeromq",),
}
# sqlite3 would be a second copy of SQLite on one file; pickle runs what it reads.
# Rooms that are loaded as a whole where they are needed, so that a library may stand at the top of their modules.
LATE = ("sql", "derive", "observe")
BANNED = frozenset({"sqlite3", "pickle", "marshal", "shelve"})


class Import(NamedTuple):
    """One imported module as written, and where."""

    by: str
    target: str
    line: int
    lazy: bool  # inside a function: loaded at its first call

    def __str__(self) -> str:
        path = modules()[self.by]
        return f"{path}:{self.line}: {self.by} imports {self.target}"


def is_typing_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports_of(name: str) -> list[Import]:
    """The imports of one module, ``from x import y`` resolved to ``x.y`` where that is a module."""

    def walk(node: ast.AST, *, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and is_typing_guard(child):
                for other in child.orelse:
                    yield from walk(other, lazy=lazy)
                continue
            if isinstance(child, ast.Import):
                yield from (Import(name, alias.name, child.lineno, lazy) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{name}:{child.lineno}: imports are absolute here"
                base = child.module or ""
                for alias in child.names:
                    inner = f"{base}.{alias.name}"
                    yield Import(name, inner if inner in modules() else base, child.lineno, lazy)
            inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, lazy=inside)

    return list(walk(tree(modules()[name]), lazy=False))


def room_of(name: str) -> str:
    """``commute.core.schedule`` -> ``core``; ``commute`` itself -> ````."""
    return name.split(".")[1] if "." in name else ""


def inner_name(name: str) -> str:
    return name.removeprefix(PACKAGE).removeprefix(".")


def product_imports() -> list[Import]:
    return [found for name in modules() for found in imports_of(name)]


def own(found: Import) -> bool:
    return found.target == PACKAGE or found.target.startswith(PACKAGE + ".")


def allowed(found: Import, table: dict[str, tuple[str, ...]]) -> bool:
    """Whether the table lets this module of ours be imported from that room."""
    here, there = room_of(found.by), room_of(found.target)
    if here == there:
        return True
    inner = inner_name(found.target)
    return any(inner == entry or (entry and "." not in entry and there == entry) for entry in table[here])


def test_every_room_is_in_the_table() -> None:
    rooms = {room_of(name) for name in modules()}
    assert rooms <= ROOMS.keys(), f"rooms without rules: {sorted(rooms - ROOMS.keys())}; add them to ROOMS"


def test_rooms_import_only_what_the_table_allows() -> None:
    bad = [str(found) for found in product_imports() if own(found) and not allowed(found, ROOMS)]
    assert not bad, "\n".join(bad)


def test_no_product_module_imports_testing() -> None:
    bad = [
        str(found)
        for found in product_imports()
        if own(found) and room_of(found.target) == "testing" and room_of(found.by) != "testing"
    ]
    assert not bad, "\n".join(bad)


# Not transports but what one is made of, or what all share; every other module there is one broker's, and has its name
# alone or in front of an underscore: kafka, kafka_reading.
SHARED_PARTS = {"base", "finding", "groups", "mailbox", "trust", "waiting", "wire"}
PARTS = {"sqlite": {"rows", "offers"}, "sqlite_doctor": {"rows"}}


def test_a_transport_knows_no_sibling() -> None:
    def part_of(found: Import) -> bool:
        by, target = found.by.rpartition(".")[2], found.target.rpartition(".")[2]
        same = by.partition("_")[0] == target.partition("_")[0]
        return same or target in SHARED_PARTS or target in PARTS.get(by, ())

    bad = [
        str(found)
        for found in product_imports()
        if found.by.startswith("commute.transports.")
        and found.target.startswith("commute.transports.")
        and not part_of(found)
    ]
    assert not bad, "\n".join(bad)


def test_what_python_does_is_followed_without_a_plugin() -> None:
    """A plug-in knows the language, the language no plug-in: so another one can be added without touching it."""
    language = ("derive.python.", "derive.models.")
    plugins = ("derive.plugins.", "derive.sqlalchemy.", "derive.redis.", "derive.interpreter", "derive.application")
    found = [one for one in product_imports() if inner_name(one.by).startswith(language)]
    assert found
    bad = [str(one) for one in found if f"{inner_name(one.target)}.".startswith(plugins)]
    assert not bad, "\n".join(bad)


def test_the_pure_rooms_only_compute() -> None:
    bad = [
        str(found)
        for found in product_imports()
        if room_of(found.by) in ONLY_COMPUTE and not own(found) and found.target.split(".")[0] not in PURE_STDLIB
    ]
    for name, path in modules().items():
        if room_of(name) in ONLY_COMPUTE:
            bad += [
                f"{path}:{node.lineno}: {room_of(name)} calls {node.func.id}()"
                for node in ast.walk(tree(path))
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ACTS
            ]
    assert not bad, "\n".join(bad)


def test_libraries_stay_in_their_rooms_and_are_declared() -> None:
    declared = {line.split(">")[0].split("[")[0] for line in project()["project"]["dependencies"]}
    optional = set(CLIENTS) - declared
    bad = []
    for found in product_imports():
        library = found.target.split(".")[0]
        if own(found) or (library in sys.stdlib_module_names and library not in BANNED):
            continue
        rooms = CLIENTS.get(library, () if library in BANNED or library not in declared else None)
        if rooms is not None and not any(f"{inner_name(found.by)}.".startswith(f"{room}.") for room in rooms):
            bad.append(f"{found}: not in this room")
        if library in optional and not found.lazy and room_of(found.by) not in LATE:
            bad.append(f"{found}: an optional library is imported where it is used, inside the function")
    assert not bad, "\n".join(bad)


def test_rooms_that_need_a_library_are_loaded_late() -> None:
    bad = [
        f"{found}: import it where it is used, inside the function"
        for found in product_imports()
        if own(found) and room_of(found.target) in LATE and room_of(found.by) not in LATE and not found.lazy
    ]
    assert not bad, "\n".join(bad)


def cycle_among(edges: dict[str, set[str]]) -> list[str]:
    """Some cycle of the graph as a path that ends where it began, or an empty list."""
    state: dict[str, int] = {}
    path: list[str] = []

    def visit(node: str) -> list[str]:
        state[node] = 1
        path.append(node)
        for following in sorted(edges.get(node, ())):
            if state.get(following) == 1:
                return [*path[path.index(following) :], following]
            if following not in state and (found := visit(following)):
                return found
        path.pop()
        state[node] = 2
        return []

    for node in sorted(edges):
        if node not in state and (found := visit(node)):
            return found
    return []


def test_modules_load_without_a_cycle() -> None:
    edges: dict[str, set[str]] = {}
    for found in product_imports():
        if own(found) and not found.lazy and found.target != found.by and found.target in modules():
            edges.setdefault(found.by, set()).add(found.target)
    cycle = cycle_among(edges)
    assert not cycle, " -> ".join(cycle)


def test_every_package_has_its_init() -> None:
    folders = {path.parent for path in SOURCE.rglob("*.py")}
    bare = [str(folder.relative_to(SOURCE)) for folder in folders if not (folder / "__init__.py").is_file()]
    assert not bad_folders(bare), f"folders without __init__.py: {bare}"


def bad_folders(bare: list[str]) -> list[str]:
    return [folder for folder in bare if "__pycache__" not in Path(folder).parts]


@pytest.mark.parametrize(
    ("by", "target", "verdict"),
    [
        ("commute.core.schedule", "commute.errors", True),
        ("commute.core.schedule", "commute.runtime.engine", False),
        ("commute.transports.sqlite", "commute.core.watermark", True),
        ("commute.transports.sqlite", "commute.core.schedule", False),
        ("commute.runtime.engine", "commute.transports.base", True),
        ("commute.runtime.engine", "commute.transports.sqlite", False),
        ("commute.app", "commute.transports.sqlite", True),
        ("commute.runtime.engine", "commute", False),
        ("commute.cli.run", "commute", True),
    ],
)
def test_the_table_tells_right_from_wrong(by: str, target: str, verdict: bool) -> None:
    assert allowed(Import(by, target, 1, lazy=False), ROOMS) is verdict


def test_a_planted_cycle_is_found() -> None:
    assert cycle_among({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert cycle_among({"a": {"b", "c"}, "b": {"c"}}) == []
