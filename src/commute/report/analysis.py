"""The page of an analysed log, and of advice: what depends on what, what is in the way, what a change would bring."""

from __future__ import annotations

from commute.analysis.advice import Advice
from commute.analysis.analysis import Analysis
from commute.analysis.components import Components
from commute.analysis.conclusions import ratio, remedies, sentences
from commute.analysis.workload import family_name
from commute.report.chain import chain
from commute.report.curve import curve
from commute.report.markup import TELEPHONE, count, element, percent, picture, rows, text, tip
from commute.report.matrix import Cell, matrix
from commute.report.network import network
from commute.report.page import Page, Section
from commute.wording import plural

COMPONENTS_MAX = 40  # bars; smaller ones are one bar
REMEDIES_MAX = 10
_WIDTH, _HEIGHT = 900.0, 110.0


def analysis_page(found: Analysis, title: str, lead: str) -> Page:
    """The page of `commute analyze`. O(types squared, and what is drawn)."""
    facts = [
        ("events", count(found.events)),
        ("longest chain", count(found.chain.length)),
        ("bound", ratio(found.bound)),
        ("fixed partitions", ratio(found.components.bound)),
    ]
    if not found.known:
        return Page(title, lead, [facts[0], ("bound", "not known")], [], sentences(found))
    types = sorted(found.types, key=lambda name: -found.types[name])
    waits = sum(one.waits for one in found.relation) or 1
    cells = {
        (one.a, one.b): Cell(one.symbol, f"dependent {one}" if one.dependent else "never, in this log", one.waits,
                             one.waits / waits)
        for one in found.relation
    }  # fmt: skip
    edges = {(one.a, one.b): float(one.waits) for one in found.relation if one.symbol != "."}
    said = {(one.a, one.b): f"dependent {one}, {count(one.waits)} follow each other directly" for one in found.relation}
    sections = [
        Section("What depends on what", "The darker, the more often an event of one type directly follows one of the "
                "other on an object that both touch.", matrix(types, cells), "= dependent when an object is the same   "
                "· never in this log   ! always"),
        Section("Types that may depend on each other", "What has no line between it never waits for each other.",
                network(types, edges, said)),
    ]  # fmt: skip
    if found.curves:
        last = found.curves[-1]
        sections.append(
            Section(
                "What more workers would bring", "For events that take equally long, "
                f"{plural(last.lookahead, 'event')} looked ahead.",
                curve(dict(last.speedup_at), bound=found.bound, partitions=found.components.bound, measured=None,
                      who="workers"),
            )
        )  # fmt: skip
    sections += [
        Section("The longest chain", f"{plural(found.chain.length, 'event')}, each dependent on the one before it.",
                chain(found.stretches, found.chain.length)),
        Section("In the way", "What the bound would be if objects of a type were only read: an assumption about "
                "handlers, which no log can show.", _hubs(found)),
        Section("What hangs together", "Each bar is a group of events that are connected by objects: one fixed "
                "partition has to take a whole group.", _components(found.components)),
    ]  # fmt: skip
    if best := remedies(found):
        listed = element("ol", "".join(element("li", text(one)) for one in best))
        sections.insert(0, Section("Remedies", "Each is an assumption about handlers, which no log can show.", listed))
    return Page(title, lead, facts, sections, sentences(found))


def advice_page(found: Advice, title: str, lead: str) -> Page:
    """The page of `commute advise`."""
    if not found.known:
        return Page(title, lead, [("speed-up", "not known")], [], found.verdict)
    reach = {one.workers: one.speedup for one in found.predictions}
    best = max((one.bound for one in found.remedies[:1]), default=0.0)
    now = next(one for one in found.predictions if one.workers == found.workers)
    labels = found.labels.best
    facts = [
        (f"speed-up at {found.workers}", ratio(now.speedup)),
        ("fixed partitions", ratio(found.components.bound)),
        ("parted by the best label", f"{count(labels.cut)} of {count(labels.total)}"),
    ]
    changes = [(ratio(one.speedup), f"{one.gain:.2g}", str(one)) for one in found.remedies[:REMEDIES_MAX]]
    named = [(kind, family_name(name) if name else "none") for kind, name in labels.labels.items()]
    cuts = [(cut.a, cut.b, count(cut.edges), count(cut.total)) for cut in labels.cuts]
    sections = [
        Section("What more workers would bring", "Predicted by running the log through the real schedule"
                + (", with measured service times." if found.measured else "; all events take equally long."),
                curve(reach, bound=max(*reach.values(), best), partitions=found.components.bound, measured=None)),
        Section("What a change would bring", f"With {found.workers} at once; each is true only if it is true of the "
                "handlers.", rows(changes, ("speed-up", "times as fast", "change"))),
        Section("Partition labels", "By which part of an event its partition would be chosen, and what that parts.",
                rows(named, ("type", "label")) + (rows(cuts, ("between", "and", "parted", "of")) if cuts else "")),
        Section("What hangs together", "Each bar is a group of events that are connected by objects.",
                _components(found.components)),
    ]  # fmt: skip
    return Page(title, lead, facts, sections, found.verdict)


def _hubs(found: Analysis) -> str:
    lines = [
        (family_name(hub.names[0]), percent(hub.share_of_chain), ratio(hub.bound_if_read))
        for hub in found.hubs.families
    ]
    pairs = [
        (" and ".join(map(family_name, hub.names)), percent(hub.share_of_chain), ratio(hub.bound_if_read))
        for hub in found.hubs.pairs
    ]
    return rows([*lines, *pairs], ("objects of type", "part of the chain", "bound if only read"))


def _components(found: Components) -> str:
    """The sizes of the components, the largest first, as bars."""
    sizes = list(found.sizes[:COMPONENTS_MAX])
    rest = sum(found.sizes[COMPONENTS_MAX:])
    if not sizes:
        return element("p", "There is no event.", class_="muted")
    wide = _WIDTH / (len(sizes) + (1 if rest else 0))
    top = max([*sizes, rest])
    drawn = []
    for at, size in enumerate([*sizes, *([rest] if rest else [])]):
        tall = max(_HEIGHT * size / top, 1.0)
        is_rest = bool(rest) and at == len(sizes)
        said = f"{plural(size, 'event')}, {percent(size / found.events)} of all"
        named = f"{plural(len(found.sizes) - len(sizes), 'smaller group')}: {said}" if is_rest else said
        fill = "var(--muted)" if is_rest else "var(--one)"
        drawn.append(
            element("rect", tip(named), x=at * wide + 1, y=_HEIGHT - tall, width=max(wide - 2, 1.0), height=tall,
                    fill=fill, rx=1.5)
        )  # fmt: skip
    label = f"{plural(len(found.sizes), 'group')}, the largest of {plural(sizes[0], 'event')}"
    bars = picture("".join(drawn), _WIDTH, _HEIGHT, label, least=TELEPHONE)
    return bars + element("p", text(f"{label}, {percent(sizes[0] / found.events)} of all"), class_="muted")
