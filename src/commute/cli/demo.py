"""`commute demo`: the shop serially and in parallel, the two databases compared row by row."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import combinations

import click
import msgspec

from commute.cli.commands import NO, YES
from commute.cli.output import clean, note, paint, say, say_json
from commute.demo.shop import router
from commute.demo.trial import Comparison, compare
from commute.footprints.declared import Declared
from commute.footprints.relation import Relation, relation

BAR = 10
SHOWN = {
    "order_created": "created",
    "payment_processed": "paid",
    "order_shipped": "shipped",
    "goods_restocked": "restocked",
    "customer_moved": "moved",
}

EPILOG = """\b
Examples:
  commute demo
  commute demo --events 10000 --concurrency 8 --service-ms 2
  commute demo --broker sqlite:///demo.db --json
"""


class _Bars:
    """One line a run, on a terminal: it grows while the run goes on."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._shown = sys.stderr.isatty()

    def __call__(self, stage: str, done: int) -> None:
        if self._shown:
            click.echo(f"\r  {stage:9} {'#' * (BAR * done // max(1, self._total)):{BAR}} {done:,}", err=True, nl=False)

    def clear(self) -> None:
        if self._shown:
            click.echo("\r" + " " * 40 + "\r", err=True, nl=False)


@click.command(epilog=EPILOG)
@click.option("--events", type=click.IntRange(1), default=2_000, show_default=True, help="How many events.")
@click.option("--concurrency", type=click.IntRange(1), default=32, show_default=True, help="Handlers at once.")
@click.option("--seed", type=int, default=7, show_default=True, help="The traffic's seed.")
@click.option("--service-ms", type=click.FloatRange(0), default=5.0, show_default=True, help="How long a handler waits.")
@click.option("--broker", metavar="URL", help="Where the parallel run goes: sqlite:///FILE or memory://. [default: a temporary file]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def demo(events: int, concurrency: int, seed: int, service_ms: float, broker: str | None, as_json: bool) -> None:
    """A seeded shop, processed one event at a time and in parallel; are the two databases equal?

    Orders, payments, shipments, restocking and moving customers, some of them hot. Each handler waits as a payment
    gateway does and then changes real tables in ctx.transaction(). Exit status 0 if the states are equal and no order
    was violated.
    """
    if not as_json:
        say(
            f"{events:,} events of a shop, seed {seed}, each handler waits {service_ms:g} ms, {concurrency} at once; "
            "dependent ones must keep their order"
        )
    bars = _Bars(events)
    found = compare(
        events=events, concurrency=concurrency, seed=seed, service_s=service_ms / 1000, broker=broker, progress=bars
    )
    bars.clear()
    result = found.result
    if as_json:
        say_json(msgspec.to_builtins(result))
    else:
        _say(found, concurrency)
    sys.exit(YES if result.states_equal and not result.violations else NO)


def _say(found: Comparison, concurrency: int) -> None:
    result = found.result
    for stage, seconds in (("serial", result.serial_s), ("parallel", result.parallel_s)):
        say(f"  {stage:9} {'#' * BAR} {result.events:,}   {seconds:.1f} s")
    equal = f"identical ({len(SHOWN)} tables, {found.rows:,} rows)" if result.states_equal else "DIFFERENT"
    pairs = found.verdict.dependent_pairs
    say(
        paint(f"the two databases   {equal}", "good" if result.states_equal else "error", sys.stdout)
        + f"    order violations {result.violations} of {pairs:,} dependent pairs"
    )
    for line in found.differences:
        note(f"  {clean(line)}")
    chain = found.bounds.chain_key()
    through = f": {chain[0] or 'everything'}" if chain is not None else ""
    limit = min(result.bound, float(concurrency))
    why = "bound" if result.bound <= concurrency else f"{concurrency} at once; bound {result.bound:.1f}"
    say(
        f"speed-up            {result.speedup:.1f} x of at most {limit:.1f} x ({why}; the longest chain has "
        f"{found.bounds.chain_events:,} events{through}); efficiency {result.efficiency:.2f}"
    )
    for line in relation_lines():
        say(line)
    say(_sentence())


def _declared() -> dict[str, list[Declared]]:
    found: dict[str, list[Declared]] = {name: [] for name in SHOWN}
    for handler in router.handlers:
        for event in handler.events:
            found[event.type].append(event.declared)
    return found


def relation_lines() -> list[str]:
    """The matrix of event types, as relations of their templates."""
    declared = _declared()
    head = "  ".join(f"{shown:^9}" for shown in SHOWN.values())
    lines = [f"{'':10}{head}"]
    for name, shown in SHOWN.items():
        cells = "  ".join(f"{_symbol(relation(declared[name], declared[other])):^9}" for other in SHOWN)
        lines.append(f"{shown:10}{cells}".rstrip())
    lines.append("          = same order   ~ same goods   @ same customer   . never")
    return lines


def _symbol(found: Relation) -> str:
    if found.kind != "when":
        return "." if found.kind == "never" else "!"
    signs = {_about(left, right) for condition in found.conditions for left, right in condition.equalities}
    return "".join(sign for sign in "=~@" if sign in signs)


def _about(left: str, right: str) -> str:
    if "order_id" in (left, right):
        return "="
    return "@" if "customer_id" in (left, right) else "~"


def _sentence() -> str:
    """Whether the three events of an order are independent: of two orders, and of one."""
    declared = _declared()
    three: Sequence[str] = ("order_created", "payment_processed", "order_shipped")
    pairs = [relation(declared[a], declared[b]) for a, b in combinations(three, 2)]
    only_same_order = all(_symbol(pair) in ("=", ".") for pair in pairs)
    independent = sum(1 for pair in pairs if pair.kind == "never")
    return (
        f'  "order created, payment processed, order shipped are independent": of two orders, '
        f"{'yes' if only_same_order else 'no'}; of one order, {'yes' if independent == len(pairs) else 'no'} "
        f"({independent} of {len(pairs)} pairs)"
    )
