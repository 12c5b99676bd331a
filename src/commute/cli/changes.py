"""Remedies in an app's own code: the handler, its line, and what to declare in place of what it declares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from commute.analysis.remedies import Change
from commute.analysis.workload import family_name
from commute.core.footprint import READ
from commute.footprints.declared import ARGUMENTS

if TYPE_CHECKING:
    from commute.app import App
    from commute.handler import Handler, HandlerEvent


def changes_of(app: App[Any] | None, changes: Sequence[Change]) -> list[str]:
    """One line a change in code; without an app, what a declaration of such a key would look like."""
    return [line for change in changes for line in (_generic(change) if app is None else _in_app(app, change))]


def _generic(change: Change) -> Iterator[str]:
    name = family_name(change.name)
    if change.kind in ("read", "add"):
        yield f'writes="{name}/{{id}}" becomes {ARGUMENTS[change.kind]}="{name}/{{id}}"'
    elif change.kind == "finer":
        yield f'writes="{name}/{{id}}" becomes writes="{name}/{{id}}/COLUMN", of the column that the handler sets'
    elif change.kind == "prepare":
        yield f"split the handler of {name}: first what needs no keys, in an event or a service before it"
    else:
        yield f'drop writes="{name}/{{id}}", and ctx.publish an event whose handler declares it'


def _in_app(app: App[Any], change: Change) -> Iterator[str]:
    for handler in app.handlers:
        for event in handler.events:
            if change.kind == "prepare":
                if event.type == change.name:
                    yield f"{_at(handler)}: do what needs no keys before it, in an event of its own"
                continue
            written = [
                str(template)
                for mode, template in event.declared.templates
                if mode not in (READ, change.kind) and str(template).partition("/")[0] == change.name
            ]
            for template in written:
                yield f"{_at(handler)}: {_changed(change, event, template)}"


def _changed(change: Change, event: HandlerEvent, template: str) -> str:
    mode = next(mode for mode, known in event.declared.templates if str(known) == template)
    before = f'{ARGUMENTS.get(mode, "commutes")}="{template}"'
    if change.kind == "finer":
        return f'{before} becomes {ARGUMENTS.get(mode, "commutes")}="{template}/COLUMN", of the column that it sets'
    if change.kind == "saga":
        return f"drop {before}, and ctx.publish an event whose handler declares it"
    return f'{before} becomes {ARGUMENTS[change.kind]}="{template}"'


def _at(handler: Handler) -> str:
    return f"{handler.where} {handler.name}"
