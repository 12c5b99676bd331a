"""Text, numbers and SVG elements for a page: everything that came from data is escaped here, and nowhere else.

Pictures are drawn in Python as SVG with a `viewBox`, so they scale to a telephone and print; colours are CSS variables
of the page, so that one picture serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape

LABEL_CHARACTERS_MAX = 28
COLOURS = ("--one", "--two", "--three", "--bad", "--muted")  # of what has no colour of its own, the last for the rest
TELEPHONE = 330.0  # pixels that a picture has on one
_WIDTH_MIN = 640.0  # of a picture with much text in it


def element(name: str, content: str = "", **attributes: object) -> str:
    """``<name a="…">content</name>``. Values are escaped, `content` is not: it is markup. ``class_`` is ``class``, and
    other underscores are hyphens; None leaves an attribute out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{given}>{content}</{name}>"


def number(value: object) -> str:
    """A number as short as SVG needs it, everything else as text."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def text(value: object) -> str:
    """Escaped text."""
    return escape(str(value))


def short(value: object, characters_max: int = LABEL_CHARACTERS_MAX) -> str:
    """Text with its middle left out where it is too long for a picture; not escaped."""
    whole = str(value)
    if len(whole) <= characters_max:
        return whole
    head = characters_max // 2
    return f"{whole[:head]}…{whole[len(whole) - (characters_max - head - 1) :]}"


def tip(value: object) -> str:
    """What is shown on hover or a touch; for elements of SVG. The page's script shows it like all others: a telephone
    does not show titles."""
    return element("title", text(value))


def picture(content: str, width: float, height: float, label: str, *, least: float = _WIDTH_MIN) -> str:
    """An SVG picture as wide as the page allows; on a page narrower than `least` pixels it scrolls, so that its text
    stays legible. `label` says in words what is drawn.
    """
    box = f"0 0 {number(width)} {number(height)}"
    sizes = f"max-width:{number(width * 1.3)}px;min-width:{number(min(width, least))}px"
    drawn = element("svg", content, viewBox=box, role="img", aria_label=label, style=sizes)
    return element("div", drawn, class_="scroll")


def legend(colours: Mapping[str, str], more: str = "") -> str:
    """What each colour, a name of a variable of the page, stands for; `more` is said after them."""
    items = [
        element("span", element("i", style=f"background:var({colour})") + text(name))
        for name, colour in colours.items()
    ]
    return element("p", "".join(items) + (element("span", text(more)) if more else ""), class_="legend muted")


def count(value: float) -> str:
    """1234567 as 1,234,567; small fractions with two figures."""
    if isinstance(value, float) and not value.is_integer() and abs(value) < 100:
        return f"{value:.2g}" if abs(value) < 1 else f"{value:.1f}"
    return f"{value:,.0f}"


def seconds(value: float) -> str:
    """A duration as people say it."""
    if value >= 1:
        return f"{value:,.2f} s" if value < 100 else f"{value:,.0f} s"
    return f"{value * 1_000:.3g} ms" if value >= 0.001 or not value else f"{value * 1_000_000:.3g} µs"


def percent(part: float) -> str:
    """0.9634 as 96%; what is not nothing is never 0%."""
    return "< 1%" if 0 < part < 0.01 else f"{part:.0%}"


def ticks(largest: float, about: int = 5) -> list[float]:
    """Round numbers from 0 that reach `largest`, about as many as asked for."""
    if largest <= 0:
        return [0.0, 1.0]
    raw = largest / about
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw)
    return [step * at for at in range(math.ceil(largest / step) + 1)]


def rows(lines: Iterable[Iterable[object]], head: Iterable[object] = ()) -> str:
    """A table; cells are escaped."""
    top = element("tr", "".join(element("th", text(cell), scope="col") for cell in head))
    body = "".join(element("tr", "".join(element("td", text(cell)) for cell in line)) for line in lines)
    table = element("table", (element("thead", top) if head else "") + element("tbody", body), class_="plain")
    return element("div", table, class_="scroll")
