"""A registered handler: its function, its events with codec and footprint, its options; and the checks that
make one.

All that can be known to be wrong at import is refused there, with the line of the handler: a wrong
annotation, an option out of range, a key that names no field. What is left can only be wrong event by
event.

Invariants: names are unique in an app (they are stored beside each success); a type name belongs to one
class.
"""

from __future__ import annotations

import dis
import inspect
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, get_args, get_origin, is_typeddict

from commute.codec import Codec, codec_for
from commute.core.retry import Policy, Retry
from commute.errors import CommuteError, UsageError
from commute.footprints.declared import Declared, Given, compile_footprint

EXECUTORS = ("auto", "loop", "threads", "processes")
_DASK = re.compile(r"dask://[^\s/?#@]+:\d{1,5}")
HandlerFunction: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class HandlerEvent:
    """One event type of a handler: how its data is read, and what the handler touches for it."""

    codec: Codec
    declared: Declared

    @property
    def type(self) -> str:
        """The type name, as in messages."""
        return self.codec.event_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """One registration, checked. `where` is ``file:line`` of the function, relative below the working
    directory.
    """

    name: str
    function: HandlerFunction
    events: tuple[HandlerEvent, ...]  # at least one; types are distinct
    retry: Retry
    timeout_s: float | None  # of one attempt; None: no limit
    on_exhausted: Policy
    concurrency: int | None  # of this handler in one worker; None: the worker's
    executor: str  # auto, loop, threads, processes, or dask://HOST:PORT
    unordered: bool  # waits for no one, and no one waits for it
    where: str
    is_async: bool
    takes_context: bool
    embedded: bool  # its own code opens ctx.transaction()
    stateful: bool  # its own code reads ctx.state
    derive: bool | None  # whether its footprint is derived where it declares none; None: as the app says

    @property
    def elsewhere(self) -> bool:
        """Whether it runs outside the worker's process."""
        return self.executor == "processes" or self.executor.startswith("dask://")

    def event(self, type: str) -> HandlerEvent | None:
        """Its entry for an event type, None if it does not handle that."""
        return next((event for event in self.events if event.type == type), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerOptions:
    """The options of a registration that do not depend on the event; checked by `build_handler`."""

    retry: Retry = Retry()  # noqa: RUF009 - frozen
    timeout_s: float | None = None
    on_exhausted: Policy = "park"
    concurrency: int | None = None
    executor: str = "auto"
    derive: bool | None = None
    type: str | None = None


def build_handler(
    function: HandlerFunction, events: Sequence[type | str], given: Given, options: HandlerOptions
) -> Handler:
    """The record of a handler. Raises UsageError with the handler's line: ``wrong-handler``,
    ``handler-option``, ``event-class``, ``event-type``, ``type-twice`` and those of `compile_footprint`.
    """
    if not isinstance(function, types.FunctionType | types.MethodType):
        raise UsageError(f"{function!r} is no handler: decorate a function (async def or def)", slug="wrong-handler")
    name, where = function.__name__, location(function)
    try:
        takes_context = _check_signature(function, name)
        _check_options(name, options)
        if options.executor == "threads" and inspect.iscoroutinefunction(function):
            raise UsageError(f"{name} is `async def`, which no thread runs: make it `def`", slug="handler-option")
        codecs = _codecs(name, events, options.type)
        _check_annotation(function, name, codecs)
        declared = [
            compile_footprint(given, cls=codec.cls, event_type=codec.event_type, handler=name, where=where)
            for codec in codecs
        ]
    except CommuteError as error:
        error.where = error.where or where
        raise
    return Handler(
        name=name,
        function=function,
        events=tuple(map(HandlerEvent, codecs, declared)),
        retry=options.retry,
        timeout_s=options.timeout_s,
        on_exhausted=options.on_exhausted,
        concurrency=options.concurrency,
        executor=options.executor,
        unordered=given.unordered,
        where=where,
        is_async=inspect.iscoroutinefunction(function),
        takes_context=takes_context,
        embedded=takes_of_context(function, "transaction"),
        stateful=takes_of_context(function, "state"),
        derive=options.derive,
    )


def check_together(known: Iterable[Handler], added: Handler) -> None:
    """Returns if `added` may join the handlers of one app. Raises UsageError: ``handler-twice``,
    ``type-twice``.
    """
    for handler in known:
        if handler.name == added.name:
            raise UsageError(
                f"two handlers are named {added.name}, here and at {handler.where}: what each has done is "
                "stored under its name. Rename one; for several events use one @on(A, B)",
                slug="handler-twice",
                where=added.where,
            )
        for mine in handler.events:
            for yours in added.events:
                _check_classes(handler, mine.codec, added, yours.codec)


def location(function: HandlerFunction) -> str:
    """``file:line`` of a function, the file relative to the working directory if it lies below it."""
    code = inspect.unwrap(function).__code__
    path = Path(code.co_filename)
    here = Path(os.path.curdir).absolute()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{shown}:{code.co_firstlineno}"


def takes_of_context(function: HandlerFunction, attribute: str) -> bool:
    """Whether the function's own code takes `attribute` of its second parameter. False where it cannot be seen: a
    context handed on, or one under another name.
    """
    code = inspect.unwrap(function).__code__
    bound = 1 if isinstance(function, types.MethodType) else 0
    names = code.co_varnames[: code.co_argcount]
    if len(names) < bound + 2:
        return False
    context = names[bound + 1]
    before = ""
    for instruction in _instructions(code):
        if before == context and instruction.argval == attribute:
            return True
        before = instruction.argval if instruction.opname.startswith(("LOAD_FAST", "LOAD_DEREF")) else ""
    return False


def _instructions(code: types.CodeType) -> Iterable[dis.Instruction]:
    """Those of a function and of the functions inside it, which may have captured its context."""
    yield from dis.get_instructions(code)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _instructions(constant)


def _check_signature(function: HandlerFunction, name: str) -> bool:
    """Whether the function takes (event, ctx) rather than (event)."""
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise UsageError(f"{name} yields: a handler returns None; publish with ctx.publish", slug="wrong-handler")
    parameters = inspect.signature(function).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(positional) not in (1, 2) or not set(map(_name_of, needed)) <= set(map(_name_of, positional)):
        raise UsageError(
            f"{name}{inspect.signature(function)}: a handler takes (event) or (event, ctx)",
            slug="wrong-handler",
        )
    returned = _hints(function).get("return", type(None))
    if returned not in (type(None), typing.NoReturn, typing.Never, Any):
        raise UsageError(
            f"{name} returns {_shown(returned)}, which no one would see: a handler returns None; publish "
            "with ctx.publish",
            slug="wrong-handler",
        )
    return len(positional) == 2 and positional[1].default is inspect.Parameter.empty


def _name_of(parameter: inspect.Parameter) -> str:
    return parameter.name


def _check_options(name: str, options: HandlerOptions) -> None:
    def refuse(text: str) -> UsageError:
        return UsageError(f"{name}: {text}", slug="handler-option")

    timeout_s, concurrency = options.timeout_s, options.concurrency
    if timeout_s is not None and not (_is_number(timeout_s) and 0 < timeout_s < float("inf")):
        raise refuse(f"timeout_s={timeout_s!r}: give seconds, more than 0, or None for no limit")
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise refuse(f"concurrency={concurrency!r}: give a whole number, 1 or more, or None for the worker's")
    if options.on_exhausted not in get_args(Policy):
        raise refuse(f'on_exhausted={options.on_exhausted!r}: give "park", "skip" or "stop"')
    if options.executor not in EXECUTORS and not _DASK.fullmatch(str(options.executor)):
        raise refuse(
            f'executor={options.executor!r}: give "auto", "loop", "threads", "processes" or "dask://HOST:PORT"'
        )
    if options.derive not in (True, False, None):
        raise refuse(f"derive={options.derive!r}: give True or False")
    if not isinstance(options.retry, Retry):
        raise refuse(f"retry={options.retry!r}: give Retry(attempts=..., first_s=..., max_s=...)")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _codecs(name: str, events: Sequence[type | str], type_name: str | None) -> list[Codec]:
    if not events:
        raise UsageError(f"{name}: @on() needs an event class or a type name", slug="event-class")
    if type_name is not None and len(events) > 1:
        raise UsageError(f"{name}: type= renames one class, not {len(events)}", slug="event-type")
    codecs = [codec_for(event, type_name=type_name) for event in events]
    known: dict[str, Codec] = {}
    for codec in codecs:
        if codec.event_type in known:
            raise UsageError(
                f'{name}: {known[codec.event_type].name} and {codec.name} both have the type "{codec.event_type}"',
                slug="type-twice",
            )
        known[codec.event_type] = codec
    return codecs


def _check_classes(known: Handler, mine: Codec, added: Handler, yours: Codec) -> None:
    if mine.cls is None or yours.cls is None:
        return
    if mine.event_type == yours.event_type and mine.cls is not yours.cls:
        raise UsageError(
            f'{known.name} and {added.name} handle two classes of the type "{mine.event_type}", '
            f"{_full_name(mine.cls)} "
            f'and {_full_name(yours.cls)}: give one of them another name with type="..."',
            slug="type-twice",
            where=added.where,
        )
    if mine.cls is yours.cls and mine.event_type != yours.event_type:
        raise UsageError(
            f'{mine.cls.__name__} has the type "{mine.event_type}" in {known.name} and "{yours.event_type}" '
            f"in {added.name}: a class has one type, so that it can be published",
            slug="type-twice",
            where=added.where,
        )


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _check_annotation(function: HandlerFunction, name: str, codecs: Sequence[Codec]) -> None:
    parameter = next(iter(inspect.signature(function).parameters))
    annotation = _hints(function).get(parameter, Any)
    missing = [codec for codec in codecs if not _accepts(annotation, codec)]
    if missing:
        events = " and ".join(codec.name for codec in codecs)
        raise UsageError(
            f"{name} is registered for {events}, but its event is annotated {_shown(annotation)}.",
            slug="wrong-handler",
        )


def _accepts(annotation: object, codec: Codec) -> bool:
    """Whether a parameter annotated so takes the codec's events."""
    if isinstance(annotation, typing.TypeVar):
        annotation = annotation.__bound__ or Any
    origin = get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_accepts(member, codec) for member in get_args(annotation))
    if origin is typing.Annotated:
        return _accepts(get_args(annotation)[0], codec)
    if annotation in (Any, object, codec.cls):
        return True
    cls = origin or annotation
    if not isinstance(cls, type):
        return True  # an alias that is too clever for us; type checkers know better
    if codec.cls is None or is_typeddict(codec.cls):
        return not is_typeddict(cls) and issubclass(dict, cls)
    return not is_typeddict(cls) and issubclass(codec.cls, cls)


def names_for(handlers: Iterable[Handler], type_: str) -> list[str]:
    """The names of the handlers that take events of a type, in their sequence."""
    return [handler.name for handler in handlers if handler.event(type_) is not None]


def _hints(function: HandlerFunction) -> dict[str, Any]:
    """The annotations that can be evaluated. Others are left to the type checker: a name imported for
    typing only.
    """
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        pass
    raw = inspect.unwrap(function)
    found = {}
    for name, annotation in getattr(raw, "__annotations__", {}).items():
        single = types.FunctionType((lambda: None).__code__, raw.__globals__)
        single.__annotations__ = {name: annotation}
        try:
            found.update(typing.get_type_hints(single, localns=_closure(raw)))
        except (NameError, TypeError, AttributeError):
            continue
    return found


def _closure(function: HandlerFunction) -> dict[str, Any]:
    return dict(inspect.getclosurevars(function).nonlocals)


def _shown(annotation: object) -> str:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__name__
    return str(annotation).replace("typing.", "")
