"""The tracer of redis-py: commands of clients and pipelines, sync and async, before they are sent."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache, wraps
from typing import Any

from commute.core.footprint import Access
from commute.derive.redis_plugin import ALL_KEYS, mode_of
from commute.footprints.segment import segment
from commute.observe.watch import Watch

_PLACES = (
    ("redis.client", "Redis", "execute_command"),
    ("redis.client", "Pipeline", "execute_command"),
    ("redis.asyncio.client", "Redis", "execute_command"),
    ("redis.asyncio.client", "Pipeline", "execute_command"),
)


@contextmanager
def traced(watch: Watch) -> Iterator[None]:
    """Until the end, where the application has loaded redis."""
    with ExitStack() as stack:
        for module, name, method in _PLACES:
            cls = getattr(sys.modules.get(module), name, None)
            if cls is not None and method in vars(cls):
                stack.enter_context(_seen(cls, method, watch))
        yield


@contextmanager
def _seen(cls: Any, method: str, watch: Watch) -> Iterator[None]:
    before: Callable[..., Any] = vars(cls)[method]

    @wraps(before)
    def seen(client: Any, *given: Any, **options: Any) -> Any:
        for access in accesses(given):
            watch.key(access)
        return before(client, *given, **options)

    setattr(cls, method, seen)
    try:
        yield
    finally:
        setattr(cls, method, before)


def accesses(given: Sequence[Any]) -> list[Access]:
    """What one command touches, as it is sent; a command that is not known may touch anything."""
    name, *rest = str(given[0]).split() + [_plain(one) for one in given[1:]]
    if name.lower() == "evalsha" and rest and rest[0] in _of_locks():
        return [Access(f"redis/{segment(rest[2])}", "write")]
    found = mode_of(name.lower())
    if found is None:
        return [Access("", "write")]
    mode, several, with_field = found
    if not mode:
        return []
    if name.lower() in ALL_KEYS:
        return [Access("redis", mode)]
    if name.lower() in ("mset", "msetnx"):
        return [Access(f"redis/{segment(key)}", mode) for key in rest[::2]]
    if several:
        return [Access(f"redis/{segment(key)}", mode) for key in rest]
    below = f"/{segment(rest[1])}" if with_field and len(rest) > 1 else ""
    return [Access(f"redis/{segment(rest[0])}{below}", mode)]


@lru_cache(1)
def _of_locks() -> frozenset[str]:
    """The scripts of redis-py's own locks, by their digests: each touches the key of its lock."""
    lock = getattr(sys.modules.get("redis.lock"), "Lock", None)
    found = (getattr(lock, name) for name in dir(lock) if name.startswith("LUA_"))
    texts = [text for text in found if isinstance(text, str)]
    return frozenset(hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for text in texts)


def _plain(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
