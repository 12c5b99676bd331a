"""Registering handlers: ``@router.on(OrderCreated, writes="order/{order_id}")``.

A `Router` collects the handlers of one module; an app is composed of routers. The decorator is typed so
that the handler must take what is registered and a function of keys knows the fields of its event; it
checks at import what types cannot say, and gives the function back unchanged, so that tests and other code
call it as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypedDict, TypeVar, Unpack, overload

from commute.core.footprint import Access
from commute.core.retry import Policy, Retry
from commute.errors import UsageError
from commute.footprints.declared import Given, Keys
from commute.handler import Handler, HandlerFunction, HandlerOptions, build_handler, check_together

if TYPE_CHECKING:
    import typing_extensions

    from commute.context import Context

    S = typing_extensions.TypeVar("S", default=None)
else:
    S = TypeVar("S")

E = TypeVar("E")
E1 = TypeVar("E1")
E2 = TypeVar("E2")
E3 = TypeVar("E3")
E4 = TypeVar("E4")

Done: TypeAlias = Coroutine[Any, Any, None]


class Options(TypedDict, Generic[E], total=False):
    """What ``on`` takes by keyword.

    Keys are a template, several, or a function of the event that gives one or several. Any of `reads`,
    `writes`, `adds`, `commutes`, `accesses` makes the footprint complete; ``writes=()`` touches nothing;
    with none of them the handler is taken to touch everything.
    """

    reads: Keys[E]
    writes: Keys[E]
    adds: Keys[E]  # by what the store does atomically and in any sequence, SET q = q + ?
    commutes: Mapping[str, Keys[E]]  # commutative classes of the application's own, by name
    accesses: Callable[[E], Iterable[Access]]
    unordered: bool  # waits for no one, no one waits for it, its failure holds nothing
    publishes: Keys[E]  # children with equal keys leave in log order
    partition_by: str | Callable[[E], str]  # the label of its events' partition; default: found from the footprints
    retry: Retry
    timeout_s: float | None  # of one attempt, more than 0; the keys are kept until the handler has really ended
    on_exhausted: Policy
    concurrency: int | None  # of this handler in one worker, at least 1
    executor: (
        str  # auto: `async def` in the event loop, `def` in a thread; or loop, threads, processes, dask://HOST:PORT
    )
    derive: bool  # nothing of the above given: the footprint is derived from the handler's code; default: the app's
    type: str  # the type name of a class that is no Event


class Registrar(Protocol[E, S]):
    """What ``on`` returns: takes a handler, registers it, gives it back unchanged."""

    @overload
    def __call__(self, handler: Callable[[E], Done], /) -> Callable[[E], Done]: ...
    @overload
    def __call__(self, handler: Callable[[E], None], /) -> Callable[[E], None]: ...
    @overload
    def __call__(self, handler: Callable[[E, Context[S]], Done], /) -> Callable[[E, Context[S]], Done]: ...
    @overload
    def __call__(self, handler: Callable[[E, Context[S]], None], /) -> Callable[[E, Context[S]], None]: ...


class Router(Generic[S]):
    """Handlers in registration sequence; `S` is the state that the app's ``lifespan`` yields."""

    def __init__(self, *, derive: bool | None = None) -> None:
        """`derive`: footprints of handlers that declare none are derived from their code; None: as the app says."""
        self._handlers: list[Handler] = []
        self._derive = derive

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """All handlers, included ones too, in registration sequence."""
        return tuple(self._handlers)

    def include(self, router: Router[S]) -> None:
        """The router's handlers join these, behind those registered so far; what it registers later does not.

        Raises UsageError: ``handler-twice``, ``type-twice``. Then nothing was included.
        """
        joined = list(self._handlers)
        for handler in router._handlers:
            check_together(joined, handler)
            joined.append(handler)
        self._handlers = joined

    @overload
    def on(self, e1: type[E1], /, **options: Unpack[Options[E1]]) -> Registrar[E1, S]: ...
    @overload
    def on(self, e1: type[E1], e2: type[E2], /, **options: Unpack[Options[E1 | E2]]) -> Registrar[E1 | E2, S]: ...
    @overload
    def on(
        self, e1: type[E1], e2: type[E2], e3: type[E3], /, **options: Unpack[Options[E1 | E2 | E3]]
    ) -> Registrar[E1 | E2 | E3, S]: ...
    @overload
    def on(
        self,
        e1: type[E1],
        e2: type[E2],
        e3: type[E3],
        e4: type[E4],
        /,
        **options: Unpack[Options[E1 | E2 | E3 | E4]],
    ) -> Registrar[E1 | E2 | E3 | E4, S]: ...
    @overload
    def on(self, *types: str, **options: Unpack[Options[dict[str, object]]]) -> Registrar[dict[str, object], S]: ...
    def on(self, *events: type | str, **options: Any) -> Any:
        """A decorator that registers a handler, ``(event)`` or ``(event, ctx)``, `async def` or `def`, for
        events.

        Events are classes (Event, msgspec.Struct, dataclass, TypedDict, pydantic model) or type names,
        whose events are dicts. Handlers of one event that conflict run in registration sequence. Raises
        UsageError at import for whatever is wrong, with the handler's line.
        """

        def register(function: HandlerFunction) -> HandlerFunction:
            handler = build_handler(function, events, *_split({"derive": self._derive, **options}))
            check_together(self._handlers, handler)
            self._handlers.append(handler)
            return function

        return register


_GIVEN = frozenset(Given.__dataclass_fields__)
_OPTIONS = frozenset(HandlerOptions.__dataclass_fields__)


def _split(options: Mapping[str, Any]) -> tuple[Given, HandlerOptions]:
    unknown = options.keys() - _GIVEN - _OPTIONS
    if unknown:
        raise UsageError(
            f"@on has no option {', '.join(sorted(unknown))}; it has {', '.join(sorted(_GIVEN | _OPTIONS))}",
            slug="handler-option",
        )
    given = Given(**{name: value for name, value in options.items() if name in _GIVEN})
    return given, HandlerOptions(**{name: value for name, value in options.items() if name in _OPTIONS})
