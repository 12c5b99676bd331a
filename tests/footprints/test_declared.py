"""Declared footprints: modes, joins, EVERYTHING, limits; and the compiled version against the plain one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commute.core.footprint import EVERYTHING, Access, Footprint, conflicts
from commute.errors import RejectedError, UsageError
from commute.footprints.declared import Declared, Given, compile_footprint, join_footprints
from tests.footprints.shop import (
    Address,
    Everything,
    Kind,
    Level,
    Line,
    OrderCreated,
    PaymentProcessed,
    PlainClass,
    Sku,
    Typed,
)


def declare(cls: type | None = OrderCreated, **given: Any) -> Declared:
    return compile_footprint(Given(**given), cls=cls, event_type="t", handler="reserve", where="shop.py:22")


def order(number: int = 42, *skus: str, **fields: Any) -> OrderCreated:
    return OrderCreated(order_id=number, lines=[Line(Sku(sku)) for sku in skus], **fields)


def refused(declared: Declared, event: object) -> RejectedError:
    with pytest.raises(RejectedError) as error:
        declared.footprint(event)
    return error.value


def test_each_way_has_its_mode() -> None:
    declared = declare(
        reads="customer/{customer_id}",
        writes="order/{order_id}",
        adds=["stock/{lines.*.sku}", "count"],
        commutes={"maximum": "highest", "union": ("seen/{customer_id}",)},
    )
    assert set(declared.footprint(order(42, "tea"))) == {
        ("customer/c7", "read"),
        ("order/42", "write"),
        ("stock/tea", "add"),
        ("count", "add"),
        ("highest", "maximum"),
        ("seen/c7", "union"),
    }
    assert declared.shown("add") == "stock/{lines.*.sku}, count"
    assert declared.modes == ("read", "write", "add", "maximum", "union")


def test_accesses_are_real_accesses() -> None:
    footprint = declare(writes="order/{order_id}").footprint(order())
    assert all(type(access) is Access for access in footprint)
    assert footprint[0].key == "order/42"


def test_nothing_declared_is_everything_and_anything_declared_is_complete() -> None:
    assert declare().everything
    assert declare().footprint(order()) == EVERYTHING
    assert declare().shown("write") == "EVERYTHING"
    for way in ("reads", "writes", "adds"):
        nothing: dict[str, Any] = {way: ()}
        declared = declare(**nothing)
        assert not declared.everything
        assert declared.unordered
        assert declared.footprint(order()) == ()
    assert declare(commutes={}).footprint(order()) == ()
    assert declare(accesses=lambda e: []).footprint(order()) == ()
    assert declare(unordered=True).footprint(order()) == ()
    assert declare(publishes="x").everything  # which says nothing about what is touched


def test_dependent_events_conflict_and_independent_ones_do_not() -> None:
    created = declare(reads="customer/{customer_id}", writes="order/{order_id}", adds="stock/{lines.*.sku}")
    paid = declare(PaymentProcessed, writes="order/{order_id}")
    first = created.footprint(order(42, "tea"))
    assert conflicts(first, paid.footprint(PaymentProcessed(order_id=42)))
    assert not conflicts(first, paid.footprint(PaymentProcessed(order_id=43)))
    assert not conflicts(first, created.footprint(order(43, "tea")))  # reads and adds go together
    assert conflicts(first, declare(writes="stock/*").footprint(order(44)))
    assert conflicts(first, declare(reads="stock").footprint(order(44)))


@pytest.mark.parametrize("hostile", ["*", "a/b", "a/*", "%", "", "a%2Fb", "{x}", "..", "a\x00b"])
def test_a_value_never_becomes_a_separator_or_a_wildcard(hostile: str) -> None:
    for way in ("customer/{customer_id}", lambda e: f"customer/{e.customer_id}"):
        declared = declare(writes=way)
        assert not declared.computed
        mine = declared.footprint(order(customer_id=hostile))
        assert mine[0].key.count("/") == 1
        for other in ("a", "b", "2F", "x"):
            assert not conflicts(mine, declared.footprint(order(customer_id=other)))
        assert conflicts(mine, declared.footprint(order(customer_id=hostile)))


def test_a_key_in_two_modes_is_written() -> None:
    declared = declare(reads=["a/{order_id}", "b"], adds=["a/{order_id}", "c"], writes="d")
    assert declared.footprint(order()) == (("a/42", "write"), ("b", "read"), ("d", "write"), ("c", "add"))
    maybe = declare(reads="x/{order_id}", adds="x/{customer_id}")
    assert maybe.footprint(order(7, customer_id="7")) == (("x/7", "write"),)
    assert maybe.footprint(order(7, customer_id="8")) == (("x/7", "read"), ("x/8", "add"))


def test_handlers_of_one_event_are_joined_and_bounded_together() -> None:
    a = declare(reads="x", writes="order/{order_id}").footprint(order())
    b = declare(adds="x").footprint(order())
    assert join_footprints([a]) is a
    assert join_footprints([a, b]) == (("x", "write"), ("order/42", "write"))
    assert join_footprints([]) == ()
    with pytest.raises(RejectedError) as error:
        join_footprints([a, declare(adds="y").footprint(order())], accesses_max=2)
    assert error.value.slug == "too-many-keys"


def test_a_rejected_event_names_the_handler() -> None:
    declared = declare(None, writes="order/{order_id}")
    error = refused(declared, {"oder_id": 1})
    assert error.slug == "missing-field"
    assert error.message.startswith("reserve: {order_id} is not in the data")


def test_too_many_accesses_reject_the_event_rather_than_shrink_it() -> None:
    declared = declare(adds="stock/{lines.*.sku}", writes="order/{order_id}")
    skus = [str(number) for number in range(1_024)]
    assert len(declared.footprint(order(1, *skus[1:]))) == 1_024
    assert refused(declared, order(1, *skus)).slug == "too-many-keys"
    assert len(declared.footprint(order(1, *(["same"] * 5_000)))) == 2
    assert refused(declared.limited(2), order(1, "a", "b")).slug == "too-many-keys"
    assert len(declared.limited(2).footprint(order(1, "a", "a"))) == 2


def test_depth_and_length_of_computed_keys_are_bounded() -> None:
    deep = declare(writes=lambda e: "/".join("x" for _ in range(int(e.order_id))))
    assert deep.computed
    assert deep.footprint(order(16)) == (("/".join("x" * 16), "write"),)
    assert refused(deep, order(17)).slug == "key-too-deep"
    long = declare(writes=lambda e: "x" * int(e.order_id))
    assert refused(long, order(257)).slug == "key-too-long"
    many = declare(writes=lambda e: (str(n) for n in range(int(e.order_id))))
    assert len(many.footprint(order(1_024))) == 1_024
    assert refused(many, order(1_025)).slug == "too-many-keys"
    assert refused(many.limited(3), order(4)).slug == "too-many-keys"


@pytest.mark.parametrize(
    ("way", "wanted"),
    [
        (lambda e: ("vip" if e.order_id > 5 else "guest") + "/x", "vip/x"),
        (lambda e: f"customer/{e.customer_id.lower()}" * (e.order_id > 0), "customer/a%2Fb"),
        (lambda e: f"customer/{e.customer_id}" if e.order_id else "none", "customer/A%2FB"),
        (lambda e: "customer/" + e.customer_id[:2] if e.order_id else "none", "customer/A%2F"),
        (lambda e: f"order/{e.order_id:04d}", "order/0042"),
        (lambda e: f"{e.lines[0].sku}/*", "t%2A"),
        (lambda e: f"a//{e.order_id > 0}", "a/%/True"),
        (lambda e: "" if e.order_id else "x", "%"),
        (lambda e: f"a/*/{e.order_id + 1}", "a"),
        (lambda e: "*" if e.order_id else "x", ""),
    ],
)
def test_computed_keys(way: Any, wanted: str) -> None:
    declared = declare(writes=way)
    assert declared.computed
    assert declared.shown("write") == "computed per event"
    event = order(42, "t*", customer_id="A/B")
    assert declared.footprint(event) == declared.footprint(event) == ((wanted, "write"),)  # pure: twice the same


@pytest.mark.parametrize(
    "way",
    [
        lambda e: 7 if e.order_id else "x",
        lambda e: [7] if e.order_id else "x",
        lambda e: None if e.order_id else "x",
        lambda e: f"{1 // (e.order_id - 42)}",
        lambda e: {}[e.order_id],
        lambda e: e.order_id.missing,
        lambda e: "a\x00" if e.order_id else "x",
        lambda e: "\ud800" if e.order_id else "x",
    ],
)
def test_a_function_that_fails_rejects_the_event(way: Any) -> None:
    assert refused(declare(writes=way), order()).slug in ("key-function", "key-value")


def test_accesses_give_key_and_mode() -> None:
    declared = declare(accesses=lambda e: [Access(f"order/{e.order_id}", "write"), Access("count", "add")])
    assert not declared.computed
    assert declared.footprint(order()) == (("order/42", "write"), ("count", "add"))
    computed = declare(accesses=lambda e: [Access(f"o/{e.order_id}", "write" if e.order_id > 1 else "read")])
    assert computed.computed
    assert computed.shown("any") == "computed per event"
    assert computed.footprint(order(1)) == (("o/1", "read"),)
    assert computed.footprint(order(2)) == (("o/2", "write"),)
    both = declare(accesses=lambda e: [Access("k", "read"), Access("k", "add")] * (e.order_id > 0))
    assert both.footprint(order()) == (("k", "write"),)
    for wrong in ("text", ["text"], [("k", "two words")], [("k",)], [("k", 1)]):
        bad = declare(accesses=lambda e, wrong=wrong: wrong if e.order_id else [])
        assert refused(bad, order()).slug == "key-function"


def test_publishes_gives_keys_by_the_same_rules() -> None:
    declared = declare(writes=(), publishes="order/{order_id}")
    assert declared.publish_keys is not None
    assert declared.publish_keys(order()) == ("order/42",)
    assert declare(writes=()).publish_keys is None
    computed = declare(None, writes=(), publishes=lambda e: f"o/{e['id']}" if e["id"] else "none")
    assert computed.publish_keys is not None
    assert computed.publish_keys({"id": "a/b"}) == ("o/a%2Fb",)
    with pytest.raises(RejectedError) as error:
        computed.publish_keys({})
    assert error.value.slug == "key-function"
    with pytest.raises(UsageError):
        declare(publishes="order/{oder_id}")


@pytest.mark.parametrize(
    ("given", "slug"),
    [
        ({"writes": "order/{oder_id}"}, "unknown-field"),
        ({"writes": lambda e: f"order/{e.oder_id}"}, "unknown-field"),
        ({"writes": lambda e: [f"stock/{line.skus}" for line in e.lines]}, "unknown-field"),
        ({"writes": ["ok", "a//b"]}, "template"),
        ({"writes": 7}, "template"),
        ({"writes": [7]}, "template"),
        ({"writes": {"order": 1}}, "template"),
        ({"accesses": "order"}, "template"),
        ({"reads": "{coupon}"}, "optional-field"),
        ({"reads": lambda e: f"c/{e.coupon}"}, "optional-field"),
        ({"commutes": {"write": "x"}}, "mode"),
        ({"commutes": {"two words": "x"}}, "mode"),
    ],
)
def test_what_is_wrong_is_refused_at_import(given: dict[str, Any], slug: str) -> None:
    with pytest.raises(UsageError) as error:
        declare(**given)
    assert error.value.slug == slug
    assert error.value.where == "shop.py:22"
    assert error.value.message.startswith("reserve: ")


TEXTS = st.sampled_from(["a", "b7", "tea-9", "a/b", "*", "", "é", "e\u0301", "x" * 250, "x" * 257, "%", "\ud800"])
NUMBERS = st.sampled_from([0, 7, -1, 10**18, -(10**18), 10**255, 10**256, 10**4_000])
LINES = st.lists(
    st.builds(Line, TEXTS.map(Sku), depot=TEXTS, serials=st.lists(NUMBERS, max_size=3).map(tuple)), max_size=3
)
ORDERS = st.builds(
    OrderCreated,
    order_id=NUMBERS | st.just("wrong") | st.just(True),
    customer_id=TEXTS | st.sampled_from(list(Kind)) | st.just(None),
    lines=LINES | LINES.map(tuple),
    gifts=LINES,
    coupon=st.none() | TEXTS,
    address=st.builds(Address, TEXTS),
    billing=st.none() | st.builds(Address, TEXTS, st.none() | TEXTS),
    tags=st.lists(TEXTS, max_size=3).map(tuple),
    marks=st.sets(TEXTS, max_size=1),
)
TEMPLATES = st.lists(
    st.sampled_from(
        [
            *(
                "order/{order_id}",
                "customer/{customer_id}",
                "x/{order_id}/{customer_id}",
                "x/{customer_id}",
                "x",
                "y/*",
                "*",
            ),
            *(
                "stock/{lines.*.sku}",
                "stock/{gifts.*.sku}",
                "d/{lines.*.depot}/{lines.*.sku}",
                "c/{coupon?}",
                "{tags.*}",
            ),
            *(
                "o/{order_id}/{lines.*.sku}",
                "p/{customer_id}/{tags.*}",
                "{lines.*.sku}/{gifts.*.sku}",
                "n/{lines.*.serials.*}",
                "a/{address.city}",
            ),
            *(
                "b/{billing.city?}",
                "{address.city}",
                "x-{order_id}",
                "{marks.*}",
                'q"\\/{order_id}',
                "é/{customer_id}",
            ),
        ]
    ),
    max_size=3,
)


def outcome(evaluate: Any, event: object) -> Footprint | tuple[str, str]:
    try:
        return evaluate(event)  # type: ignore[no-any-return]
    except RejectedError as error:
        return error.slug, error.message


@settings(max_examples=400)
@given(TEMPLATES, TEMPLATES, TEMPLATES, ORDERS)
def test_the_compiled_version_does_what_the_plain_one_does(
    reads: list[str], writes: list[str], adds: list[str], event: OrderCreated
) -> None:
    declared = declare(reads=reads, writes=writes, adds=adds).limited(5)
    assert outcome(declared.footprint, event) == outcome(lambda e: declared.plain(e, 5), event)


JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | st.floats(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), part),
    max_leaves=6,
)


@settings(max_examples=400)
@given(
    st.lists(
        st.sampled_from(["x/{a}", "y/{a.b}", "z/{a.*}", "z/{b.*.a}", "w/{a?}", "v/{a.b?}", "{a}/{b}"]),
        max_size=3,
    ),
    st.dictionaries(st.sampled_from(["a", "b"]), JSON),
)
def test_so_it_does_for_data_without_a_class(writes: list[str], data: dict[str, Any]) -> None:
    declared = declare(None, writes=writes)
    assert outcome(declared.footprint, data) == outcome(declared.plain, data)


@given(
    st.builds(
        Everything,
        number=NUMBERS,
        text=TEXTS,
        flag=st.booleans(),
        uid=st.uuids(),
        day=st.dates(),
        at=st.datetimes(timezones=st.timezones()) | st.datetimes(),
        price=st.decimals(),
        kind=st.sampled_from(Kind),
        level=st.sampled_from(Level),
        either=NUMBERS | TEXTS,
        anything=JSON,
        unset=NUMBERS,
    )
)
def test_so_it_does_for_every_type_of_key(event: Everything) -> None:
    for name in (
        "number",
        "text",
        "flag",
        "uid",
        "day",
        "at",
        "price",
        "kind",
        "level",
        "either",
        "anything?",
        "unset?",
    ):
        declared = declare(Everything, writes=f"x/{{{name}}}")
        assert outcome(declared.footprint, event) == outcome(declared.plain, event)


@pytest.mark.parametrize(
    ("cls", "templates"),
    [
        (OrderCreated, {"reads": "customer/{customer_id}", "writes": "order/{order_id}"}),
        (OrderCreated, {"adds": "stock/{lines.*.sku}", "reads": "coupon/{coupon?}"}),
        (PlainClass, {"writes": "order/{order_id}"}),
        (Typed, {"writes": "order/{order_id}", "reads": "coupon/{coupon?}"}),
        (None, {"writes": "order/{a.b}", "adds": "stock/{lines.*.sku}"}),
    ],
)
def test_common_shapes_are_compiled(cls: type | None, templates: dict[str, Any]) -> None:
    code: Any = declare(cls, **templates).footprint
    assert code.__code__.co_filename == "<commute footprint>"


def test_an_integer_that_python_refuses_to_write_out_is_rejected() -> None:
    declared = declare(writes="order/{order_id}")
    assert refused(declared, order(10**5_000)).slug == "key-too-long"
    assert refused(declare(None, writes="order/{order_id}"), {"order_id": -(10**5_000)}).slug == "key-too-long"


def test_a_place_that_is_a_list_here_and_a_value_there_rejects_the_list() -> None:
    declared = compile_footprint(Given(writes=["z/{a.*}", "x/{a}"]), cls=None, event_type="t", handler="h")
    with pytest.raises(RejectedError, match="a list cannot be part of a key"):
        declared.footprint({"a": []})
