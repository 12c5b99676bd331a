"""Redis: commands are held to ``redis/KEY`` before they are sent, against a real server."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
import redis.asyncio

from commute import App, Event, Retry
from commute.core.footprint import Access
from commute.errors import UndeclaredAccessError
from commute.observe.redis_commands import accesses
from commute.testing import sanitizing
from commute.verify.trial import Numbered, Scene, trial

SERVER = shutil.which("redis-server")
START_S_MAX = 10.0


class Counted(Event):
    key: str
    field: str = "f"


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if SERVER is None:
        if os.environ.get("CI") == "true":
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    folder = tmp_path_factory.mktemp("r")
    path = str(folder / "s")
    server = subprocess.Popen(
        [SERVER, "--port", "0", "--unixsocket", path, "--save", "", "--dir", str(folder)], stdout=subprocess.DEVNULL
    )
    until = time.monotonic() + START_S_MAX
    while not Path(path).exists() and time.monotonic() < until:
        time.sleep(0.01)
    yield path
    server.terminate()
    server.wait()


def use(path: str, what: str) -> None:
    client = redis.Redis(unix_socket_path=path)
    if what == "add":
        client.incr("n:1")
    elif what == "hash":
        client.hset("h:1", "f", "1")
    elif what == "pipeline":
        with client.pipeline() as pipe:
            pipe.incr("n:1")
            pipe.execute()
    elif what == "several":
        client.mget("n:1", "n:2")
    elif what == "delete":
        client.delete("n:1")
    client.close()


WRONG_AND_RIGHT: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("add", {"reads": "redis/{key}"}, "adds redis/n:1", {"adds": "redis/{key}"}),
    ("hash", {"writes": "redis/{key}"}, "writes redis/h:1/f", {"writes": "redis/h:1/{field}"}),
    ("pipeline", {"writes": ()}, "adds redis/n:1", {"adds": "redis/{key}"}),
    ("several", {"reads": "redis/{key}"}, "reads redis/n:2", {"reads": ["redis/{key}", "redis/n:2"]}),
    ("delete", {"adds": "redis/{key}"}, "writes redis/n:1", {"writes": "redis/{key}"}),
]


def counting(path: str, what: str, options: dict[str, Any]) -> App[Any]:
    app: App[Any] = App("counting", "memory://")

    @app.on(Counted, **options)
    def count(event: Counted) -> None:
        use(path, what)

    return app


@pytest.mark.parametrize(("what", "wrong", "lacks", "right"), WRONG_AND_RIGHT)
def test_commands_are_held_to_what_is_declared(
    socket: str, what: str, wrong: dict[str, Any], lacks: str, right: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "commute")
    client = redis.Redis(unix_socket_path=socket)
    client.flushall()
    client.set("n:1", 5)
    events = [Numbered("event-1", Counted(key="n:1"))]
    app = counting(socket, what, wrong)
    with pytest.raises(UndeclaredAccessError, match=f"^count {lacks} "), sanitizing(app):
        trial(app, events, Scene())
    assert client.get("n:1") == b"5"  # it was refused before it was sent
    app = counting(socket, what, right)
    with sanitizing(app):
        assert trial(app, events, Scene()).results == {"event-1": "processed"}
    client.close()


def test_clients_of_asyncio_are_seen_too(socket: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "commute")
    app: App[Any] = App("counting", "memory://")

    @app.on(Counted, reads="redis/{key}", on_exhausted="skip", retry=Retry(attempts=1))
    async def count(event: Counted) -> None:
        client = redis.asyncio.Redis(unix_socket_path=socket)
        await client.incr(event.key)

    async def real() -> None:
        with sanitizing(app):
            async with app.running():
                receipt = await app.publish(Counted(key="n:1"))
                await receipt.outcome(timeout_s=START_S_MAX)

    with pytest.raises(UndeclaredAccessError, match=r"^count adds redis/n:1 "):
        asyncio.run(real())


def test_a_command_that_is_not_known_may_touch_any_key() -> None:
    assert accesses(("NEW.COMMAND", "a")) == [Access("redis", "write")]
    assert accesses(("EVAL", "return redis.call(ARGV[1], 'k')", 0, "get")) == [Access("redis", "write")]
    assert accesses(("EVAL", "return redis.call('get', KEYS[1])", 1, "k")) == [Access("redis/k", "read")]
    assert accesses(("EVALSHA", "0" * 40, 1, "k")) == [Access("redis", "write")]


def test_keys_are_spelled_by_the_families_of_the_app() -> None:
    families = ("job:",)
    assert accesses(("GET", b"job:7:log"), families) == [Access("redis/job:/7:/log", "read")]
    assert accesses(("KEYS", "job:7:*"), families) == [Access("redis/job:/7:", "read")]
    assert accesses(("SCAN", 0, "MATCH", "job:*", "COUNT", 5), families) == [Access("redis/job:", "read")]
    assert accesses(("SCAN", 0), families) == [Access("redis", "read")]
    assert accesses(("HSET", "job:7", "a", 1, "b", 2), families) == [
        Access("redis/job:/7/a", "write"), Access("redis/job:/7/b", "write"),
    ]  # fmt: skip
    assert accesses(("BLPOP", "job:a", "b", 0), families) == [
        Access("redis/job:/a", "write"), Access("redis/b", "write"),
    ]  # fmt: skip


def test_derived_families_and_scripts_are_what_is_seen(socket: str) -> None:
    client = redis.Redis(unix_socket_path=socket, decode_responses=True)
    client.flushall()
    take = client.register_script("return redis.call('incr', KEYS[1])")
    app: App[Any] = App("families", "memory://", derive=True)

    @app.on(Counted)
    def count(event: Counted) -> None:
        take([f"n:{event.key}"])
        client.set(f"log:{event.key}:{uuid4()}", 1)
        for key in client.scan_iter(f"log:{event.key}:*"):
            client.delete(key)

    with sanitizing(app):
        assert trial(app, [Numbered("event-1", Counted(key="1"))], Scene()).results == {"event-1": "processed"}
    assert client.get("n:1") == "1"
    client.close()
