"""Derived footprints against runs: what is observed of each case of the corpus lies inside of what was derived."""

from __future__ import annotations

import pytest

from commute import App
from commute.observe.watch import watching
from commute.rehearsal.course import Ground
from commute.verify.trial import Numbered, Scene, trial
from tests.corpus.case import ALL, Case
from tests.corpus.test_truth import MODULES

assert MODULES

# What these touch is state of the program that nobody sees: it is held where it cannot be watched.
UNSEEN = {"unknown-function-that-gets-an-id", "state-in-a-default"}
STATE = {"mutated-global", "state-in-a-closure"}  # it is watched for these alone: that takes a look at all objects


@pytest.mark.parametrize("case", ALL, ids=str)
def test_what_is_observed_lies_inside_of_what_was_derived(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    if case.clear is not None:
        case.clear()
    monkeypatch.setattr(App, "definitions", lambda _app: case.tables)
    app = case.make({"derive": True})
    before = [Numbered(f"before-{number}", event) for number, event in enumerate(case.before)]
    scene = Scene(Ground(tables=case.tables), case.clear, case.look)
    with watching(app, keep=True, state=case.name in STATE) as watch:
        for a, b in (*case.dependent, *case.independent):
            trial(app, [*before, Numbered("event-a", a), Numbered("event-b", b)], scene)
    assert not watch.undeclared, [(one.access, one.event) for one in watch.undeclared]
    assert bool(watch.observed) == (case.name not in UNSEEN)


def test_the_same_handlers_are_caught_where_they_declare_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: handlers that are said to touch nothing are all found to be wrong."""
    caught = tried = 0
    for case in (case for case in ALL[::4] if case.name not in UNSEEN):
        if case.clear is not None:
            case.clear()
        monkeypatch.setattr(App, "definitions", lambda _app, case=case: case.tables)
        narrow = case.make({"writes": ()})
        whole = case.make({"derive": True})
        if any(one.everything for one in whole.derived().found.values()):
            continue
        tried += 1
        pair = (*case.dependent, *case.independent)[0]
        before = [Numbered(f"before-{number}", event) for number, event in enumerate(case.before)]
        scene = Scene(Ground(tables=case.tables), case.clear, case.look)
        with watching(narrow, state=case.name in STATE) as watch:
            trial(narrow, [*before, Numbered("event-a", pair[0]), Numbered("event-b", pair[1])], scene)
        caught += bool(watch.undeclared)
    assert tried >= 12
    assert caught == tried
