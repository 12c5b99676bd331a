"""`App(sanitize=…)`: a share of attempts is held to its footprints in a real worker; nothing where it is off."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from commute import App, Event, Retry
from commute.errors import UsageError
from commute.observe import running, watches


class Paid(Event):
    order_id: int


def paying(attempts: list[int], **options: Any) -> App[Any]:
    app: App[Any] = App("paying", "memory://", **options)

    @app.on(Paid, writes="order/{order_id}", retry=Retry(attempts=3, first_s=0.001, max_s=0.001), on_exhausted="skip")
    async def pay(event: Paid) -> None:
        attempts.append(event.order_id)
        opened = sqlite3.connect("file:paying?mode=memory&cache=shared", uri=True)
        try:
            opened.execute("UPDATE goods SET stock = stock + 1 WHERE id = ?", (7,))
            opened.commit()
        finally:
            opened.close()

    return app


@pytest.fixture
def shared() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect("file:paying?mode=memory&cache=shared", uri=True)
    made.execute("CREATE TABLE goods(id INTEGER PRIMARY KEY, stock INTEGER)")
    made.execute("INSERT INTO goods VALUES(7, 0)")
    made.commit()
    yield made
    made.close()


def ran(app: App[Any], count: int = 1) -> list[str]:
    found: list[str] = []

    async def real() -> None:
        async with app.running():
            for number in range(count):
                outcome = await (await app.publish(Paid(order_id=number))).outcome(timeout_s=20)
                found.append("none" if outcome is None else outcome.status)

    asyncio.run(real())
    return found


def stock(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT stock FROM goods").fetchone()[0])


def test_an_undeclared_access_fails_the_attempt_before_it_happens(
    shared: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[int] = []
    assert ran(paying(attempts, sanitize=1)) == ["skipped"]
    assert attempts == [0, 0, 0]
    assert stock(shared) == 0
    said = caplog.text
    assert "pay adds goods/7 for Paid(order_id=0), which its footprint does not cover" in said
    assert 'declare adds="goods/7"' in said
    assert not watches.anybody()


def test_an_attempt_that_is_not_of_the_share_is_let_through(
    shared: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "commute")
    chances = iter([0.4, 0.6, 0.5, 0.49, 0.9])
    monkeypatch.setattr(running, "_CHANCE", type("Chance", (), {"random": lambda _self: next(chances)})())
    attempts: list[int] = []
    assert ran(paying(attempts, sanitize=0.5), 3) == ["processed"] * 3
    assert attempts == [0, 0, 1, 2, 2]
    assert stock(shared) == 3


def test_nothing_is_changed_or_loaded_where_it_is_off(shared: sqlite3.Connection) -> None:
    before = sqlite3.connect
    attempts: list[int] = []
    app = paying(attempts)

    async def real() -> None:
        async with app.running():
            assert sqlite3.connect is before
            assert not watches.anybody()
            await (await app.publish(Paid(order_id=1))).outcome(timeout_s=20)

    asyncio.run(real())
    assert stock(shared) == 1
    lines = (
        "import sys, commute.app, commute.cli.run; print('commute.observe' in sys.modules, 'sqlglot' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.split() == ["False", "False"]


CACHE: dict[int, int] = {}


def test_state_of_the_program_stays_as_it_is() -> None:
    app: App[Any] = App("caching", "memory://", sanitize=1)
    kinds: list[type] = []

    @app.on(Paid, writes="order/{order_id}")
    async def keep(event: Paid) -> None:
        CACHE[event.order_id] = 1
        kinds.append(type(CACHE))

    assert ran(app) == ["processed"]
    assert kinds == [dict]


@pytest.mark.parametrize("wrong", [-0.1, 1.5, "much", "nan"])
def test_a_share_is_from_0_to_1(wrong: Any) -> None:
    with pytest.raises(UsageError, match="give a share of all attempts, from 0 to 1"):
        _ = App("wrong", "memory://", sanitize=wrong).sanitize


def test_environment_and_flags_override_it(monkeypatch: pytest.MonkeyPatch) -> None:
    app: App[Any] = App("shares", "memory://", sanitize=0.5)
    monkeypatch.setenv("COMMUTE_SANITIZE", "0.25")
    assert app.sanitize == 0.25
    app.override(sanitize=0.0)
    assert app.sanitize == 0.0


@pytest.mark.parametrize(
    ("lines", "who"),
    [
        ("from commute.sanitizer import sanitized; sanitized(app, 0.5)", "sanitize="),
        ("from commute.testing import sanitizing; sanitizing(app).__enter__()", "watching what handlers touch"),
        (
            "from commute.verify.sample import sample; sample(app, [], None, events_max=1)",
            "watching what handlers touch",
        ),
    ],
)
def test_without_the_library_that_reads_statements_it_says_what_to_install(lines: str, who: str) -> None:
    begin = "import sys; sys.modules['sqlglot'] = None; from commute import App; app = App('bare', 'memory://'); "
    ran = subprocess.run([sys.executable, "-c", begin + lines], capture_output=True, text=True, check=False, timeout=60)
    assert f'UsageError: {who} needs sqlglot, which is not installed: pip install "commute[derive]"' in ran.stderr
