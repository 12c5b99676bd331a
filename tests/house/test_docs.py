"""The documents say what the code does: commands, messages, links and snippets.

A page that is wrong is worse than none, so each claim that a machine can check is checked here.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.pages import Snippet, anchor, headings, links, snippets
from tests.house.tree import ROOT, functions, markdown_files, python_files, text, tree

LOGGED = re.compile(r"(?:error|warning)\[(?!slug)([a-z][a-z0-9-]+)\] ")
SLUG = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
ERRORS = Path("docs/errors.md")


def all_snippets(*languages: str) -> list[Snippet]:
    return [found for page in markdown_files() for found in snippets(page) if found.language in languages]


# Messages


def literals(node: ast.expr | None) -> Iterator[str]:
    """The texts that this expression can be, if it says so itself: a literal, or a choice of literals."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from literals(node.body)
        yield from literals(node.orelse)


def passed_on(module: ast.Module) -> dict[str, int]:
    """Functions that take ``slug`` by position -> the place of that argument in a call."""
    places: dict[str, int] = {}
    for _, function in functions(module):
        names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        if "slug" in names:
            bound = names[0] in ("self", "cls")
            places[function.name] = names.index("slug") - bound
    return places


def in_table(node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    """Texts in the shape of a slug from a constant that is named ``..._SLUG`` or ``..._SLUGS``."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    if node.value is not None and any(re.search(r"(^|_)SLUGS?$", name.upper()) for name in names):
        for part in ast.walk(node.value):
            if isinstance(part, ast.expr):
                yield from (slug for slug in literals(part) if SLUG.fullmatch(slug))


def slugs_of(module: ast.Module, places: dict[str, int]) -> Iterator[tuple[int, str]]:
    """Every slug that this module names, with its line.

    Seen are ``slug="..."`` in a call or as a default, tables of slugs, literals where a function of
    `places` takes its slug, and the slugs of texts that are logged: ``warning[slug] ...``.
    """
    for _, function in functions(module):
        paired = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
        yield from (
            (function.lineno, slug)
            for argument, default in paired
            if argument.arg == "slug"
            for slug in literals(default)
        )
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from ((node.lineno, slug) for slug in LOGGED.findall(node.value))
        if isinstance(node, ast.Assign | ast.AnnAssign):
            yield from ((node.lineno, slug) for slug in in_table(node))
        elif isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "slug":
                    yield from ((node.lineno, slug) for slug in literals(keyword.value))
            place = places.get(ast.unparse(node.func).split(".")[-1])
            if place is not None and len(node.args) > place:
                found = literals(node.args[place])
                yield from ((node.lineno, slug) for slug in found if SLUG.fullmatch(slug))


def raised() -> dict[str, str]:
    """Slug -> one place in the product that names it."""
    found: dict[str, str] = {}
    places = {name: place for path in python_files("src") for name, place in passed_on(tree(path)).items()}
    for path in python_files("src"):
        for line, slug in slugs_of(tree(path), places):
            found.setdefault(slug, f"{path}:{line}")
    return found


def explained() -> list[str]:
    """The slugs that docs/errors.md has a heading for, in their sequence."""
    return re.findall(r"^### (" + SLUG.pattern + r")$", text(ERRORS), re.MULTILINE)


def test_slugs_are_well_formed() -> None:
    bad = [f"{where}: {slug}" for slug, where in raised().items() if not SLUG.fullmatch(slug)]
    assert not bad, "\n".join(bad)


def test_every_message_is_explained() -> None:
    missing = [f"{where}: {slug}" for slug, where in sorted(raised().items()) if slug not in explained()]
    assert not missing, "no heading in docs/errors.md:\n" + "\n".join(missing)


def test_every_explained_message_exists() -> None:
    gone = sorted(set(explained()) - raised().keys())
    assert not gone, f"docs/errors.md explains what nothing says: {gone}"


def test_each_message_is_explained_once() -> None:
    known = explained()
    assert len(known) == len(set(known)), sorted(slug for slug in known if known.count(slug) > 1)


def test_slugs_are_seen_wherever_they_are_written() -> None:
    module = ast.parse("""
class Site:
    def refuse(self, text, slug): ...
def reject(text, *, slug="c"): ...
site.refuse("x", "a")
raise UsageError("x", slug="b" if y else "d")
FULL_SLUG = "e"
SLUGS = {1: ("f", "advice in words")}
""")
    assert {slug for _, slug in slugs_of(module, passed_on(module))} == set("abcdef")


# Commands


def commands() -> dict[str, list[str]]:
    """Full name of every command (``dead list``) -> the lines of its ``--help``."""
    import click

    from commute.cli import main

    found: dict[str, list[str]] = {}

    def visit(command: click.Command, name: str) -> None:
        context = click.Context(command, info_name=f"commute {name}".strip())
        if name and not command.hidden:
            found[name] = command.get_help(context).splitlines()
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                child = command.get_command(context, inner)
                assert child is not None
                visit(child, f"{name} {inner}".strip())

    visit(main, "")
    return found


def test_every_command_has_a_heading() -> None:
    known = {heading.replace("`", "") for heading in headings(Path("docs/cli.md"))}
    missing = [name for name in commands() if f"commute {name}" not in known]
    assert not missing, f"no heading in docs/cli.md: {missing}"


def test_every_heading_has_a_command() -> None:
    written = {heading.replace("`", "") for heading in headings(Path("docs/cli.md"))}
    gone = [heading for heading in written if heading.startswith("commute ") and heading[8:] not in commands()]
    assert not gone, f"docs/cli.md describes what is not there: {sorted(gone)}"


def test_every_help_has_an_example() -> None:
    missing = [name for name, lines in commands().items() if not any(f"commute {name}" in line for line in lines[1:])]
    assert not missing, f"--help without an example: {missing}"


def test_shell_examples_name_commands_that_exist() -> None:
    first_words = {name.split()[0] for name in commands()}
    bad = []
    for found in all_snippets("console", "sh", "bash", "shell"):
        for line in found.body.splitlines():
            called = re.match(r"(?:\$ )?(?:\S*/)?commute +(?P<word>[a-z]\w*)", line)
            if called and called["word"] not in first_words:
                bad.append(f"{found}: {line}")
    assert not bad, "\n".join(bad)


# Links


def test_links_between_pages_resolve() -> None:
    bad = []
    for page in markdown_files():
        for line, target in links(page):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, fragment = target.partition("#")
            aim = (ROOT / page).parent / name if name else ROOT / page
            if not aim.exists():
                bad.append(f"{page}:{line}: {target}: no such file")
            elif fragment:
                inside = aim.resolve().relative_to(ROOT)
                if fragment not in {anchor(heading) for heading in headings(inside)}:
                    bad.append(f"{page}:{line}: {target}: no such heading")
    assert not bad, "\n".join(bad)


def test_every_page_can_be_reached_from_the_index() -> None:
    reached = {target.partition("#")[0] for _, target in links(Path("docs/index.md"))}
    lost = [page.name for page in markdown_files() if page.parts[0] == "docs" and page.name not in reached]
    assert set(lost) <= {"index.md"}, f"docs/index.md does not link {lost}"


# Snippets


def test_python_snippets_parse() -> None:
    bad = []
    for found in all_snippets("python"):
        try:
            compile(found.body, str(found), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
        except SyntaxError as error:
            bad.append(f"{found}: {error}")
    assert not bad, "\n".join(bad)


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every complete snippet as the file that it says it is."""
    folder = tmp_path_factory.mktemp("snippets")
    seen: dict[str, Snippet] = {}
    for found in all_snippets("python"):
        if found.name is not None:
            earlier = seen.setdefault(found.name, found)
            assert earlier.body == found.body, f"{earlier} and {found} are both {found.name}, and differ"
            (folder / found.name).write_text(found.body, encoding="utf-8")
    assert seen, "no page has a complete snippet: the marks are not found"
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / "src"), str(folder)])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "MYPYPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_complete_snippets_are_typed(complete: Path) -> None:
    cache = ROOT / ".mypy_cache" / "snippets"
    done = run(complete, "-m", "mypy", "--strict", "--python-version=3.11", f"--cache-dir={cache}", ".")
    assert done.returncode == 0, done.stdout + done.stderr


def test_complete_snippets_can_be_imported(complete: Path) -> None:
    names = sorted(path.stem for path in complete.glob("*.py"))
    done = run(complete, "-W", "error", "-c", "; ".join(f"import {name}" for name in names))
    assert done.returncode == 0, done.stderr


def test_snippets_that_are_tests_pass(complete: Path) -> None:
    tests = sorted(path.name for path in complete.glob("test_*.py"))
    done = run(complete, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *tests)
    assert not tests or done.returncode == 0, done.stdout + done.stderr
