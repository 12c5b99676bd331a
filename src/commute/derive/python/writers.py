"""Who sets what is read: the functions of the application that assign a global or an attribute while it runs.

A global that is None now may be a connection pool when the handler runs, since some ``startup()`` sets it; a method may
have been put in the place of another one. So a live name is believed only together with all that the functions of the
application are seen to put there. Such a function is run in the abstract by itself, its effects thrown away; one that
cannot be found among the live objects makes the name unknown.
"""

from __future__ import annotations

import ast
import linecache
import re
import site
import sys
import sysconfig
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from commute.derive.python.private import spell
from commute.derive.run import Run
from commute.derive.source import source_of
from commute.derive.trusted import DECORATORS, KNOWN, MODULES
from commute.derive.values import Live, Unknown, Value, either

_KNOWN = KNOWN | DECORATORS | {module.split(".")[0] for module in MODULES}
Node: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_MAKING = ("__init__", "__new__", "__post_init__", "__set_name__", "model_post_init", "__init_subclass__",
           "__setstate__")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stores:
    """The functions of a file by the names of globals and of attributes that they set; the class around a method."""

    globals: dict[str, list[Node]]
    attributes: dict[str, list[Node]]
    owners: dict[Node, str]
    inner: frozenset[Node]  # functions inside functions
    functions: tuple[Node, ...] = ()  # all others


def global_later(run: Run, names: Mapping[str, Any], name: str) -> Value | None:
    """What functions put into a global; None if none does."""
    filename = str(names.get("__file__") or "")
    key = ("global", id(names), name)
    if not is_followed(names):
        return None
    if key not in run.knowledge.later:
        run.knowledge.later[key] = None
        nodes = stores_of(filename).globals.get(name, [])
        found = [_put(run, filename, names, node, None, (id(names), name)) for node in nodes]
        found += _from_outside(run, names, name)
        run.knowledge.later[key] = either([one for one in found if one is not None])
    return run.knowledge.later[key]


def _from_outside(run: Run, names: Mapping[str, Any], name: str) -> list[Value | None]:
    """What functions put into a global by its module (``config.pool = …``)."""
    return [
        _put(run, filename, others, node, None, (id(names), name))
        for filename, others in _modules_around(str(names.get("__name__", "")))
        if _sets_attribute(filename, name)
        for node in stores_of(filename).attributes[name]
        if any(_may_be_module(part.value, node, others, names) for part in _sets(node, name))
    ]


def _may_be_module(base: ast.expr, node: Node, others: Mapping[str, Any], names: Mapping[str, Any]) -> bool:
    """Whether an expression may stand for the module with these names: one that is imported, or is looked up as a
    module. A parameter is taken for none, unless it is said to be one."""
    held = _stands_for(base, others)
    if isinstance(held, types.ModuleType):
        return vars(held) is names
    words = {part.id for part in ast.walk(base) if isinstance(part, ast.Name)}
    words |= {part.attr for part in ast.walk(base) if isinstance(part, ast.Attribute)}
    for part in ast.walk(node):  # where it comes from inside of the function
        if isinstance(part, ast.Import | ast.ImportFrom):
            if words & {(one.asname or one.name).split(".")[0] for one in part.names}:
                return True
        elif isinstance(part, ast.Assign | ast.AnnAssign | ast.NamedExpr) and part.value is not None:
            targets = part.targets if isinstance(part, ast.Assign) else [part.target]
            if words & {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}:
                words |= {one.attr for one in ast.walk(part.value) if isinstance(one, ast.Attribute)}
                words |= {one.id for one in ast.walk(part.value) if isinstance(one, ast.Name)}
        elif isinstance(part, ast.arg) and part.arg in words and part.annotation is not None:
            words |= {one.attr for one in ast.walk(part.annotation) if isinstance(one, ast.Attribute)}
            words |= {one.id for one in ast.walk(part.annotation) if isinstance(one, ast.Name)}
    return any("module" in word.lower() for word in words) or any(isinstance(others.get(one), types.ModuleType)
        and vars(others[one]) is names for one in words)  # fmt: skip


def attribute_later(run: Run, thing: object, name: str) -> Value | None:
    """What functions put into an attribute of a live object or class, but for where it is made; None if none does."""
    key = ("attribute", id(thing), name)
    if key not in run.knowledge.later:
        run.knowledge.later[key] = None
        run.knowledge.kept.append(thing)
        cls = thing if isinstance(thing, type) else type(thing)
        run.knowledge.later[key] = _attribute_stores(run, thing, name, cls)
    return run.knowledge.later[key]


