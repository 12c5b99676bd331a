"""The tracer of redis-py: commands of clients and pipelines, sync and async, before they are sent."""

from __future__ import annotations

import gc
import hashlib
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from commute.core.footprint import Access
from commute.derive.redis.keys import spelled
from commute.derive.redis.plugin import ALL_KEYS, mode_of
from commute.derive.redis.scripts import keys_of_script
from commute.derive.texts import up_to
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


def _look(_client: Any, *given: Any, **_options: Any) -> None:
    watches.keys(lambda families: accesses(given, families))


def accesses(given: Sequence[Any], families: Sequence[str] = ()) -> list[Access]:
    """What one command touches, as it is sent; one that is not known may touch any key. `families`: those that keys are
    spelled by."""
    name, *rest = str(given[0]).lower().split() + [_plain(one) for one in given[1:]]

    def at(key: object, field: object = None, *, begins: bool = False) -> str:
        below = [] if field is None else [segment(field)]
        text = key if isinstance(key, str) else format(key)
        return "/".join(["redis", *spelled(text, families, begins=begins), *below])

    if name in ("eval", "eval_ro", "evalsha", "evalsha_ro"):
        return _of_script(name, rest, at)
    found = mode_of(name)
    if found is None:
        return [Access("redis", "write")]
    mode, several, with_field = found
    if not mode:
        return []
    if name in ALL_KEYS:
        return [Access(at(up_to(_pattern(name, rest)), begins=True), mode)]
    if name in ("mset", "msetnx"):
        return [Access(at(key), mode) for key in rest[::2]]
    if name == "hset":
        return [Access(at(rest[0], field), mode) for field in rest[1::2]]
    if several:
        keys = rest[:2] if name in ("smove", "lmove", "blmove", "brpoplpush", "copy", "lcs") else rest
        return [Access(at(key), mode) for key in keys]
    if name in _BEFORE_TIME:
        return [Access(at(key), mode) for key in rest[:-1]]
    return [Access(at(rest[0], rest[1] if with_field and len(rest) > 1 else None), mode)]


_BEFORE_TIME = ("blpop", "brpop", "bzpopmin", "bzpopmax")


def _pattern(name: str, given: Sequence[Any]) -> str:
    """The pattern of a command that goes through keys; "" where it goes through all."""
    if name == "keys":
        return str(given[0]) if given else ""
    words = [str(one).lower() for one in given]
    return str(given[words.index("match") + 1]) if name == "scan" and "match" in words[1:] else ""


def _of_script(name: str, given: Sequence[Any], at: Callable[[object], str]) -> list[Access]:
    """What a script touches, by its text, which for a digest was seen where it was made."""
    if not name.startswith("evalsha"):
        text: str | None = str(given[0])
    elif given[0] in _of_locks():
        return [Access(at(given[2]), "write")]
    else:
        text = _text_of(str(given[0]))
    known = None if text is None else keys_of_script(text, mode_of)
    count = int(given[1])
    if known is None or any(place > count for place, _ in known):
        return [Access("redis", "write")]
    return [Access(at(given[1 + place]), mode) for place, mode in known]


@lru_cache(1_024)
def _text_of(digest: str) -> str | None:
    """The text of a script that is registered with a client, by its digest. Looks at each object once for a digest."""
    kinds = tuple(
        kind
        for name in ("Script", "AsyncScript")
        if (kind := getattr(sys.modules.get("redis.commands.core"), name, None)) is not None
    )
    found = (one for one in gc.get_objects() if isinstance(one, kinds) and getattr(one, "sha", "") == digest)
    text = getattr(next(found, None), "script", None)
    return text if isinstance(text, str) else None


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
