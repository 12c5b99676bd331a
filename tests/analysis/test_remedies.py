"""Remedies: each gains what it says, pairs that only help together are found, and nothing is advised in vain."""

from __future__ import annotations

from random import Random

from commute.analysis.advice import advise
from commute.analysis.prediction import Services, makespan_s
from commute.analysis.remedies import Change, apply, find_remedies
from commute.analysis.workload import Workload
from commute.core.footprint import ADD, READ, WRITE, Access, Footprint, conflicts


def _writes(*keys: str) -> Footprint:
    return tuple(Access(key, WRITE) for key in keys)


def _equal(log: Workload) -> list[float]:
    return [1.0] * log.events


def test_two_hubs_help_only_together_and_the_pair_comes_first() -> None:
    log = Workload(["t"] * 300, [_writes(f"order/{n}", "shop/1", "till/1") for n in range(300)])
    found = find_remedies(log, _equal(log), 16)
    reads = {Change("read", "shop"), Change("read", "till")}
    assert set(found[0].changes) == reads
    assert found[0].speedup > 15
    assert all(len(one.changes) > 1 or one.changes[0].kind in ("prepare", "saga") for one in found)
    for one in found:
        made = apply(log, _equal(log), one.changes)
        took_s = makespan_s(made.workload, made.service_s, 16, prepare_s=made.prepare_s)
        assert one.speedup == (sum(made.service_s) + sum(made.prepare_s or ())) / took_s
        assert one.speedup <= one.bound + 1e-9


def test_a_part_that_brings_as_much_alone_stands_alone() -> None:
    log = Workload(["t"] * 200, [_writes(f"order/{n}", f"customer/{n % 150}", "shop/1") for n in range(200)])
    found = find_remedies(log, _equal(log), 8)
    assert found[0].changes == (Change("read", "shop"),)
    assert not any(set(one.changes) > {Change("read", "shop")} for one in found)


def test_columns_of_their_own_part_the_types_and_reading_the_whole_still_waits() -> None:
    footprints = [_writes("stock/1"), _writes("stock/1"), (Access("stock/1", READ),)]
    made = apply(Workload(["price", "count", "look"], footprints), [1.0] * 3, [Change("finer", "stock")]).workload
    price, count, look = made.footprints
    assert not conflicts(price, count)
    assert conflicts(price, price)
    assert conflicts(price, look)
    assert conflicts(count, look)


def test_a_follow_up_waits_for_its_event_and_keeps_the_work() -> None:
    log = Workload(["sale"] * 3, [_writes(f"order/{n}", "shop/1") for n in range(3)])
    made = apply(log, [2.0] * 3, [Change("saga", "shop")])
    assert made.workload.types == ["sale", "sale (shop)"] * 3
    assert sum(made.service_s) == 6.0
    first, follow, second, other, *_ = made.workload.footprints
    assert conflicts(first, follow)
    assert conflicts(follow, other)
    assert not conflicts(first, second)
    assert not conflicts(first, other)


def test_adding_leaves_the_reads_and_preparing_moves_time() -> None:
    log = Workload(["t"], [(Access("a/1", WRITE), Access("a/2", READ))])
    assert apply(log, [1.0], [Change("add", "a")]).workload.footprints == [(("a/1", ADD), ("a/2", READ))]
    made = apply(log, [2.0], [Change("prepare", "t", 0.75)])
    assert (made.service_s, made.prepare_s) == ([0.5], [1.5])


def test_advice_says_when_nothing_can_be_won() -> None:
    def verdict(log: Workload) -> str:
        found = advise(log, Services(log), Random(1), workers=16)
        return " ".join(found.verdict)

    by_one_key = Workload(["t"] * 400, [_writes(f"order/{n % 40}") for n in range(400)])
    assert "Fixed partitions suffice (by order)" in verdict(by_one_key)
    one_chain = Workload(["t"] * 100, [_writes("order/1")] * 100)
    assert advise(one_chain, Services(one_chain), Random(1), prepare_share=0.1).remedies[0].gain > 1.05
    free = Workload(["t"] * 300, [_writes(f"a/{n % 97}", f"b/{n % 89}") for n in range(300)])
    assert "no change is needed" in verdict(free)
    assert "No partition label is safe" in verdict(free)
    assert verdict(free).endswith("most of all two t.")
    hub = Workload(["t"] * 300, [_writes(f"order/{n}", "shop/1") for n in range(300)])
    assert "with the best change, if that is true of the handlers: read shop in place of writing it" in verdict(hub)


def test_a_chain_that_no_change_shortens_is_left_alone() -> None:
    log = Workload(["t"] * 60, [_writes("order/1")] * 60)
    found = advise(log, Services(log), Random(1), workers=8, prepare_share=0.0)
    assert [one.changes[0].kind for one in found.remedies] == ["add"]
    fixed = Workload(["t"] * 60, [(Access("", WRITE),)] * 60)
    nothing = advise(fixed, Services(fixed), Random(1), workers=8, prepare_share=0.0)
    assert nothing.remedies == ()
