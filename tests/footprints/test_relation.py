"""The relation of types: never, always, or when which fields agree; checked against footprints of
instances.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commute.core.footprint import conflicts
from commute.footprints.declared import Declared, Given, compile_footprint
from commute.footprints.relation import Condition, Relation, relation
from tests.footprints.shop import Line, OrderCreated, PaymentProcessed, Sku


def declare(cls: type | None = OrderCreated, **given: Any) -> Declared:
    return compile_footprint(Given(**given), cls=cls, event_type="t", handler="h")


CREATED = declare(reads="customer/{customer_id}", writes="order/{order_id}", adds="stock/{lines.*.sku}")
PAID = declare(PaymentProcessed, writes="order/{order_id}")
RESTOCKED = declare(None, writes="stock/{sku}")
AUDITED = declare(None, writes="audit/{day}")
UNKNOWN = declare()


@pytest.mark.parametrize(
    ("a", "b", "symbol", "text"),
    [
        (CREATED, PAID, "=", "order_id = order_id"),
        (CREATED, CREATED, "=", "order_id = order_id"),
        (CREATED, RESTOCKED, "~", "lines.*.sku = sku"),
        (CREATED, AUDITED, ".", "never"),
        (CREATED, UNKNOWN, "!", "always"),
        (UNKNOWN, UNKNOWN, "!", "always"),
        (UNKNOWN, declare(writes=()), ".", "never"),
        (UNKNOWN, declare(unordered=True), ".", "never"),
        (CREATED, declare(writes="order/*"), "!", "always"),
        (CREATED, declare(writes="stock"), "?", "lines.*.sku is there"),
        (CREATED, declare(reads="*"), "!", "always"),
        (declare(reads="a"), declare(reads="a"), ".", "never"),
        (declare(adds="a"), declare(adds="a"), ".", "never"),
        (declare(reads="a"), declare(adds="a"), "!", "always"),
        (declare(commutes={"maximum": "a"}), declare(adds="a"), "!", "always"),
        (declare(writes="order/{order_id}"), declare(reads="order/7/x"), "=", 'order_id = "7"'),
        (
            declare(writes="o/{order_id}/{customer_id}"),
            declare(reads="o/{order_id}"),
            "=",
            "order_id = order_id",
        ),
        (
            declare(writes="o/{order_id}/{customer_id}"),
            declare(reads="o/{customer_id}/{order_id}"),
            "=",
            "order_id = customer_id and customer_id = order_id",
        ),
        (
            declare(writes=["o/{order_id}", "c/{customer_id}"]),
            declare(reads=["o/{order_id}", "c/{customer_id}"]),
            "=",
            "order_id = order_id, or customer_id = customer_id",
        ),
        (declare(writes="c/{coupon?}"), declare(writes="c"), "?", "coupon is there"),
        (declare(writes=lambda e: "x" * e.order_id), PAID, "?", "computed per event"),
        (declare(reads=lambda e: "x" * e.order_id), declare(reads="x"), ".", "never"),
        (declare(writes="o-{order_id}"), declare(writes="o-{order_id}"), "=", "o-{order_id} = o-{order_id}"),
    ],
)
def test_the_relation_of_two_types(a: Declared, b: Declared, symbol: str, text: str) -> None:
    found = relation([a], [b])
    assert (found.symbol, str(found)) == (symbol, text)
    assert relation([b], [a]).symbol == symbol


def test_all_handlers_of_a_type_count() -> None:
    assert relation([AUDITED, CREATED], [PAID]).symbol == "="
    assert relation([AUDITED, UNKNOWN], [PAID]).symbol == "!"
    assert relation([], [PAID]) == Relation("never")


def test_a_condition_tells_its_key_and_modes() -> None:
    condition = Condition((("lines.*.sku", "sku"),), "stock/{lines.*.sku}", ("add", "write"))
    assert relation([CREATED], [RESTOCKED]).conditions == (condition,)
    assert condition.element


SMALL = st.sampled_from(["a", "b"])
EVENTS = st.builds(
    OrderCreated,
    order_id=st.integers(0, 1),
    customer_id=st.sampled_from(["0", "1", "a"]),
    coupon=st.none() | SMALL,
    lines=st.lists(st.builds(Line, SMALL.map(Sku), depot=SMALL), max_size=2),
)
ACCESSES = st.lists(
    st.tuples(
        st.sampled_from(["read", "write", "add"]),
        st.sampled_from(
            [
                *(
                    "x/{order_id}",
                    "x/{customer_id}",
                    "x",
                    "x/0",
                    "x/0/y",
                    "x/{order_id}/{customer_id}",
                    "x/{coupon?}",
                ),
                *("x/{lines.*.sku}", "x/{lines.*.depot}/{lines.*.sku}", "*", "y", "x-{order_id}", "x-0"),
            ]
        ),
    ),
    max_size=3,
)


def holds(condition: Condition, a: OrderCreated, b: OrderCreated) -> bool:
    """Whether values on both sides can be equal, as the condition says."""
    return all(values(left, a) & values(right, b) for left, right in condition.equalities)


def values(side: str, event: OrderCreated) -> set[str]:
    if side.startswith('"'):
        return {side.strip('"')}
    if "{" in side:
        return {side.replace("{order_id}", str(event.order_id))}
    if side == "coupon":
        return {event.coupon} if event.coupon is not None else set()
    if side.startswith("lines.*."):
        return {getattr(line, side.removeprefix("lines.*.")) for line in event.lines}
    return {str(getattr(event, side))}


def by_way(accesses: list[tuple[str, str]]) -> dict[str, Any]:
    ways = {"reads": "read", "writes": "write", "adds": "add"}
    return {way: [key for mode, key in accesses if mode == name] for way, name in ways.items()}


@given(ACCESSES, ACCESSES, EVENTS, EVENTS)
def test_events_conflict_only_as_their_types_may(
    mine: list[tuple[str, str]], yours: list[tuple[str, str]], a: OrderCreated, b: OrderCreated
) -> None:
    left, right = declare(**by_way(mine)), declare(**by_way(yours))
    found = relation([left], [right])
    dependent = conflicts(left.footprint(a), right.footprint(b))
    if dependent:
        assert found.kind != "never"
        assert found.kind == "always" or any(holds(condition, a, b) for condition in found.conditions)
    elif found.kind == "always":
        pytest.fail("types that always conflict have no independent events")
