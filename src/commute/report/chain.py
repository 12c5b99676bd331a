"""The longest chain of dependent events: what it is made of, and which key links its parts."""

from __future__ import annotations

from collections.abc import Sequence

from commute.analysis.chain import Stretch
from commute.analysis.workload import family, family_name
from commute.report.markup import COLOURS, TELEPHONE, count, element, legend, percent, picture, rows, text, tip
from commute.wording import plural

RUNS_MAX = 400  # of the strip; a longer chain is drawn by its first ones
FAMILIES_MAX = 5
_WIDTH, _BAR = 900.0, 40.0


def chain(stretches: Sequence[Stretch], events: int) -> str:
    """Markup of the chain in log sequence, a stretch a bar, and of the families of keys that carry it. O(stretches)."""
    families: dict[str, int] = {}
    for one in stretches:
        families[family(one.key)] = families.get(family(one.key), 0) + one.events
    ranked = sorted(families, key=lambda name: -families[name])
    colour = {name: COLOURS[min(at, len(COLOURS) - 1)] for at, name in enumerate(ranked)}
    shown = stretches[:RUNS_MAX]
    total = sum(one.events for one in shown) or 1
    drawn, x = [], 0.0
    for one in shown:
        wide = _WIDTH * one.events / total
        said = f"{one.key or 'EVERYTHING'}: {plural(one.events, 'event')}\n{', '.join(one.types)}"
        fill = f"var({colour[family(one.key)]})"
        drawn.append(
            element("rect", tip(said), x=x, y=0.0, width=max(wide - 0.6, wide / 2), height=_BAR, fill=fill, rx=1.5)
        )
        x += wide
    strip = picture("".join(drawn), _WIDTH, _BAR, f"the longest chain, {plural(events, 'event')}", least=TELEPHONE)
    shown_families = ranked[:FAMILIES_MAX]
    strip += legend(
        {family_name(name): colour[name] for name in shown_families}, "and others" * (len(ranked) > len(shown_families))
    )
    lines = [
        (family_name(name), count(families[name]), percent(families[name] / (sum(families.values()) or 1)))
        for name in ranked[: 2 * FAMILIES_MAX]
    ]
    more = ""
    if len(stretches) > len(shown):
        more = element("p", text(f"The first {len(shown)} of {len(stretches)} stretches."), class_="muted")
    return strip + more + rows(lines, ("linked by", "events", "share"))
