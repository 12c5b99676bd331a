"""The two-order test finds each planted false independence and complains about none that is right."""

from __future__ import annotations

import asyncio

import pytest

from commute import App, CommuteWarning, Event, UsageError
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


@pytest.mark.filterwarnings("ignore:every event fails")
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


class Step(Event):
    name: str
    key: str


def steps(at: list[str]) -> App[None]:
    """Steps append their names; by their keys alone they depend on each other."""
    app: App[None] = App("steps", "memory://")

    @app.on(Step, writes="step/{key}")
    async def step(event: Step) -> None:
        at.append(event.name)

    return app


def test_two_that_are_no_neighbours_are_tried() -> None:
    at: list[str] = []
    between = Step(name="b", key="2")
    with pytest.raises(AssertionError, match=r"(?s)Step\(name='a'.*Step\(name='c'.*after\n  Step\(name='b'"):
        assert_commutes(
            steps(at), [Step(name="a", key="1"), between, Step(name="c", key="3")],
            clear=at.clear, look=lambda: [name for name in at if name != "b"],
        )  # fmt: skip


def test_two_are_not_tried_that_wait_for_each_other_by_what_is_between() -> None:
    at: list[str] = []
    app = steps(at)

    @app.on(Put, writes=("step/1", "step/2"))
    async def between(event: Put) -> None:
        at.append("both")

    a, b, c = Step(name="a", key="1"), Put(key="b"), Step(name="c", key="2")
    with pytest.raises(UsageError, match="nothing to try"):
        assert_commutes(app, [a, b, c], clear=at.clear, look=lambda: list(at))


def test_pairs_that_are_left_are_said() -> None:
    at: list[str] = []
    events = [Step(name="same", key=key) for key in "12345"]
    with pytest.warns(CommuteWarning, match="10 pairs may run side by side, the nearest 3 are tried"):
        assert_commutes(steps(at), events, clear=at.clear, look=lambda: list(at), pairs_max=3)


def test_what_one_sequence_shows_twice_refutes_nothing() -> None:
    at: list[str] = []
    with pytest.raises(UsageError, match="run twice one after the other, end differently") as caught:
        assert_commutes(steps(at), [Step(name="a", key="1"), Step(name="a", key="2")], look=lambda: list(at))
    assert caught.value.slug == "not-repeatable"


def test_that_nothing_can_be_compared_is_said() -> None:
    at: list[str] = []
    with pytest.warns(CommuteWarning, match="nothing is compared but whether they succeed"):
        assert_commutes(steps(at), [Step(name="a", key="1"), Step(name="a", key="2")])

    app: App[None] = App("fails", "memory://")

    @app.on(Step, writes="step/{key}")
    async def fail(event: Step) -> None:
        raise ValueError("no such table")

    with pytest.warns(CommuteWarning, match="every event fails"):
        assert_commutes(app, [Step(name="a", key="1"), Step(name="a", key="2")], look=lambda: 1)


async def test_a_loop_that_runs_is_refused() -> None:
    with pytest.raises(UsageError, match="call it from a plain def test"):
        assert_commutes(steps([]), [Step(name="a", key="1"), Step(name="a", key="2")])


def test_what_no_handler_takes_is_refused() -> None:
    with pytest.raises(UsageError, match='no handler of steps takes "stop"; did you mean step'):
        assert_commutes(steps([]), [Step(name="a", key="1"), ("stop", {})])
