"""`commute explain`: why types or events depend on each other, and what one event waits for.

Three questions, by how many events are named. None: how are the types related? One: why does it wait? Two: do they
depend, and on which keys? Types are answered from the templates, events from their footprints; the broker's log and
the store are opened only where an event is named by its id.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from commute.cli.banner import handler_table
from commute.cli.commands import NO, YES
from commute.cli.dependence import (
    Dependence,
    Sample,
    compare,
    footprints_document,
    key_shown,
    key_table,
    related,
    relation_document,
    sample,
)
from commute.cli.derivation import declaration_document, declaration_lines, provenance_lines
from commute.cli.labels import label_document, label_lines
from commute.cli.output import clean, clock, note, plural, say, say_json, span, table, warning_text
from commute.cli.place import Place, json_option, open_place, where_options
from commute.cli.reading import log_options
from commute.cli.subject import Missing, Named, Reader, Subject, parse
from commute.cli.target import is_url, load, split_target
from commute.cli.waiting import Attempt, Blocker, Waiting, look
from commute.errors import UsageError
from commute.footprints.relation import Relation
from commute.ids import ulid_time_s
from commute.logs import LogOptions

if TYPE_CHECKING:
    from commute.app import App

BLOCKERS_SHOWN_MAX = 5
BLOCKERS_LISTED_MAX = 1_000  # in --json; a hot key may have tens of thousands
KEYS_SHOWN_MAX = 3
LEGEND = "= fields agree   ~ they share an element of a list   ? other data decides   . never   ! always"

EPILOG = """\b
Examples:
  commute explain shop:app
  commute explain shop:app --declare
  commute explain shop:app 01J9F
  commute explain shop:app 01J9A 01J9F
  commute explain shop:app 01J9A payment_processed '{"order_id": 42}'
  commute explain shop:app orders.jsonl:12 orders.jsonl:40
"""


@click.command(epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="[TARGET] [EVENT [EVENT]]")
@click.option("--declare", is_flag=True, help="Print the line that the code of each handler says, to paste.")
@where_options
@log_options
@json_option
def explain(
    words: tuple[str, ...],
    said: LogOptions,
    declare: bool,
    app_dir: str | None,
    broker: str | None,
    db: str | None,
    group: str | None,
    partition: int | None,
    as_json: bool,
) -> None:
    """Say why types or events depend on each other.

    No event: how the types are related, and the partition label of each. One: its state, and what it waits for. Two:
    whether they depend, on which keys. An EVENT is an id or the beginning of one, SOURCE#ID, LOG:line (a line of a log
    file, read as the options say), or two words: TYPE JSON. Exit status 1 if an event is not in the log.
    """
    target, rest = _split(words)
    named = parse(rest)
    if declare and named:
        raise click.UsageError("--declare is about handlers, not about events")
    if len(named) > 2:
        raise click.UsageError(f"explain takes no more than two events, and these are {len(named)}")
    if said != LogOptions() and not any(one.log is not None for one in named):
        raise click.UsageError("the options that say how a log is to be read go with an event of a log, LOG:line")
    if not any(one.by_id for one in named):
        app, shown = load(target, app_dir)
        app.override(broker=broker, db=db, group=group)
        _check(app)
        if declare and as_json:
            say_json({"app": app.name, "handlers": declaration_document(app)})
        elif declare:
            for line in declaration_lines(app):
                say(line)
        elif not named:
            _types(app, as_json=as_json)
        else:
            _answer(app, shown, None, named, said, as_json=as_json)
        return
    with open_place(target, app_dir=app_dir, broker=broker, db=db, group=group, partition=partition) as place:
        assert place.app is not None
        _check(place.app)
        _answer(place.app, place.shown, place, named, said, as_json=as_json)
    sys.exit(YES)


def _answer(
    app: App[Any], shown: str, place: Place | None, named: Sequence[Named], said: LogOptions, *, as_json: bool
) -> None:
    """What was asked of one or two events. Exits with NO where one of them is not there."""
    reader = Reader(app, said)
    try:
        subjects = [_subject(reader, place, one) for one in named]
    except Missing as missing:
        _say_missing(place, missing, as_json=as_json)
        sys.exit(NO)
    _events(app, shown, place, reader, subjects, as_json=as_json)


def _subject(reader: Reader, place: Place | None, one: Named) -> Subject:
    if one.log is not None:
        return reader.recorded(one)
    if one.data is not None:
        return reader.given(one)
    assert place is not None, "an id is looked for in a place"
    return reader.find(place, one)


def _split(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """TARGET and the rest; a source may be a URL, and ``SOURCE#ID`` is an event. Raises UsageError for a broker."""
    if words and ("#" in words[0] or parse(words[:1])[0].log is not None):
        return None, list(words)
    target, rest = split_target(words)
    if target is not None and is_url(target):
        raise UsageError(
            f"explain needs the app's handlers, and {target} is a broker: give MODULE:APP, with --broker {target}",
            slug="no-app",
        )
    return target, rest