def replaced(run: Run, cls: type, name: str) -> bool:
    """Whether some function puts something in the place of what a class has under a name."""
    stored = run.knowledge.stored
    if name not in stored:
        stored[name] = any(_sets_attribute(filename, name) for filename, _ in application_modules())
    if not stored[name]:
        return False
    key = ("class", id(cls), name)
    if key not in run.knowledge.later:
        bases = tuple(base for base in cls.__mro__ if is_own(base))
        put = any(
            _names_class(part.value, names, bases)
            for filename, names in application_modules()
            for node in stores_of(filename).attributes.get(name, ())
            for part in _sets(node, name)
        )
        run.knowledge.later[key] = Unknown(f"{name}, which is replaced") if put else None
    return run.knowledge.later[key] is not None


def _names_class(base: ast.expr, names: Mapping[str, Any], classes: Sequence[type]) -> bool:
    """Whether an expression stands for one of the classes: by its name in the module, or as ``cls``."""
    if isinstance(base, ast.Name):
        return base.id == "cls" or any(names.get(base.id) is cls for cls in classes)
    if isinstance(base, ast.Attribute):
        return any(base.attr == cls.__name__ for cls in classes) or base.attr == "__class__"
    return isinstance(base, ast.Call) and isinstance(base.func, ast.Name) and base.func.id == "type"


def _attribute_stores(run: Run, holder: Any, name: str, cls: type | None) -> Value | None:
    found: list[Value | None] = []
    bases = () if cls is None else tuple(base.__name__ for base in cls.__mro__)
    module = "" if cls is None else cls.__module__
    if not _library_of(module) and run.knowledge.stored.get(name) is False:
        return None
    for filename, names in _modules_around(module):
        if not _sets_attribute(filename, name):
            continue
        stores = stores_of(filename)
        for node in stores.attributes[name]:
            owner = stores.owners.get(node)
            own = owner is not None and _only_on_first(node, name)
            if own and (cls is None or owner not in bases or isinstance(holder, type) is not _of_class(node)):
                continue
            found.append(_put(run, filename, names, node, Live(holder) if own else None, (id(holder), name)))
    return either([one for one in found if one is not None])


def _of_class(node: Node) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "classmethod" for one in node.decorator_list)


def _put(
    run: Run, filename: str, names: Mapping[str, Any], node: Node, first: Value | None, place: tuple[int, str]
) -> Value | None:
    """What one function puts at a place, run by itself."""
    function = live_function(filename, names, node)
    if function is None:
        return Unknown(f"{place[1]}, which {node.name} sets")
    if run.knowledge.setting_up.get(node, 0) > 1:
        return None
    run.knowledge.setting_up[node] = run.knowledge.setting_up.get(node, 0) + 1
    alone = run.another()
    try:
        alone.call(Live(function), _parameters(alone, function, first), {}, filename)
    except Exception:  # noqa: BLE001 - what it puts there is then not known
        return Unknown(f"{place[1]}, which {node.name} sets")
    finally:
        run.knowledge.setting_up[node] -= 1
    found = [*alone.assigned.get(place, ()), *alone.assigned.get((0, place[1]), ())]
    from commute.derive.python.kept import keep

    for one in found:
        keep(one)
    return either(found)


def _parameters(run: Run, function: types.FunctionType, first: Value | None) -> list[Value]:
    from commute.derive.python.attributes import typed

    try:
        hints = typing.get_type_hints(function)
    except Exception:  # noqa: BLE001 - an annotation that cannot be evaluated says nothing
        hints = {}
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    values = [typed(run, hints[name], "") if name in hints else Unknown(f"parameter {name}") for name in names]
    return [first, *values[1:]] if first is not None and values else values


def _only_on_first(node: Node, name: str) -> bool:
    """Whether all that it sets under that name is of its first parameter."""
    first = next((argument.arg for argument in (*node.args.posonlyargs, *node.args.args)), None)
    return all(isinstance(part.value, ast.Name) and part.value.id == first for part in _sets(node, name))


def _sets(node: Node, name: str) -> Iterator[ast.Attribute]:
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and part.attr == name and isinstance(part.ctx, ast.Store | ast.Del):
            yield part


def live_function(filename: str, names: Mapping[str, Any], node: Node) -> types.FunctionType | None:
    """The live function of a node at the top of a module or of a class."""
    stores = stores_of(filename)
    if node in stores.inner:
        return None
    owner = stores.owners.get(node)
    held: Any = names.get(node.name)
    if owner is not None:
        cls = names.get(owner)
        held = cls.__dict__.get(node.name) if isinstance(cls, type) else None
    for _ in range(8):
        for one in (held, *(getattr(held, part, None) for part in ("fget", "fset", "func"))):
            if isinstance(one, types.FunctionType) and one.__code__.co_filename == filename:
                source = source_of(one.__code__)
                lines = (node.lineno, *(decorator.lineno for decorator in node.decorator_list))
                if source is not None and one.__code__.co_firstlineno == min(lines):
                    return one
        held = getattr(held, "__func__", None) or getattr(held, "__wrapped__", None)
        if held is None:
            break
    return None


