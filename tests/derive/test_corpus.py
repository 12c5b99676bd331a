"""Inference on the corpus: never narrower than the truth, and exact where it can be.

The truth of each pair is held to real runs by `tests.corpus.test_truth`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from commute.core.footprint import Footprint, conflicts
from commute.derive.application import Derived, derive
from tests.corpus.case import ALL, Case
from tests.corpus.test_truth import MODULES

assert MODULES

# What cannot be told from the code at all: there is no source, the name is computed, a listener is called by name.
FAR = {
    "function-without-source",
    "unknown-function-that-gets-an-id",
    "computed-attribute",
    "listener-that-is-called-by-name",
    "what-a-subclass-fills-in",
    "object-that-writes-when-it-goes",
    "query-of-its-own",
    "changed-by-a-query-of-a-relation",
}
# Which rows meet is known to the database alone: the table is the best.
TABLE = {"id-not-in-the-event", "orm-lazy-relation", "walk-to-a-shared-parent"}

# Could be told more finely than they are: what remains open is speed, not order.
COARSE = {"base-table-of-a-subclass", "method-of-a-subclass", "column-that-is-a-query", "association-proxy"}


def derived(case: Case) -> tuple[Derived, Callable[[object], Footprint]]:
    """What is derived of a case, and the footprint of an event of it."""
    if case.clear is not None:
        case.clear()
    app = case.make({})
    found = derive(app.handlers, ddl=case.tables)
    entries = {event.type: found.declared(handler, event) for handler in app.handlers for event in handler.events}

    def footprint(event: object) -> Footprint:
        type_, data = app.encoder.encode(event)
        entry = entries[type_]
        return entry.declared.footprint(entry.codec.decode(data))

    return found, footprint


@pytest.mark.parametrize("case", ALL, ids=str)
def test_no_footprint_is_narrower_than_the_truth(case: Case) -> None:
    found, footprint = derived(case)
    for a, b in case.dependent:
        assert conflicts(footprint(a), footprint(b)), f"{a} and {b} depend: {found.found}"


@pytest.mark.parametrize("case", [case for case in ALL if case.name not in TABLE | FAR | COARSE], ids=str)
def test_independent_events_are_seen_to_be_independent(case: Case) -> None:
    found, footprint = derived(case)
    assert not any(derivation.everything for derivation in found.found.values())
    for a, b in case.independent:
        assert not conflicts(footprint(a), footprint(b)), f"{a} and {b} are independent: {found.found}"


@pytest.mark.parametrize("case", [case for case in ALL if case.name in FAR], ids=str)
def test_what_cannot_be_followed_is_everything_and_says_where(case: Case) -> None:
    found, _ = derived(case)
    reasons = [one for derivation in found.found.values() for one in derivation.everything]
    assert reasons
    assert all(one.why and ":" in one.where for one in reasons)
