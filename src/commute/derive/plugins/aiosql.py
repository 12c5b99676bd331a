"""Statements in files of SQL, which aiosql makes methods of: the methods are followed as they are, but for one thing.

Which parameters are attributes of one that is given (``:order.id``) stands in a dict that is empty for most statements.
That nobody fills an empty dict of a program later cannot be said in general, but this one is aiosql's own, filled while
it reads the file.
"""

from __future__ import annotations

import inspect

from commute.derive.run import Arguments, Named, Run
from commute.derive.trusted import names_of
from commute.derive.values import Bound, Const, Data, Entries, Live, Value, either


class AioSql:
    """A plug-in."""

    def wrap(self, run: Run, thing: object) -> Value | None:
        return None

    def call(self, run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
        if isinstance(function, Bound):
            arguments = [function.first, *arguments]
            function = function.function
        if not isinstance(function, Live) or names_of(function.value)[0] != "aiosql.queries.Queries._params":
            return None
        try:
            given: dict[str, Value] = inspect.signature(function.value).bind(*arguments, **named).arguments
        except TypeError:
            return None
        attributes, by_name = given.get("attributes", Const(None)), given.get("kwargs")
        if not isinstance(attributes, Const | Live) or by_name is None or "args" not in given:
            return None
        if not isinstance(by_name, Entries) or by_name.other is not None:
            return None if attributes.value else either([by_name, given["args"]])
        if not by_name.known:
            return given["args"]
        known = dict(by_name.known)
        for name, parts in (attributes.value or {}).items():  # ``:cask.id``
            holder = known.pop(name, Data("what is not given"))
            known |= {parameter: run.get(holder, part, where) for part, parameter in parts.items()}
        return Entries(known)

    def attribute(self, run: Run, value: Value, name: str, where: str) -> Value | None:
        return None

    def assign(self, run: Run, value: Value, name: str, new: Value, where: str) -> bool:
        return False

    def escape(self, run: Run, value: Value, where: str) -> bool:
        return False
