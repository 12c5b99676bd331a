"""Imports in the body of a function: what is loaded already, as the program has it."""

from __future__ import annotations

import ast
import importlib.util
import sys

from commute.derive.attributes import wrap
from commute.derive.run import Frame, Run
from commute.derive.values import Live, Value


def imported(run: Run, frame: Frame, node: ast.Import | ast.ImportFrom) -> None:
    for alias in node.names:
        module = alias.name if isinstance(node, ast.Import) else "." * node.level + (node.module or "")
        package = str(frame.globals.get("__package__") or "")
        if module.startswith(".") and package:
            module = importlib.util.resolve_name(module, package)
        found = sys.modules.get(module)
        value: Value | None = None
        if isinstance(node, ast.ImportFrom):
            if found is not None and hasattr(found, alias.name):
                value = wrap(run, getattr(found, alias.name))
            elif f"{module}.{alias.name}" in sys.modules:
                value = Live(sys.modules[f"{module}.{alias.name}"])
        elif found is not None:
            value = Live(found if alias.asname else sys.modules[alias.name.split(".")[0]])
        name = alias.asname or (alias.name.split(".")[0] if isinstance(node, ast.Import) else alias.name)
        where = frame.where(node)
        frame.assign(name, value if value is not None else _not_imported(run, module, alias.name, where))


def _not_imported(run: Run, module: str, name: str, where: str) -> Value:
    """What is not there before the handler runs, since nothing of the program is run to look at it."""
    return run.widen(f"{name} is imported first here", where, f"`import {module}` where the app is made")
