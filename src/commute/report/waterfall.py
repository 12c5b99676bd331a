"""From the ideal to what was measured: where the time of a run went, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from commute.report.markup import TELEPHONE, element, percent, picture, seconds, text, tip

_WIDTH, _LEFT, _RIGHT, _ROW = 480.0, 146.0, 84.0, 34.0


@dataclass(frozen=True, slots=True)
class Step:
    """A name, the seconds of the run up to and with this step, and what it means."""

    name: str
    until_s: float
    why: str


def waterfall(steps: Sequence[Step]) -> str:
    """Markup: each step adds to the one before it; the last is the run. `until_s` does not fall."""
    end_s = max((step.until_s for step in steps), default=0.0) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / end_s
    drawn, before_s = [], 0.0
    for at, step in enumerate(steps):
        last = at == len(steps) - 1
        y = at * _ROW
        from_s = 0.0 if last else before_s
        fill = "var(--one)" if at == 0 else "var(--three)" if last else "var(--two)"
        wide = max((step.until_s - from_s) * scale, 1.5)
        gain = seconds(step.until_s) if last or not at else f"+ {seconds(step.until_s - from_s)}"
        said = f"{step.name}: {step.why}\n{gain}, {percent((step.until_s - from_s) / end_s)} of the run"
        drawn += [
            element("text", text(step.name), x=_LEFT - 12, y=y + 21, text_anchor="end"),
            element(
                "rect", tip(said), x=_LEFT + from_s * scale, y=y + 6, width=wide, height=_ROW - 12, fill=fill, rx=2
            ),
            element("text", text(gain), x=_LEFT + from_s * scale + wide + 8, y=y + 21, class_="muted"),
        ]
        before_s = step.until_s
    return picture("".join(drawn), _WIDTH, len(steps) * _ROW + 6, "where the time went", least=TELEPHONE)
