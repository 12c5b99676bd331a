"""Labels of partitions: events that conflict share one, what crosses really does, and nothing is refused in vain."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement, permutations, product
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commute.core.footprint import Access, conflicts
from commute.errors import RejectedError, UsageError
from commute.footprints.declared import Declared, Given, compile_footprint
from commute.footprints.partitions import Partitioning, partitioning
from commute.footprints.template import Site, Template, keys, parse


class Sold(msgspec.Struct, frozen=True):
    f: str = "0"
    g: str = "0"
    o: str | None = None
    xs: tuple[str, ...] = ()


def declare(type_: str, handler: str = "h", cls: type | None = Sold, **given: Any) -> Declared:
    return compile_footprint(Given(**given), cls=cls, event_type=type_, handler=handler)


def shown(found: Partitioning) -> dict[str, str]:
    return {type_: found.shown(type_) for type_ in found.labels}


# -- single rules -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("apps", "labels"),
    [
        # One field throughout; the value alone, so that both families may share a type.
        ([("a", {"writes": "order/{f}"}), ("b", {"writes": "order/{g}"})], "{f} {g}"),
        ([("a", {"writes": ["order/{f}", "bill/{f}"]}), ("b", {"writes": "bill/{o?}"})], "{f} {o?}"),
        # The finest that fits: here two fields, and one as soon as somebody touches the parent.
        ([("a", {"writes": "customer/{f}/order/{g}"})], "{f}/{g}"),
        ([("a", {"writes": "customer/{f}/order/{g}"}), ("b", {"reads": "customer/{g}"})], "{f} {g}"),
        ([("a", {"writes": "x/{f}/{g}"}), ("b", {"writes": "x/{g}/{f}"})], "{f}/{g} {g}/{f}"),
        # The first type's own best would not do: what another one touches decides.
        ([("a", {"writes": "x/{f}/{g}"}), ("b", {"writes": ["y/{f}", "x/{f}/{g}"]})], "{f} {f}"),
        # Equal fields make equal texts of the same shape.
        ([("a", {"reads": "y/{f}"}), ("b", {"writes": ["x/{f}", "y/v{f}"]})], "{f} v{f}"),
        # What goes together may be anywhere.
        ([("a", {"writes": "order/{f}", "adds": "stock/{xs.*}"}), ("b", {"adds": "stock/{f}"})], "{f} any"),
        ([("a", {"writes": "order/{f}", "reads": "price"}), ("b", {"reads": "price/{g}"})], "{f} any"),
        ([("a", {"writes": ()}), ("b", {"unordered": True}), ("c", {"commutes": {"most": "m"}})], "any any any"),
        # Events that all write one thing belong on one partition, and others' values may be that text.
        ([("a", {"writes": "report"})], "report"),
        ([("a", {"writes": "order/{f}"}), ("b", {"writes": "order/new"})], "{f} new"),
        ([("a", {"writes": "doc/v{f}"}), ("b", {"writes": ["doc/v{g}", "page/{g}"]})], "{f} {g}"),
        # Children leave in log order per key, and only a partition has one; other keys do not meet them.
        ([("a", {"writes": "x/{f}/{g}", "publishes": "x/{f}"}), ("b", {"reads": "y"})], "{f} any"),
        ([("a", {"writes": (), "publishes": "x/{f}"}), ("b", {"writes": "x/{g}/{o?}"})], "{f} {g}/{o?}"),
        (
            [("a", {"writes": "x/{f}", "publishes": "x/{f}"}), ("b", {"adds": "y", "publishes": "x/{f}/{g}"})],
            "{f} {f}/{g}",
        ),
        # An element of a list is no label, what stands beside it is.
        ([("a", {"writes": "order/{f}/line/{xs.*}"}), ("b", {"writes": "order/{g}"})], "{f} {g}"),
        # What can never be equal never meets.
        ([("a", {"writes": "x/{f}/{f}"}), ("b", {"writes": "x/new/old"})], "{f} x/new/old"),
        ([("a", {"writes": ["x/v{f}", "y/{f}"]}), ("b", {"writes": ["x/w{f}", "y/{f}"]})], "{f} {f}"),
    ],
)
def test_what_needs_no_crossing_gets_a_label(apps: list[tuple[str, dict[str, Any]]], labels: str) -> None:
    found = partitioning([declare(type_, **given) for type_, given in apps])
    assert found.crossings == ()
    assert " ".join(shown(found).values()) == labels
    found.check("orders", 12)


@pytest.mark.parametrize(
    ("apps", "crossing"),
    [
        ([("a", {})], "a writes EVERYTHING, another one writes EVERYTHING"),
        ([("a", {}), ("b", {"reads": "x/{f}"})], "a writes EVERYTHING, b reads x/{f}"),
        ([("a", {"writes": ["order/{f}", "stats"]})], "a writes stats, another one writes stats"),
        ([("a", {"writes": "stock/{xs.*}"})], "a writes stock/{xs.*}, another one writes stock/{xs.*}"),
        ([("a", {"writes": ["account/{f}", "account/{g}"]})], "a writes account/{g}, another one writes account/{g}"),
        ([("a", {"writes": "x/{f}"}), ("b", {"reads": "x"})], "a writes x/{f}, b reads x"),
        ([("a", {"adds": "x/{f}"}), ("b", {"commutes": {"most": "x"}})], "a adds to x/{f}, b touches (most) x"),
        ([("a", {"writes": lambda e: "x" * len(e.f)})], "a writes EVERYTHING, another one writes EVERYTHING"),
        (
            [("a", {"writes": "x/{f}", "publishes": "y/{g}"})],
            "a publishes in the sequence of y/{g}, another one publishes",
        ),
        (
            [("a", {"writes": "x/{f}", "publishes": lambda e: "x" * len(e.f)})],
            "a publishes in the sequence of computed",
        ),
        ([("a", {"writes": ["c/{o?}", "d/{f}"]})], "a writes d/{f}, another one writes d/{f}"),
    ],
)
def test_what_crosses_is_named(apps: list[tuple[str, dict[str, Any]]], crossing: str) -> None:
    found = partitioning([declare(type_, **given) for type_, given in apps])
    assert any(str(one).startswith(crossing) for one in found.crossings)
    found.check("orders", 1)
    with pytest.raises(UsageError, match="no partition label of") as refused:
        found.check("orders", 12)
    assert refused.value.slug == "crosses"


def test_a_function_that_only_adds_needs_no_label() -> None:
    adds = declare("a", adds=lambda e: "x" * len(e.f))
    assert shown(partitioning([adds])) == {"a": "any"}
    assert partitioning([adds, declare("b", writes="y/{f}")]).crossings


def test_a_function_of_accesses_may_write() -> None:
    found = partitioning([declare("a", accesses=lambda e: [Access("x" * len(e.f), "read")])])
    assert [crossing.types for crossing in found.crossings] == [("a", "a")]


def test_a_field_that_one_handler_needs_is_there_for_all() -> None:
    for first, second in (("x/{f}", "y/{f?}"), ("y/{f?}", "x/{f}")):
        found = partitioning(
            [declare("a", "one", cls=None, writes=first), declare("a", "two", cls=None, writes=second)]
        )
        assert (shown(found), found.crossings) == ({"a": "{f}"}, ())


def test_all_handlers_of_a_type_count() -> None:
    found = partitioning([declare("a", "one", writes="x/{f}"), declare("a", "two", writes="y/{g}")])
    assert [str(crossing) for crossing in found.crossings] == ["a writes y/{g}, another one writes y/{g}"]


def test_the_refusal_names_events_keys_and_remedies() -> None:
    found = partitioning([declare("sold", writes=["order/{f}", "stock/{xs.*}"]), declare("moved", writes="stock/{f}")])
    with pytest.raises(UsageError) as refused:
        found.check("orders", 12)
    text = str(refused.value)
    for part in ("sold", "moved", "stock/{xs.*}", 'of "orders" (12 partitions)', "adds=", "--single-owner"):
        assert part in text
    assert "partition_by=" in text


def test_a_given_label_is_used_and_still_checked() -> None:
    apart: dict[str, Any] = {"writes": "customer/{f}/order/{g}"}
    for way in ("f", "{f}", lambda e: e.f):
        found = partitioning([declare("a", partition_by=way, **apart), declare("b", **apart)])
        assert (shown(found), found.crossings) == ({"a": "{f}", "b": "{f}"}, ())
    assert shown(partitioning([declare("a", partition_by="c/{f}", **apart), declare("b", **apart)]))["b"] == "c/{f}"
    assert shown(partitioning([declare("a", **apart)], "f")) == {"a": "{f}"}
    assert shown(partitioning([declare("a", partition_by="g", **apart)], "f")) == {"a": "{g}"}
    wrong = partitioning([declare("a", writes="order/{f}")], "g")
    assert [crossing.types for crossing in wrong.crossings] == [("a", "a")]


def test_an_apps_label_is_for_the_types_that_have_its_fields() -> None:
    class Other(msgspec.Struct):
        n: int

    found = partitioning([declare("a", writes="x/{f}/{g}"), declare("b", cls=Other, writes="n/{n}")], "f")
    assert shown(found) == {"a": "{f}", "b": "{n}"}
    with pytest.raises(UsageError) as refused:
        partitioning([declare("b", cls=Other, writes="n/{n}")], "f")
    assert refused.value.slug == "unknown-field"


@pytest.mark.parametrize("way", ["xs.*", "{f}-{xs.*}", lambda e: e.f[:1], lambda e: [e.f, e.g], lambda e: "one"])
def test_a_label_is_one_value_known_beforehand(way: Any) -> None:
    with pytest.raises(UsageError) as refused:
        declare("a", partition_by=way, writes="x/{f}")
    assert refused.value.slug == "partition-by"


def test_two_labels_for_one_type_are_refused() -> None:
    two = [declare("a", "one", partition_by="f", writes="x/{f}"), declare("a", "two", partition_by="g", writes="y/{g}")]
    with pytest.raises(UsageError, match=r"one partitions a by \{f\}, two by \{g\}"):
        partitioning(two)


def test_a_label_is_spelled_as_in_keys() -> None:
    found = partitioning([declare("a", writes="x/{f}/{g}"), declare("b", writes="o/{o?}"), declare("c", writes=())])
    assert found.label_of("a", Sold(f="a/b", g="")) == "a%2Fb/%"
    assert found.label_of("b", Sold(o=None)) is None
    assert found.label_of("c", Sold()) is None
    assert found.label_of("unheard", Sold()) is None
    assert found.fields("a") == ("f", "g")
    assert str(found) == "a by {f}/{g}, b by {o?}, c anywhere"
    loose = partitioning([declare("a", cls=None, writes="x/{f}")])
    assert loose.label_of("a", {"f": 42}) == loose.label_of("a", {"f": "42"}) == "42"
    with pytest.raises(RejectedError):
        loose.label_of("a", {})


def test_the_fingerprint_is_of_declarations_labels_and_number() -> None:
    one, two = declare("a", writes="x/{f}"), declare("b", reads="y/{g}")
    print_ = partitioning([one, two]).fingerprint(16)
    assert print_ == partitioning([two, one]).fingerprint(16)
    others = [
        partitioning([one, two]).fingerprint(12),
        partitioning([one]).fingerprint(16),
        partitioning([declare("a", writes="x/{g}"), two]).fingerprint(16),
        partitioning([declare("a", adds="x/{f}"), two]).fingerprint(16),
        partitioning([declare("a", partition_by="g", writes="x/{f}"), two]).fingerprint(16),
        partitioning([declare("a", adds=lambda e: "x" * len(e.f)), two]).fingerprint(16),
        partitioning([declare("a", adds=lambda e: "y" * len(e.f)), two]).fingerprint(16),
    ]
    assert len({print_, *others}) == 8


def test_many_types_are_labelled_at_once() -> None:
    chain = [declare(f"t{n}", writes=["order/{f}/{g}", f"own{n}/{{f}}/{{g}}", f"own{n + 1}/{{f}}"]) for n in range(40)]
    found = partitioning(chain)
    assert set(shown(found).values()) == {"{f}"}
    assert found.crossings == ()


# -- against brute force ----------------------------------------------------------------------------------------

TEMPLATES = [
    *("x/{f}", "x/{g}", "x/{f}/{g}", "x/{g}/{f}", "x/{f}/{f}", "x/0", "x/0/{f}", "x/{o?}", "x/{xs.*}", "x/{f}/{xs.*}"),
    *("y/{f}", "y/{g}", "y/v{f}", "y/v0", "y/{o?}", "y", "z/{g}", "z/{f}/1"),
]
ACCESS = st.tuples(st.sampled_from(["reads", "writes", "writes", "adds"]), st.sampled_from(TEMPLATES))
HANDLERS = st.lists(st.lists(ACCESS, min_size=1, max_size=2), min_size=1, max_size=3)
VALUES = ("0", "1", "v0")  # the texts that templates name, and another one
EVENTS = [
    Sold(f, g, o, xs)
    for f, g, o, xs in product(VALUES, VALUES, (None, "0", "v0"), ((), ("0",), ("1", "v0")))
]  # fmt: skip


def app_of(handlers: list[list[tuple[str, str]]]) -> list[Declared]:
    ways = ("reads", "writes", "adds")
    declared = []
    for at, accesses in enumerate(handlers):
        given: dict[str, Any] = {way: [key for mode, key in accesses if mode == way] for way in ways}
        declared.append(declare(f"t{at}", **given))
    return declared


def crossed(a: Declared, b: Declared, mine: Template | None, yours: Template | None) -> bool:
    """Whether an event of each conflict and have different labels, or one has none: found by trying all."""

    def kinds(declared: Declared, label: Template | None) -> Iterator[tuple[Any, str | None]]:
        for event in EVENTS:
            yield declared.footprint(event), next(iter(keys(label, event)), None) if label else None

    pairs = product(dict.fromkeys(kinds(a, mine)), dict.fromkeys(kinds(b, yours)))
    return any((x != y or x is None) and conflicts(left, right) for (left, x), (right, y) in pairs)


@settings(max_examples=150)
@given(HANDLERS)
def test_types_cross_exactly_where_some_events_do(handlers: list[list[tuple[str, str]]]) -> None:
    app = app_of(handlers)
    found = partitioning(app)
    named = {crossing.types for crossing in found.crossings}
    for a, b in combinations_with_replacement(app, 2):
        real = crossed(a, b, found.labels[a.event_type], found.labels[b.event_type])
        assert real == ((a.event_type, b.event_type) in named)


LABELS = [
    parse("/".join(f"{{{name}{'?' if name == 'o' else ''}}}" for name in names), Site("h", "label"))
    for size in (1, 2)
    for names in permutations("fgo", size)
]


@settings(max_examples=60)
@given(HANDLERS.filter(lambda handlers: len(handlers) < 3))
def test_no_app_is_refused_that_some_labels_would_hold(handlers: list[list[tuple[str, str]]]) -> None:
    app = app_of(handlers)
    if not partitioning(app).crossings:
        return
    for labels in product(LABELS, repeat=len(app)):
        labelled = list(zip(app, labels, strict=True))
        assert any(crossed(a, b, x, y) for (a, x), (b, y) in combinations_with_replacement(labelled, 2)), labels
