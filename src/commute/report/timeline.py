"""The timeline of a run: what ran when, on as many lanes as ran at once, and who waited for whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from commute.report.markup import count, element, legend, picture, seconds, short, text, ticks, tip
from commute.wording import plural

SPANS_MAX = 3_000  # drawn; of a longer run the first
WAITS_SHOWN = 30
_WIDTH, _LEFT = 940.0, 8.0
_WAITS_LEFT = 190.0
COLOURS = ("--one", "--two", "--three", "--muted", "--bad")


@dataclass(frozen=True, slots=True)
class Span:
    """One event of a run: seconds from its beginning. It waited from `admitted_s` to `started_s`, at the end for
    `blocker` over `key` (None: for a free worker, or not at all)."""

    event: str
    type: str
    admitted_s: float
    started_s: float
    ended_s: float
    blocker: str | None = None
    key: str = ""
    blocked_s: float = 0.0

    def __str__(self) -> str:
        waited = (
            f"waited {seconds(self.blocked_s)} for {self.blocker} over {self.key or 'EVERYTHING'}\n"
            if (self.blocker)
            else ""
        )
        return f"{self.type} {self.event}\n{waited}ran {seconds(self.ended_s - self.started_s)}"


def lanes(spans: Sequence[Span]) -> list[int]:
    """A lane for each span, in sequence of their starts, so that no two of a lane overlap; as few as can be.
    O(n log n). `spans` are sorted by start."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    found, lowest = [], 0
    for span in spans:
        while busy and busy[0][0] <= span.started_s:
            heappush(free, heappop(busy)[1])
        if free:
            lane = heappop(free)
        else:
            lane, lowest = lowest, lowest + 1
        heappush(busy, (span.ended_s, lane))
        found.append(lane)
    return found


def timeline(spans: Sequence[Span]) -> str:
    """Markup: the lanes, then the longest waits with whom they waited for. O(n log n)."""
    drawn = sorted(spans, key=lambda span: span.started_s)[:SPANS_MAX]
    if not drawn:
        return element("p", "No event has run.", class_="muted")
    types = list(dict.fromkeys(span.type for span in drawn))
    colour = {name: COLOURS[min(at, len(COLOURS) - 1)] for at, name in enumerate(types)}
    end_s = max(span.ended_s for span in drawn) or 1.0
    more = "" if len(drawn) == len(spans) else f"The first {count(len(drawn))} of {count(len(spans))} events. "
    return (
        _legend(types, colour)
        + _lanes(drawn, colour, end_s)
        + element("p", text(f"{more}The longest waits, and whom each waited for:"), class_="muted")
        + _waits(spans, colour, end_s)
    )


def _lanes(drawn: Sequence[Span], colour: dict[str, str], end_s: float) -> str:
    placed = lanes(drawn)
    tall = 10.0 if max(placed) < 40 else 5.0
    height = (max(placed) + 1) * tall
    scale = (_WIDTH - 2 * _LEFT) / end_s
    bars = [
        element(
            "rect", tip(span), x=_LEFT + span.started_s * scale, y=lane * tall + 1, height=tall - 1.5,
            width=max((span.ended_s - span.started_s) * scale - 0.4, 0.5), fill=f"var({colour[span.type]})",
        )
        for span, lane in zip(drawn, placed, strict=True)
    ]  # fmt: skip
    return picture("".join(bars) + _axis(_LEFT, scale, end_s, height), _WIDTH, height + 30, "what ran when")


def _waits(spans: Sequence[Span], colour: dict[str, str], end_s: float) -> str:
    longest = sorted((span for span in spans if span.blocker), key=lambda span: -span.blocked_s)[:WAITS_SHOWN]
    if not longest:
        return element("p", "Nothing waited for another event.", class_="muted")
    scale = (_WIDTH - _WAITS_LEFT - _LEFT) / end_s
    drawn = []
    for at, span in enumerate(longest):
        y = at * 20.0
        x = _WAITS_LEFT + span.admitted_s * scale
        start = _WAITS_LEFT + span.started_s * scale
        fill = f"var({colour.get(span.type, '--muted')})"
        drawn += [
            element("text", text(short(f"{span.type} {span.event}", 26)), x=0, y=y + 14),
            element("rect", tip(span), x=x, y=y + 6, width=max(start - x, 0.5), height=7, fill=fill, fill_opacity=0.3),
            element("rect", tip(span), x=start, y=y + 3, width=max((span.ended_s - span.started_s) * scale, 1.5),
                    height=13, fill=fill),
        ]  # fmt: skip
        label = short(f"{span.key or 'EVERYTHING'} ← {span.blocker}", 34)
        right = start + (span.ended_s - span.started_s) * scale + 6
        fits = right + 7 * len(label) < _WIDTH
        drawn.append(element("text", text(label), x=right if fits else x + 6, y=y + 14, class_="muted"))
    height = len(longest) * 20.0
    return picture("".join(drawn) + _axis(_WAITS_LEFT, scale, end_s, height), _WIDTH, height + 30, "the longest waits")


def _axis(left: float, scale: float, end_s: float, y: float) -> str:
    marks = [element("line", x1=left, x2=left + end_s * scale, y1=y + 4, y2=y + 4, stroke="var(--line)")]
    for tick in ticks(end_s, 6):
        if tick <= end_s:
            anchor = "start" if not tick else "middle"
            marks.append(
                element("text", seconds(tick), x=left + tick * scale, y=y + 22, text_anchor=anchor, class_="muted")
            )
    return "".join(marks)


def _legend(types: Sequence[str], colour: dict[str, str]) -> str:
    more = len(types) - len(COLOURS)
    return legend(
        {name: colour[name] for name in types[: len(COLOURS)]}, f"and {plural(more, 'more type')}" * (more > 0)
    )
