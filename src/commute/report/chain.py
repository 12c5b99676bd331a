"""The longest chain of dependent events: what it is made of, and which key links its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from commute.report.markup import count, element, percent, picture, rows, short, text, tip

COLOURS = ("--one", "--two", "--three", "--bad", "--muted")
RUNS_MAX = 400  # of the strip; a longer chain is drawn by its first ones
FAMILIES_MAX = 5
_WIDTH, _HEIGHT, _BAR = 900.0, 92.0, 34.0


@dataclass(frozen=True, slots=True)
class Link:
    """A stretch of the chain whose events are linked by one key: how many, and the types that occur."""

    key: str
    events: int
    types: Sequence[str]


def chain(links: Sequence[Link], events: int) -> str:
    """Markup of the chain in log sequence, a stretch a bar, and of the families of keys that carry it. O(links)."""
    families: dict[str, int] = {}
    for link in links:
        families[_family(link.key)] = families.get(_family(link.key), 0) + link.events
    ranked = sorted(families, key=lambda family: -families[family])
    colour = {family: COLOURS[min(at, len(COLOURS) - 1)] for at, family in enumerate(ranked)}
    shown = links[:RUNS_MAX]
    total = sum(link.events for link in shown) or 1
    drawn, x = [], 0.0
    for link in shown:
        wide = _WIDTH * link.events / total
        said = f"{link.key or 'EVERYTHING'}: {count(link.events)} events\n{', '.join(link.types)}"
        fill = f"var({colour[_family(link.key)]})"
        drawn.append(element("rect", tip(said), x=x, y=6.0, width=max(wide - 0.6, 0.4), height=_BAR, fill=fill, rx=1.5))
        x += wide
    for at, family in enumerate(ranked[:FAMILIES_MAX]):
        left = at * _WIDTH / FAMILIES_MAX
        drawn.append(element("rect", x=left, y=_BAR + 26, width=12, height=12, fill=f"var({colour[family]})", rx=2))
        drawn.append(element("text", text(short(family or "EVERYTHING", 20)), x=left + 18, y=_BAR + 36))
    strip = picture("".join(drawn), _WIDTH, _HEIGHT, f"the longest chain, {count(events)} events")
    lines = [
        (family or "EVERYTHING", count(families[family]), percent(families[family] / (sum(families.values()) or 1)))
        for family in ranked[: 2 * FAMILIES_MAX]
    ]
    more = ""
    if len(links) > len(shown):
        more = element("p", text(f"The first {len(shown)} of {len(links)} stretches."), class_="muted")
    return strip + more + rows(lines, ("linked by", "events", "share"))


def _family(key: str) -> str:
    return key.split("/", 1)[0]
