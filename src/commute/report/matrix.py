"""The heat map of the relation: which event types depend on which, when, and how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from commute.report.markup import element, percent, short, text
from commute.wording import plural

TYPES_MAX = 60  # more are no picture any more; the rest is said


@dataclass(frozen=True, slots=True)
class Cell:
    """How two types are related. `symbol` as in the terminal; `pairs` dependent pairs seen, None where none were
    counted; `share` of all dependent pairs, 0 to 1."""

    symbol: str
    condition: str
    pairs: int | None = None
    share: float = 0.0


def legend_of(*symbols: str) -> str:
    """What the symbols mean, in one line; where it is broken, a symbol stays with its meaning."""
    return "   ".join(symbol.replace(" ", "\u00a0", 1) for symbol in symbols)


def matrix(types: Sequence[str], cells: Mapping[tuple[str, str], Cell]) -> str:
    """Markup of the map. Each cell says its condition on hover, focus or touch. O(types squared)."""
    shown = types[:TYPES_MAX]
    heaviest = max((cell.share for cell in cells.values()), default=0.0)
    head = element("tr", "<th></th><th></th>" + "".join(_column(at, name) for at, name in enumerate(shown, 1)))
    body = []
    for at, a in enumerate(shown, 1):
        line = [element("th", str(at), scope="row"), element("th", text(short(a)), scope="row", title=a)]
        line += [_cell(a, b, cells.get((a, b)) or cells.get((b, a)), heaviest) for b in shown]
        body.append(element("tr", "".join(line)))
    table = element("table", element("thead", head) + element("tbody", "".join(body)), class_="heat")
    left = len(types) - len(shown)
    more = element("p", text(f"and {plural(left, 'more type')}"), class_="muted") if left else ""
    return element("div", table, class_="scroll") + more


def _column(at: int, name: str) -> str:
    return element("th", str(at), scope="col", title=name)


def _cell(a: str, b: str, cell: Cell | None, heaviest: float) -> str:
    if cell is None:
        cell = Cell(".", "never dependent")
    said = f"{a} and {b}: {cell.condition}"
    if cell.pairs is not None:
        said += f"\n{plural(cell.pairs, 'dependent pair')}, {percent(cell.share)} of all"
    style = None
    if cell.symbol != ".":
        strength = cell.share / heaviest if heaviest else 0.4
        colour = "hot" if cell.symbol == "!" else "heat"
        style = f"background:rgb(var(--{colour}) / {0.18 + 0.62 * strength:.2f})"
    label = "·" if cell.symbol == "." else cell.symbol
    return element("td", text(label), tabindex="0", data_tip=said, aria_label=said, style=style)
