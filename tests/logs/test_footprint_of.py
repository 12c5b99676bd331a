"""From the objects that a logged event names to its footprint."""

from __future__ import annotations

import pytest

from commute.core.footprint import ADD, READ, WRITE, Access, conflicts
from commute.errors import RejectedError
from commute.logs import LogEvent, footprint_of
from commute.logs.base import Touched

NONE: frozenset[str] = frozenset()


def _event(*objects: Touched) -> LogEvent:
    return LogEvent(1, "1", "t", None, objects, {})


def _modes(*objects: Touched, read: frozenset[str] = NONE, add: frozenset[str] = NONE) -> dict[str, str]:
    return dict(footprint_of(_event(*objects), read=read, add=add))


def test_every_object_is_written_unless_the_log_or_the_user_says_otherwise() -> None:
    objects: tuple[Touched, ...] = (("order", "1", None), ("rate", "EUR", None), ("stock", "a", None))
    assert _modes(*objects) == {"order/1": WRITE, "rate/EUR": WRITE, "stock/a": WRITE}
    given = _modes(*objects, read=frozenset({"rate"}), add=frozenset({"stock"}))
    assert given == {"order/1": WRITE, "rate/EUR": READ, "stock/a": ADD}
    assert _modes(("a", "1", READ), ("b", "1", ADD), ("c", "1", "votes")) == {
        "a/1": READ,
        "b/1": ADD,
        "c/1": "votes",
    }


def test_the_user_overrides_the_log_but_a_read_never_becomes_an_add() -> None:
    read, add = frozenset({"r"}), frozenset({"a"})
    assert _modes(("r", "1", WRITE), ("r", "2", ADD), read=read) == {"r/1": READ, "r/2": READ}
    assert _modes(("a", "1", WRITE), ("a", "2", READ), ("a", "3", "c"), add=add) == {
        "a/1": ADD,
        "a/2": READ,
        "a/3": "c",
    }
    assert _modes(("x", "1", None), read=frozenset({"x"}), add=frozenset({"x"})) == {"x/1": WRITE}


def test_an_object_that_is_named_twice_is_one_key_with_joined_modes() -> None:
    assert _modes(("a", "1", READ), ("a", "1", READ)) == {"a/1": READ}
    assert _modes(("a", "1", READ), ("a", "1", ADD)) == {"a/1": WRITE}
    assert _modes(("a", "1", ADD), ("a", "1", None)) == {"a/1": WRITE}
    assert footprint_of(_event(("a", "1", None), ("a", "1", None)), read=NONE, add=NONE) == (Access("a/1", WRITE),)


def test_names_never_become_separators_wildcards_or_nothing() -> None:
    assert _modes(("a/b", "*", None), ("", "", None)) == {"a%2Fb/%2A": WRITE, "%/%": WRITE}
    subtree = footprint_of(_event(("a", "*", None)), read=NONE, add=NONE)
    assert not conflicts(subtree, footprint_of(_event(("a", "1", None)), read=NONE, add=NONE))
    assert conflicts(subtree, subtree)


def test_one_word_in_two_unicode_forms_is_one_key() -> None:
    assert _modes(("café", "é", None)) == _modes(("cafe\u0301", "e\u0301", None))


def test_an_event_without_objects_touches_nothing() -> None:
    assert footprint_of(_event(), read=NONE, add=NONE) == ()


def test_a_key_that_is_too_long_rejects_the_event() -> None:
    with pytest.raises(RejectedError) as rejected:
        _modes(("t", "x" * 10_000, None))
    assert rejected.value.slug == "key-too-long"
