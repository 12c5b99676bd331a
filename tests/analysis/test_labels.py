"""Partition labels and placements: against every labelling there is, and cases that can be seen at a glance."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest

from commute.analysis import labels as module
from commute.analysis.edges import edges
from commute.analysis.labels import find_labels
from commute.analysis.placement import place_objects
from commute.analysis.workload import Workload
from commute.core.footprint import READ, WRITE, Access, Footprint


def _writes(*keys: str) -> Footprint:
    return tuple(Access(key, WRITE) for key in keys)


def _shop(orders: int = 60) -> Workload:
    """Orders belong to customers; payments name the order alone, invoices the customer alone."""
    types, footprints = [], []
    for n in range(orders):
        order, customer = f"order/{n}", f"customer/{n % 7}"
        for kind, footprint in (
            ("created", _writes(order, customer)),
            ("paid", _writes(order)),
            ("invoiced", _writes(customer)),
        ):
            types.append(kind)
            footprints.append(footprint)
    return Workload(types, footprints)


def test_a_parent_that_follows_from_the_data_is_a_label_that_parts_nothing() -> None:
    shop = _shop()
    found = find_labels(shop, edges(shop.footprints))
    assert found.best.labels == dict.fromkeys(("created", "paid", "invoiced"), "customer")
    assert found.best.safe
    assert found.best.exact
    assert (found.best.cut, found.best.cuts) == (0, ())
    assert 1 / 7 <= found.best.heaviest_share < 1 / 5
    alone = dict(found.alone)
    assert alone["order"].cut > alone["customer"].cut == 0


def test_what_no_label_holds_is_said_with_the_types_that_it_parts() -> None:
    chance = Random(3)
    footprints = [_writes(f"order/{chance.randrange(9)}", f"stock/{chance.randrange(9)}") for _ in range(200)]
    crossing = Workload(["sale"] * 200, footprints)
    found = find_labels(crossing, edges(footprints)).best
    assert not found.safe
    assert [(cut.a, cut.b) for cut in found.cuts] == [("sale", "sale")]
    assert 0 < found.cut == found.cuts[0].edges < found.total == found.cuts[0].total


def _least(log: Workload) -> int:
    """The fewest edges that any labelling by one object of each event parts, by trying all; no parents here."""
    kinds = sorted(set(log.types))
    names = ["a", "b", "c"]

    def value(event: int, name: str) -> str | None:
        own = {access.key for access in log.footprints[event] if access.key.startswith(name)}
        return own.pop() if len(own) == 1 else None

    found = list(edges(log.footprints))
    best = len(found)
    for chosen in product(names, repeat=len(kinds)):
        label = dict(zip(kinds, chosen, strict=True))
        if all(value(event, label[kind]) is not None for event, kind in enumerate(log.types)):
            parted = sum(
                label[log.types[e.earlier]] != label[log.types[e.later]]
                or value(e.earlier, label[log.types[e.earlier]]) != value(e.later, label[log.types[e.later]])
                for e in found
            )
            best = min(best, parted)
    return best


@pytest.mark.parametrize("exact", [True, False])
def test_the_labelling_parts_as_little_as_any(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exact:
        monkeypatch.setattr(module, "LABELLINGS_MAX", 0)
    worse = 0
    for seed in range(40):
        chance = Random(seed)
        # All three objects in each event, crosswise: nothing belongs to anything, so there are no parents.
        footprints = [_writes(*(f"{name}/{chance.randrange(4)}" for name in "abc")) for _ in range(40)]
        log = Workload([chance.choice("TUV") for _ in footprints], footprints)
        found = find_labels(log, edges(footprints)).best
        assert found.exact is exact
        worse += found.cut > _least(log)
    assert worse == 0 if exact else worse <= 4


def test_objects_that_are_touched_together_are_placed_together() -> None:
    chance = Random(1)
    footprints = []
    for _ in range(600):
        community = chance.randrange(4)
        footprints.append(_writes(*{f"user/{community * 25 + chance.randrange(25)}" for _ in range(3)}))
    found = place_objects(footprints, 4)
    assert (found.partitions, found.events, found.objects) == (4, 600, 100)
    assert found.crossing < 60
    assert found.heaviest_share < 0.31
    shuffled = place_objects([_writes(*{f"user/{chance.randrange(100)}" for _ in range(3)}) for _ in range(600)], 4)
    assert shuffled.crossing > 300


def test_what_is_only_read_needs_no_place() -> None:
    footprints = [(Access(f"order/{n}", WRITE), Access("rate/1", READ)) for n in range(20)]
    found = place_objects(footprints, 4)
    assert (found.objects, found.crossing) == (20, 0)
