"""Tracing: functions give the template that they spell, and only where that is certain."""

from __future__ import annotations

import functools
import operator
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commute.core.footprint import Access
from commute.errors import UsageError
from commute.footprints.declared import Given, compile_footprint
from commute.footprints.template import Site, keys
from commute.footprints.trace import Untraceable, trace_accesses, trace_keys
from tests.footprints.shop import Address, Kind, Line, OrderCreated, Sku, Typed

SITE = Site("reserve", "writes", "shop.py:22")


def trace(function: Callable[[Any], object], cls: type | None = OrderCreated) -> list[str] | str:
    traced = trace_keys(function, cls, SITE)
    return traced.why if isinstance(traced, Untraceable) else [str(template) for template in traced]


PREFIX = "order"
TABLE = {"book": "b"}


def order_key(event: Any) -> str:
    return f"order/{event.order_id}"


def stock_key(line: Any) -> str:
    return f"stock/{line.sku}"


def imported(event: Any) -> str:
    from zlib import adler32

    return f"shard/{adler32(bytes(event.order_id))}"


def with_default(event: Any, table: dict[str, str] = TABLE) -> str:
    return table.get(f"{event.customer_id}", "x")


def with_table(table: dict[str, str], event: Any) -> str:
    return table.get(f"{event.customer_id}", "x")


def is_first(event: Any) -> bool:
    return event.kind is Kind.BOOK


def generated(event: Any) -> Iterator[str]:
    yield "audit"
    for line in event.lines:
        yield f"stock/{line.depot}/{line.sku}"


TRACED: list[tuple[Callable[[Any], object], list[str]]] = [
    (lambda e: f"order/{e.order_id}", ["order/{order_id}"]),
    (lambda e: "order/%s" % e.order_id, ["order/{order_id}"]),  # noqa: UP031
    (lambda e: "order/{}".format(e.order_id), ["order/{order_id}"]),  # noqa: UP032
    (lambda e: "order/" + e.customer_id + "/x", ["order/{customer_id}/x"]),
    (lambda e: "order/" + str(e.order_id), ["order/{order_id}"]),
    (lambda e: f"{e.customer_id}-{e.order_id}/x", ["{customer_id}-{order_id}/x"]),
    (lambda e: f"city/{e.address.city}", ["city/{address.city}"]),
    (lambda e: e.customer_id, ["{customer_id}"]),
    (lambda e: e.tags, ["{tags.*}"]),
    (lambda e: [*e.tags, "x"], ["{tags.*}", "x"]),
    (lambda e: ("order/*", f"order/{e.order_id}/*"), ["order/*", "order/{order_id}/*"]),
    (lambda e: [f"stock/{line.sku}" for line in e.lines], ["stock/{lines.*.sku}"]),
    (lambda e: (f"stock/{line.sku}" for line in e.lines), ["stock/{lines.*.sku}"]),
    (lambda e: map(stock_key, e.lines), ["stock/{lines.*.sku}"]),
    (lambda e: [f"{a.sku}/{b.sku}" for a in e.lines for b in e.gifts], ["{lines.*.sku}/{gifts.*.sku}"]),
    (lambda e: [f"n/{n}" for line in e.lines for n in line.serials], ["n/{lines.*.serials.*}"]),
    (
        lambda e: [f"a/{line.sku}" for line in e.lines] + [f"b/{line.depot}" for line in e.lines],
        ["a/{lines.*.sku}", "b/{lines.*.depot}"],
    ),
    (lambda e: [f"c/{e.coupon}"] if e.coupon is not None else [], ["c/{coupon?}"]),
    (lambda e: () if e.billing is None else (f"b/{e.billing.city}",), ["b/{billing.city?}"]),
    (lambda e: f"o/{e.order_id}" if isinstance(e, OrderCreated) else f"p/{e.payment}", ["o/{order_id}"]),
    (lambda e: {f"a/{e.order_id}", "b"}, ["a/{order_id}", "b"]),
    (lambda e: "/".join(["order", str(e.order_id)]), ["order/{order_id}"]),
    (lambda e: f"{PREFIX}/{Sku(e.customer_id)}", ["order/{customer_id}"]),
    (lambda e: f"order/{e.order_id}" * 1, ["order/{order_id}"]),
    (lambda e: tuple(f"t/{tag}" for tag in list(e.tags)), ["t/{tags.*}"]),
    (lambda e: [], []),
    (lambda e: "audit", ["audit"]),
    (order_key, ["order/{order_id}"]),
    (functools.partial(order_key), ["order/{order_id}"]),
    (lambda e: order_key(e) + "/x", ["order/{order_id}/x"]),
    (generated, ["audit", "stock/{lines.*.depot}/{lines.*.sku}"]),
]


@pytest.mark.parametrize(("function", "wanted"), TRACED)
def test_a_function_gives_its_template(function: Callable[[Any], object], wanted: list[str]) -> None:
    assert trace(function) == wanted


