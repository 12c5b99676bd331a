"""Hubs: the families of keys, or the single keys, that make the longest chain; and the bound if they were only read.

That a hub is only read is an assumption about handlers. A log lists what was involved and can never show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from commute.analysis.chain import Chain, Tick, bounds_of, longest_chain
from commute.analysis.workload import family, with_modes, written_families
from commute.core.footprint import READ, Access, Footprint

ENOUGH = 64.0  # a bound that is no limit for the numbers of workers looked at
GAIN_MIN = 1.05  # a smaller gain is no reason to change anything


@dataclass(frozen=True, slots=True)
class Hub:
    """Families (or one key) that are taken to be only read. `share_of_chain`: the part of the links of the longest
    chain that they make, alone or with others; `bound_if_read`, `chain_if_read`: what is left then."""

    names: tuple[str, ...]
    share_of_chain: float
    bound_if_read: float
    chain_if_read: int


@dataclass(frozen=True, slots=True)
class Hubs:
    """`families`: each by itself, the largest share first. `pairs`: the best few. `steps`: what has to be read, one
    family after the other, until the bound is no limit any more. `keys`: the heaviest single keys."""

    families: tuple[Hub, ...]
    pairs: tuple[Hub, ...]
    steps: tuple[Hub, ...]
    keys: tuple[Hub, ...]


@dataclass(slots=True)
class _Finder:
    footprints: Sequence[Footprint]
    chain: Chain
    tick: Tick | None

    def if_read(self, *names: str) -> Hub:
        """The hub of these families."""
        bounds = bounds_of(with_modes(self.footprints, dict.fromkeys(names, READ)), self.tick)
        return Hub(names, self._share(names), bounds.bound, bounds.chain_events)

    def key_if_read(self, key: str, share: float) -> Hub:
        changed = [
            tuple(Access(k, READ) if k == key else Access(k, m) for k, m in footprint)
            if any(access.key == key for access in footprint)
            else footprint
            for footprint in self.footprints
        ]
        bounds = bounds_of(changed, self.tick)
        return Hub((key,), share, bounds.bound, bounds.chain_events)

    def _share(self, names: tuple[str, ...]) -> float:
        links = self.chain.links
        made = sum(any(family(key) in names for key in keys) for keys in links)
        return made / len(links) if links else 0.0


def find_hubs(
    footprints: Sequence[Footprint],
    chain: Chain,
    *,
    families_max: int = 12,
    pairs_max: int = 30,
    keys_max: int = 3,
    tick: Tick | None = None,
) -> Hubs:
    """The hubs of a log whose longest chain is `chain`.

    O(events) for each bound that is computed anew: at most `families_max` families, `pairs_max` pairs, `keys_max` keys,
    and a step for each family. Families that are only read are no hubs, and `steps` never takes the last one that is
    written: with it read nothing would be left.
    """
    finder = _Finder(footprints, chain, tick)
    written = written_families(footprints)
    written.pop("", None)  # EVERYTHING is not read by an assumption: there a declaration is missing
    shares = chain.shares()
    ranked = sorted(written, key=lambda name: (-shares.get(name, 0.0), -written[name], name))[:families_max]
    families = tuple(finder.if_read(name) for name in ranked)
    found = [finder.if_read(*pair) for pair in _pairs(ranked, pairs_max, len(written))]
    pairs = tuple(sorted(found, key=lambda hub: (-hub.bound_if_read, hub.names))[:3])
    return Hubs(families, pairs, tuple(_steps(finder, families, len(written))), _keys(finder, keys_max))


def _pairs(ranked: Sequence[str], pairs_max: int, written: int) -> list[tuple[str, str]]:
    return list(combinations(ranked, 2))[:pairs_max] if written > 2 else []


def _steps(finder: _Finder, families: Sequence[Hub], written: int) -> list[Hub]:
    """Take the family that makes the chain as read, look at the chain that is left, and so on: O(families) bounds."""
    steps: list[Hub] = []
    names: tuple[str, ...] = ()
    chain = finder.chain
    while len(names) + 1 < written and chain.bound < ENOUGH:
        shares = chain.shares()
        name = next((name for name in shares if name and name not in names), None)
        if name is None:
            break
        names = (*names, name)
        chain = longest_chain(with_modes(finder.footprints, dict.fromkeys(names, READ)), finder.tick)
        alone = next((hub for hub in families if hub.names == names), None)
        steps.append(alone or Hub(names, finder._share(names), chain.bound, chain.length))
    # A last step that gains nothing was taken in the hope of another.
    bounds = [finder.chain.bound, *(step.bound_if_read for step in steps)]
    while steps and bounds[-1] < GAIN_MIN * bounds[-2]:
        steps.pop()
        bounds.pop()
    return steps


def _keys(finder: _Finder, keys_max: int) -> tuple[Hub, ...]:
    shares = finder.chain.key_shares()
    return tuple(finder.key_if_read(key, shares[key]) for key in list(shares)[:keys_max] if key)
