"""Comprehensions: over a few known elements one by one, over others as one pass for any of them."""

from __future__ import annotations

import ast
from typing import Any

from commute.derive.python.items import EACH_MAX, each, element
from commute.derive.python.shape import shape
from commute.derive.run import Frame, Run
from commute.derive.values import Const, Entries, Items, Value, either, lazily

__all__ = ["EACH_MAX", "comprehension"]
PASSES_MAX = 20


def comprehension(run: Run, frame: Frame, node: Any, where: str) -> Value:
    found = _settled(run, frame, node, where)
    if isinstance(node, ast.GeneratorExp) and isinstance(found, Items):
        return lazily(found, lambda: _settled(run, frame, node, where))
    return found


def _settled(run: Run, frame: Frame, node: Any, where: str) -> Value:
    """Pass by pass until one leaves nothing new to the next."""
    for _ in range(PASSES_MAX):
        before = shape(run, frame)
        with run.apart(left_out=True):
            found = _one_pass(run, frame, node, where)
        if shape(run, frame) == before or run.stop():
            return found
    return run.widen("a comprehension leaves something else after each pass", where)


def _one_pass(run: Run, frame: Frame, node: Any, where: str) -> Value:
    from commute.derive.python.expressions import truth
    from commute.derive.python.statements import assign

    inner = Frame(node, frame.file, frame.line, frame.globals, outer=frame, site=frame.site)
    inner.yielded = frame.yielded
    one_by_one = _each(run, inner, node, where)
    if one_by_one is not None:
        return one_by_one
    for generator in node.generators:
        values = element(run, run.evaluate(inner, generator.iter), where)
        if values is None:
            return Entries() if isinstance(node, ast.DictComp) else Items("list", [])
        assign(run, inner, generator.target, values)
        for condition in generator.ifs:
            truth(run, run.evaluate(inner, condition), where, condition)
    if isinstance(node, ast.DictComp):
        key, value = run.evaluate(inner, node.key), run.evaluate(inner, node.value)
        return Entries({}, value, key)
    kinds = {ast.ListComp: "list", ast.SetComp: "set", ast.GeneratorExp: "iterator"}
    return Items(kinds[type(node)], None, run.evaluate(inner, node.elt))


def _each(run: Run, inner: Frame, node: Any, where: str) -> Value | None:
    """A comprehension over a few known elements, one by one; None for another one."""
    generator = node.generators[0]
    if len(node.generators) > 1:
        return None
    values = each(run, run.evaluate(inner, generator.iter))
    if values is None:
        return None
    from commute.derive.python.expressions import truth
    from commute.derive.python.statements import assign

    found, pairs, loose = [], Entries(), isinstance(node, ast.SetComp)
    for value in values:
        run.regions[-1] = object()  # for each of them another one
        assign(run, inner, generator.target, value)
        holds = [truth(run, run.evaluate(inner, condition), where, condition) for condition in generator.ifs]
        if False in holds:  # left out in every run
            continue
        loose |= None in holds
        if isinstance(node, ast.DictComp):
            _put(run, pairs, run.evaluate(inner, node.key), run.evaluate(inner, node.value), None in holds)
        else:
            found.append(run.evaluate(inner, node.elt))
    if isinstance(node, ast.DictComp):
        return pairs
    kind = "set" if isinstance(node, ast.SetComp) else "list"
    return Items(kind, None, either(found)) if loose else Items(kind, found)


def _put(run: Run, pairs: Entries, key: Value, value: Value, perhaps: bool) -> None:
    """One more entry; `perhaps` it is left out."""
    if isinstance(key, Const) and isinstance(key.value, str | int) and not perhaps:
        pairs.known[key.value] = value
    else:
        pairs.other = either([value, *([pairs.other] if pairs.other is not None else [])])
        pairs.key = either([key, *([pairs.key] if pairs.key is not None else [])])
