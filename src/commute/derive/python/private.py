"""Private names as Python spells them: ``self.__rows`` inside of the class ``Repo`` is ``self._Repo__rows``.

So a base class and one below it have each their own, and what the program holds is found under the name that it has.
"""

from __future__ import annotations

import ast


def class_around(qualname: str) -> str:
    """The class in whose text a function stands, empty for none."""
    for part in reversed(qualname.split(".<locals>")):
        names = part.strip(".").split(".")
        if len(names) > 1:
            return names[-2]
    return ""


def spell(tree: ast.AST, cls: str = "") -> None:
    """Give all private names in the tree the spelling that they have inside of the class `cls`, in place. The name of a
    function at the top, or of a method, stays: code objects keep it."""
    _spell(tree, cls.lstrip("_"), inside=False)


def _spell(node: ast.AST, cls: str, *, inside: bool) -> None:
    """`inside`: of a function, where names of functions are those of variables."""
    if isinstance(node, ast.ClassDef):
        for part in (*node.bases, *node.keywords, *node.decorator_list):
            _spell(part, cls, inside=inside)
        for statement in node.body:
            _spell(statement, node.name.lstrip("_"), inside=False)
        return
    if cls:
        _names_of(node, cls, inside=inside)
    within = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        _spell(child, cls, inside=within)


def _names_of(node: ast.AST, cls: str, *, inside: bool) -> None:
    for place in _PLACES.get(type(node), ()):
        name = getattr(node, place)
        if isinstance(name, list):
            setattr(node, place, [_private(one, cls) for one in name])
        elif isinstance(name, str) and (inside or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            setattr(node, place, _private(name, cls))


def _private(name: str, cls: str) -> str:
    return f"_{cls}{name}" if name.startswith("__") and not name.endswith("__") and "." not in name else name


_PLACES: dict[type, tuple[str, ...]] = {
    ast.Attribute: ("attr",), ast.Name: ("id",), ast.arg: ("arg",), ast.Global: ("names",),
    ast.Nonlocal: ("names",), ast.FunctionDef: ("name",), ast.AsyncFunctionDef: ("name",), ast.ExceptHandler: ("name",),
    ast.alias: ("asname",), ast.MatchAs: ("name",), ast.MatchStar: ("name",),
}  # fmt: skip
