"""Chain, edges, components, relation and hubs against their definitions, on small random logs with trees."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations

import pytest

from commute.analysis.analysis import analyze
from commute.analysis.chain import longest_chain
from commute.analysis.components import components
from commute.analysis.edges import edges
from commute.analysis.hubs import find_hubs
from commute.analysis.relation import relations
from commute.analysis.speedup import Curve, curve
from commute.analysis.workload import Workload, family, with_modes, written_families
from commute.core.bounds import list_schedule
from commute.core.footprint import ADD, EVERYTHING, READ, WRITE, Access, Footprint, conflicts, normalise, overlap

KEYS = ["a/1", "a/2", "b/1", "b/2", "b/1/x", "b/1/y", "c/1"]
MODES = [READ, WRITE, WRITE, ADD, "max"]


def random_log(seed: int) -> Workload:
    chance = random.Random(seed)
    keys = chance.sample(KEYS, chance.randint(2, len(KEYS)))
    if not seed % 5:
        keys.append("b")
    modes = chance.sample(MODES, chance.randint(1, 3))
    footprints = [
        EVERYTHING
        if chance.random() < 0.02
        else normalise((chance.choice(keys), chance.choice(modes)) for _ in range(chance.randint(0, 3)))
        for _ in range(chance.randint(0, 25))
    ]
    return Workload([chance.choice("TUV") for _ in footprints], footprints)


def dependences(footprints: Sequence[Footprint]) -> set[tuple[int, int]]:
    return {(a, b) for a, b in combinations(range(len(footprints)), 2) if conflicts(footprints[a], footprints[b])}


def levels(footprints: Sequence[Footprint]) -> list[int]:
    depends = dependences(footprints)
    found: list[int] = []
    for later in range(len(footprints)):
        found.append(1 + max((found[a] for a, b in depends if b == later), default=0))
    return found


SEEDS = range(300)


def test_the_chain_is_a_longest_one_and_its_links_conflict() -> None:
    for seed in SEEDS:
        footprints = random_log(seed).footprints
        chain = longest_chain(footprints)
        assert chain.length == max(levels(footprints), default=0)
        for (a, b), keys in zip(zip(chain.members, chain.members[1:], strict=False), chain.links, strict=True):
            assert conflicts(footprints[a], footprints[b])
            assert keys
            assert all(any(overlap(key, access.key) for access in footprints[a]) for key in keys)


def test_the_edges_imply_every_dependence_and_nothing_else() -> None:
    for seed in SEEDS:
        footprints = random_log(seed).footprints
        depends = dependences(footprints)
        found = list(edges(footprints))
        assert {(edge.earlier, edge.later) for edge in found} <= depends
        # Each access that has a conflicting predecessor has the latest one of them.
        for later, footprint in enumerate(footprints):
            expected = set()
            for access in footprint:
                before = [e for e in range(later) if conflicts(footprints[e], (access,))]
                expected |= {max(before)} if before else set()
            assert {edge.earlier for edge in found if edge.later == later} == expected


def test_events_that_share_an_object_which_somebody_changes_are_one_component() -> None:
    for seed in SEEDS:
        footprints = random_log(seed).footprints
        modes: dict[str, set[str]] = {}
        for footprint in footprints:
            for access in footprint:
                modes.setdefault(family(access.key), set()).add(access.mode)
        everywhere = "" in modes
        bound = {name for name, found in modes.items() if everywhere or len(found) > 1 or WRITE in found}
        groups = [{event} for event in range(len(footprints))]
        for a, b in combinations(range(len(footprints)), 2):
            if any(
                overlap(x.key, y.key) and (family(x.key) in bound or family(y.key) in bound)
                for x in footprints[a]
                for y in footprints[b]
            ):
                one, other = next(g for g in groups if a in g), next(g for g in groups if b in g)
                if one is not other:
                    groups.remove(other)
                    one |= other
        assert components(footprints).sizes == tuple(sorted(map(len, groups), reverse=True))


def test_the_relation_counts_the_dependent_pairs_and_knows_never_from_sometimes() -> None:
    for seed in SEEDS:
        log = random_log(seed)
        depends = dependences(log.footprints)
        by_pair: dict[tuple[str, str], list[bool]] = {}
        for a, b in combinations(range(log.events), 2):
            pair = (min(log.types[a], log.types[b]), max(log.types[a], log.types[b]))
            by_pair.setdefault(pair, []).append((a, b) in depends)
        for found in relations(log, edges(log.footprints)):
            pairs = by_pair.get((found.a, found.b), [])
            assert (found.pairs, found.dependent) == (len(pairs), sum(pairs))
            assert (found.kind == "never") == (not any(pairs))
            assert (found.kind == "always") == (len(pairs) > 1 and all(pairs))
            assert bool(found.conditions) == any(pairs)


def test_a_sample_of_the_relation_still_knows_what_never_happens() -> None:
    for seed in range(60):
        log = random_log(seed)
        whole = relations(log, edges(log.footprints))
        part = relations(log, edges(log.footprints), sample_events=5)
        assert [one.kind == "never" for one in part] == [one.kind == "never" for one in whole]


def test_each_hub_says_what_is_left_if_it_is_only_read() -> None:
    for seed in SEEDS:
        footprints = random_log(seed).footprints
        hubs = find_hubs(footprints, longest_chain(footprints))
        assert {hub.names[0] for hub in hubs.families} == set(written_families(footprints)) - {""}
        for hub in (*hubs.families, *hubs.pairs, *hubs.steps):
            changed = with_modes(footprints, dict.fromkeys(hub.names, READ))
            assert hub.chain_if_read == max(levels(changed))
        for hub in hubs.keys:
            changed = [tuple(Access(k, READ if k == hub.names[0] else m) for k, m in f) for f in footprints]
            assert hub.chain_if_read == max(levels(changed))
        written = set(written_families(footprints)) - {""}
        assert all(set(hub.names) < written for hub in hubs.steps)


def test_changed_modes_leave_reads_that_are_added_to() -> None:
    footprints = [(Access("a/1", WRITE), Access("b/1", WRITE)), (Access("a/1", READ), Access("a/2", "max"))]
    assert with_modes(footprints, {"a": ADD}) == [
        (Access("a/1", ADD), Access("b/1", WRITE)),
        (Access("a/1", READ), Access("a/2", ADD)),
    ]
    assert [access.mode for footprint in with_modes(footprints, {"a": READ}) for access in footprint] == [
        READ, WRITE, READ, READ,
    ]  # fmt: skip


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("lookahead", [1, 4, 100])
def test_a_reader_that_knows_one_position_is_never_faster_and_counts_what_is_done_behind_it(
    concurrency: int, lookahead: int
) -> None:
    for seed in range(100):
        footprints = random_log(seed).footprints
        one = list_schedule(footprints, concurrency, lookahead, contiguous=True)
        assert one == _contiguous_steps(footprints, concurrency, lookahead)
    chain: list[Footprint] = [(Access("a/1", WRITE),) for _ in range(3)]
    chain += [(Access(f"b/{n}", WRITE),) for n in range(6)]
    assert list_schedule(chain, 3, 3) == 4
    assert list_schedule(chain, 3, 3, contiguous=True) == 5


def _contiguous_steps(footprints: Sequence[Footprint], concurrency: int, lookahead: int) -> int:
    depends = dependences(footprints)
    left = list(range(len(footprints)))
    steps = 0
    while left:
        within = [event for event in left if event < left[0] + lookahead]
        free = [event for event in within if not any((earlier, event) in depends for earlier in left)]
        left = [event for event in left if event not in free[:concurrency]]
        steps += 1
    return steps


def test_the_knee_is_where_twice_the_workers_bring_little() -> None:
    assert Curve(1, {2: 2.0, 4: 4.0, 8: 7.9, 16: 9.4, 32: 9.4}).knee == 8
    assert Curve(1, {2: 2.0, 4: 4.0}).knee == 4
    assert Curve(1, {}).knee is None
    told: list[int] = []
    independent = [(Access(f"a/{n}", WRITE),) for n in range(64)]
    assert curve(independent, 64, (2, 4), told.append).speedup_at == {2: 2.0, 4: 4.0}
    assert told == [1, 2]


def test_a_last_step_of_the_hubs_that_gains_nothing_is_none() -> None:
    hubs = [Access(f"{name}/1", WRITE) for name in ("a", "b")]
    log = Workload(["t"] * 40, [(*hubs, Access(f"c/{n % 2}", WRITE), Access("d/1", WRITE)) for n in range(40)])
    assert find_hubs(log.footprints, longest_chain(log.footprints)).steps[-1].bound_if_read == 2.0
    stuck = Workload(["t"] * 40, [(*hubs, Access("c/1", WRITE), Access("d/1", WRITE)) for n in range(40)])
    assert find_hubs(stuck.footprints, longest_chain(stuck.footprints)).steps == ()


def test_progress_is_told_at_every_stage_of_a_long_log() -> None:
    log = Workload(["t"] * 6_000, [(Access(f"a/{n % 7}", WRITE), Access(f"b/{n}", WRITE)) for n in range(6_000)])
    told: dict[str, list[int]] = {}
    analyze(log, progress=lambda stage, done, total: told.setdefault(stage, []).append(done))
    assert told["relation"] == [2_000, 4_000, 6_000]
    assert all(told[stage] for stage in ("chain", "relation", "speed-up", "hubs"))