def _check(app: App[Any]) -> None:
    if not app.handlers:
        raise UsageError(f"{app.name} has no handlers, so nothing is known to depend on anything", slug="no-handlers")


# -- types ------------------------------------------------------------------------------------------------------


def _types(app: App[Any], *, as_json: bool) -> None:
    warnings = app.check()
    partitions = app.partitioning()
    reader = Reader(app)
    types = [kind.type for kind in reader.kinds]
    pairs = [(a, b, related(reader.kinds, a, b)) for at, a in enumerate(types) for b in types[at:]]
    if as_json:
        say_json(
            {
                "app": app.name,
                "types": types,
                "relations": [{"a": a, "b": b, **relation_document(found)} for a, b, found in pairs],
                "handlers": footprints_document(app.handlers),
                "partitions": label_document(partitions),
                "warnings": [{"slug": warning.slug, "text": str(warning)} for warning in warnings],
            }
        )
        return
    for warning in warnings:
        note(warning_text(warning, sys.stderr))
    say(f"{clean(app.name)}: {plural(len(types), 'event type')}, {plural(len(app.handlers), 'handler')}")
    for line in handler_table(app.handlers):
        say(line)
    say()
    for line in _matrix(types, pairs):
        say(line)
    say(f"  {LEGEND}")
    say()
    for line in _in_words(types, pairs):
        say(line)
    say()
    for line in label_lines(partitions):
        say(line)
    for line in provenance_lines(app):
        say(line)


def _matrix(types: Sequence[str], pairs: Sequence[tuple[str, str, Relation]]) -> list[str]:
    symbols = {(a, b): found.symbol for a, b, found in pairs}
    rows = [[str(at), a, *(symbols.get((a, b)) or symbols[b, a] for b in types)] for at, a in enumerate(types, start=1)]
    return table(["", "", *(str(at) for at in range(1, len(types) + 1))], rows, right=range(len(types) + 2)[2:])


def _in_words(types: Sequence[str], pairs: Sequence[tuple[str, str, Relation]]) -> list[str]:
    """A line for each dependent pair, and one for each type with all that it never depends on."""
    lines = []
    for a, b, found in pairs:
        both = f"two {a}" if a == b else f"{a} and {b}"
        if found.kind == "always":
            lines.append(f"  {clean(both)}: always dependent")
        elif found.kind == "when":
            lines.append(f"  {clean(both)}: dependent when {clean(found)}")
    for a in types:
        others = ["another one" if b == a else b for x, b, found in pairs if x == a and found.kind == "never"]
        if others:
            lines.append(f"  {clean(a)}: never with {clean(', '.join(others))}")
    return lines


# -- events -----------------------------------------------------------------------------------------------------


def _events(
    app: App[Any], shown: str, place: Place | None, reader: Reader, subjects: list[Subject], *, as_json: bool
) -> None:
    if len(subjects) == 1:
        (one,) = subjects
        if place is None or one.position is None:
            _say_given(app, one, as_json=as_json)
            return
        found = look(place, reader, one)
        if as_json:
            say_json(_waiting_document(one, found))
        else:
            _say_waiting(shown, one, found)
        return
    # The earlier one of the log is said first; one that was given as JSON would come after what is there.
    a, b = subjects
    if a.line is not None and b.line is not None and a.line[0] == b.line[0]:
        a, b = sorted(subjects, key=lambda one: one.line or ("", 0))
    else:
        a, b = sorted(subjects, key=lambda one: (one.position is None, one.position or 0))
    dependence = compare(a, b)
    found_relation = related(reader.kinds, a.type, b.type)
    counted = None if place is None else sample(place, reader, a.type, b.type)
    if as_json:
        say_json(_pair_document(a, b, dependence, found_relation, counted))
    else:
        _say_pair(a, b, dependence, found_relation, counted)