def fill(run: Run, thing: object) -> None:
    """Runs the functions that fill a live container by its name (``FOUND[key] = x``, ``FOUND.append(x)``), once; what
    they put there is noted (`kept`). What one puts there that it was itself given was registered at import, and is
    there already."""
    key = ("filled", id(thing), "")
    if key in run.knowledge.later:
        return
    run.knowledge.later[key] = None
    run.knowledge.kept.append(thing)
    for filename, names in application_modules():
        for node, base in _fills(filename):
            if _stands_for(base, names) is thing:
                _put(run, filename, names, node, None, (0, ""))


def _stands_for(base: ast.expr, names: Mapping[str, Any]) -> object:
    """The live object that an expression of global names stands for, None if it is none."""
    if isinstance(base, ast.Name):
        return names.get(base.id)
    if isinstance(base, ast.Attribute):
        holder = _stands_for(base.value, names)
        held: object = getattr(type(holder), "__dict__", {}).get(base.attr) if holder is not None else None
        found = getattr(holder, "__dict__", {}).get(base.attr, held)
        if found is None and isinstance(holder, type):
            found = next((cls.__dict__[base.attr] for cls in holder.__mro__ if base.attr in cls.__dict__), None)
        return found
    return None


_FILLS = ("append", "add", "update", "setdefault", "extend", "insert", "appendleft")


@lru_cache(4_096)
def _fills(filename: str) -> tuple[tuple[Node, ast.expr], ...]:
    """The functions at the top of a file that fill a container, and the expressions that stand for it."""
    stores = stores_of(filename)
    found: list[tuple[Node, ast.expr]] = []
    for node in stores.functions:
        own = {argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
        for part in ast.walk(node):
            base: ast.expr | None = None
            if isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Store):
                base = part.value
            elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr in _FILLS:
                base = part.func.value
            root = base
            while isinstance(root, ast.Attribute):
                root = root.value
            if base is not None and isinstance(root, ast.Name) and root.id not in own:
                found.append((node, base))
    return tuple(found)


# -- variables of contexts ----------------------------------------------------------------------------------------


def homes(variable: object) -> list[Mapping[str, Any]]:
    """The modules that have a variable under a name, itself or in a class, where all of them are the application's;
    none where a library's functions may set it too."""
    return list(_homes(id(variable), tuple(sys.modules)))


@lru_cache(1_024)
def _homes(variable: int, names: tuple[str, ...]) -> tuple[Mapping[str, Any], ...]:
    found: list[Mapping[str, Any]] = []
    for held in [vars(sys.modules[name]) for name in names if isinstance(sys.modules[name], types.ModuleType)]:
        inside = [*held.values(), *(one for cls in held.values() if isinstance(cls, type) for one in _own_parts(cls))]
        if any(id(one) == variable for one in inside):
            if not is_application(str(held.get("__file__") or "")):
                return ()
            found.append(held)
    return tuple(found)


def _own_parts(cls: type) -> list[object]:
    return list(vars(cls).values()) if is_own(cls) else []


def run_setters(run: Run, variable: object) -> None:
    """Runs the functions of the application that set a variable by its name (``CURRENT.set(x)``), once; what they put
    there is noted when they do."""
    key = ("set", id(variable), "")
    if key in run.knowledge.later:
        return
    run.knowledge.later[key] = None
    for filename, names in application_modules():
        for node, base in _setters(filename):
            if _stands_for(base, names) is variable:
                _put(run, filename, names, node, None, (0, ""))


@lru_cache(4_096)
def _setters(filename: str) -> tuple[tuple[Node, ast.expr], ...]:
    """The functions at the top of a file that call ``set`` of something, and the expressions that stand for it."""
    return tuple(
        (node, part.func.value)
        for node in stores_of(filename).functions
        for part in ast.walk(node)
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr == "set"
    )


# -- the modules of the application -------------------------------------------------------------------------------


def application_modules() -> list[tuple[str, dict[str, Any]]]:
    """The loaded modules that are neither Python's own nor installed nor of this package."""
    return _application_modules(tuple(sys.modules))


