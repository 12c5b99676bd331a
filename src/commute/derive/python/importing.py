"""Modules that a function imports: those that the program has loaded. None is loaded for being looked at."""

from __future__ import annotations

import ast
import importlib.util
import sys
import types
from collections.abc import Mapping

from commute.derive.python.writers import is_followed
from commute.derive.run import Arguments, Frame, Named, Run
from commute.derive.values import Const, Live, Value


def bring_in(run: Run, frame: Frame, node: ast.Import | ast.ImportFrom) -> None:
    """An import among statements."""
    for alias in node.names:
        module = alias.name if isinstance(node, ast.Import) else "." * node.level + (node.module or "")
        package = str(frame.globals.get("__package__") or "")
        if module.startswith(".") and package:
            module = importlib.util.resolve_name(module, package)
        found = sys.modules.get(module)
        where = frame.where(node)
        value: Value | None = None
        if isinstance(node, ast.ImportFrom):
            if found is not None and (_gives_names(vars(found)) or hasattr(found, alias.name)):
                value = run.get(Live(found), alias.name, where)  # as it will be: some function may set it first
            elif f"{module}.{alias.name}" in sys.modules:
                value = Live(sys.modules[f"{module}.{alias.name}"])
        elif found is not None:
            value = Live(found if alias.asname else sys.modules[alias.name.split(".")[0]])
        name = alias.asname or (alias.name.split(".")[0] if isinstance(node, ast.Import) else alias.name)
        frame.assign(name, value if value is not None else _not_there(run, module, alias.name, where))


def _gives_names(names: Mapping[str, object]) -> bool:
    """Whether a module of the application has a function for names that are not there: it is followed, not called."""
    return isinstance(names.get("__getattr__"), types.FunctionType) and is_followed(names)


def _not_there(run: Run, module: str, name: str, where: str) -> Value:
    """What is not there before the handler runs, since nothing of the program is run to look at it."""
    return run.widen(f"{name} is imported first here", where, f"`import {module}` where the app is made")


def imported(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    """``__import__("datetime")``: a module that is there already."""
    one = arguments[0] if len(arguments) == 1 and not named else None
    module = sys.modules.get(str(one.value)) if isinstance(one, Const) else None
    if module is None or not isinstance(one, Const):
        return run.widen("__import__() is not followed", where)
    return Live(sys.modules[str(one.value).partition(".")[0]])


def module_named(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    """``importlib.import_module("shop.orders")``: a module that is there already."""
    name = arguments[0] if len(arguments) == 1 and not named else None
    if not isinstance(name, Const) or not isinstance(name.value, str):
        return run.widen("a module with a computed name is imported", where, "import it where the app is made")
    if name.value not in sys.modules:
        return _not_there(run, name.value, name.value, where)
    return Live(sys.modules[name.value])
