"""TARGET: from ``shop:app`` on the command line to the App object, with a message for each way that fails.

The sequence is: the argument, ``$COMMUTE_APP``, ``[tool.commute] app`` in the pyproject.toml of the app's directory.
Modules are seen from the working directory, or from ``--app-dir``.

Invariant: looking for apps to suggest reads files and never imports them.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import sys
import tomllib
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from commute.cli.output import clean_lines, note
from commute.errors import CommuteError, UsageError

if TYPE_CHECKING:
    from commute.app import App

_TARGET = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")
_URL = re.compile(r"[a-z][a-z0-9+]*:(//|$)|(sqlite|memory):")
_FILES_SEARCHED_MAX = 300  # a suggestion is not worth a walk through a whole disk


class Loaded(NamedTuple):
    """An app, and what a person types to name it."""

    app: App[Any]
    shown: str


def is_url(text: str) -> bool:
    """Whether the text names a broker."""
    return _URL.match(text) is not None


def is_target(text: str) -> bool:
    """Whether the text names an app or a broker, rather than an event or a file."""
    return is_url(text) or _TARGET.fullmatch(text) is not None


def split_target(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """TARGET or URL, where the first argument is one, and the other arguments."""
    if arguments and is_target(arguments[0]):
        return arguments[0], list(arguments[1:])
    return None, list(arguments)


def default_target(app_dir: Path) -> str | None:
    """What counts where no TARGET is given. Raises UsageError (``no-app``) for a pyproject.toml that cannot be read."""
    named = os.environ.get("COMMUTE_APP")
    if named:
        return named
    path = app_dir / "pyproject.toml"
    if not path.is_file():
        return None
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("commute", {}).get("app")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", slug="no-app") from error
    return str(found) if found else None


def load(target: str | None, app_dir: str | None) -> Loaded:
    """The app of TARGET, its module imported. Raises UsageError: ``no-app``, and what the module's handlers raise."""
    folder = Path(app_dir or ".").resolve()
    shown = target or default_target(folder)
    if shown is None:
        raise UsageError(
            f"no TARGET: give MODULE:APP, or set COMMUTE_APP, or app under [tool.commute] in pyproject.toml."
            f"{_found_here(folder)}",
            slug="no-app",
        )
    if _TARGET.fullmatch(shown) is None:
        raise UsageError(
            f"{shown!r} is no TARGET: write MODULE:APP, such as shop:app for app in shop.py.{_found_here(folder)}",
            slug="no-app",
        )
    name, _, attribute = shown.partition(":")
    module = _import(name, shown, folder)
    return Loaded(_app_in(module, attribute, shown), shown)


def _import(name: str, shown: str, folder: Path) -> ModuleType:
    if not folder.is_dir():
        raise UsageError(f"cannot load {shown}: there is no directory {folder}", slug="no-app")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _failed(shown, error) from error
        raise UsageError(
            f"cannot load {shown}: no module {error.name} in {folder}. Run where {name.partition('.')[0]}.py lies, "
            f"or --app-dir DIR.{_found_here(folder)}",
            slug="no-app",
        ) from error
    except CommuteError:
        raise
    except Exception as error:
        raise _failed(shown, error) from error


def _failed(shown: str, error: Exception) -> UsageError:
    """The error for a module that raises at import; its traceback, without ours and the import system's, is shown."""
    trace = traceback.TracebackException.from_exception(error)
    trace.stack = traceback.StackSummary.from_list(
        [
            frame
            for frame in trace.stack
            if not frame.filename.startswith("<frozen") and frame.filename not in (__file__, importlib.__file__)
        ]
    )
    note(clean_lines("".join(trace.format())).rstrip())
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return UsageError(f"cannot load {shown}: its import failed: {what}", slug="no-app")


def _app_in(module: ModuleType, attribute: str, shown: str) -> App[Any]:
    from commute.app import App

    found: object = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if isinstance(found, App):
        return found
    name = module.__name__
    apps = [f"{name}:{key}" for key, value in vars(module).items() if isinstance(value, App)]
    what = f"{name} has no {attribute}" if found is None else f"{attribute} is no App but a {type(found).__name__}"
    hint = f" It has {', '.join(apps)}." if apps else " It makes no App."
    raise UsageError(f"cannot load {shown}: {what}.{hint}", slug="no-app")


def _found_here(folder: Path) -> str:
    found = [f"{path} ({', '.join(names)})" for path, names in apps_in(folder)]
    return f" Found here: {', '.join(found[:5])}." if found else ""


def apps_in(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Files up to one directory below `folder` that assign an App to a name, by their text alone."""
    files = sorted([*folder.glob("*.py"), *folder.glob("[!.]*/*.py")])[:_FILES_SEARCHED_MAX]
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
            if "commute" not in text or "App" not in text:
                continue
            names = _assigned_apps(ast.parse(text))
        except (OSError, SyntaxError, ValueError):
            continue  # a file that cannot be read makes no suggestion
        if names:
            yield str(path.relative_to(folder)), names


def _assigned_apps(module: ast.Module) -> list[str]:
    names = []
    for node in module.body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        if isinstance(value, ast.Call) and ast.unparse(value.func).split("[")[0] in ("App", "commute.App"):
            names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names
