"""The speed-up curve: what more workers bring, where they stop to bring anything, and what fixed partitions reach."""

from __future__ import annotations

import math
from collections.abc import Mapping

from commute.core.bounds import knee
from commute.report.markup import count, element, picture, text, ticks, tip

_WIDTH, _HEIGHT = 680.0, 320.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 110.0, 18.0, 44.0


def curve(
    speedup_at: Mapping[int, float],
    *,
    bound: float,
    partitions: float | None,
    measured: tuple[int, float] | None,
) -> str:
    """Markup of the curve. `speedup_at` maps numbers of workers, at least one, to speed-ups; `bound` is what no number
    exceeds, `partitions` what fixed ones reach; `measured` a run: workers and speed-up."""
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
    drawn.append(element("text", "handlers at once", x=middle, y=_HEIGHT - 6, text_anchor="middle", class_="muted"))
    if bound <= scale[-1]:
        drawn.append(_level(y(bound), "", "--two", f"bound {count(bound)}"))
    if partitions is not None and 0 < partitions <= scale[-1]:
        drawn.append(_level(y(partitions), "", "--muted", f"partitions {count(partitions)}"))
    path = " ".join(f"{'M' if at == 0 else 'L'}{x(w):.1f} {y(speedup_at[w]):.1f}" for at, w in enumerate(known))
    drawn.append(element("path", d=path, fill="none", stroke="var(--one)", stroke_width=2.5))
    bend = knee(speedup_at)
    for workers in known:
        here = (x(workers), y(speedup_at[workers]))
        drawn.append(
            _dot(here, f"{workers} at once: {count(speedup_at[workers])} x", "--one", 6 if workers == bend else 4)
        )
    if bend is not None:
        drawn.append(element("text", f"knee: {bend}", x=x(bend) + 9, y=y(speedup_at[bend]) + 18))
    if measured is not None:
        workers, reached = measured
        drawn.append(_dot((x(workers), y(reached)), f"measured: {count(reached)} x at {workers}", "--three", 6))
        drawn.append(element("text", "measured", x=x(workers) - 9, y=y(reached) + 16, text_anchor="end"))
    return picture("".join(drawn), _WIDTH, _HEIGHT, f"speed-up by handlers at once, at most {count(bound)}")


def _level(at: float, left: str, colour: str, right: str) -> str:
    line = element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=at, y2=at, stroke=f"var({colour})",
                   stroke_dasharray="5 4" if right else None)  # fmt: skip
    named = element("text", text(left), x=_LEFT - 8, y=at + 4, text_anchor="end", class_="muted") if left else ""
    said = element("text", text(right), x=_WIDTH - _RIGHT + 8, y=at + 4) if right else ""
    return line + named + said


def _dot(at: tuple[float, float], said: str, colour: str, radius: float) -> str:
    return element("circle", tip(said), cx=at[0], cy=at[1], r=radius, fill=f"var({colour})")
