"""The watches that are open, and the places in libraries that are changed while there are any.

    first watch ─▶ places are changed ─▶ … watches come and go, in any sequence … ─▶ last one ends ─▶ as it was

Invariant: a place is changed once, however many watch. One whose library is loaded later is changed by the next watch.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from commute.observe.tables import Ask, Catalogue

if TYPE_CHECKING:
    from commute.core.footprint import Access
    from commute.observe.watch import Watch

Undo = Callable[[], None]
Tracer = Callable[[], Undo | None]  # changes its places, None where their library is not loaded

ASKING: ContextVar[bool] = ContextVar("commute_asking", default=False)  # a watch asks the database itself

WHOLE: Final = object()  # in the place of a key

_lock = threading.Lock()
_open: tuple[Watch, ...] = ()
_changed: dict[Tracer, Undo] = {}
_DEFINES = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:CREATE|ALTER|DROP)\b", re.IGNORECASE | re.DOTALL)
_MAY_DEFINE = "CcAaDd \t\r\n-/"  # how such a text begins: told faster than by the pattern


def enter(watch: Watch, tracers: Sequence[Tracer]) -> None:
    """`watch` sees from now on."""
    global _open  # noqa: PLW0603 - read without a lock, so put in place as a whole
    with _lock:
        for tracer in tracers:
            if tracer not in _changed:
                undo = tracer()
                if undo is not None:
                    _changed[tracer] = undo
        _open = (*_open, watch)


def leave(watch: Watch) -> None:
    """`watch` sees nothing any more."""
    global _open  # noqa: PLW0603 - read without a lock, so put in place as a whole
    with _lock:
        _open = tuple(one for one in _open if one is not watch)
        if not _open:
            for undo in reversed(_changed.values()):
                undo()
            _changed.clear()


def is_seen(tracer: Tracer) -> bool:
    """Whether the places of a tracer are changed now."""
    return tracer in _changed


def anybody() -> bool:
    """Whether somebody watches, and does not ask the database itself here."""
    return bool(_open) and not ASKING.get()


@contextmanager
def asking() -> Iterator[None]:
    """Nothing is seen of what is done here."""
    token = ASKING.set(True)
    try:
        yield
    finally:
        ASKING.reset(token)


def statement(text: str, given: Any, catalogue: Catalogue, ask: Ask) -> None:
    """A statement is about to be run with these parameters; `ask` runs a query where it will be run. Raises
    UndeclaredAccessError."""
    if ASKING.get():
        return
    for watch in _open:
        watch.statement(text, given, catalogue, ask)
    if text[:1] in _MAY_DEFINE and _DEFINES.match(text):
        catalogue.stale = True


def key(access: Access) -> None:
    """Something that is no table is about to be touched. Raises UndeclaredAccessError."""
    for watch in () if ASKING.get() else _open:
        watch.key(access)


def keys(accesses: Callable[[Sequence[str]], Sequence[Access]]) -> None:
    """The same of keys of Redis, which each app spells by its own families."""
    for watch in () if ASKING.get() else _open:
        for access in accesses(watch.families):
            watch.key(access)


def shared(container: object, mode: str, key: object = WHOLE) -> None:
    """A container of the program is about to be touched, at one key or as a whole. Raises UndeclaredAccessError."""
    for watch in () if ASKING.get() else _open:
        watch.shared(container, mode, key)


def all_of(undone: Sequence[Undo]) -> Undo:
    """Takes all of them back."""

    def undo() -> None:
        for one in undone:
            one()

    return undo


def before(cls: Any, method: str, look: Callable[..., None]) -> Undo:
    """From now on `look` is called with the arguments of a method before each call of it."""
    own: Callable[..., Any] = vars(cls)[method]

    @wraps(own)
    def seen(*given: Any, **named: Any) -> Any:
        look(*given, **named)
        return own(*given, **named)

    setattr(cls, method, seen)
    return lambda: setattr(cls, method, own)


def caller(passing: tuple[str, ...]) -> str:
    """The module that has called the one that asks, past frames of modules that begin with one of `passing`."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name: str = frame.f_globals.get("__name__", "")
        if not name.startswith(passing):
            return name
        frame = frame.f_back
    return ""
