"""Segments: one text per value, and no value leaves its segment."""

from __future__ import annotations

import unicodedata
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from urllib.parse import unquote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commute.errors import RejectedError
from commute.footprints.segment import SEGMENT_BYTES_MAX, segment
from tests.footprints.shop import Kind, Level

SHORT = st.text(max_size=20)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("42", "42"),
        (42, "42"),
        (-7, "-7"),
        (True, "true"),
        (False, "false"),
        ("", "%"),
        ("%", "%25"),
        ("a/b", "a%2Fb"),
        ("*", "%2A"),
        ("{x}", "%7Bx%7D"),
        ("a\nb\x7f\x85", "a%0Ab%7F%C2%85"),
        ("tea green", "tea green"),
        ("e\u0301", "\u00e9"),
        (UUID("F8ED9AD6-0D9B-4A7A-8A32-6B2A0A5F7A4B"), "f8ed9ad6-0d9b-4a7a-8a32-6b2a0a5f7a4b"),
        (date(2024, 2, 29), "2024-02-29"),
        (datetime(2024, 2, 29, 12, tzinfo=UTC), "2024-02-29T12:00:00Z"),
        (datetime(2024, 2, 29, 14, tzinfo=timezone(timedelta(hours=2))), "2024-02-29T12:00:00Z"),
        (Decimal("1.50"), "1.5"),
        (Decimal("1E+2"), "100"),
        (Decimal("-0.0"), "0"),
        (Decimal("12345678901234567890123456789012345.5"), "12345678901234567890123456789012345.5"),
        (Kind.TEA, "tea%2Fgreen"),
        (Level.HIGH, "2"),
    ],
    ids=repr,
)
def test_each_value_has_one_spelling(value: object, wanted: str) -> None:
    assert segment(value) == wanted


@given(SHORT)
def test_a_text_stays_in_its_segment_and_can_be_read_back(text: str) -> None:
    spelled = segment(text)
    assert spelled
    assert not any(char in "/*{}" or unicodedata.category(char) == "Cc" for char in spelled)
    assert ("" if spelled == "%" else unquote(spelled)) == unicodedata.normalize("NFC", text)


@given(SHORT, SHORT)
def test_two_texts_have_one_segment_only_if_they_are_the_same_text(a: str, b: str) -> None:
    same = unicodedata.normalize("NFC", a) == unicodedata.normalize("NFC", b)
    assert (segment(a) == segment(b)) == same


@given(st.decimals(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False, allow_infinity=False))
def test_equal_decimals_have_equal_segments(a: Decimal, b: Decimal) -> None:
    try:
        assert (segment(a) == segment(b)) == (a == b)
    except RejectedError as error:
        assert error.slug == "key-too-long"


@given(st.integers())
def test_a_number_and_its_text_are_the_same_key(number: int) -> None:
    assert segment(number) == segment(str(number)) == segment(Decimal(number))


@pytest.mark.parametrize(
    ("value", "slug"),
    [
        (1.0, "key-type"),
        (b"x", "key-type"),
        ({}, "key-type"),
        ([], "key-type"),
        (None, "key-type"),
        (datetime(2024, 1, 1), "key-value"),  # without a time zone on purpose
        (Decimal("NaN"), "key-value"),
        (Decimal("Infinity"), "key-value"),
        ("\ud800", "key-value"),
        ("x" * 257, "key-too-long"),
        ("é" * 129, "key-too-long"),
        ("/" * 86, "key-too-long"),
        (10**256, "key-too-long"),
        (10**100_000, "key-too-long"),
        (Decimal("1E+999999"), "key-too-long"),
        (Decimal("1E-999999"), "key-too-long"),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else "int",
)
def test_what_cannot_be_a_segment_is_rejected_and_names_the_field(value: object, slug: str) -> None:
    with pytest.raises(RejectedError) as error:
        segment(value, at="order_id")
    assert error.value.slug == slug
    assert error.value.message.startswith("{order_id}: ")


def test_the_longest_segments_that_are_allowed() -> None:
    for text in ("x" * SEGMENT_BYTES_MAX, "é" * (SEGMENT_BYTES_MAX // 2), "9" * SEGMENT_BYTES_MAX):
        assert segment(text) == text
    assert segment(10 ** (SEGMENT_BYTES_MAX - 1)) == "1" + "0" * (SEGMENT_BYTES_MAX - 1)


def test_an_instant_outside_of_the_calendar_in_utc_is_refused() -> None:
    first = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=3)))
    with pytest.raises(RejectedError, match="outside of the calendar"):
        segment(first)
