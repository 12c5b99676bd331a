"""``commute doctor``: what is right and wrong with a broker and its store, in plain words."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

import click

from commute.cli.commands import NO, UNREACHABLE, YES
from commute.cli.output import clean, paint, plural, say, say_json
from commute.cli.place import app_options, json_option
from commute.cli.sharing import sharing
from commute.cli.target import is_url, load
from commute.errors import NotReachableError, UsageError
from commute.link import BrokerUrl, examine, examine_store, is_postgres, parse_db, parse_url
from commute.transports.finding import Finding, problem

EPILOG = """\b
Examples:
  commute doctor amqp://127.0.0.1/?queue=orders
  commute doctor kafka://127.0.0.1:9092/orders --group shop
  commute doctor shop:app --json
  commute doctor postgresql://127.0.0.1/shop --create
"""
_COLOURS = {"ok": "good", "warning": "warning", "problem": "error"}


@dataclass(slots=True)
class _Part:
    """The broker or the store: what it is, and what was found."""

    part: str
    name: str
    findings: list[Finding] = field(default_factory=list)
    reachable: bool = True

    def look(self, at: Callable[[], list[Finding]]) -> None:
        try:
            self.findings = at()
        except NotReachableError as error:
            self.reachable = False
            self.findings = [problem("reachable", str(error), "")]
        except UsageError as error:
            self.findings = [problem(error.slug, str(error), "")]


@click.command(epilog=EPILOG)
@click.argument("target", required=False, metavar="[TARGET|URL]")
@app_options
@click.option("--create", is_flag=True, help="Make the tables of a PostgreSQL store, where they are not there.")
@click.option("--sql", is_flag=True, help="With --create: only print the statements, for the one who may run them.")
@json_option
def doctor(
    target: str | None, app_dir: str | None, broker: str | None, db: str | None, group: str | None,
    create: bool, sql: bool, as_json: bool,
) -> None:  # fmt: skip
    """Say what is right and wrong with a broker and its store, and what to do. Without --create nothing is changed.

    Exit status: 0 all is well or warnings only, 1 a problem, 3 the broker or the store cannot be reached."""
    store: BrokerUrl | None
    if sql and not create:
        raise UsageError("--sql goes with --create", slug="option")
    if target is not None and is_postgres(target):
        url, store, reader = None, parse_db(target), group
    elif target is not None and is_url(target):
        if broker is not None:
            raise UsageError(f"two brokers: {target} and --broker {broker}. Give one", slug="broker-url")
        url, store, reader = parse_url(target), None if db is None else parse_db(db), group
    else:
        app, _ = load(target, app_dir)
        app.override(broker=broker, db=db, group=group)
        url, store, reader, group = app.url, app.db, app.name, app.group
    if create and not _created(store, sql=sql):
        return
    parts = list(_parts(url, store, reader, group))
    findings = [finding for part in parts for finding in part.findings]
    problems = sum(finding.level == "problem" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    if as_json:
        say_json({"parts": [asdict(part) for part in parts], "problems": problems, "warnings": warnings})
    else:
        for part in parts:
            _show(part)
        say(f"{plural(problems, 'problem')}, {plural(warnings, 'warning')}")
    if not all(part.reachable for part in parts):
        sys.exit(UNREACHABLE)
    sys.exit(NO if problems else YES)


def _created(store: BrokerUrl | None, *, sql: bool) -> bool:
    """Make the tables, or print how (False). Raises UsageError where the store makes its own."""
    if store is None or not is_postgres(store.place):
        raise UsageError(
            "--create is for a PostgreSQL store: give --db postgresql://HOST/DATABASE, or that URL alone. Files are "
            "made by the first worker", slug="option",
        )  # fmt: skip
    from commute.postgres.schema import create, script

    if sql:
        say(script(store.path or ""))
        return False
    create(store.path or "")
    return True


def _parts(url: BrokerUrl | None, store: BrokerUrl | None, reader: str | None, group: str | None) -> Iterator[_Part]:
    """The broker, and the store where that is another place; each looked at when it is asked for."""
    path = None if store is None else store.path
    if url is None:
        alone = _Part("store", "" if store is None else store.place)
        alone.look(lambda: examine_store(path or "", ""))
        yield alone
        return
    broker = _Part("broker", url.text)
    broker.look(lambda: examine(url, reader, path))
    yield broker
    if url.server is None or store is None or path is None:
        return
    beside = _Part("store", store.text)
    beside.look(lambda: examine_store(path, url.stream))
    if group is not None and broker.reachable and not any(each.level == "problem" for each in beside.findings):
        beside.look(lambda: [*beside.findings, *sharing(url, path, group)])
    yield beside


def _show(part: _Part) -> None:
    say(clean(f"{part.part} {part.name}"))
    for finding in part.findings:
        level = paint(f"{finding.level:8}", _COLOURS[finding.level], sys.stdout)
        say(f"  {level} {clean(finding.what):11} {clean(finding.text)}")
        if finding.advice:
            say(f"  {'':8} {'':11} -> {clean(finding.advice)}")
