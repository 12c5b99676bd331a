"""The speed-up curve: what more workers bring, where they stop to bring anything, and what fixed partitions reach."""

from __future__ import annotations

import math
from collections.abc import Mapping

from commute.core.bounds import knee
from commute.report.markup import TELEPHONE, count, element, picture, text, ticks, tip

_WIDTH, _HEIGHT = 460.0, 280.0  # narrow, so that its text can be read on a telephone
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 102.0, 18.0, 44.0


def curve(
    speedup_at: Mapping[int, float],
    *,
    bound: float,
    partitions: float | None,
    measured: tuple[int, float] | None,
    who: str = "handlers at once",
) -> str:
    """Markup of the curve. `speedup_at` maps numbers of workers, at least one, to speed-ups; `bound` is what no number
    exceeds, `partitions` what fixed ones reach; `measured` a run: workers and speed-up; `who` works."""
    known = sorted(speedup_at)
    lowest, highest = math.log2(known[0]), math.log2(known[-1])
    peak = max([*speedup_at.values(), partitions or 0.0, measured[1] if measured else 0.0])
    top = min(bound, peak * 1.25) if bound > 0 else peak
    scale = ticks(max(top, peak))

    def x(workers: float) -> float:
        span = highest - lowest or 1.0
        return _LEFT + (math.log2(workers) - lowest) / span * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - value / scale[-1] * (_HEIGHT - _TOP - _BOTTOM)

    drawn = [_level(y(tick), count(tick), "--line", "") for tick in scale]
    drawn += [
        element("text", str(workers), x=x(workers), y=_HEIGHT - _BOTTOM + 18, text_anchor="middle") for workers in known
    ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    drawn.append(element("text", who, x=middle, y=_HEIGHT - 6, text_anchor="middle", class_="muted"))
    if bound <= scale[-1]:
        drawn.append(_level(y(bound), "", "--two", f"bound {_ratio(bound)}"))
    if partitions is not None and 0 < partitions <= scale[-1]:
        drawn.append(_level(y(partitions), "", "--muted", f"partitions {_ratio(partitions)}"))
    path = " ".join(f"{'M' if at == 0 else 'L'}{x(w):.1f} {y(speedup_at[w]):.1f}" for at, w in enumerate(known))
    drawn.append(element("path", d=path, fill="none", stroke="var(--one)", stroke_width=2.5))
    bend = knee(speedup_at)
    bend = None if bend == known[-1] else bend  # more would still bring something
    for workers in known:
        here = (x(workers), y(speedup_at[workers]))
        drawn.append(
            _dot(here, f"{workers} {who}: {_ratio(speedup_at[workers])}", "--one", 6 if workers == bend else 4)
        )
    if bend is not None:
        drawn.append(element("text", f"knee: {bend}", x=x(bend) + 9, y=y(speedup_at[bend]) + 18))
    if measured is not None:
        workers, reached = measured
        drawn.append(_dot((x(workers), y(reached)), f"measured: {_ratio(reached)} with {workers} {who}", "--three", 6))
        drawn.append(element("text", "measured", x=x(workers) - 9, y=y(reached) + 16, text_anchor="end"))
    return picture("".join(drawn), _WIDTH, _HEIGHT, f"speed-up by {who}, at most {_ratio(bound)}", least=TELEPHONE)


def _ratio(value: float) -> str:
    return f"{value:,.0f} x" if value >= 100 else f"{value:.3g} x"


def _level(at: float, left: str, colour: str, right: str) -> str:
    line = element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=at, y2=at, stroke=f"var({colour})",
                   stroke_dasharray="5 4" if right else None)  # fmt: skip
    named = element("text", text(left), x=_LEFT - 8, y=at + 4, text_anchor="end", class_="muted") if left else ""
    said = element("text", text(right), x=_WIDTH - _RIGHT + 8, y=at + 4) if right else ""
    return line + named + said


def _dot(at: tuple[float, float], said: str, colour: str, radius: float) -> str:
    return element("circle", tip(said), cx=at[0], cy=at[1], r=radius, fill=f"var({colour})")
