"""The repository as data: its files, its modules, and what its syntax trees say.

The house tests judge what is written, not what runs, so that they name the line even where the code cannot be
imported. Nothing here decides: each test file holds one kind of rule.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "commute"
SOURCE = ROOT / "src" / PACKAGE
CODE_FOLDERS = ("src", "tests", "benchmarks", "examples", ".ci")


@functools.cache
def files() -> tuple[Path, ...]:
    """Every file of the repository that is or would be committed, relative to `ROOT`, sorted."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = {name for name in listed.stdout.decode().split("\0") if name}
        return tuple(sorted(Path(name) for name in names if (ROOT / name).is_file()))
    # An unpacked source archive has no git: take what lies in the known folders.
    folders = [path for folder in (*CODE_FOLDERS, "docs") for path in (ROOT / folder).rglob("*")]
    found = [path for path in (*folders, *ROOT.glob("*")) if path.is_file() and "__pycache__" not in path.parts]
    return tuple(sorted(path.relative_to(ROOT) for path in found))


def python_files(*folders: str) -> list[Path]:
    """Python files below these top-level folders (default: all that hold code), relative to `ROOT`."""
    chosen = folders or CODE_FOLDERS
    return [path for path in files() if path.suffix == ".py" and path.parts[0] in chosen]


def markdown_files() -> list[Path]:
    """Markdown pages, relative to `ROOT`."""
    return [path for path in files() if path.suffix == ".md"]


def text(path: Path) -> str:
    """The file's text; `path` relative to `ROOT`."""
    return (ROOT / path).read_text(encoding="utf-8")


@functools.cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a Python file; `path` relative to `ROOT`. Do not change it: it is shared."""
    return ast.parse(text(path), filename=str(path))


def module_name(path: Path) -> str:
    """``src/commute/core/schedule.py`` -> ``commute.core.schedule``; ``__init__`` is the package itself."""
    parts = path.with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of the package, by dotted name."""
    return {module_name(path): path for path in python_files("src")}


@functools.cache
def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads(text(Path("pyproject.toml")))


def functions(module: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Each function with its dotted name inside the module, methods and nested ones included."""

    def below(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield prefix + child.name, child
                yield from below(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.ClassDef):
                yield from below(child, f"{prefix}{child.name}.")
            else:
                yield from below(child, prefix)

    yield from below(module, "")
