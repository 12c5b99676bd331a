"""``enumerate``, ``zip`` and ``dict``: elements with their numbers, elements of several lists, and dicts of pairs. Of a
few known elements each pair is known."""

from __future__ import annotations

from collections.abc import Mapping

from commute.derive.python import expressions, library
from commute.derive.python.asked import HASH, ask
from commute.derive.run import Arguments, Named, Run
from commute.derive.values import Const, Data, Entries, Handle, Items, Live, Value, options


def numbered(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    """enumerate: the numbers of elements that are certainly all there."""
    first = [*arguments[1:2], *([named["start"]] if "start" in named else []), Const(0)][0]
    known = _certain(run, arguments[0], where)
    if known is not None and isinstance(first, Const) and type(first.value) is int:
        pairs = [Items("tuple", [Const(first.value + at), one]) for at, one in enumerate(known)]
        return Items("iterator", list(pairs))
    found = expressions.element(run, arguments[0], where)
    return Items("iterator", None, None if found is None else Items("tuple", [Data("a number"), found]))


def zipped(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    """zip: of lists that are equally long, one by one."""
    each = [_certain(run, value, where) for value in arguments]
    lists = [one for one in each if one is not None]
    if lists and len(lists) == len(each) and len({len(one) for one in lists}) == 1:
        return Items("iterator", [Items("tuple", list(row)) for row in zip(*lists, strict=True)])
    parts = [expressions.element(run, value, where) for value in arguments]
    known = [part for part in parts if part is not None]
    return Items("iterator", None, Items("tuple", known) if len(known) == len(parts) else None)


def _certain(run: Run, value: Value, where: str) -> list[Value] | None:
    """The elements of a list, a dict or a row in their sequence, where these are all and are certainly there."""
    if isinstance(value, Items) and value.known is not None:
        return expressions.each(run, value)
    if isinstance(value, Entries):
        return expressions.each(run, value) if value.sure else None
    return expressions.cells(run, value, where)


def dict_of(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    made = Entries()
    for value in arguments:
        ask(run, value, where, HASH)
    first: Value = arguments[0] if arguments else Data()
    rows = [one for one in options(first) if one != Const(None)]  # of which there is no dict
    of_rows = bool(rows) and all(isinstance(one, Handle) and one.kind == "row" for one in rows)
    mapping = of_rows or isinstance(first, Entries) or (isinstance(first, Live) and isinstance(first.value, Mapping))
    if mapping:
        made = library.entries_of(run, first, where)
    elif isinstance(first, Items) and (pairs := _known_pairs(first)) is not None:
        made.known.update(pairs)
    elif arguments:
        pair = expressions.element(run, first, where)
        if pair is not None:
            made.key = expressions.item(run, pair, Const(0), where)
            made.other = expressions.item(run, pair, Const(1), where)
    if "**" in named:
        made = library.merged(run, made, named["**"], where)
    made.known.update({name: value for name, value in named.items() if name != "**"})
    return made


def _known_pairs(value: Items) -> dict[object, Value] | None:
    """The entries of a list of pairs whose keys are texts that are known."""
    found: dict[object, Value] = {}
    for pair in value.known or ():
        inside = pair.known if isinstance(pair, Items) else None
        key = inside[0] if inside is not None and len(inside) == 2 else None
        if inside is None or not isinstance(key, Const) or not isinstance(key.value, str):
            return None
        found[key.value] = inside[1]
    return found or None
