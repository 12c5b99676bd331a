"""The corpus itself: what it says of each pair is what a run on the real database shows."""

from __future__ import annotations

import pytest

from commute.rehearsal.course import Ground
from commute.verify.orders import Counterexample, Effort, two_orders
from commute.verify.trial import Numbered, Scene
from tests.corpus import (
    styles_orm,
    styles_sql,
    styles_unique,
    traps_loading,
    traps_mapped,
    traps_orm,
    traps_python,
    traps_queries,
    traps_sessions,
    traps_sql,
    traps_types,
    traps_watched,
)
from tests.corpus.case import ALL, Case, Pair

MODULES = (
    styles_sql,
    styles_orm,
    styles_unique,
    traps_sql,
    traps_orm,
    traps_python,
    traps_queries,
    traps_mapped,
    traps_loading,
    traps_types,
    traps_sessions,
    traps_watched,
)  # each adds to ALL

EFFORT = Effort(seeds=2, lines_max=12)


def tried(case: Case, pair: Pair) -> Counterexample | None:
    """Both orders and together, with footprints that keep nothing in sequence."""
    app = case.make({"writes": ()})
    before = [Numbered(f"before-{number}", event) for number, event in enumerate(case.before)]
    scene = Scene(Ground(tables=case.tables), case.clear, case.look)
    return two_orders(app, before, Numbered("event-a", pair[0]), Numbered("event-b", pair[1]), scene, EFFORT)


def test_there_are_enough_of_both() -> None:
    assert sum(not case.trap for case in ALL) >= 20
    assert sum(case.trap for case in ALL) >= 40
    assert len({case.name for case in ALL}) == len(ALL)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_dependent_pairs_differ_and_independent_ones_do_not(case: Case) -> None:
    for pair in case.dependent:
        assert tried(case, pair) is not None, f"{pair} end the same: is that pair dependent?"
    for pair in case.independent:
        found = tried(case, pair)
        assert found is None, f"{pair}: {found and found.differences}"
