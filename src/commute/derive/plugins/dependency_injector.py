"""Containers of dependency_injector: what its providers make, and what it hands to functions that ask for it.

A provider is read as it stands: what it calls, with which arguments, and what was put in its place. What a singleton
makes outlives the handler, so all handlers share one object here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from commute.derive.python.attributes import get as attribute_of
from commute.derive.python.attributes import has_method, wrap
from commute.derive.python.expressions import enter
from commute.derive.python.kept import keep
from commute.derive.run import Arguments, Named, Run
from commute.derive.values import Data, Entries, Handle, Items, Live, Made, Value, either, options

_LIBRARY = "dependency_injector"
_CONFIGURED = ("Configuration", "ConfigurationOption", "TypedConfigurationOption")


class Containers:
    """See the module."""

    def wrap(self, run: Run, thing: object) -> Value | None:
        return None

    def call(self, run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
        thing = function.value if isinstance(function, Live) else None
        if isinstance(thing, type):
            resolves = thing.__name__ == "DependencyResolver" and thing.__module__ == f"{_LIBRARY}._cwiring"
            return _resolved(run, arguments, where) if resolves and len(arguments) == 3 else None
        return provided(run, thing, arguments, named, where) if _is_provider(thing) else None

    def attribute(self, run: Run, value: Value, name: str, where: str) -> Value | None:
        thing = value.value if isinstance(value, Live) else None
        if not _is_provider(thing):
            return None
        if name == "provider":
            return value
        inside: Any = thing if _kinds(thing) & {"Container", "DependenciesContainer"} else None
        if inside is not None and name in inside.providers:
            return Live(inside.providers[name])
        return run.widen(f"{name} of a provider is not followed", where)

    def assign(self, run: Run, value: Value, name: str, new: Value, where: str) -> bool:
        return False

    def escape(self, run: Run, value: Value, where: str) -> bool:
        return False


def _is_provider(thing: object) -> bool:
    return type(thing).__module__.startswith(_LIBRARY) and "Provider" in _kinds(thing)


def _kinds(thing: object) -> set[str]:
    """The names of a provider's classes."""
    return {base.__name__ for base in type(thing).__mro__}


def provided(run: Run, provider: Any, arguments: Arguments, named: Named, where: str) -> Value:
    """What a provider gives when it is called."""
    if provider.overridden:
        return provided(run, provider.overridden[-1], arguments, named, where)
    kinds = _kinds(provider)
    if kinds & {*_CONFIGURED}:
        return Data("what is configured")
    if kinds & {"Factory", "Callable"}:
        return _called(run, provider, arguments, named, where)
    if kinds & {"BaseSingleton", "BaseResource"}:
        return _kept(run, provider, arguments, named, where)
    if "Delegate" in kinds:
        return Live(provider.provides)
    if "Object" in kinds and type(provider).__name__ == "Object":
        return wrap(run, provider.provides)
    if "Dependency" in kinds and provider.default is not None:
        return provided(run, provider.default, arguments, named, where)
    if "List" in kinds:
        return Items("list", [*(_injected(run, one, where) for one in provider.args), *arguments])
    if "Dict" in kinds and all(isinstance(key, str) for key in provider.kwargs):
        return Entries({key: _injected(run, one, where) for key, one in provider.kwargs.items()})
    if "Selector" in kinds:  # which one, the configuration says
        return either([provided(run, one, arguments, named, where) for one in provider.providers.values()]) or Data()
    if type(provider).__name__ == "ProvidedInstance":
        return provided(run, provider.provides, [], {}, where)
    if type(provider).__name__ == "AttributeGetter" and isinstance(provider.name, str):
        return attribute_of(run, provided(run, provider.provides, [], {}, where), provider.name, where)
    name = type(provider).__name__
    return run.widen(
        f"a provider of the kind {name} is not followed", where, "make the object in a Factory or Singleton"
    )


def _called(run: Run, provider: Any, arguments: Arguments, named: Named, where: str) -> Value:
    """What a provider calls, with what it was given for that; arguments by name come before its own."""
    own = provider.kwargs
    if any("__" in name for name in (*own, *named)):
        return run.widen("arguments for what a provider is given are not followed", where)
    given = [*(_injected(run, one, where) for one in provider.args), *arguments]
    more = {name: _injected(run, one, where) for name, one in own.items() if name not in named}
    made = run.call(wrap(run, provider.provides), given, {**more, **named}, where)
    attributes: Mapping[str, Any] = getattr(provider, "attributes", {})
    if attributes:
        return run.widen("attributes that a provider sets are not followed", where)
    return made


def _kept(run: Run, provider: Any, arguments: Arguments, named: Named, where: str) -> Value:
    """What a provider makes once and keeps; what a resource yields."""
    key = ("provided once", id(provider))
    if key not in run.kept or arguments or named:  # it may be this handler that is the first to ask for it
        found = _called(run, provider, arguments, named, where)
        if "BaseResource" in _kinds(provider):
            found = _opened(run, found, where)
        keep(found)
        run.knowledge.kept.append(provider)
        run.kept[key] = run.knowledge.singletons.setdefault(id(provider), found)
        if arguments or named:  # another one, where it is the first
            run.kept[key] = run.knowledge.singletons[id(provider)] = either([run.kept[key], found]) or found
    known: Value = run.kept[key]
    return known


def _opened(run: Run, made: Value, where: str) -> Value:
    """What is in a resource: what its generator yields, or its context gives; all of that runs at once here."""
    if isinstance(made, Handle) and made.kind == "context":
        return enter(run, made, "", where)
    if isinstance(made, Made) and (has_method(made.cls, "__enter__") or has_method(made.cls, "init")):
        return run.widen(
            f"a resource of the class {made.cls.__name__} is not followed", where, "give it as a generator"
        )
    return made


def _injected(run: Run, thing: Any, where: str) -> Value:
    """An argument of a provider: what another one gives, unless that is handed over itself."""
    if not _is_provider(thing):
        return wrap(run, thing)
    delegated = type(thing).__name__.startswith("Delegated") or getattr(type(thing), "__IS_DELEGATED__", False)
    return Live(thing) if delegated else provided(run, thing, [], {}, where)


def _resolved(run: Run, arguments: Arguments, where: str) -> Value:
    """The arguments of a function together with those that it asks for; what the caller gives comes first."""
    given, asked = arguments[0], list(options(arguments[1]))
    wired = [one.value for one in asked if isinstance(one, Live) and isinstance(one.value, dict)]
    unwired = [one for one in asked if isinstance(one, Entries) and not one.known and one.other is None]
    if not isinstance(given, Entries) or given.other is not None or len(wired) != 1 or len(unwired) < len(asked) - 1:
        return run.widen("what is injected here is not followed", where)
    more = {
        name: provided(run, one, [], {}, where)
        for name, one in wired[0].items()
        if name not in given.known or _is_marker(given.known[name])
    }
    return Handle("context", {"value": Entries({**given.known, **more})})


def _is_marker(value: Value) -> bool:
    return isinstance(value, Live) and type(value.value).__module__ == f"{_LIBRARY}.wiring"
