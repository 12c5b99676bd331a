"""`commute check`: tries to refute what an app's footprints say, and prints what refutes it as a test."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commute.cli.commands import NO, YES
from commute.cli.derivation import arguments
from commute.cli.interrupting import stoppable
from commute.cli.output import Passing, clean, clean_lines, note, paint, plural, say, say_json, table
from commute.cli.reading import events_for, log_options
from commute.cli.target import load
from commute.errors import UsageError
from commute.rehearsal.course import Ground
from commute.verify.check import Budget, Checked, check
from commute.verify.orders import Counterexample
from commute.verify.spelled import as_test
from commute.verify.trial import Scene

if TYPE_CHECKING:
    from commute.app import App
    from commute.logs import LogOptions
    from commute.observe.lacking import Lacking

EPILOG = """\b
Examples:
  commute check shop:app
  commute check shop:app --log orders.jsonl --events 200
  commute check shop:app --set-up tests.shop:make_tables --look tests.shop:rows --clear tests.shop:empty
"""


@click.command("check", epilog=EPILOG)
@click.argument("target", required=False, metavar="[TARGET]")
@click.option(
    "--log", metavar="LOG", help="Events to try, - for stdin. Without it they are made up from their classes."
)
@click.option("--events", type=click.IntRange(1), default=60, show_default=True, help="How many at most.")
@click.option(
    "--pairs",
    type=click.IntRange(1),
    default=6,
    show_default=True,
    help="Tried of each two types at most; those that agree in other fields first, then near ones.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed, the same events and runs.")
@click.option("--set-up", metavar="M:F", help="Called with the app before each run: makes tables and first rows.")
@click.option("--clear", metavar="M:F", help="Called before each run: makes state outside the store as it was.")
@click.option("--look", metavar="M:F", help="Returns the state outside the store, to be compared after each run.")
@log_options
@click.option("--app-dir", metavar="DIR", help="Where TARGET's module lies.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def check_command(
    target: str | None,
    said: LogOptions,
    log: str | None,
    events: int,
    pairs: int,
    seed: int,
    set_up: str | None,
    clear: str | None,
    look: str | None,
    app_dir: str | None,
    as_json: bool,
) -> None:
    """Try to refute the footprints of an app.

    Events that its footprints call independent are run in both orders and together, from the same state: tables,
    results and emissions have to be the same. Then all of them run in parallel, against one after the other. In every
    run, handlers may touch only what they declare. Each run is on a store in memory, with the app's own lifespan;
    effects outside it are real, so --clear and --look have to know them. What handlers print is not shown. What refutes
    a footprint is shrunk and printed as a test. That nothing refutes it is no proof.

    Exit status 1 if anything was refuted.
    """
    app, shown = load(target, app_dir)
    if not app.handlers:
        raise UsageError(f"{app.name} has no handlers, so there is nothing to check", slug="no-handlers")
    given = None if log is None else events_for(app, log, said)
    scene = Scene(
        Ground(lifespan=True, set_up=named("--set-up", set_up)), named("--clear", clear), named("--look", look)
    )
    bar = Trials()
    with quiet(), stoppable():
        found = check(
            app, given, scene, budget=Budget(events_max=events, pairs_max=pairs), seed=seed, state=True, progress=bar
        )
    bar.wipe()
    if not found.watched:
        note('not tried: what handlers touch, against their footprints. That needs pip install "commute[derive]"')
    _refuse_nothing(app, found, log)
    roles = {"set_up": set_up, "clear": clear, "look": look}
    places = {role: place for role, place in roles.items() if place is not None}
    tests = [as_test(one, shown, places) for one in found.counterexamples]
    if as_json:
        say_json(document(found, tests))
    else:
        _say(app, found, tests)
    sys.exit(YES if found.ok else NO)


@contextmanager
def quiet() -> Iterator[None]:
    """Handlers are heard of by the result alone: what they print would be in the midst of it, and what a worker says of
    one that fails would come a hundred times."""
    logger = logging.getLogger("commute")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            yield
    finally:
        logger.setLevel(level)


class Trials(Passing):
    """Progress, wiped when its result is printed."""

    def __call__(self, stage: str, done: int, of: int) -> None:
        self.say(f"  {stage}  {done:,} of {of:,}")


def named(option: str, name: str | None) -> Callable[..., Any] | None:
    """The function that ``module:function`` names. Raises UsageError."""
    if name is None:
        return None
    module, _, attribute = name.partition(":")
    if not attribute:
        raise UsageError(f"{option} {name}: name a function of a module, {name}:FUNCTION", slug="option")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"{option} {name}: {error}", slug="option") from error
    if not callable(found):
        raise UsageError(f"{option} {name}: that is no function", slug="option")
    return found  # type: ignore[no-any-return]


def _refuse_nothing(app: App[Any], found: Checked, log: str | None) -> None:
    """A check of no event refutes nothing, which must not look like a good answer. Raises UsageError."""
    nothing_else = not found.counterexamples and not found.parallel
    if nothing_else and found.failed and found.events == len(found.rejected) + len(found.failed):
        raise UsageError(
            "every event fails when they run one after the other, so nothing is checked. The first: "
            f"{found.failed[0]}. --set-up makes what is in the store before each run, --clear what is outside",
            slug="nothing-to-test",
        )
    if found.ok and found.chance and not any(one.pairs for one in found.tried):
        raise UsageError(found.chance[0], slug="not-repeatable")
    if found.events > len(found.rejected):
        return
    if found.rejected:
        all_of = "the only event" if found.events == 1 else f"all {plural(found.events, 'event')}"
        what = f"{app.name} rejects {all_of}" + (f" of {log}" if log is not None else "")
        raise UsageError(f"{what}, so nothing is checked. The first: {found.rejected[0]}", slug="nothing-to-test")
    why = "; ".join(f"{name}: {reason}" for name, reason in found.unmade.items())
    raise UsageError(
        f"no event of {app.name} can be made up, so nothing is checked: {why}. Give some with --log LOG",
        slug="nothing-to-test",
    )


def document(found: Checked, tests: Sequence[str]) -> dict[str, object]:
    """What `--json` prints; `tests` are those of the counterexamples."""
    return {
        "events": found.events,
        "ok": found.ok,
        "tried": [{"a": one.a, "b": one.b, "pairs": one.pairs} for one in found.tried],
        "counterexamples": [
            {
                "a": repr(one.a.event),
                "b": repr(one.b.event),
                "before": [repr(numbered.event) for numbered in one.before],
                "one": one.one,
                "other": one.other,
                "differences": [str(difference) for difference in one.differences],
                "test": test,
            }
            for one, test in zip(found.counterexamples, tests, strict=True)
        ],
        "parallel": [str(difference) for difference in found.parallel],
        "watched": found.watched,
        "undeclared": [undeclared_document(one) for one in found.undeclared],
        "empty": list(found.empty),
        "not_made": found.unmade,
        "rejected": len(found.rejected),
        "failed": len(found.failed),
        "not_repeatable": list(found.chance),
        "compared": not found.blind,
    }


def undeclared_document(found: Lacking) -> dict[str, object]:
    """What `--json` says of accesses outside of a footprint: the first one, and what covers all of them."""
    one = found.accesses[0].access
    return {
        "handler": one.handler, "event": one.type, "key": one.key, "mode": one.mode, "where": one.where,
        "add": to_declare(found),
        "seen": [{"mode": each.access.mode, "key": each.access.key, "where": each.access.where}
                 for each in found.accesses],
    }  # fmt: skip


def to_declare(found: Lacking) -> str:
    """The arguments of ``@app.on`` that cover what is lacking."""
    return found.accesses[0].add if found.proposal is None else arguments(found.proposal)


def say_not_tried(unmade: Mapping[str, str], rejected: Sequence[str], failed: Sequence[str]) -> None:
    """The types and events that could not be run, or not to their end, and why."""
    for name, why in unmade.items():
        note(f"not tried: {clean(name)}: {clean(why)}")
    if rejected:
        are = "is" if len(rejected) == 1 else "are"
        count = plural(len(rejected), "event")
        note(f"not tried: {count} {are} rejected on arrival, the first: {clean(rejected[0])}")
    if failed:
        count = plural(len(failed), "event")
        note(f"not to the end: {count} failed one after the other, the first: {clean(failed[0])}")


def _say(app: App[Any], found: Checked, tests: Sequence[str]) -> None:
    say(f"{clean(app.name)}: {plural(found.events, 'event')}, {plural(len(app.handlers), 'handler')}")
    say_not_tried(found.unmade, found.rejected, found.failed)
    for why in found.chance:
        note(f"not judged: {clean(why)}")
    if found.blind:
        note(
            "nothing is compared but whether events succeed: they leave no row in the store and publish nothing. "
            "--set-up M:F makes first rows for them to change; --look M:F returns their state outside the store, "
            "--clear M:F makes it as it was"
        )
    rows = [[one.a, one.b, str(one.pairs) if one.pairs else one.why_none] for one in found.tried]
    for line in table(["EVENT", "AND", "INDEPENDENT PAIRS TRIED"], rows):
        say(line)
    if found.empty:
        say(f"said to touch nothing, so never waiting: {clean(', '.join(found.empty))}")
    for lacking in found.undeclared:
        _say_undeclared(lacking)
    for counterexample, test in zip(found.counterexamples, tests, strict=True):
        _say_counterexample(counterexample, test)
    if found.parallel:
        say(paint("in parallel the end is another than one after the other:", "error", sys.stdout))
        _say_differences(found.parallel)
    pairs = sum(one.pairs for one in found.tried)
    if found.ok:
        say(paint(f"nothing refuted by {plural(pairs, 'pair')}; that is no proof", "good", sys.stdout))


def _say_undeclared(found: Lacking) -> None:
    say(paint("outside of its footprint:", "error", sys.stdout))
    for one in found.accesses:
        say(f"  {clean(found.handler)} ({clean(found.type)}) {clean(one.what)}   {clean(one.access.where)}")
    say(f"  declare {clean(to_declare(found))}")


def _say_counterexample(found: Counterexample, test: str) -> None:
    say()
    say(paint("not independent, though the footprints say so:", "error", sys.stdout))
    say(f"  a  {clean(found.a.event)}")
    say(f"  b  {clean(found.b.event)}")
    say(f"  {clean(found.one)} / {clean(found.other)}:")
    _say_differences(found.differences)
    say("as a test:")
    for line in test.splitlines():
        say(f"    {clean_lines(line)}".rstrip())


def _say_differences(found: Sequence[object]) -> None:
    for difference in found:
        say(f"  {clean(difference)}")
