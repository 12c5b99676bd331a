"""`commute observe`: runs a sample of events and says what the handlers touched, as declarations to paste."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from commute.cli.check import Trials, named, quiet, say_not_tried, to_declare, undeclared_document
from commute.cli.commands import NO, YES
from commute.cli.derivation import arguments, line_to_paste, spelled
from commute.cli.interrupting import stoppable
from commute.cli.output import clean, paint, plural, say, say_json
from commute.cli.reading import events_for, log_options
from commute.cli.target import load
from commute.errors import UsageError
from commute.rehearsal.course import Ground
from commute.verify.sample import Observed, Sample, sample
from commute.verify.trial import Scene

if TYPE_CHECKING:
    from commute.app import App
    from commute.logs import LogOptions

EPILOG = """\b
Examples:
  commute observe shop:app orders.jsonl
  commute observe shop:app orders.jsonl --events 1000 --json
  commute observe shop:app --set-up tests.shop:make_tables
"""
NO_PROOF = (
    "Seen in a sample: other events may touch more. Nothing was changed, and nothing runs in parallel for it: declare "
    "what the code confirms, then try to refute it with commute check."
)


@click.command("observe", epilog=EPILOG)
@click.argument("target", required=False, metavar="[TARGET]")
@click.argument("log", required=False, metavar="[LOG]")
@click.option("--events", type=click.IntRange(1), default=200, show_default=True, help="How many at most.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed, the same events.")
@click.option("--set-up", metavar="M:F", help="Called with the app before the run: makes tables and first rows.")
@click.option("--clear", metavar="M:F", help="Called before the run: makes state outside the store as it was.")
@log_options
@click.option("--app-dir", metavar="DIR", help="Where TARGET's module lies.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def observe(
    target: str | None,
    said: LogOptions,
    log: str | None,
    events: int,
    seed: int,
    set_up: str | None,
    clear: str | None,
    app_dir: str | None,
    as_json: bool,
) -> None:
    """Say what the handlers of an app touch while they run a sample of events, as declarations to paste.

    The events are those of LOG (- for stdin); without it they are made up from their classes. They are run one after
    the other, on a store in memory, with the app's own lifespan; effects outside it are real. What handlers print is
    not shown. Beside each declaration stands what is declared or derived now: what it lacks, and what no event of the
    sample has touched.

    Exit status 1 if a handler touched what it does not declare.
    """
    app, _ = load(target, app_dir)
    if not app.handlers:
        raise UsageError(f"{app.name} has no handlers, so there is nothing to observe", slug="no-handlers")
    given = None if log is None else events_for(app, log, said)
    scene = Scene(Ground(lifespan=True, set_up=named("--set-up", set_up)), named("--clear", clear))
    bar = Trials()
    with quiet(), stoppable():
        found = sample(app, given, scene, events_max=events, seed=seed, state=True, progress=bar)
    bar.wipe()
    if as_json:
        say_json(document(found))
    else:
        _say(app, found)
    sys.exit(YES if found.ok else NO)


def document(found: Sample) -> dict[str, object]:
    """What `--json` prints."""
    return {
        "events": found.events,
        "ok": found.ok,
        "handlers": [_handler_document(one) for one in found.handlers],
        "failed": len(found.failed),
        "not_made": found.unmade,
        "rejected": len(found.rejected),
        "proves_independence": False,
    }


def _handler_document(one: Observed) -> dict[str, object]:
    return {
        "handler": one.handler.name,
        "event": one.event.type,
        "where": one.handler.where,
        "events": one.events,
        "failed": one.failed,
        "seen": [{"mode": each.mode, "key": each.key, "where": each.where} for each in one.seen],
        "proposal": None if one.proposal is None else _pairs(one.proposal),
        "line": _line(one),
        "now": _now(one),
        "undeclared": [undeclared_document(each) for each in one.undeclared],
        "untouched": _pairs(one.untouched),
        "only_read": _pairs(one.only_read),
    }


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"mode": mode, "key": text} for mode, text in pairs]


def _line(one: Observed) -> str:
    """The registration to paste; a comment where there is none."""
    subject = f"# {clean(one.handler.name)} ({clean(one.event.type)})"
    if not one.events:
        return f"{subject}: no event of this type in the sample"
    if one.handler.elsewhere:
        return f"{subject}: it runs in other processes, which are not seen"
    if one.event.declared.unordered:
        return f"{subject}: it touches nothing by its declaration, so it is not watched"
    if one.failed == one.events and not one.seen:
        return f"{subject}: none of its events succeeded or was seen to touch anything, so nothing is proposed"
    if one.proposal is None:
        return f"{subject}: EVERYTHING. A statement may touch anything   {_anything(one)}"
    return line_to_paste(one.handler, one.event, arguments(one.proposal))


def _anything(one: Observed) -> str:
    return next((clean(each.where) for each in one.seen if not each.key), "")


def _now(one: Observed) -> str:
    """What is declared, or derived."""
    declared = one.event.declared
    if declared.derivation is not None:
        return f"derived: {spelled(declared.derivation)}" if not declared.everything else "derived: EVERYTHING"
    if declared.everything:
        return "declared: nothing, so EVERYTHING"
    given = [arguments((mode, str(template)) for mode, template in declared.templates)] if declared.templates else []
    computed = ["keys that are computed per event"] if declared.computed else []
    return f"declared: {', '.join([*given, *computed]) or 'that it touches nothing'}"


def _say(app: App[Any], found: Sample) -> None:
    say(f"{clean(app.name)}: {plural(found.events, 'event')}, {plural(len(app.handlers), 'handler')}")
    say_not_tried(found.unmade, found.rejected, found.failed)
    for one in found.handlers:
        say()
        say(_line(one))
        say(f"    {clean(_now(one))}; {plural(one.events, 'event')}")
        for lacking in one.undeclared:
            word, last = paint("not declared:", "error", sys.stdout), lacking.accesses[-1]
            for each in lacking.accesses:
                declare = f"   declare {clean(to_declare(lacking))}" if each is last else ""
                say(f"    {word} {clean(each.what)}   {clean(each.access.where)}{declare}")
        if one.untouched:
            say(f"    never touched: {clean(arguments(one.untouched))}")
        if one.only_read:
            say(f"    only read: {clean(arguments(one.only_read))}")
    say()
    say(NO_PROOF)
