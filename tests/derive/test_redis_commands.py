"""Commands of Redis as services give them: in pipelines, chained, under locks; no server is asked."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import redis

from commute import App, Event
from commute.derive.application import derive

client = redis.Redis(decode_responses=True)
VIEWS = "views:{page}"


class Viewed(Event):
    page: str
    visitor: str = ""


def counted_in_a_pipeline(event: Viewed) -> None:
    with client.pipeline() as pipe:
        pipe.incr(f"n:{event.page}")
        pipe.execute()


def looked_at_in_a_pipeline(event: Viewed) -> None:
    with client.pipeline() as pipe:
        pipe.incr(f"n:{event.page}")
        (count,) = pipe.execute()
    print(count)


def chained(event: Viewed) -> None:
    pipe: Any = client.pipeline()
    pipe.set(f"a:{event.page}", 1).expire(f"b:{event.page}", 5).execute()


def fields_by_a_mapping(event: Viewed) -> None:
    client.hset(f"h:{event.page}", "x", "1", mapping={event.visitor: "2"})


def under_a_lock(event: Viewed) -> None:
    with client.lock(f"lock:{event.page}", timeout=5):
        client.sadd(f"s:{event.page}", event.visitor)


def key_by_a_pattern(event: Viewed) -> None:
    client.incr(VIEWS.format(page=event.page))


@functools.lru_cache(maxsize=1)
def remembered_client() -> Any:
    return redis.Redis(decode_responses=True)


@functools.lru_cache
def remembered_views() -> Views:
    return Views(remembered_client())


class Views:
    def __init__(self, of: Any) -> None:
        self.of = of

    def count(self, page: str) -> None:
        self.of.incr(f"n:{page}")


def by_a_client_that_is_remembered(event: Viewed) -> None:
    remembered_client().incr(f"n:{event.page}")


def by_a_service_that_is_remembered(event: Viewed) -> None:
    remembered_views().count(event.page)


def published(event: Viewed) -> None:
    client.publish(f"c:{event.page}", event.visitor)


def all_keys(_event: Viewed) -> None:
    for key in client.scan_iter("views:*"):
        print(key)


def asked_with_in(event: Viewed) -> None:
    if event.page in client:
        client.set("found", 1)


def field_in_bytes(event: Viewed) -> None:
    client.hset(event.page, b"x", "1")


SCRIPT = "redis.call('incrby', KEYS[1], ARGV[1]) return redis.call('get', KEYS[2])"
digest = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


def by_its_digest(event: Viewed) -> None:
    client.evalsha(digest, 2, f"a:{event.page}", f"b:{event.page}", 1)


def loaded_and_then_run(event: Viewed) -> None:
    sha = client.script_load(SCRIPT)
    client.evalsha(sha, 2, f"a:{event.page}", f"b:{event.page}", 1)


def by_another_digest(event: Viewed) -> None:
    client.evalsha("0" * 40, 1, f"a:{event.page}")


def a_text_while_watching(event: Viewed) -> None:
    pipe: Any
    with client.pipeline() as pipe:
        pipe.watch(f"a:{event.page}")
        found: Any = pipe.get(f"a:{event.page}")
        if isinstance(found, bytes):
            found = found.decode()
        pipe.multi()
        pipe.set(f"a:{event.page}", found.upper())
        pipe.execute()


EXPECTED: list[tuple[Callable[[Viewed], None], set[tuple[str, str]]]] = [
    (counted_in_a_pipeline, {("redis/n:p", "add")}),
    (looked_at_in_a_pipeline, {("redis/n:p", "write")}),
    (chained, {("redis/a:p", "write"), ("redis/b:p", "write")}),
    (fields_by_a_mapping, {("redis/h:p", "write")}),
    (under_a_lock, {("redis/lock:p", "write"), ("redis/s:p", "write")}),
    (key_by_a_pattern, {("redis/views:p", "add")}),
    (published, {("redis/c:p", "write")}),
    (by_a_client_that_is_remembered, {("redis/n:p", "add")}),
    (by_a_service_that_is_remembered, {("redis/n:p", "add")}),
    (all_keys, {("redis/views:", "read")}),
    (asked_with_in, {("redis/p", "read"), ("redis/found", "write")}),
    (field_in_bytes, {("redis/p/x", "write")}),
    (by_its_digest, {("redis/a:p", "write"), ("redis/b:p", "read")}),
    (loaded_and_then_run, {("redis/a:p", "write"), ("redis/b:p", "read")}),
    (by_another_digest, {("redis", "write")}),
    (a_text_while_watching, {("redis/a:p", "write")}),
]


@pytest.mark.parametrize(("function", "expected"), EXPECTED, ids=lambda one: getattr(one, "__name__", ""))
def test_what_commands_touch(function: Callable[[Viewed], None], expected: set[tuple[str, str]]) -> None:
    app: App[None] = App("pages", "memory://")
    app.on(Viewed)(function)
    found = derive(app.handlers)
    handler = app.handlers[0]
    footprint = found.declared(handler, handler.events[0]).declared.footprint(Viewed(page="p", visitor="v"))
    assert {(access.key, access.mode) for access in footprint} == expected
