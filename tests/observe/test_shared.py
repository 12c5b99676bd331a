"""Dicts, sets, lists and deques of the program: each access is seen before it is made, and called as inference does."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from commute import App, Event
from commute.errors import UndeclaredAccessError
from commute.observe.watch import watching
from commute.testing import Result, run, sanitizing
from tests.observe import planted_state as state
from tests.observe.planted_state import PLANTED, PREFIX, Row, Seen


class Cleared(Event):
    pass


@pytest.fixture(autouse=True)
def filled(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "commute")
    state.fill()


def app_of(does: Callable[[Seen], object], declared: dict[str, Any]) -> App[None]:
    app: App[None] = App("state", "memory://")

    @app.on(Seen, **declared)
    def handle(event: Seen) -> None:
        does(event)

    @app.on(Cleared)
    def cleared(event: Cleared) -> None:
        state.change_everything()

    return app


def held(app: App[None]) -> Result:
    """The app ran one event, its handlers held to what they declare of the program's state."""
    with sanitizing(app, state=True):
        return run(app, [Seen()])


def test_there_are_enough() -> None:
    assert len(PLANTED) >= 20
    assert len({row.name for row in PLANTED}) == len(PLANTED)


@pytest.mark.parametrize("row", PLANTED, ids=str)
def test_a_planted_lack_is_caught_before_it_happens(row: Row) -> None:
    before = copy.deepcopy(state.contents())
    mode, key = next(iter(row.modes.items()))
    with pytest.raises(UndeclaredAccessError) as caught:
        held(app_of(row.does, {"writes": "state/other"}))
    assert caught.value.message.startswith(f"handle {mode} {PREFIX}")
    assert caught.value.message.endswith(f'declare {mode}="{key}"')
    assert (caught.value.where or "").startswith("tests/observe/planted_state.py:")
    assert state.contents() == before


@pytest.mark.parametrize("row", PLANTED, ids=str)
def test_a_right_declaration_is_left_in_peace(row: Row) -> None:
    assert not held(app_of(row.does, row.modes)).dead


@pytest.mark.parametrize("row", PLANTED, ids=str)
def test_it_does_what_it_does_unwatched(row: Row) -> None:
    run(app_of(row.does, row.modes), [Seen()])
    alone = copy.deepcopy(state.contents())
    state.fill()
    held(app_of(row.does, row.modes))
    assert state.contents() == alone


@pytest.mark.parametrize("row", PLANTED, ids=str)
def test_what_is_observed_lies_inside_of_what_was_derived(row: Row) -> None:
    app = app_of(row.does, {"derive": True})
    with watching(app, keep=True, state=True) as watch:
        assert not run(app, [Seen(), Seen(user="eve")]).dead
    assert not watch.undeclared, [one.access for one in watch.undeclared]
    assert watch.observed


ADDED = next(row for row in PLANTED if row.name == "put")
NAMES = ("CACHE", "SORTED", "GROUPS", "COUNTS", "NAMES", "ROWS", "QUEUE")


def identities() -> list[int]:
    return [id(getattr(state, name)) for name in NAMES] + [id(state.STORE.entries), id(state.Store.held)]


def test_all_is_as_it_was_afterwards() -> None:
    before = identities()
    app = app_of(ADDED.does, ADDED.modes)
    with watching(app, state=True):
        with watching(app, state=True):
            watched = identities()
            assert not {*before} & {*watched}
            assert not run(app, [Seen()]).dead
        assert identities() == watched  # somebody else still watches
    assert identities() == before
    assert state.CACHE == {"ann": 5, "eve": 2}
    assert {type(getattr(state, name)).__module__ for name in NAMES} == {"builtins", "collections"}


def test_copies_of_a_watched_one_are_not_watched() -> None:
    app = app_of(ADDED.does, ADDED.modes)
    with watching(app, state=True):
        for name in NAMES:
            now: Any = getattr(state, name)
            kind = type(now).__mro__[1]
            for other in (copy.copy(now), copy.deepcopy(now), now.copy(), pickle.loads(pickle.dumps(now))):
                assert type(other) is kind
                assert other == now
        assert state.QUEUE.maxlen == copy.copy(state.QUEUE).maxlen == 5
        assert state.GROUPS.copy().default_factory is list


KEPT: dict[str, int] = {}
SETTINGS = {"limit": 3}
INSIDE: dict[str, dict[str, int]] = {"all": {"ann": 1}}


def keep_by_default(event: Seen, kept: dict[str, int] = KEPT) -> None:
    kept[event.user] = 1
    KEPT[event.other] = 2


def test_one_that_is_held_where_nothing_can_be_put_stays_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    KEPT.clear()
    before = id(KEPT)
    caplog.set_level(logging.WARNING, "commute")
    with watching(app_of(keep_by_default, {"writes": "state/other"}), keep=True, state=True) as watch:
        assert id(KEPT) == before
        run(app_of(keep_by_default, {"writes": "state/other"}), [Seen()])
    assert not watch.observed
    assert KEPT == {"ann": 1, "bob": 2}
    assert "state/dict is not watched: it is held by a tuple" in caplog.text


def test_what_nobody_writes_may_be_read() -> None:
    app = app_of(lambda event: SETTINGS["limit"], {"writes": ()})
    with watching(app, keep=True, state=True) as watch:
        assert type(SETTINGS) is not dict
        assert not run(app, [Seen()]).dead
    assert not watch.observed


def test_one_inside_of_another_is_watched() -> None:
    def count(event: Seen) -> None:
        INSIDE["all"][event.user] = 2

    app = app_of(count, {"writes": ()})
    with pytest.raises(UndeclaredAccessError, match="writes state/dict/ann"):
        held(app)
    assert INSIDE == {"all": {"ann": 1}}
    assert type(INSIDE["all"]) is dict


def test_a_local_of_the_function_around_is_watched() -> None:
    counts = {"ann": 0}

    def count(event: Seen) -> None:
        counts[event.user] += 1

    app = app_of(count, {"derive": True})
    with watching(app, keep=True, state=True) as watch:
        assert not run(app, [Seen(), Seen()]).dead
    assert [(one.mode, one.key) for one in watch.observed] == [
        ("read", "state/dict/ann"),
        ("write", "state/dict/ann"),
    ] * 2
    assert not watch.undeclared
    assert counts == {"ann": 2}


def test_inference_says_the_same_while_somebody_watches() -> None:
    alone = {row.name: app_of(row.does, {"derive": True}).derived() for row in PLANTED}
    with watching(app_of(ADDED.does, ADDED.modes), state=True):
        for row in PLANTED:
            found = app_of(row.does, {"derive": True}).derived()
            assert found.changing == alone[row.name].changing
            assert {one.name for one in found.containers} == {one.name for one in alone[row.name].containers}
            for place, derivation in found.found.items():
                assert [str(key) for key in derivation.keys] == [str(key) for key in alone[row.name].found[place].keys]
                assert not derivation.everything


def test_what_the_program_does_outside_of_handlers_is_not_held_to_anything() -> None:
    with watching(app_of(ADDED.does, {"writes": ()}), refuse=True, state=True) as watch:
        state.CACHE["ann"] = 7
        state.CACHE.clear()
    assert not watch.undeclared
    assert state.CACHE == {}
