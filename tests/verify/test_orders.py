"""The two-order test finds each planted false independence and complains about none that is right."""

from __future__ import annotations

import asyncio

import pytest

from commute import App, UsageError
from commute.testing import assert_commutes
from commute.verify.orders import Effort, two_orders
from commute.verify.trial import Numbered, Scene
from tests.verify.planted import RIGHT, TABLES, WORLD, WRONG, Case, Put


def try_it(case: Case) -> None:
    assert_commutes(case.make(), case.events, tables=TABLES, clear=WORLD.clear, look=WORLD.look)


def test_there_are_more_than_twenty_of_each() -> None:
    assert (len(WRONG), len(RIGHT)) == (23, 21)


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_a_false_independence_is_found(case: Case) -> None:
    with pytest.raises(AssertionError, match="do not commute"):
        try_it(case)


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.name)
def test_a_true_independence_is_left_alone(case: Case) -> None:
    try_it(case)


def test_only_the_two_run_together() -> None:
    """What comes before a pair has ended when the pair begins: its races with the pair are no difference of theirs."""
    app: App[None] = App("turns", "memory://")
    running: list[str] = []
    met: list[tuple[str, ...]] = []

    @app.on(Put, writes="put/{key}")
    async def put(event: Put) -> None:
        running.append(event.key)
        met.append(tuple(running))
        await asyncio.sleep(0.01)
        running.remove(event.key)

    @app.on(Put, writes=())
    def plainly(event: Put) -> None:
        return

    events = [Numbered(f"event-{key}", Put(key=key)) for key in "abcde"]
    assert two_orders(app, events[:3], events[3], events[4], Scene(), Effort()) is None
    assert {keys for keys in met if len(keys) > 1} <= {("d", "e"), ("e", "d")}
    assert any(len(keys) > 1 for keys in met), "the pair did run together"


def test_nothing_to_try_is_an_error() -> None:
    case = RIGHT[0]
    with pytest.raises(UsageError, match="nothing to try") as caught:
        assert_commutes(case.make(), [Put(key="a"), Put(key="a")], tables=TABLES)
    assert caught.value.slug == "nothing-to-test"
