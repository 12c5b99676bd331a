"""Templates: their grammar, the check against the event class, the keys that they name (plain version)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from commute.errors import RejectedError, UsageError
from commute.footprints.template import Field, Site, Template, check, keys, parse
from tests.footprints.shop import Address, Everything, Line, Model, OrderCreated, PlainClass, Sku, Typed

SITE = Site("reserve", "writes", "shop.py:22")


def of(text: str) -> Template:
    return parse(text, SITE)


def refused(text: str, cls: type | None) -> UsageError:
    with pytest.raises(UsageError) as error:
        check(of(text), cls, SITE)
    assert error.value.where == "shop.py:22"
    return error.value


def lines(*skus: str) -> list[Line]:
    return [Line(Sku(sku), depot=sku.upper()) for sku in skus]


@pytest.mark.parametrize(
    "text",
    [
        "order/{order_id}",
        "{a.b}",
        "stock/{lines.*.sku}",
        "coupon/{coupon?}",
        "order/*",
        "*",
        "a b/é",
        "x-{a}.{b}",
    ],
)
def test_a_template_is_shown_as_it_was_written(text: str) -> None:
    assert str(of(text)) == text


def test_a_subtree_is_the_key_above_the_star() -> None:
    assert of("order/*").segments == of("order").segments
    assert of("*").segments == ()
    assert of("stock/{lines.*.sku?}").segments == (("stock",), (Field(("lines", "*", "sku"), optional=True),))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "/",
            "order/",
            "/order",
            "a//b",
            "a/*/b",
            "a*",
            "*/a",
            "50%",
            "a\nb",
            "{",
            "{}",
            "{a",
            "a}",
            "{a.}",
            "{.a}",
        ),
        *("{*}", "{*.a}", "{a b}", "{a{b}}", "{a?}?{", "{a/b}", "{a??}", "{?}", "x" * 257, "**"),
    ],
)
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as error:
        of(text)
    assert error.value.slug == "template"
    assert error.value.message.startswith(f'reserve: writes="{text}": ')


def test_depth_is_bounded_at_import() -> None:
    assert len(of("/".join("abcdefghijklmnop")).segments) == 16
    with pytest.raises(UsageError) as error:
        of("/".join("abcdefghijklmnopq"))
    assert error.value.slug == "key-too-deep"


def test_an_unknown_field_names_the_one_that_was_meant() -> None:
    error = refused("order/{oder_id}", OrderCreated)
    assert error.slug == "unknown-field"
    assert str(error) == (
        'reserve: writes="order/{oder_id}": OrderCreated has no field oder_id; did you mean order_id?   shop.py:22'
    )
    assert "Line has no field skus; did you mean sku?" in str(refused("{lines.*.skus}", OrderCreated))
    assert "Address has no field zip; it has city, country" in str(refused("{address.zip}", OrderCreated))
    assert refused("{address.label}", OrderCreated).slug == "unknown-field"  # a property is no field
    assert refused("{oder_id}", Typed).slug == "unknown-field"
    assert refused("{oder_id}", Model).slug == "unknown-field"
    assert refused("{oder_id}", PlainClass).slug == "unknown-field"


@pytest.mark.parametrize(
    ("text", "cls"),
    [
        ("{coupon}", OrderCreated),
        ("{billing.city}", OrderCreated),
        ("{address.country}", OrderCreated),
        ("{anything}", Everything),
        ("{unset}", Everything),
        ("{coupon}", Typed),
        ("{lines.*.sku}", Typed),
        ("{coupon}", Model),
    ],
)
def test_a_field_that_may_be_null_needs_a_question_mark(text: str, cls: type) -> None:
    error = refused(text, cls)
    assert error.slug == "optional-field"
    assert error.message == (
        f"reserve: {text} may be null. Write {text[:-1]}?}} to touch nothing then, or give the field a value."
    )
    assert check(of(text[:-1] + "?}"), cls, SITE)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{ratio}", "a float"),
        ("{raw}", "a bytes"),
        ("{table}", "a dict[str, int]"),
        ("{line}", "a Line"),
        ("{text.x}", "a str, which has no fields"),
        ("{text.*}", "a str, which is no list"),
        ("{line.*}", "a Line, which is no list"),
        ("{line.serials}", "a tuple[int, ...]"),
    ],
)
def test_what_cannot_be_a_key_is_refused_at_import(text: str, what: str) -> None:
    error = refused(text, Everything)
    assert error.slug == "key-type"
    assert f"{text} is {what}" in error.message


@pytest.mark.parametrize(
    "name",
    [
        "number",
        "text",
        "flag",
        "uid",
        "day",
        "at",
        "price",
        "kind",
        "level",
        "word",
        "marked",
        "either",
        "table.x",
    ],
)
def test_every_listed_type_can_be_a_key(name: str) -> None:
    assert check(of(f"{{{name}}}"), Everything, SITE)


def test_an_annotation_that_cannot_be_read_is_reported_as_such() -> None:
    cls = dataclasses.make_dataclass("Late", [("x", "NotDefined")])
    with pytest.raises(UsageError) as error:
        check(of("{x}"), cls, SITE)
    assert error.value.slug == "event-class"


EVENT = OrderCreated(
    order_id=42,
    lines=lines("a", "b", "a"),
    gifts=lines("x", "y"),
    coupon=None,
    billing=Address("Ulm"),
    tags=("t", "u"),
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("order/{order_id}", ["order/42"]),
        ("order/*", ["order"]),
        ("*", [""]),
        ("c/{coupon?}", []),
        ("c/{billing.city?}", ["c/Ulm"]),
        ("c/{billing.country?}", []),
        ("stock/{lines.*.sku}", ["stock/a", "stock/b"]),
        ("stock/{lines.*.depot}/{lines.*.sku}", ["stock/A/a", "stock/B/b"]),
        ("{lines.*.sku}/{gifts.*.sku}", ["a/x", "a/y", "b/x", "b/y"]),
        ("{tags.*}", ["t", "u"]),
        ("{marks.*}", []),
        ("{marks.*}/{lines.*.sku}", []),
        ("{lines.*.serials.*}", []),
        ("o-{order_id}.{customer_id}/x", ["o-42.c7/x"]),
    ],
)
def test_the_keys_of_an_event(text: str, wanted: list[str]) -> None:
    check(of(text), OrderCreated, SITE)
    assert keys(of(text), EVENT) == wanted


def test_lists_within_lists() -> None:
    data = {"a": [{"k": 1, "b": [{"c": 1}, {"c": 2}]}, {"k": 2, "b": []}, {"k": 3, "b": [{"c": 1}]}]}
    assert keys(of("{a.*.k}/{a.*.b.*.c}"), data) == ["1/1", "1/2", "3/1"]


@pytest.mark.parametrize(
    ("data", "slug"),
    [
        ({}, "missing-field"),
        ({"a": None}, "missing-field"),
        ({"a": {}}, "missing-field"),
        ({"a": {"b": None}}, "missing-field"),
        ({"a": "text"}, "missing-field"),
        ({"a": [1]}, "missing-field"),
        ({"a": {"b": 1.5}}, "key-type"),
        ({"a": {"b": {}}}, "key-type"),
        ({"a": {"b": "x" * 300}}, "key-too-long"),
    ],
    ids=str,
)
def test_data_without_a_class_is_checked_event_by_event(data: dict[str, Any], slug: str) -> None:
    with pytest.raises(RejectedError) as error:
        keys(of("x/{a.b}"), data)
    assert error.value.slug == slug
    assert "a.b" in error.value.message


def test_null_elements_and_lists_that_are_none() -> None:
    for data, slug in (
        ({"a": [1, None]}, "missing-field"),
        ({"a": None}, "missing-field"),
        ({"a": "text"}, "key-type"),
        ({"a": {"b": 1}}, "key-type"),
    ):
        with pytest.raises(RejectedError) as error:
            keys(of("{a.*}"), data)
        assert error.value.slug == slug
    assert keys(of("{a.*?}"), {"a": [1, None]}) == ["1"]
    assert keys(of("{a.*?}"), {"a": None}) == keys(of("{a.*?}"), {}) == []


def test_too_many_keys_reject_the_event_and_equal_ones_count_once() -> None:
    template = of("{a.*}/{b.*}")
    assert len(keys(template, {"a": list(range(32)), "b": list(range(32))})) == 1_024
    with pytest.raises(RejectedError) as error:
        keys(template, {"a": list(range(33)), "b": list(range(32))})
    assert error.value.slug == "too-many-keys"
    assert keys(template, {"a": [1] * 5_000, "b": [2] * 5_000}) == ["1/2"]
    with pytest.raises(RejectedError):  # refused before the product is built
        keys(template, {"a": list(range(100_000)), "b": list(range(100_000))})