def safe() -> st.SearchStrategy[str]:
    return st.text("abc", min_size=1, max_size=3)


EVENTS = st.builds(
    OrderCreated,
    order_id=st.integers(0, 9),
    customer_id=safe(),
    lines=st.lists(
        st.builds(Line, safe().map(Sku), depot=safe(), serials=st.lists(st.integers(0, 9), max_size=2).map(tuple)),
        max_size=3,
    ),
    gifts=st.lists(st.builds(Line, safe().map(Sku)), max_size=3),
    coupon=st.none() | safe(),
    address=st.builds(Address, safe()),
    billing=st.none() | st.builds(Address, safe()),
    tags=st.lists(safe(), max_size=3).map(tuple),
)


@given(EVENTS)
def test_the_template_gives_the_keys_that_the_function_gives(event: OrderCreated) -> None:
    for function, _ in TRACED:
        templates = trace_keys(function, OrderCreated, SITE)
        assert not isinstance(templates, Untraceable)
        given_keys = function(event)
        assert isinstance(given_keys, str | Iterable)
        spelled = {given_keys} if isinstance(given_keys, str) else set(given_keys)
        known = {key.removesuffix("/*") for key in spelled}
        assert known == {key for template in templates for key in keys(template, event)}


UNTRACEABLE: list[tuple[Callable[[Any], object], str]] = [
    (lambda e: "vip" if e.order_id > 5 else "guest", "compares order_id"),
    (lambda e: "vip" if e.order_id == 5 else "guest", "compares order_id"),
    (lambda e: "x" if e.coupon else "y", "tests coupon"),
    (lambda e: {"a": "x"}.get(e.customer_id, "y"), "compares customer_id"),
    (lambda e: "x" if "a" in e.tags else "y", "tests tags"),
    (lambda e: "x" if e.customer_id in ("a", "b") else "y", "compares customer_id"),
    (lambda e: f"order/{e.order_id:04d}", "formats order_id"),
    (lambda e: f"order/{e.order_id!r}", "shows order_id"),
    (lambda e: f"order/{e.order_id % 16}", "calculates with order_id"),
    (lambda e: f"order/{e.order_id + 1}", "calculates with order_id"),
    (lambda e: f"order/{e.customer_id.lower()}", "uses .lower of customer_id"),
    (lambda e: f"order/{len(e.lines)}", "uses len"),
    (lambda e: f"stock/{e.lines[0].sku}", "single elements of lines"),
    (lambda e: f"{e.address.label}", "uses Address.label"),
    (lambda e: [f"{i}/{line.sku}" for i, line in enumerate(e.lines)], "all elements of a list alike"),
    (lambda e: [f"{a.sku}/{b.sku}" for a, b in zip(e.lines, e.gifts, strict=False)], "all elements"),
    (lambda e: [f"{a.sku}/{b.sku}" for a in e.lines for b in e.lines], "combines elements of lines"),
    (lambda e: [f"stock/{line.sku}" for line in e.lines][:1], "all elements of a list alike"),
    (lambda e: next((f"a/{line.sku}" for line in e.lines), "none"), "depend on whether lines"),
    (lambda e: [f"a/{line.sku}" for line in e.lines] or ["none"], "depend on whether lines"),
    (
        lambda e: [f"a/{a.sku}" for a in e.lines] + [f"b/{b.sku}" for b in e.gifts] or [f"t/{t}" for t in e.tags],
        "depend on whether",
    ),
    (lambda e: f"c/{e.coupon}" if e.coupon is not None else "none", "tests whether coupon is null"),
    (lambda e: f"c/{'x' if e.coupon is None else 'y'}", "tests whether coupon is null"),
    (
        lambda e: ["none"] if e.coupon is None and e.billing is None else [],
        "depend on whether",
    ),
    (lambda e: "a" if e.customer_id is Kind.BOOK else "b", "compares with `is`"),
    (lambda e: "a" if is_first(e) else "b", "compares with `is`"),
    (lambda e: f"a/{type(e).__name__}", "uses type"),
    (lambda e: "/".join(["order", e.customer_id]), "raised TypeError"),
    (lambda e: f"{e}", "formats the whole event"),
    (lambda e: "{weird}", "its text has"),
    (lambda e: f"{e.order_id}%", "its text has"),
    (lambda e: "vip" if str(e.order_id) == "7" else "guest", "it compares"),
    (lambda e: "vip" if "7" in f"{e.order_id}" else "guest", "in another"),
    (lambda e: "vip" if f"{e.customer_id}".startswith("v") else "guest", "calls .startswith()"),
    (lambda e: f"shard/{zlib.crc32(str(e.order_id).encode())}", "looks at formatted text"),
    (lambda e: f"shard/{crc32(bytes(str(e.order_id), 'ascii'))}", "looks at formatted text"),
    (lambda e: str(e.customer_id) or "none", "looks at formatted text"),
    (lambda e: "c/" + (str(e.customer_id) and "some"), "looks at formatted text"),
    (lambda e: f"c/{e.customer_id!s:>9}", "looks at formatted text"),
    (lambda e: "c/%9s" % e.customer_id, "looks at formatted text"),  # noqa: UP031
    (lambda e: f"c/{e.customer_id}/suffix"[:15], "takes formatted text apart"),
    (lambda e: f"c/{e.customer_id}/suffix"[:40], "formatted text"),
    (lambda e: f"c/{e.customer_id}"[:4], "takes formatted text apart"),
    (lambda e: list(f"{e.customer_id}"), "takes formatted text apart"),
    (lambda e: TABLE.get(f"{e.customer_id}", "x"), "uses TABLE, a dict"),
    (lambda e: {"a": "b"}.get(f"{e.customer_id}", "x"), "builds a dict"),
    (with_default, "uses a default, a dict"),
    (lambda e: sorted([f"{e.customer_id}", "m"])[0], "uses sorted"),
    (lambda e: min(f"{e.customer_id}", "m"), "uses min"),
    (lambda e: f"x/{hash(f'{e.customer_id}')}", "looks at formatted text"),
    (lambda e: f"o/{e.order_id}" if hasattr(e, "order_id") else "none", "uses hasattr"),
    (lambda e: imported(e), "calculates with order_id"),
    (functools.partial(with_table, TABLE), "a bound argument"),
    (operator.attrgetter("customer_id"), "whose code cannot be read"),
    (lambda e: "x" if isinstance(e.customer_id, Kind) else "y", "asks for the class of customer_id"),
    (lambda e: 7, "raised TypeError"),
    (lambda e: [7], "gave int for a key"),
]