def _say_missing(place: Place | None, missing: Missing, *, as_json: bool) -> None:
    identity = missing.identity
    if missing.why or place is None:
        if as_json:
            say_json({"event": identity, "status": "unknown", "reason": missing.why})
        else:
            say(f"{clean(identity)} is no event: {clean(missing.why)}")
        return
    made_s = ulid_time_s(identity.rpartition("#")[2])
    old = made_s is not None and made_s < time.time() - place.limits.retain_s
    if as_json:
        say_json({"event": identity, "status": "too old" if old else "unknown"})
        return
    where = f"stream {clean(place.stream)} of {clean(place.url.text)}"
    why = f"; it is older than {span(place.limits.retain_s)}, so it may have been deleted" if old else ""
    say(f"{clean(identity)} is not in {where}, nor among the dead letters of group {clean(place.group)}{why}")


def _say_given(app: App[Any], one: Subject, *, as_json: bool) -> None:
    if as_json:
        say_json({"app": app.name, "event": _event_document(one), "status": "not in the log"})
        return
    say(f"{_name(one)} touches" + ("" if one.footprint else " nothing: it waits for no event, and none waits for it"))
    for handler, footprint in one.parts:
        for access in footprint:
            say(f"  {key_shown(access.key)} ({clean(access.mode)})  {clean(handler)}")


def _name(one: Subject) -> str:
    if one.line is not None:
        return f"{clean(one.type)} {clean(one.id)} ({clean(one.written)})"
    if one.position is None:
        return f"{clean(one.type)} as given"
    return f"{clean(one.type)} {clean(one.id)} (position {one.position})"


def _say_waiting(shown: str, one: Subject, found: Waiting) -> None:
    name, age = f"{clean(one.type)} {clean(one.id)}", span(time.time() - one.time_s)
    because = f": {clean(found.reason)}" if found.reason else ""
    if found.status not in ("waiting", "parked", "held"):
        say(f"{_name(one)}: {found.status}{because}")
        return
    if found.status == "parked":
        say(f"{_name(one)}: parked{because}")
    elif found.blockers:
        held = " (held, since one of them is parked)" if found.status == "held" else ""
        say(f"{name} has waited {age} for{held}")
        _say_blockers(found.blockers)
    else:
        say(f"{_name(one)} waits for no other event. {_own_state(shown, one, found)}")
    for why in found.paused:
        say(f"intake is paused: {clean(why)}")
    if found.blockers and not found.worker:
        say(f"no worker runs: commute run {clean(shown)}")
    later = plural(found.followers, "later event") if found.followers else "no later event"
    behind = f"{later} {'wait' if found.followers > 1 else 'waits'}"
    least = "" if found.complete else " (of those looked at, descriptors_max on either side)"
    if found.status == "parked":
        say(f"and {behind} for it{least}. Bring it back: commute dead retry {clean(shown)} {clean(one.id)}")
    else:
        say(f"and {behind} for it{least}. To see all: commute status {clean(shown)}")


def _own_state(shown: str, one: Subject, found: Waiting) -> str:
    if found.running:
        return f"It runs: {clean(', '.join(found.running))}"
    if found.attempts:
        return "; ".join(f"{clean(one.handler)} is {_retrying(one)}" for one in found.attempts)
    if one.refusal:
        return f"It will not be run: {clean(one.refusal)}"
    if found.status == "held":
        return "It was held, and is about to be run"
    if not found.worker:
        return f"No worker runs: commute run {clean(shown)}"
    return "The worker has not come to it yet, or all its handlers are busy"


def _retrying(attempt: Attempt) -> str:
    most = f" of {attempt.attempts_max}" if attempt.attempts_max is not None else ""
    return f"retrying, attempt {attempt.number}{most} at {clock(attempt.due_s)}, {clean(attempt.error)}"


def _say_blockers(blockers: Sequence[Blocker]) -> None:
    shown = blockers[:BLOCKERS_SHOWN_MAX]
    keys = [_keys(blocker) for blocker in shown]
    width = max(map(len, keys))
    for blocker, text in zip(shown, keys, strict=True):
        event = blocker.event
        what = _retrying(blocker.attempt) if blocker.attempt is not None else blocker.stage
        if blocker.reason:
            what += f", {clean(blocker.reason)}"
        by = f", {clean(', '.join(blocker.handlers))}" if blocker.handlers else ""
        say(f"  {text:{width}}  <- {clean(event.type)} {clean(event.id)}{by}: {what}")
    more = len(blockers) - len(shown)
    if more:
        first = blockers[-1].event
        down = f"{clean(first.type)} {clean(first.id)} (position {first.position})"
        say(f"  and {plural(more, 'earlier event')}, down to {down}")


def _keys(blocker: Blocker) -> str:
    keys = list(dict.fromkeys(f"{key_shown(max(x.key, y.key, key=len))} ({clean(x.mode)})" for x, y in blocker.pairs))
    more = f" and {plural(len(keys) - KEYS_SHOWN_MAX, 'key')} more" if len(keys) > KEYS_SHOWN_MAX else ""
    return ", ".join(keys[:KEYS_SHOWN_MAX]) + more


