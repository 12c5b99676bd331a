"""The two-order test finds each planted false independence and complains about none that is right."""

from __future__ import annotations

import pytest

from commute import UsageError
from commute.testing import assert_commutes
from tests.verify.planted import RIGHT, TABLES, WORLD, WRONG, Case, Put


def try_it(case: Case) -> None:
    assert_commutes(case.make(), case.events, tables=TABLES, clear=WORLD.clear, look=WORLD.look)


def test_there_are_twenty_of_each() -> None:
    assert (len(WRONG), len(RIGHT)) == (20, 20)


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_a_false_independence_is_found(case: Case) -> None:
    with pytest.raises(AssertionError, match="do not commute"):
        try_it(case)


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.name)
def test_a_true_independence_is_left_alone(case: Case) -> None:
    try_it(case)


def test_nothing_to_try_is_an_error() -> None:
    case = RIGHT[0]
    with pytest.raises(UsageError, match="nothing to try") as caught:
        assert_commutes(case.make(), [Put(key="a"), Put(key="a")], tables=TABLES)
    assert caught.value.slug == "nothing-to-test"
