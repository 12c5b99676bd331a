"""Private names: ``self.__x`` in the body of a class is ``self._Class__x``, as Python compiles it."""

from __future__ import annotations

import ast


def class_around(qualname: str) -> str:
    """The innermost class in whose body a function with this qualified name stands; "" for none."""
    for part in reversed(qualname.split(".<locals>.")):
        names = part.split(".")
        if len(names) > 1:
            return names[-2]
    return ""


def spell_out(tree: ast.AST, around: str) -> None:
    """Gives each private attribute in a tree its whole name; the tree stands in the class `around`, or in none."""
    waiting = [(tree, around)]
    while waiting:
        node, name = waiting.pop()
        if isinstance(node, ast.Attribute):
            node.attr = private(node.attr, name)
        inside = node.name if isinstance(node, ast.ClassDef) else name
        waiting += [(inner, inside) for inner in ast.iter_child_nodes(node)]


def private(name: str, around: str) -> str:
    """A name as it is compiled in the body of the class `around`."""
    owner = around.lstrip("_")
    hidden = name.startswith("__") and not name.endswith("__") and bool(owner)
    return f"_{owner}{name}" if hidden else name
