"""The words of an app's keys: look-alikes, types that differ, a closed list."""

from __future__ import annotations

from typing import Any

import pytest

from commute.errors import UsageError
from commute.footprints.declared import Declared, Given, compile_footprint
from commute.footprints.vocabulary import check_vocabulary
from tests.footprints.shop import Everything, OrderCreated, PaymentProcessed


def declare(handler: str, cls: type | None = OrderCreated, **given: Any) -> Declared:
    return compile_footprint(Given(**given), cls=cls, event_type="t", handler=handler, where="shop.py:30")


def slugs(*declared: Declared, keys: list[str] | None = None) -> list[str]:
    return [warning.slug for warning in check_vocabulary(declared, keys)]


def test_look_alikes_are_warned_of_once() -> None:
    reserve = declare("reserve", writes=["order/{order_id}", "order/{order_id}/lines"])
    pay = declare("pay", PaymentProcessed, writes="orders/{order_id}")
    (warning,) = check_vocabulary([reserve, pay])
    assert warning.render() == (
        "warning[lonely-key] pay writes orders/{order_id}, reserve writes order/{order_id}: these never "
        "conflict. Same thing? Use one name; else App(keys=[...]).   shop.py:30"
    )


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        ("order", "orders", True),
        ("order", "Order", True),
        ("order_line", "order-line", True),
        ("orderLine", "order_lines", True),
        ("city", "cities", True),
        ("box", "boxes", True),
        ("order", "order", False),
        ("order", "orderer", False),
        ("address", "addres", False),
        ("bus", "bu", True),
        ("as", "a", False),
        ("stock", "order", False),
    ],
)
def test_what_looks_alike(a: str, b: str, alike: bool) -> None:
    both = declare("x", writes=f"{a}/{{order_id}}"), declare("y", writes=f"{b}/{{order_id}}")
    assert bool(slugs(*both)) == bool(slugs(*reversed(both))) == alike


def test_look_alikes_deeper_down_and_within_one_handler() -> None:
    assert slugs(declare("x", writes="shop/order", adds="shop/orders/{order_id}")) == ["lonely-key"]
    assert slugs(declare("x", writes="{order_id}/order"), declare("y", writes="{order_id}/orders")) == ["lonely-key"]
    assert slugs(declare("x", writes="shop/order"), declare("y", writes="store/orders")) == []
    assert slugs(declare("x", commutes={"maximum": "high"}), declare("y", writes="highs")) == ["lonely-key"]


def test_types_that_differ_are_warned_of() -> None:
    reserve = declare("reserve", writes="order/{order_id}")
    ship = declare("ship", PaymentProcessed, writes="order/{id}")
    (warning,) = check_vocabulary([reserve, ship])
    assert warning.render() == (
        "warning[key-types] order/{order_id} is an int in reserve and a str in ship: "
        '"042" and 42 are different keys ("42" and 42 are one). Use one type.   shop.py:30'
    )
    other = declare("other", Everything, writes="order/{uid}")
    assert slugs(reserve, other) == ["key-types"]
    assert "UUID" in str(check_vocabulary([reserve, other])[0])


def test_types_that_agree_or_are_not_known_are_not() -> None:
    reserve = declare("reserve", writes="order/{order_id}")
    assert slugs(reserve, declare("pay", PaymentProcessed, writes="order/{order_id}")) == []
    assert slugs(reserve, declare("any", None, writes="order/{id}")) == []
    assert slugs(reserve, declare("either", Everything, writes="order/{either}")) == []
    assert slugs(reserve, declare("other", writes="customer/{customer_id}")) == []
    assert slugs(declare("kind", Everything, writes="x/{kind}"), declare("c", writes="x/{coupon?}")) == []


def test_a_closed_vocabulary_refuses_other_names() -> None:
    declared = declare("pay", writes=["order/{order_id}", "orders/{order_id}"])
    with pytest.raises(UsageError) as error:
        check_vocabulary([declared], ["order", "stock"])
    assert error.value.slug == "unknown-key"
    assert str(error.value) == (
        "pay writes orders/{order_id}: App(keys=[...]) has no orders; did you mean order?   shop.py:30"
    )
    assert slugs(declared, keys=["order", "orders"]) == []
    for given in ({"writes": "{customer_id}"}, {"publishes": "x", "writes": ()}):
        with pytest.raises(UsageError):
            check_vocabulary([declare("x", **given)], ["order"])
    assert slugs(declare("x"), declare("y", writes="*"), declare("z", writes=()), keys=["order"]) == []
