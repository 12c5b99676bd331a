"""The conflict graph of event types, a circle for each component: types of two components never wait for each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from commute.report.markup import COLOURS, TELEPHONE, element, picture, short, text, tip
from commute.wording import plural

NODES_MAX = 40  # of the graph; the components beyond them are counted
_RADIUS = 84.0
_ROOM = 40.0  # above and below a circle
_OVER, _BESIDE = 82.0, 186.0  # left and right of it, for names over the nodes, and beside them
_APART = 13.0  # between names beside the circle
_AROUND_MAX = 5  # types of which the names find room over and under the nodes
_ASIDE = 0.05  # of the radius: nearer to the middle, a name stands over or under its node


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
    heaviest = max(edges.values(), default=0.0)
    drawn = [
        _component(part, edges, said, heaviest, COLOURS[at % len(COLOURS)])
        for at, part in enumerate(part for part in parts if len(part) > 1 or (part[0], part[0]) in edges)
    ]
    alone = [part[0] for part in parts if len(part) == 1 and (part[0], part[0]) not in edges]
    lone = element("p", text(f"Dependent on nothing: {', '.join(alone)}"), class_="muted") if alone else ""
    more = element("p", text(f"and {plural(left, 'more component')}"), class_="muted") if left else ""
    return element("div", "".join(drawn), class_="side") + lone + more


def _component(
    part: Sequence[str],
    edges: Mapping[tuple[str, str], float],
    said: Mapping[tuple[str, str], str],
    heaviest: float,
    colour: str,
) -> str:
    """One picture: names above and below the circle, or, of more types than fit so, beside it."""
    crowded = len(part) > _AROUND_MAX
    radius = max(_RADIUS, len(part) * _APART / 2) if len(part) > 1 else 0.0
    half = radius + (_BESIDE if crowded else _OVER)
    centre = (half, radius + _ROOM)
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
        aside = (x - centre[0]) / radius if crowded else 0.0
        if abs(aside) > _ASIDE:
            sign = 1 if aside > 0 else -1
            anchor = "start" if aside > 0 else "end"
            place: dict[str, object] = {"x": x + 18 * sign, "y": y + 4, "text_anchor": anchor}
        else:
            place = {"x": x, "y": y + (28 if y >= centre[1] else -18), "text_anchor": "middle"}
        dots.append(element("text", text(short(node, 24)), **place))
    label = f"{plural(len(part), 'event type')} that may depend on each other"
    least = TELEPHONE if not crowded else 2 * half
    return picture("".join(lines + dots), 2 * half, 2 * (radius + _ROOM), label, least=least)
