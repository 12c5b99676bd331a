"""When footprints are derived, and for whom: an app's side of `derive`, which is loaded when it is needed.

Invariant: what was derived belongs to exactly these handlers; one more, and all is derived anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from commute.errors import UsageError
from commute.handler import Handler

if TYPE_CHECKING:
    from commute.app import App
    from commute.derive.application import Derived
    from commute.derive.knowledge import Declaration

F = TypeVar("F", bound=Callable[..., Any])


class Inference:
    """What an app has said about its code, and what was derived last."""

    def __init__(self) -> None:
        self._trusted: set[str] = set()
        self._declared: dict[object, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {}
        self._for: tuple[Handler, ...] | None = None
        self._found: Derived | None = None
        self._handlers: tuple[Handler, ...] = ()
        self._handlers_for: tuple[Handler, ...] | None = None

    def trust(self, names: Iterable[str]) -> None:
        """These functions touch nothing."""
        self._trusted.update(names)
        self._for = self._handlers_for = None

    def declares(
        self, reads: str | Sequence[str], writes: str | Sequence[str], adds: str | Sequence[str]
    ) -> Callable[[F], F]:
        """A decorator that notes what a function touches, and changes nothing."""

        def note(function: F) -> F:
            self._declared[function] = (_several(reads), _several(writes), _several(adds))
            self._for = self._handlers_for = None
            return function

        return note

    def handlers(self, app: App[Any], given: tuple[Handler, ...]) -> tuple[Handler, ...]:
        """The handlers, with derived footprints where they want one. Raises UsageError (``no-extra``)."""
        if not any(map(wants, given)):
            return given
        if self._handlers_for != given:
            found = self.derived(app, given)
            self._handlers = tuple(
                replace(handler, events=tuple(found.declared(handler, event) for event in handler.events))
                if wants(handler)
                else handler
                for handler in given
            )
            self._handlers_for = given
        return self._handlers

    def derived(self, app: App[Any], given: tuple[Handler, ...]) -> Derived:
        """What is found in the code of all handlers. Raises UsageError (``no-extra``)."""
        if self._found is None or self._for != given:
            try:
                from commute.derive.application import derive
            except ImportError as error:
                raise UsageError(
                    'deriving footprints needs sqlglot, which is not installed: pip install "commute[derive]"',
                    slug="no-extra",
                ) from error
            self._found = derive(
                given, ddl=app.definitions(), trusted=self._trusted, declared=self._declarations(), tables=app.tables,
                lifespan=app.lifespan, chosen={handler.name for handler in given if wants(handler)},
            )  # fmt: skip
            self._for = given
        return self._found

    def _declarations(self) -> dict[object, Declaration]:
        from commute.derive.knowledge import Declaration

        return {function: Declaration(*given) for function, given in self._declared.items()}


def wants(handler: Handler) -> bool:
    """Whether the footprint of a handler is to be derived: it declares none, and says so, or its app does."""
    return bool(handler.derive) and any(event.declared.everything for event in handler.events)


def _several(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
