"""`Codec`: strict both ways, whatever the bytes, for all kinds of events."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commute.codec import codec_for
from commute.errors import RejectedError, UsageError
from tests.footprints.shop import (
    Aliased,
    Everything,
    Kind,
    Line,
    Model,
    OrderCreated,
    PlainClass,
    PlainStruct,
    Sku,
    Typed,
)

ALL: list[type | str] = [OrderCreated, PlainStruct, PlainClass, Typed, Model, "order_created"]
BOMB = b'{"order_id":' + b"[" * 100_000

HOSTILE = {
    "nothing": b"",
    "cut": b'{"order_id": 1',
    "trailing": b'{"order_id": 1} x',
    "no json": b"order_id=1",
    "not utf-8": b'{"order_id": 1, "customer_id": "\xff"}',
    "not utf-8 name": b'{"order_id": 1, "\xff": "x"}',
    "surrogate": b'{"order_id": 1, "customer_id": "\\ud800"}',
    "byte order mark": b'\xef\xbb\xbf{"order_id": 1}',
    "NaN": b'{"order_id": NaN}',
    "infinity": b'{"order_id": 1, "x": -Infinity}',
    "too large a number": b'{"order_id": 1, "ratio": 1e999}',
    "bomb": BOMB,
    "bomb in an unknown field": b'{"order_id": 1, "x": ' + b"[" * 100_000,
    "bomb of objects": b'{"order_id":' * 100_000,
    "huge integer": b'{"order_id": ' + b"9" * 5_000 + b"}",
    "array": b"[1]",
    "null": b"null",
    "controls": b'{"order_id": 1, "customer_id": "\x00"}',
}

SKIPPED = {"not utf-8", "not utf-8 name", "too large a number"}
SEEN = {"OrderCreated": {"not utf-8"}}


def refused(call: Any, *arguments: object) -> str:
    with pytest.raises(RejectedError) as error:
        call(*arguments)
    assert error.value.slug == "invalid-data"
    return error.value.message


@pytest.mark.parametrize("event", ALL, ids=str)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_rejected_and_nothing_else(event: type | str, name: str) -> None:
    codec = codec_for(event)
    if codec.kind in ("struct", "dataclass", "typeddict") and name in SKIPPED - SEEN.get(codec.name, set()):
        assert codec.decode(HOSTILE[name])  # in a field that the class does not have: skipped unread
    else:
        assert refused(codec.decode, HOSTILE[name])


@pytest.mark.parametrize("event", ALL, ids=str)
@given(data=st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_no_bytes_raise_anything_but_rejected(event: type | str, data: bytes) -> None:
    codec = codec_for(event)
    try:
        decoded = codec.decode(data)
    except RejectedError as error:
        assert error.slug == "invalid-data"
    else:
        assert codec.decode(codec.encode(decoded)) == decoded


@pytest.mark.parametrize("event", ALL[:5], ids=str)
def test_types_are_not_converted(event: type) -> None:
    decode = codec_for(event).decode
    assert "order_id" in refused(decode, b'{"order_id": "1"}')
    assert "order_id" in refused(decode, b'{"order_id": 1.5}')
    assert "order_id" in refused(decode, b'{"order_id": true}')
    assert "order_id" in refused(decode, b"{}")


def test_the_text_names_what_was_expected_and_where() -> None:
    decode = codec_for(OrderCreated).decode
    assert refused(decode, b'{"order_id": "1"}') == "expected int, got str at $.order_id"
    assert refused(decode, b'{"order_id": 1, "lines": [{"sku": 1}]}') == "expected str, got int at $.lines[0].sku"
    assert refused(decode, BOMB) == "expected int, got array at $.order_id"
    assert refused(codec_for("any").decode, BOMB) == "nested too deeply"
    assert refused(codec_for(Model).decode, b'{"order_id": "1"}').endswith("valid integer at $.order_id")


@pytest.mark.parametrize("event", ALL, ids=str)
def test_what_is_encoded_is_decoded_again(event: type | str) -> None:
    codec = codec_for(event)
    example = event(order_id=1) if isinstance(event, type) else {"order_id": 1, "x": [None, {"y": 1.5}]}
    assert codec.decode(codec.encode(example)) == example


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (OrderCreated(order_id=cast(int, "1")), "expected int, got str at $.order_id"),
        (OrderCreated(order_id=cast(int, True)), "expected int, got bool at $.order_id"),
        (OrderCreated(order_id=cast(int, 1.0)), "expected int, got float at $.order_id"),
        (OrderCreated(order_id=cast(int, None)), "expected int, got null at $.order_id"),
        (OrderCreated(order_id=1, customer_id=cast(str, b"c")), "expected str, got bytes at $.customer_id"),
        (OrderCreated(order_id=1, coupon=cast(str, Kind)), "EnumType"),
        (OrderCreated(order_id=1, customer_id="\ud800"), "not UTF-8"),
        (OrderCreated(order_id=1, lines=[Line(cast(Sku, 3))]), "expected str, got int at $.lines[0].sku"),
        (
            OrderCreated(order_id=1, lines=[cast(Line, PlainStruct(1))]),
            "missing required field sku at $.lines[0]",
        ),
        (
            Everything(uid=cast(Any, "00000000-0000-0000-0000-000000000001")),
            "expected uuid, got str at $.uid",
        ),
        (Everything(ratio=math.nan), "nan is no number in JSON, at $.ratio"),
        (Everything(ratio=math.inf), "inf is no number in JSON, at $.ratio"),
        (Everything(anything={"x": [math.nan]}), "nan is no number in JSON, at $.anything.x[0]"),
        (Everything(table=cast(Any, {"x": "y"})), "expected int, got str at $.table[...]"),
        (PlainStruct(1), "expected "),
        ({"order_id": 1}, "expected "),
        (None, "expected "),
    ],
    ids=str,
)
def test_publishing_a_wrong_event_is_refused_before_anything_is_sent(event: object, text: str) -> None:
    codec = codec_for(Everything if isinstance(event, Everything) else OrderCreated)
    assert text in refused(codec.encode, event)


def test_publishing_checks_the_other_kinds_too() -> None:
    assert "order_id" in refused(codec_for(PlainClass).encode, PlainClass(cast(int, "1")))
    assert "order_id" in refused(codec_for(Typed).encode, {"order_id": "1"})
    assert "nan" in refused(codec_for("any").encode, {"x": math.nan})
    assert "type" in refused(codec_for("any").encode, {"x": object})
    assert "order_id" in refused(codec_for(Model).encode, Model.model_construct(order_id="1"))
    assert "nan" in refused(codec_for(Model).encode, Model.model_construct(order_id=1, ratio=math.nan))
    loop: dict[str, object] = {}
    loop["self"] = loop
    assert refused(codec_for("any").encode, loop)


def test_what_means_the_same_in_json_is_accepted() -> None:
    encode = codec_for(OrderCreated).encode
    event = OrderCreated(order_id=1, tags=cast(Any, ["a"]), lines=cast(Any, (Line(Sku("s")),)))
    assert msgspec.json.decode(encode(event))["tags"] == ["a"]
    assert codec_for(Everything).encode(Everything(ratio=cast(float, 1)))


@given(st.builds(OrderCreated, order_id=st.integers(), customer_id=st.text()) | st.builds(Everything, text=st.text()))
def test_every_right_event_is_sent_and_read_back_equal(event: OrderCreated | Everything) -> None:
    codec = codec_for(type(event))
    assert codec.decode(codec.encode(event)) == event


def test_pydantic_aliases_are_used_on_the_wire() -> None:
    codec = codec_for(Aliased)
    assert codec.encode(Aliased(orderId=3)) == b'{"orderId":3}'
    assert codec.decode(b'{"orderId":3}') == Aliased(orderId=3)


def test_pydantic_is_not_imported_for_those_who_do_not_use_it() -> None:
    code = (
        "import sys, msgspec, commute.codec as c\n"
        "class A(msgspec.Struct): x: int\n"
        "c.codec_for(A).decode(b'{\"x\": 1}')\n"
        "assert 'pydantic' not in sys.modules"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.parametrize(
    "event", [int, dict, object(), lambda: None, None, Line(Sku("s"))], ids=lambda event: type(event).__name__
)
def test_what_is_no_event_class_is_refused(event: Any) -> None:
    with pytest.raises(UsageError) as error:
        codec_for(event)
    assert error.value.slug == "event-class"


def test_type_names() -> None:
    assert codec_for(PlainStruct, type_name="shop.plain").event_type == "shop.plain"
    assert codec_for("shop.any").cls is None
    for event, name in ((OrderCreated, "other"), ("a", "b"), (PlainStruct, "two words"), ("", None)):
        with pytest.raises(UsageError) as error:
            codec_for(event, type_name=name)
        assert error.value.slug == "event-type"
