"""What is never written: promises without an issue, silence, paths of one machine, nouns that say nothing.

The patterns are put together from pieces, so that this file does not find itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.tree import files, python_files, text, tree

LATER = re.compile(r"\bTO" + r"DO\b(?!\(#\d+\))")  # allowed with an issue: (#12)
NEVER = re.compile(r"\bFIX" + r"ME\b")
MACHINE = re.compile(r"(?<![\w.~*}>-])/(?:(?:root|work|workspace)/|(?:home|Users)/(?!me\b))\w|\b[A-Z]:\\\\?Users\b")
INDEX = re.compile(
    "|".join(["py" + r"pi\.org", "python" + r"hosted\.org", "--(?:extra-)?index" + "-url", "--find" + "-links"])
)
EMPTY_NOUNS = frozenset(word + end for word in ("util", "manager", "helper") for end in ("", "s"))
TAKEN_WORDS = frozenset({"window"})  # streaming's
BROAD = frozenset({"Exception", "BaseException"})


def searchable() -> list[Path]:
    return [path for path in files() if path.name != "LICENSE"]


def hits(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()[:100]}"
        for path in paths
        for number, line in enumerate(text(path).splitlines(), start=1)
        if pattern.search(line)
    ]


def test_every_file_is_text() -> None:
    bad = []
    for path in searchable():
        try:
            text(path)
        except UnicodeDecodeError:
            bad.append(str(path))
    assert not bad, f"not UTF-8 text: {bad}"


def test_nothing_is_left_for_later_without_an_issue() -> None:
    bad = hits(LATER, searchable()) + hits(NEVER, searchable())
    assert not bad, "\n".join(bad)


def test_no_path_of_one_machine() -> None:
    assert not (bad := hits(MACHINE, searchable())), "\n".join(bad)


def test_no_address_of_a_package_index() -> None:
    assert not (bad := hits(INDEX, searchable())), "\n".join(bad)


def names_in(node: ast.expr | None) -> set[str]:
    """The exception names of an ``except`` clause or the arguments of ``suppress``."""
    if node is None:
        return {"BaseException"}
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def silences(module: ast.Module) -> Iterator[int]:
    """Lines where any exception at all is caught and nothing is done about it."""
    for node in ast.walk(module):
        if isinstance(node, ast.ExceptHandler) and names_in(node.type) & BROAD:
            if all(
                isinstance(line, ast.Pass | ast.Continue)
                or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
                for line in node.body
            ):
                yield node.lineno
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).split(".")[-1] == "suppress"
            and any(names_in(argument) & BROAD for argument in node.args)
        ):
            yield node.lineno


def test_no_exception_is_swallowed_whole() -> None:
    bad = [f"{path}:{line}" for path in python_files() for line in silences(tree(path))]
    assert not bad, "\n".join(bad)


def words_of(identifier: str) -> set[str]:
    """``LogManager``, ``log_manager`` -> ``{"log", "manager"}``."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)}


def defined_names(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name that this module brings into the world, with its line."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def test_names_say_what_a_thing_is() -> None:
    forbidden = EMPTY_NOUNS | TAKEN_WORDS
    bad = [f"{path}: the file's name" for path in python_files() if words_of(path.stem) & forbidden]
    for path in python_files():
        own_words = EMPTY_NOUNS | TAKEN_WORDS if path.parts[0] == "src" else EMPTY_NOUNS
        bad += [f"{path}:{line}: {name}" for line, name in defined_names(tree(path)) if words_of(name) & own_words]
    assert not bad, "\n".join(bad)


def test_every_module_opens_with_a_sentence() -> None:
    bad = []
    for path in python_files("src", "benchmarks"):
        if not tree(path).body:
            continue
        docstring = ast.get_docstring(tree(path))
        if docstring is None or not re.search(r"[.:!?]", docstring):
            bad.append(str(path))
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize(
    ("pattern", "line", "found"),
    [
        (LATER, "# TO" + "DO: later", True),
        (LATER, "# TO" + "DO(#12): later", False),
        (MACHINE, "open('/ro" + "ot/x')", True),
        (MACHINE, "/ho" + "me/ann/x", True),
        (MACHINE, "/ho" + "me/me/x", False),  # everybody's, in examples
        (MACHINE, "a frame" + "work/x", False),
        (MACHINE, "/work" + "ers/x", False),
        (MACHINE, "sqlite:////srv/shop.db", False),
        (INDEX, "https://py" + "pi.org/simple", True),
    ],
)
def test_the_patterns_see(pattern: re.Pattern[str], line: str, found: bool) -> None:
    assert bool(pattern.search(line)) is found


def test_a_planted_silence_is_found() -> None:
    silent = "try:\n    f()\nexcept Exception:\n    pass\n"
    assert list(silences(ast.parse(silent))) == [3]
    assert list(silences(ast.parse(silent.replace("Exception", "OSError")))) == []
    assert list(silences(ast.parse(silent.replace("pass", "log()")))) == []
    assert list(silences(ast.parse("with contextlib.suppress(Exception):\n    f()\n"))) == [1]
