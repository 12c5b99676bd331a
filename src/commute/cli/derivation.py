"""What people are told of derived footprints: the line to paste, where each access is in the code, what widened it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from commute.cli.output import clean, paint, plural, table
from commute.core.footprint import WRITE
from commute.errors import UsageError
from commute.footprints.declared import ARGUMENTS

REASONS_SHOWN_MAX = 5  # why a handler touches EVERYTHING: the first one leads to most of the others

if TYPE_CHECKING:
    from commute.app import App
    from commute.derive.derivation import Derivation
    from commute.derive.routing import Route
    from commute.handler import Handler, HandlerEvent


def proposals(app: App[Any]) -> Callable[[Handler, HandlerEvent], str | None]:
    """What would be derived for handlers that declare nothing, as the arguments of ``@app.on``; "" where nothing
    can, None where the code cannot be read at all: sqlglot is not installed."""

    def propose(handler: Handler, event: HandlerEvent) -> str | None:
        try:
            found = app.derived().found.get((handler.name, event.type))
        except UsageError:
            return None
        return "" if found is None or found.everything else spelled(found)

    return propose


def spelled(found: Derivation) -> str:
    """The arguments of ``@app.on`` that declare the same; ``derive=True`` where a key has a conversion in it."""
    from commute.derive.derivation import as_template, distinct

    pairs: list[tuple[str, str]] = []
    for key in distinct(found.keys):
        template = as_template(key)
        if template is None:
            return "derive=True"
        pairs.append((key.mode, str(template)))
    return arguments(pairs)


def arguments(pairs: Iterable[tuple[str, str]]) -> str:
    """The arguments of ``@app.on`` that declare these modes and templates."""
    modes: dict[str, list[str]] = {}
    for mode, text in pairs:
        modes.setdefault(mode, []).append(text)
    written = modes.get(WRITE, [])  # who writes a key may touch it in every way
    modes = {mode: [one for one in texts if mode == WRITE or one not in written] for mode, texts in modes.items()}
    modes = {mode: texts for mode, texts in modes.items() if texts}
    given = [f"{ARGUMENTS[mode]}={_texts(modes[mode])}" for mode in ARGUMENTS if mode in modes]
    others = {mode: texts for mode, texts in modes.items() if mode not in ARGUMENTS}
    if others:
        given.append("commutes={" + ", ".join(f'"{mode}": {_texts(texts)}' for mode, texts in others.items()) + "}")
    return ", ".join(given) or "writes=()"


def _texts(texts: Sequence[str]) -> str:
    quoted = [f'"{text}"' for text in dict.fromkeys(texts)]
    return quoted[0] if len(quoted) == 1 else f"[{', '.join(quoted)}]"


def not_followed(handler: Handler, event: HandlerEvent) -> Iterator[str]:
    """A warning where a footprint that was to be derived is everything: why, where, and what would help."""
    word = paint("warning:", "warning", sys.stderr)
    for one in event.declared.derivation.everything[:1]:
        yield (
            f"{word} {handler.name} ({clean(event.type)}) touches EVERYTHING as far as its code can be followed:\n"
            f"  {clean(one.why)}   {clean(one.where)}" + (f"\n  {clean(one.remedy)}" if one.remedy else "")
        )


def declaration_lines(app: App[Any]) -> Iterator[str]:
    """For each handler the line to paste, as its code says."""
    found = app.derived()
    for handler in app.handlers:
        for event in handler.events:
            derivation = found.found[handler.name, event.type]
            subject = f"{clean(handler.name)} ({clean(event.type)})"
            if derivation.everything:
                why = derivation.everything[0]
                yield f"# {subject}: EVERYTHING. {clean(why.why)}   {clean(why.where)}"
            else:
                yield line_to_paste(handler, event, spelled(derivation))


def line_to_paste(handler: Handler, event: HandlerEvent, given: str) -> str:
    """The registration of a handler with these arguments."""
    name = event.codec.cls.__name__ if event.codec.cls is not None else f'"{event.type}"'
    subject = f"{clean(handler.name)} ({clean(event.type)})   {clean(handler.where)}"
    return f"@app.on({clean(name)}, {clean(given)})   # {subject}"


def declaration_document(app: App[Any]) -> list[dict[str, object]]:
    """What `--declare --json` prints: the arguments of ``@app.on``, None where the code cannot be followed."""
    found = app.derived()
    return [
        {
            "handler": handler.name,
            "event": event.type,
            "where": handler.where,
            "declare": None if derivation.everything else spelled(derivation),
            "everything": [{"why": one.why, "where": one.where} for one in derivation.everything],
        }
        for handler in app.handlers
        for event in handler.events
        for derivation in (found.found[handler.name, event.type],)
    ]


def provenance_lines(app: App[Any]) -> Iterator[str]:
    """Where the accesses of derived footprints are in the code, what widened them, and by what each table is told
    apart."""
    shown = [(handler, event) for handler in app.handlers for event in handler.events if event.declared.derivation]
    if not shown:
        return
    from commute.derive.derivation import distinct

    rows = []
    for handler, event in shown:
        derivation: Derivation = event.declared.derivation
        rows += [
            [handler.name, event.type, key.mode, str(key), key.where, _because(key.widened, key.remedy)]
            for key in distinct(derivation.keys)
        ]
        known, reasons = [handler.name, event.type, "write", "EVERYTHING"], derivation.everything
        said: set[str] = set()  # one line of code helps for all that it helps for
        for one in reasons[:REASONS_SHOWN_MAX]:
            rows.append([*known, one.where, _because(one.why, "" if one.remedy in said else one.remedy)])
            said.add(one.remedy)
        if len(reasons) > REASONS_SHOWN_MAX:
            left = plural(len(reasons) - REASONS_SHOWN_MAX, "more reason")
            rows.append([*known, "", f"{left}, often for one of those above: --json has all"])
    yield "derived from the code:"
    yield from table(["HANDLER", "EVENT", "MODE", "KEY", "WHERE", "COARSE BECAUSE"], rows)
    routes = app.derived().routes.values()
    if routes:
        yield "rows are told apart by"
        named = [[route.table, _spelled_route(one)] for route in routes for one in (route, *route.apart)]
        yield from table(["TABLE", "KEY"], named)


def _because(why: str, remedy: str) -> str:
    return f"{why}; {remedy}" if why and remedy else why


def _spelled_route(route: Route) -> str:
    columns = [f"{{{one}}}" for one in route.columns]
    if route.parent is not None:
        return "/".join([route.parent.name, *columns, route.name])
    return "/".join([route.name, *columns])


def derivation_document(event: HandlerEvent) -> dict[str, object] | None:
    """What `--json` says of a derived footprint; None for a declared one."""
    derivation: Derivation | None = event.declared.derivation
    if derivation is None:
        return None
    return {
        "accesses": [
            {"mode": key.mode, "key": str(key), "where": key.where, "coarse_because": key.widened, "remedy": key.remedy}
            for key in derivation.keys
        ],
        "everything": [{"why": one.why, "where": one.where, "remedy": one.remedy} for one in derivation.everything],
        "fingerprint": derivation.fingerprint,
    }