@pytest.mark.parametrize(("function", "why"), UNTRACEABLE)
def test_a_function_that_looks_at_values_is_not_believed(function: Callable[[Any], object], why: str) -> None:
    reason = trace(function)
    assert isinstance(reason, str), reason
    assert why in reason


def test_a_function_cannot_hide_that_it_looked() -> None:
    def hides(event: Any) -> str:
        try:
            return "vip" if event.order_id > 5 else "guest"
        except BaseException:
            return "guest"

    assert trace(hides) == "it compares order_id"


def test_data_without_a_class_and_typed_dicts() -> None:
    assert trace(lambda e: f"order/{e['order_id']}", None) == ["order/{order_id}"]
    assert trace(lambda e: [f"stock/{line['sku']}" for line in e["lines"]], None) == ["stock/{lines.*.sku}"]
    assert trace(lambda e: f"a/{e['a']['b']}", None) == ["a/{a.b}"]
    assert trace(lambda e: [f"c/{e['c']}"] if e["c"] is not None else [], None) == ["c/{c?}"]
    assert trace(lambda e: [f"c/{e.get('c')}"] if e.get("c") is not None else [], None) == ["c/{c?}"]
    assert "default" in trace(lambda e: f"c/{e.get('c', 'x')}", None)
    assert "tests" in trace(lambda e: f"c/{e['c']}" if "c" in e else "none", None)
    assert trace(lambda e: [f"{a}" for a in e], None) == "it iterates over the event"
    assert "cannot stand in a template" in trace(lambda e: f"a/{e['a.b']}", None)
    assert trace(lambda e: f"order/{e['order_id']}", Typed) == ["order/{order_id}"]
    assert trace(lambda e: [f"c/{e.get('coupon')}"] if e.get("coupon") is not None else [], Typed) == ["c/{coupon?}"]


def test_mistakes_are_refused_whatever_the_event() -> None:
    for function, slug in (
        (lambda e: f"c/{e.coupon}", "optional-field"),
        (lambda e: f"a//{e.order_id}", "template"),
        (lambda e: f"a/*/{e.order_id}", "template"),
    ):
        with pytest.raises(UsageError) as error:
            trace(function)
        assert error.value.slug == slug
    with pytest.raises(UsageError) as error:
        compile_footprint(
            Given(writes=lambda e: f"order/{e.oder_id}"), cls=OrderCreated, event_type="t", handler="reserve"
        )
    assert 'writes="order/{oder_id}": OrderCreated has no field oder_id; did you mean order_id?' in str(error.value)


def test_accesses_are_traced_with_their_modes() -> None:
    traced = trace_accesses(
        lambda e: [
            Access(f"order/{e.order_id}", "write"),
            *(Access(f"s/{line.sku}", "add") for line in e.lines),
        ],
        OrderCreated,
        SITE,
    )
    assert not isinstance(traced, Untraceable)
    assert [(mode, str(template)) for mode, template in traced] == [
        ("write", "order/{order_id}"),
        ("add", "s/{lines.*.sku}"),
    ]
    assert isinstance(trace_accesses(lambda e: ["text"], OrderCreated, SITE), Untraceable)


def test_many_variations_end_the_trace() -> None:
    def wide(event: Any) -> list[str]:
        return [f"a/{event[name]}" for name in "abcdefghi" if event[name] is not None]

    assert "too many" in trace(wide, None)
