"""`Event`: frozen, keyword-only, named; the users' fields stay theirs."""

from __future__ import annotations

import msgspec
import pytest

from commute.errors import UsageError
from commute.event import Event, event_type, snake_case
from tests.footprints.shop import OrderCreated, PaymentProcessed, PlainStruct


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("SKUAdded", "sku_added"),
        ("OrderCreated", "order_created"),
        ("Order", "order"),
        ("HTTPRequestSeen", "http_request_seen"),
        ("V2Order", "v2_order"),
        ("B2BOrder", "b2b_order"),
        ("order_created", "order_created"),
        ("_Internal", "internal"),
    ],
)
def test_a_class_name_becomes_a_type_name(name: str, wanted: str) -> None:
    assert snake_case(name) == wanted


def test_type_names_are_given_or_derived_and_not_inherited() -> None:
    class Late(OrderCreated):
        pass

    assert event_type(OrderCreated) == "shop.order.created"
    assert event_type(PaymentProcessed) == "payment_processed"
    assert event_type(PlainStruct) == "plain_struct"
    assert event_type(Late) == "late"


def test_an_event_is_frozen_keyword_only_and_compared_by_value() -> None:
    event = PaymentProcessed(order_id=1)
    assert event == PaymentProcessed(order_id=1) != PaymentProcessed(order_id=2)
    with pytest.raises(AttributeError):
        event.order_id = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        PaymentProcessed(1)  # type: ignore[call-arg]


def test_users_own_the_names_id_type_time_and_source() -> None:
    event = PaymentProcessed(order_id=1, id="i", type="t", time="now", source="s")
    assert (event.id, event.type, event.time, event.source) == ("i", "t", "now", "s")
    assert msgspec.json.decode(msgspec.json.encode(event), type=PaymentProcessed) == event
    assert event_type(PaymentProcessed) == "payment_processed"


def test_options_of_structs_are_passed_on() -> None:
    class Camel(Event, rename="camel", forbid_unknown_fields=True):
        order_id: int

    assert msgspec.json.encode(Camel(order_id=1)) == b'{"orderId":1}'


@pytest.mark.parametrize("name", ["", "two words", "line\nbreak", 7])
def test_a_bad_type_name_is_refused_where_it_is_written(name: str) -> None:
    with pytest.raises(UsageError) as refused:

        class Bad(Event, type=name):
            pass

    assert refused.value.slug == "event-type"


def test_an_event_cannot_be_made_mutable() -> None:
    with pytest.raises(UsageError) as refused:

        class Bad(Event, frozen=False):  # type: ignore[misc]
            pass

    assert refused.value.slug == "event-type"