def _say_pair(a: Subject, b: Subject, dependence: Dependence, relation: Relation, counted: Sample | None) -> None:
    if (a.position is not None and a.position == b.position) or (a.line is not None and a.line == b.line):
        say(f"{_name(a)}: both are the same event")
        return
    later = _name(b) if b.position is None else f"{clean(b.type)} {clean(b.id)} ({b.position})"
    both = f"{_name(a)} and {later}"
    if not dependence.pairs:
        say(f"{both}: independent, so neither waits for the other")
    elif a.position is not None and b.position is not None:
        say(f"{both}: dependent, so {b.position} starts after {a.position} has its outcome")
    else:
        say(f"{both}: dependent, so the later one starts after the earlier one has its outcome")
    for one in (a, b):
        if one.refusal:
            say(f"  {_name(one)} touches nothing: {clean(one.refusal)}")
        elif not one.footprint:
            say(f"  {_name(one)} touches nothing")
    for line in key_table(a, b, dependence):
        say(line)
    say(f"  by type: {_by_type(relation)}{_counted(counted)}")


def _by_type(relation: Relation) -> str:
    if relation.kind == "when":
        return f"they conflict when {clean(relation)}"
    return f"they {relation.kind} conflict"


def _counted(counted: Sample | None) -> str:
    if counted is None or not counted.pairs:
        return ""
    if not counted.dependent:
        share = f"none of {plural(counted.pairs, 'pair')}"
    elif counted.dependent * 2 > counted.pairs:
        share = f"{counted.dependent:,} of {plural(counted.pairs, 'pair')}"
    else:
        share = f"1 pair in {round(counted.pairs / counted.dependent):,}"
    return f"; in this log {share}" + (
        f" (a sample: the last {plural(counted.events, 'event')})" if not counted.whole else ""
    )


# -- documents --------------------------------------------------------------------------------------------------


def _event_document(one: Subject) -> dict[str, object]:
    return {
        "type": one.type,
        "id": one.id or None,
        "source": one.source or None,
        "position": one.position,
        "line": one.written or None,
        "handlers": [{"handler": name, "footprint": [list(access) for access in keys]} for name, keys in one.parts],
        "footprint": [list(access) for access in one.footprint],
        "refusal": one.refusal or None,
    }


def _waiting_document(one: Subject, found: Waiting) -> dict[str, object]:
    listed = found.blockers[:BLOCKERS_LISTED_MAX]
    return {
        "event": _event_document(one),
        "status": found.status,
        "reason": found.reason,
        "waited_s": round(max(0.0, time.time() - one.time_s), 3),
        "waits_for": [_blocker_document(blocker) for blocker in listed],
        "waits_for_count": len(found.blockers),
        "followers": found.followers,
        "complete": found.complete,
        "running": found.running,
        "attempts": [_attempt_document(attempt) for attempt in found.attempts],
        "worker": found.worker,
        "paused": found.paused,
    }


def _blocker_document(blocker: Blocker) -> dict[str, object]:
    event = blocker.event
    return {
        "type": event.type,
        "id": event.id,
        "source": event.source,
        "position": event.position,
        "conflicts": [{"mine": list(mine), "theirs": list(theirs)} for mine, theirs in blocker.pairs],
        "state": blocker.stage,
        "handlers": list(blocker.handlers),
        "reason": blocker.reason or None,
        "attempt": None if blocker.attempt is None else _attempt_document(blocker.attempt),
    }


def _attempt_document(attempt: Attempt) -> dict[str, object]:
    return {
        "handler": attempt.handler,
        "attempt": attempt.number,
        "attempts_max": attempt.attempts_max,
        "due_s": attempt.due_s,
        "error": attempt.error,
    }


def _pair_document(
    a: Subject, b: Subject, dependence: Dependence, relation: Relation, counted: Sample | None
) -> dict[str, object]:
    return {
        "events": [_event_document(a), _event_document(b)],
        "dependent": bool(dependence.pairs),
        "conflicts": [
            {"keys": [x.key, y.key], "modes": [x.mode, y.mode], "why": why}
            for (x, y), why in zip(dependence.pairs, dependence.reasons, strict=True)
        ],
        "relation": relation_document(relation),
        "sample": None
        if counted is None
        else {
            "events": counted.events, "pairs": counted.pairs, "dependent": counted.dependent, "whole_log": counted.whole
        },
    }  # fmt: skip
