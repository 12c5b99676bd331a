"""The conflict graph of event types, a circle for each component: types of two components never wait for each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from commute.report.markup import COLOURS, element, picture, short, text, tip
from commute.wording import plural

NODES_MAX = 40  # of the graph; the components beyond them are counted
_CELL = 300.0
_RADIUS = 84.0


def components(nodes: Sequence[str], edges: Mapping[tuple[str, str], float]) -> list[list[str]]:
    """The connected parts of the graph, the largest first, each in the sequence of `nodes`. O(nodes + edges)."""
    leader = {node: node for node in nodes}

    def find(node: str) -> str:
        while leader[node] != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for a, b in edges:
        leader[find(a)] = find(b)
    parts: dict[str, list[str]] = {}
    for node in nodes:
        parts.setdefault(find(node), []).append(node)
    return sorted(parts.values(), key=len, reverse=True)


def network(nodes: Sequence[str], edges: Mapping[tuple[str, str], float], said: Mapping[tuple[str, str], str]) -> str:
    """Markup of the graph: a node is an event type, a line stands where two may depend on each other.

    `edges` has a weight of at least 0 for each such pair, the width of its line; one type with itself is a ring. `said`
    is what a line says.
    """
    parts, left = [], 0
    room = NODES_MAX
    for part in components(nodes, edges):
        if len(part) <= room:
            parts.append(part)
            room -= len(part)
        else:
            left += 1
    across = min(3, len(parts)) or 1
    heaviest = max(edges.values(), default=0.0)
    drawn = []
    for at, part in enumerate(parts):
        x, y = (at % across + 0.5) * _CELL, (at // across + 0.5) * _CELL
        colour = COLOURS[at % len(COLOURS)]
        drawn.append(_component(part, edges, said, heaviest, (x, y), colour))
    height = math.ceil(len(parts) / across) * _CELL
    label = f"{plural(len(parts), 'group')} of event types that may depend on each other"
    more = element("p", text(f"and {plural(left, 'more component')}"), class_="muted") if left else ""
    return picture("".join(drawn), across * _CELL, height or 1.0, label) + more


def _component(
    part: Sequence[str],
    edges: Mapping[tuple[str, str], float],
    said: Mapping[tuple[str, str], str],
    heaviest: float,
    centre: tuple[float, float],
    colour: str,
) -> str:
    radius = _RADIUS if len(part) > 1 else 0.0
    places = {
        node: (
            centre[0] + radius * math.sin(2 * math.pi * at / len(part)),
            centre[1] - radius * math.cos(2 * math.pi * at / len(part)),
        )
        for at, node in enumerate(part)
    }
    lines, dots = [], []
    for (a, b), weight in edges.items():
        if a not in places:
            continue
        thick = 1.2 + 5.0 * (weight / heaviest if heaviest else 0.0)
        why = tip(f"{a} and {b}: {said.get((a, b), 'dependent')}")
        (x, y), (u, v) = places[a], places[b]
        shape: dict[str, object] = {"stroke": f"var({colour})", "stroke_width": thick, "stroke_opacity": 0.55}
        if a == b:
            lines.append(element("circle", why, cx=x, cy=y, r=13.0, fill="none", **shape))
        else:
            lines.append(element("line", why, x1=x, y1=y, x2=u, y2=v, **shape))
    for node, (x, y) in places.items():
        dots.append(element("circle", tip(node), cx=x, cy=y, r=7.0, fill=f"var({colour})"))
        below = y >= centre[1]
        dots.append(element("text", text(short(node, 22)), x=x, y=y + (26 if below else -18), text_anchor="middle"))
    return "".join(lines + dots)
