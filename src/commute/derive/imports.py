"""Imports in the body of a function: what is loaded already, as the program has it."""

from __future__ import annotations

import ast
import importlib.util
import sys
import types
from collections.abc import Mapping

from commute.derive.attributes import wrap
from commute.derive.run import Arguments, Frame, Named, Run
from commute.derive.values import Const, Live, Value
from commute.derive.writers import is_followed


def imported(run: Run, frame: Frame, node: ast.Import | ast.ImportFrom) -> None:
    for alias in node.names:
        module = alias.name if isinstance(node, ast.Import) else "." * node.level + (node.module or "")
        package = str(frame.globals.get("__package__") or "")
        if module.startswith(".") and package:
            module = importlib.util.resolve_name(module, package)
        found = sys.modules.get(module)
        value: Value | None = None
        if isinstance(node, ast.ImportFrom):
            if found is not None and alias.name not in vars(found) and _gives_names(vars(found)):
                value = run.get(Live(found), alias.name, frame.where(node))
            elif found is not None and hasattr(found, alias.name):
                value = wrap(run, getattr(found, alias.name))
            elif f"{module}.{alias.name}" in sys.modules:
                value = Live(sys.modules[f"{module}.{alias.name}"])
        elif found is not None:
            value = Live(found if alias.asname else sys.modules[alias.name.split(".")[0]])
        name = alias.asname or (alias.name.split(".")[0] if isinstance(node, ast.Import) else alias.name)
        where = frame.where(node)
        frame.assign(name, value if value is not None else _not_imported(run, module, alias.name, where))


def _gives_names(names: Mapping[str, object]) -> bool:
    """Whether a module of the application has a function for names that are not there."""
    return isinstance(names.get("__getattr__"), types.FunctionType) and is_followed(names)


def import_module(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    """``importlib.import_module("shop.stock")``: a module that is there already."""
    one = arguments[0] if len(arguments) == 1 and not named else None
    if not isinstance(one, Const) or not isinstance(one.value, str):
        return run.widen("import_module() is not followed", where, "import it by its name, where the app is made")
    module = sys.modules.get(one.value)
    return Live(module) if module is not None else _not_imported(run, one.value, one.value, where)


def built_in(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    """``__import__("datetime")``: a module that is there already."""
    one = arguments[0] if len(arguments) == 1 and not named else None
    if not isinstance(one, Const) or sys.modules.get(str(one.value)) is None:
        return run.widen("__import__() is not followed", where)
    return Live(sys.modules[str(one.value).partition(".")[0]])


def _not_imported(run: Run, module: str, name: str, where: str) -> Value:
    """What is not there before the handler runs, since nothing of the program is run to look at it."""
    return run.widen(f"{name} is imported first here", where, f"`import {module}` where the app is made")
