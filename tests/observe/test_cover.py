"""Which accesses a footprint covers, by mode and by key."""

from __future__ import annotations

import pytest

from commute.observe.cover import covers

MODES = ("read", "write", "add", "insert")
COVERED = {  # by what is declared
    "read": {"read"},
    "write": set(MODES),
    "add": {"add", "insert"},
    "insert": {"insert"},
    "max": set(MODES),  # a class that the application names
}


@pytest.mark.parametrize("declared", COVERED)
@pytest.mark.parametrize("mode", MODES)
def test_a_mode_covers_what_says_no_more(declared: str, mode: str) -> None:
    expected = mode in COVERED[declared]
    for key in ("order", "order/7", "order/7/line"):
        assert covers({"order": declared}, key, mode) == expected
    assert covers({"": declared}, "order/7", mode) == expected


def test_a_key_covers_what_lies_below_it_and_nothing_beside() -> None:
    declared = {"order/7": "write"}
    assert covers(declared, "order/7/line", "write")
    for key in ("order/70", "order", "orders/7", "order/8", ""):
        assert not covers(declared, key, "read")


def test_a_nearer_key_that_says_less_does_not_hide_a_wider_one() -> None:
    assert covers({"order": "write", "order/7": "read"}, "order/7", "write")
