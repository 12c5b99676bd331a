"""Puts the parts of an abstract run together, and runs one handler for one event type."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from commute.derive.knowledge import Knowledge
from commute.derive.plugins.context import Commute, context
from commute.derive.plugins.rawsql import RawSql
from commute.derive.plugins.services import Services
from commute.derive.python import attributes, calls, expressions, statements
from commute.derive.python.builtin_calls import Library
from commute.derive.python.variables import Variables
from commute.derive.run import Plugin, Run
from commute.derive.values import Field, Live, Value

BUILT_IN: tuple[type[Plugin], ...] = (Library, Commute, RawSql, Services, Variables)


def make_run(knowledge: Knowledge, plugins: Sequence[Plugin] = ()) -> Run:
    """A run with nothing in it. Plug-ins of the application are asked before those that come with the package."""
    run = Run(knowledge, [*plugins, *(plugin() for plugin in _known())])
    run.evaluate = lambda frame, node: expressions.evaluate(run, frame, node)
    run.execute = lambda frame, body: statements.execute(run, frame, body)
    run.call = lambda function, arguments, named, where: calls.call(run, function, arguments, named, where)
    run.get = lambda value, name, where: attributes.get(run, value, name, where)
    run.another = lambda: make_run(knowledge, plugins)
    return run


def _known() -> list[type[Plugin]]:
    import sys

    found = list(BUILT_IN)
    if "sqlalchemy" in sys.modules:
        from commute.derive.sqlalchemy.inspector import Inspectors
        from commute.derive.sqlalchemy.plugin import SqlAlchemy

        found[:0] = Inspectors, SqlAlchemy
    if "sqlmodel" in sys.modules:
        from commute.derive.sqlalchemy.sqlmodels import SqlModels

        found.insert(0, SqlModels)
    if "dependency_injector" in sys.modules:
        from commute.derive.plugins.dependency_injector import Containers

        found.insert(0, Containers)
    if "databases" in sys.modules:
        from commute.derive.plugins.databases import Databases

        found.insert(0, Databases)
    if "redis" in sys.modules:
        from commute.derive.redis.plugin import Redis

        found.insert(0, Redis)
    if "aiosql" in sys.modules:
        from commute.derive.plugins.aiosql import AioSql

        found.insert(0, AioSql)
    return found


def run_handler(run: Run, function: Any, event: object, where: str) -> None:
    """Run the handler as the runtime calls it: with the event, and with the context if it takes one. `event` is its
    class, or None for a dict."""
    hint = event if event is not None else dict[str, Any]
    arguments: list[Value] = [Field((), hint)]
    parameters = list(inspect.signature(function).parameters.values())
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if len(positional) > 1 and positional[1].default is inspect.Parameter.empty:
        arguments.append(context(_hint(function, positional[1].name)))
    bound = getattr(function, "__self__", None)
    if bound is not None and not inspect.ismodule(bound):
        arguments.insert(0, attributes.wrap(run, bound))
        function = function.__func__
    run.direct = True
    run.call(Live(function), arguments, {}, where)
    late, run.late = run.late or [], None
    for coroutine in late:  # they may see what was changed since they were made
        coroutine()


def _hint(function: Any, name: str) -> Any:
    import typing

    try:
        return typing.get_type_hints(inspect.unwrap(function)).get(name)
    except (NameError, TypeError, AttributeError):
        return None
