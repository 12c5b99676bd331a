"""The longest chain of dependent events: what it is made of, and which key links its parts."""

from __future__ import annotations

from collections.abc import Sequence

from commute.analysis.chain import Stretch
from commute.analysis.workload import family
from commute.report.markup import COLOURS, count, element, percent, picture, rows, short, text, tip
from commute.wording import plural

RUNS_MAX = 400  # of the strip; a longer chain is drawn by its first ones
FAMILIES_MAX = 5
_WIDTH, _HEIGHT, _BAR = 900.0, 92.0, 34.0


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
        drawn.append(element("rect", tip(said), x=x, y=6.0, width=max(wide - 0.6, 0.4), height=_BAR, fill=fill, rx=1.5))
        x += wide
    for at, name in enumerate(ranked[:FAMILIES_MAX]):
        left = at * _WIDTH / FAMILIES_MAX
        drawn.append(element("rect", x=left, y=_BAR + 26, width=12, height=12, fill=f"var({colour[name]})", rx=2))
        drawn.append(element("text", text(short(name or "EVERYTHING", 20)), x=left + 18, y=_BAR + 36))
    strip = picture("".join(drawn), _WIDTH, _HEIGHT, f"the longest chain, {plural(events, 'event')}")
    lines = [
        (name or "EVERYTHING", count(families[name]), percent(families[name] / (sum(families.values()) or 1)))
        for name in ranked[: 2 * FAMILIES_MAX]
    ]
    more = ""
    if len(stretches) > len(shown):
        more = element("p", text(f"The first {len(shown)} of {len(stretches)} stretches."), class_="muted")
    return strip + more + rows(lines, ("linked by", "events", "share"))
