"""Scripts in Lua: which of their keys they touch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from commute import App, Event
from commute.derive.application import derive
from commute.derive.redis.plugin import mode_of
from commute.derive.redis.scripts import keys_of_script

client = redis.Redis(decode_responses=True)

SEEN: list[tuple[str, tuple[tuple[int, str], ...]]] = [
    ("return redis.call('GET', KEYS[1])", ((1, "read"),)),
    ("redis.call('incr', KEYS[1]) return redis.call('get', KEYS[2])", ((1, "write"), (2, "read"))),
    ("local k = KEYS[1]\nif redis.call('exists', k) == 1 then return 0 end\nredis.call('set', k, ARGV[1])",
     ((1, "write"),)),
    ("local n = #KEYS -- 'quoted' KEYS[i]\nreturn redis.call(\"DEL\", KEYS[1], KEYS[2])", ((1, "write"), (2, "write"))),
    ("return redis.error_reply('no KEYS[3]')", ()),
]  # fmt: skip

UNSEEN = [
    "return redis.call('get', KEYS[1] .. ':x')",
    "local k = KEYS[1]\n .. ':x'\nreturn redis.call('get', k)",
    "local k = KEYS[1]\nk = ARGV[1]\nreturn redis.call('get', k)",
    "local k = KEYS[1]\nfor _, k in ipairs(ARGV) do redis.call('del', k) end",
    "local k = KEYS[1]\nlocal function f(k) redis.call('del', k) end\nf(ARGV[1])",
    "local a, k = KEYS[1], ARGV[1]\nredis.call('del', k)",
    "KEYS[1] = ARGV[1]\nredis.call('del', KEYS[1])",
    "local all = KEYS\nall[1] = ARGV[1]\nredis.call('del', KEYS[1])",
    "for i = 1, #KEYS do redis.call('del', KEYS[i]) end",
    "local call = redis.call\nreturn call('get', ARGV[1])",
    "local r = redis\nreturn r.call('get', ARGV[1])",
    "return redis['call']('get', ARGV[1])",
    "return redis.call(unpack(ARGV))",
    "return redis.call(ARGV[1], KEYS[1])",
    "return redis.call('mset', KEYS[1], 1, ARGV[1], 2)",
    "return redis.call('smove', KEYS[1], ARGV[1], 'x')",
    "return redis.call('keys', ARGV[1])",
    "return redis.call('eval', ARGV[1], 0)",
    "return redis.call('sort', KEYS[1], 'BY', 'w:*')",
    "return loadstring(ARGV[1])()",
    "local s = [[ it's ]] return redis.call('get', KEYS[1])",
]


@pytest.mark.parametrize(("text", "expected"), SEEN)
def test_what_a_script_touches_is_seen(text: str, expected: tuple[tuple[int, str], ...]) -> None:
    assert keys_of_script(text, mode_of) == expected


@pytest.mark.parametrize("text", UNSEEN)
def test_a_script_that_may_touch_other_keys_is_seen_to_be_one(text: str) -> None:
    assert keys_of_script(text, mode_of) is None


class Tried(Event):
    name: str
    script: str = ""


TAKE = "if redis.call('exists', KEYS[1]) == 1 then return 0 end\nredis.call('set', KEYS[1], ARGV[1]) return 1"
take = client.register_script(TAKE)


def evaluated(event: Tried) -> None:
    client.eval(TAKE, 1, f"lock:{event.name}", event.name)


def registered(event: Tried) -> None:
    take(keys=[f"lock:{event.name}"], args=[1])


def registered_here(event: Tried) -> None:
    client.register_script(TAKE)([f"lock:{event.name}"])


def of_the_event(event: Tried) -> None:
    client.eval(event.script, 1, f"lock:{event.name}")


def by_digest(event: Tried) -> None:
    client.evalsha("0" * 40, 1, f"lock:{event.name}")


def with_too_few_keys(event: Tried) -> None:
    client.eval(TAKE, 0, f"lock:{event.name}")


def a_command_that_nobody_knows(event: Tried) -> None:
    anyhow: Any = client
    anyhow.execute_command("NEW.COMMAND", event.name)


def waiting(event: Tried) -> None:
    client.blpop([f"q:{event.name}", "q"], timeout=1)


def documents(event: Tried) -> None:
    client.json().set(f"doc:{event.name}", "$", {})
    client.json().get(f"doc:{event.name}:old")


def in_a_transaction(event: Tried) -> None:
    def change(pipe: Any) -> None:
        pipe.set(f"t:{event.name}", 1)

    client.transaction(change, f"t:{event.name}")


def counted_at_once(event: Tried) -> None:
    made: Any = client.pipeline()
    with made as pipe:
        pipe.watch(f"n:{event.name}")
        count = pipe.incr(f"n:{event.name}")  # sent at once
        print(count)


def by_brackets(event: Tried) -> None:
    client[f"b:{event.name}"] = client[f"c:{event.name}"]


EXPECTED: list[tuple[Callable[[Tried], None], set[str]]] = [
    (evaluated, {"write redis/lock:x"}),
    (registered, {"write redis/lock:x"}),
    (registered_here, {"write redis/lock:x"}),
    (of_the_event, {"write redis"}),
    (by_digest, {"write redis"}),
    (with_too_few_keys, {"write redis"}),
    (a_command_that_nobody_knows, {"write redis"}),
    (waiting, {"write redis/q:x", "write redis/q"}),
    (documents, {"write redis/doc:x", "read redis/doc:x:old"}),
    (in_a_transaction, {"write redis/t:x"}),
    (counted_at_once, {"write redis/n:x"}),
    (by_brackets, {"write redis/b:x", "read redis/c:x"}),
]


@pytest.mark.parametrize(("function", "expected"), EXPECTED, ids=lambda one: getattr(one, "__name__", ""))
def test_what_is_touched_by_more_than_one_command(function: Callable[[Tried], None], expected: set[str]) -> None:
    app: App[None] = App("scripts", "memory://")
    app.on(Tried)(function)
    found = derive(app.handlers)
    handler = app.handlers[0]
    footprint = found.declared(handler, handler.events[0]).declared.footprint(Tried(name="x"))
    assert {f"{access.mode} {access.key}" for access in footprint} == expected