@lru_cache(1)
def _application_modules(names: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
    """A module that is loaded anew comes last in the sequence of their names, so they tell whether there is another."""
    found = []
    for module in [sys.modules[name] for name in names]:
        filename = getattr(module, "__file__", None)
        if isinstance(filename, str) and filename.endswith(".py") and is_application(filename):
            found.append((filename, vars(module)))
    return found


def is_followed(names: Mapping[str, Any]) -> bool:
    """Whether a module with these names is the application's, or of a library of which nothing else is known: an
    application may be installed."""
    return is_application(str(names.get("__file__") or "")) or bool(_library_of(str(names.get("__name__", ""))))


def _library_of(module: str) -> str:
    """The installed package that a module is of, empty where it is the application's, Python's or a known one's."""
    top = module.split(".")[0]
    if not top or top in sys.stdlib_module_names or top in _KNOWN:
        return ""
    held = sys.modules.get(module)
    filename = getattr(held, "__file__", None)
    return top if isinstance(filename, str) and filename.endswith(".py") and not is_application(filename) else ""


def _modules_around(module: str) -> list[tuple[str, dict[str, Any]]]:
    """The modules whose functions may set what is in one: the application's, and those of the same library."""
    top = _library_of(module)
    if not top:
        return application_modules()
    own = [
        (held.__file__, vars(held))
        for name, held in list(sys.modules.items())
        if name.split(".")[0] == top and str(getattr(held, "__file__", None)).endswith(".py")
    ]
    return [*application_modules(), *own]  # type: ignore[list-item]


def is_own(cls: type) -> bool:
    """Whether a class is the application's own."""
    return is_application(str(getattr(sys.modules.get(cls.__module__), "__file__", None) or ""))


_FOLDERS = frozenset(["site-packages", "dist-packages"])  # installed too where the path of modules was set by hand


@lru_cache(4_096)
def is_application(filename: str) -> bool:
    """Whether a file is the application's own."""
    if not filename or filename.startswith("<"):
        return False
    path = Path(filename).resolve()
    return _FOLDERS.isdisjoint(path.parts) and not any(path.is_relative_to(folder) for folder in _installed())


@lru_cache(1)
def _installed() -> tuple[Path, ...]:
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {*site.getsitepackages(), site.getusersitepackages(), str(Path(__file__).parents[2])}
    return tuple(Path(path).resolve() for path in paths if path)


def _sets_attribute(filename: str, name: str) -> bool:
    """Whether a function of the file sets an attribute of that name. A private one may be spelled otherwise in it."""
    there = name in _names_behind_dots(filename) or "__" in name
    return there and name in stores_of(filename).attributes


@lru_cache(4_096)
def _names_behind_dots(filename: str) -> frozenset[str]:
    """All that may be attributes in a file, told without parsing it."""
    return frozenset(re.findall(r"\.[\s\\]*([^\W\d]\w*)", "".join(linecache.getlines(filename))))


@lru_cache(4_096)
def stores_of(filename: str) -> Stores:
    """What the functions of a file set. Cost: parsing it, once."""
    found = _Found()
    try:
        tree = ast.parse("".join(linecache.getlines(filename)))
    except SyntaxError:
        return Stores({}, {}, {}, frozenset())
    spell(tree)
    _look(tree, (), found)
    functions = tuple(node for node in found.every if node not in found.inner)
    return Stores(found.globals, found.attributes, found.owners, frozenset(found.inner), functions)


class _Found:
    """What is gathered for `Stores`."""

    def __init__(self) -> None:
        self.globals: dict[str, list[Node]] = {}
        self.attributes: dict[str, list[Node]] = {}
        self.owners: dict[Node, str] = {}
        self.inner: set[Node] = set()
        self.every: list[Node] = []


def _look(node: ast.AST, around: tuple[Node, ...], found: _Found) -> None:
    """One pass through the tree; `around` are the functions that the node stands in."""
    kind = type(node)
    if kind is ast.Attribute:
        if type(node.ctx) is not ast.Load:  # type: ignore[attr-defined]
            for function in around:
                _note_attribute(found, function, node)  # type: ignore[arg-type]
    elif kind is ast.Global:
        for name in node.names:  # type: ignore[attr-defined]
            for function in around:
                _note(found.globals, name, function)
    elif isinstance(node, ast.ClassDef):
        for one in node.body:
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                found.owners[one] = node.name
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        if around:
            found.inner.add(node)
        found.every.append(node)
        around = (*around, node)
    for child in ast.iter_child_nodes(node):
        _look(child, around, found)


def _note_attribute(found: _Found, node: Node, part: ast.Attribute) -> None:
    if not (node.name in _MAKING and isinstance(part.value, ast.Name)):
        _note(found.attributes, part.attr, node)


def _note(table: dict[str, list[Node]], name: str, node: Node) -> None:
    if node not in table.setdefault(name, []):
        table[name].append(node)
