"""The tracer of redis-py: commands of clients and pipelines, sync and async, before they are sent."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from commute.core.footprint import Access
from commute.derive.redis_plugin import ALL_KEYS, mode_of
from commute.footprints.segment import segment
from commute.observe import watches

_PLACES = (
    ("redis.client", "Redis"),
    ("redis.client", "Pipeline"),
    ("redis.cluster", "RedisCluster"),
    ("redis.cluster", "ClusterPipeline"),
    ("redis.asyncio.client", "Redis"),
    ("redis.asyncio.client", "Pipeline"),
    ("redis.asyncio.cluster", "RedisCluster"),
    ("redis.asyncio.cluster", "ClusterPipeline"),
)


def trace() -> watches.Undo | None:
    """From now on commands are seen, where the application has loaded redis."""
    undone = []
    for module, name in _PLACES:
        cls = getattr(sys.modules.get(module), name, None)
        if cls is not None and "execute_command" in vars(cls):
            undone.append(watches.before(cls, "execute_command", _look))
    return watches.all_of(undone) if undone else None


_TWO = ("smove", "lmove", "copy")


def _look(_client: Any, *given: Any, **_options: Any) -> None:
    for access in accesses(given):
        watches.key(access)


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
    if name.lower() == "hset":
        return [Access(f"redis/{segment(rest[0])}/{segment(field)}", mode) for field in rest[1::2]]
    if several:
        keys = rest[:2] if name.lower() in _TWO else rest  # a member, or how it is done, stands behind the keys
        return [Access(f"redis/{segment(key)}", mode) for key in keys]
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
    if isinstance(value, float):
        return repr(value)  # as redis-py sends it
    return value.decode(errors="replace") if isinstance(value, bytes) else value
