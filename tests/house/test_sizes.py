"""Files and functions stay small enough to be read at one sitting.

A file has at most `FILE_LINES_MAX` lines, a function's body (docstring apart) at most `BODY_LINES_MAX`. What
is larger is listed with its size and may only shrink: when it does, the list has to follow.
"""

from __future__ import annotations

import ast

from tests.house.tree import functions, python_files, text, tree

FILE_LINES_MAX = 500
BODY_LINES_MAX = 60

FILE_EXCEPTIONS: dict[str, int] = {}
FUNCTION_EXCEPTIONS: dict[str, int] = {"tests/core/test_history.py::right_run": 65}


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the first statement after the docstring to the last one, blanks and comments included."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def judge(sizes: dict[str, int], limit: int, exceptions: dict[str, int]) -> list[str]:
    """What is too large, what outgrew its exception, and which exceptions are looser than needed."""
    too_large = [
        f"{name}: {size} lines, at most {exceptions.get(name, limit)}"
        for name, size in sizes.items()
        if size > exceptions.get(name, limit)
    ]
    loose = [
        f"{name}: listed with {listed} lines and has {sizes.get(name, 0)}: lower or drop the exception"
        for name, listed in exceptions.items()
        if sizes.get(name, 0) < listed
    ]
    return too_large + loose


def test_files_are_short() -> None:
    sizes = {path.as_posix(): len(text(path).splitlines()) for path in python_files()}
    assert not (bad := judge(sizes, FILE_LINES_MAX, FILE_EXCEPTIONS)), "\n".join(bad)


def test_functions_are_short() -> None:
    sizes = {
        f"{path.as_posix()}::{name}": body_lines(function)
        for path in python_files()
        for name, function in functions(tree(path))
    }
    assert not (bad := judge(sizes, BODY_LINES_MAX, FUNCTION_EXCEPTIONS)), "\n".join(bad)


def test_exceptions_only_shrink() -> None:
    assert judge({"a": 5}, 4, {}) == ["a: 5 lines, at most 4"]
    assert judge({"a": 5}, 4, {"a": 5}) == []
    assert judge({"a": 6}, 4, {"a": 5}) == ["a: 6 lines, at most 5"]
    assert judge({"a": 4}, 4, {"a": 5}) == ["a: listed with 5 lines and has 4: lower or drop the exception"]


def test_a_docstring_is_not_body() -> None:
    module = ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    a = 1\n\n    return a\n')
    assert [body_lines(function) for _, function in functions(module)] == [3]
