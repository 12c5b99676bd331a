"""The syntax tree of a live function, if it is certain that this is what runs.

`inspect.getsource` follows ``__wrapped__`` and may find another function of that name: so the code object is asked, and
what its text compiles to has to name the same things.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import textwrap
import types
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from commute.derive.python.private import class_around, spell

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True, slots=True)
class Source:
    """`node`, the file as shown, and how many lines lie before it there."""

    node: FunctionNode
    file: str
    line: int


@lru_cache(4_096)
def source_of(code: types.CodeType) -> Source | None:
    """The tree of the function with this code, None where there is none that is certain."""
    try:
        lines, first = inspect.getsourcelines(code)
    except (OSError, TypeError, IndentationError):
        return None
    tree = _parsed("".join(lines))
    if tree is None:
        return None
    spell(tree, class_around(code.co_qualname))
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode) and _is_of(node, code):
            return Source(node, shown(code.co_filename), first - 1)
    return None


def source_of_function(function: types.FunctionType) -> Source | None:
    """`source_of` its code; and where the code was made to name another place than its own, as aiosql's names the file
    of the statement: of the function in its module whose code is the same but for the place."""
    code, file = function.__code__, function.__globals__.get("__file__")
    source = source_of(code)
    if source is not None or not isinstance(file, str) or file == code.co_filename:
        return source
    for one in _codes_of(file):
        if one.replace(co_firstlineno=code.co_firstlineno) == code:
            return source_of(one)
    return None


@lru_cache(64)
def _codes_of(file: str) -> tuple[types.CodeType, ...]:
    """All functions of a file, compiled as an import compiles them."""
    try:
        waiting = [compile(Path(file).read_bytes(), file, "exec", dont_inherit=True)]
    except (OSError, SyntaxError, ValueError):
        return ()
    found = []
    while waiting:
        inner = [constant for constant in waiting.pop().co_consts if isinstance(constant, types.CodeType)]
        found += inner
        waiting += inner
    return tuple(found)


def _is_of(node: FunctionNode, code: types.CodeType) -> bool:
    return _name(node) == code.co_name and _arguments(node) == _taken(code) and _same(node, code)


def shown(file: str) -> str:
    """A file as messages name it: relative to the working directory if it lies below that."""
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else path.name


def _parsed(text: str) -> ast.Module | None:
    if text[:1].isspace():  # as it stands there: to take its indentation away would change texts of several lines
        try:
            return ast.increment_lineno(ast.parse(f"if 1:\n{text}"), -1)
        except SyntaxError:
            pass
    text = textwrap.dedent(text)
    for attempt in (text, f"({text.strip().rstrip(',')})", f"({text.strip().rstrip(',')}", text.strip().lstrip(".@")):
        try:
            return ast.parse(attempt)
        except SyntaxError:
            continue
    start = text.find("lambda")  # the middle of an expression: cut off what stands behind it, bit by bit
    for end in range(len(text), start, -1) if start >= 0 else ():
        try:
            return ast.parse(text[start:end].strip())
        except SyntaxError:
            continue
    return None


def _name(node: FunctionNode) -> str:
    return "<lambda>" if isinstance(node, ast.Lambda) else node.name


def _arguments(node: FunctionNode) -> list[str]:
    given = node.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return names + [extra.arg for extra in (given.vararg, given.kwarg) if extra is not None]


def _taken(code: types.CodeType) -> list[str]:
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return list(code.co_varnames[:count])


def _same(node: FunctionNode, code: types.CodeType) -> bool:
    """Whether the tree compiles to what is live: the same names, and the same constants."""
    if isinstance(node, ast.Lambda):
        whole: ast.stmt = ast.Expr(node)
    else:
        whole = ast.parse(ast.unparse(node)).body[0]
        assert isinstance(whole, ast.FunctionDef | ast.AsyncFunctionDef)
        whole.decorator_list = []
    module = ast.fix_missing_locations(ast.Module([whole], []))
    flags = code.co_flags & __future__.annotations.compiler_flag  # it decides whether annotations are code
    try:
        compiled = compile(module, "<same>", "exec", flags=flags, dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    codes = [
        inner for inner in compiled.co_consts if isinstance(inner, types.CodeType) and inner.co_name == code.co_name
    ]
    return bool(codes) and _words(codes[0]) == _words(code)


def _words(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    names = {*code.co_names, *code.co_freevars, *code.co_cellvars, *code.co_varnames} - {"__class__"}
    plain = (str, int, float, bytes, bool, type(None))
    constants = {repr(value) for value in code.co_consts if isinstance(value, plain)} - {repr(None)}
    return frozenset(name.rpartition("__")[2] if name.startswith("_") else name for name in names), frozenset(constants)


_CLOSES = ("close", "rollback", "release", "shutdown")


def only_closes(node: FunctionNode, *, session: bool) -> bool:
    """Whether what a generator does behind its yield is to close something, or to raise again what came; of a
    `session` of a database, which has noted what it writes already, also to commit it."""
    places = [one.lineno for one in ast.walk(node) if isinstance(one, ast.Yield | ast.YieldFrom)]
    again = (ast.For, ast.AsyncFor, ast.While, *(() if session else (ast.With, ast.AsyncWith)))
    if len(places) != 1 or any(isinstance(one, again) for one in ast.walk(node)):
        return False
    behind = [one for one in ast.walk(node) if isinstance(one, ast.stmt) and one.lineno > places[0]]
    names = (*_CLOSES, "commit", "flush") if session else _CLOSES
    plain = (ast.Raise, ast.Pass, ast.Try)
    return all(isinstance(one, plain) or _asks(one) or _closes(one, names) or _logs(one) for one in behind)


def _asks(node: ast.stmt) -> bool:
    """An ``if`` that calls nothing to decide; what stands in it is looked at by itself."""
    return isinstance(node, ast.If) and not any(
        isinstance(one, ast.Call | ast.NamedExpr) for one in ast.walk(node.test)
    )


def _logs(node: ast.stmt) -> bool:
    """A line for a log, of what is there already."""
    value = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Attribute):
        return False
    base = value.func.value
    quiet = not any(isinstance(one, ast.Call) for given in value.args for one in ast.walk(given))
    return quiet and isinstance(base, ast.Name) and "log" in base.id.lower()


def _closes(node: ast.stmt, names: Sequence[str]) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    value = value.value if isinstance(value, ast.Await) else value
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in names
