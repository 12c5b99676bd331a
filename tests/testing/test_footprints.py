"""`assert_independent` and `assert_conflict`: what two events declare, and messages that show it."""

from __future__ import annotations

import pytest

from commute import App, Event, RejectedError, UsageError
from commute.testing import assert_conflict, assert_independent


class Created(Event):
    order_id: int
    customer_id: int
    skus: list[str]


class Paid(Event):
    order_id: int


class Audited(Event):
    n: int


class Seen(Event):
    n: int


app: App[None] = App("shop")


@app.on(Created, writes="order/{order_id}", reads="customer/{customer_id}", adds="stock/{skus.*}")
def reserve(event: Created) -> None: ...


@app.on(Created, Paid, writes="mail/{order_id}")
def mail(event: Created | Paid) -> None: ...


@app.on(Paid, writes="order/{order_id}")
def pay(event: Paid) -> None: ...


@app.on(Audited)
def audit(event: Audited) -> None: ...


@app.on(Seen, unordered=True)
def count(event: Seen) -> None: ...


ONE = Created(order_id=1, customer_id=7, skus=["tea"])
TWO = Created(order_id=2, customer_id=7, skus=["tea", "mug"])


def test_independent_events_pass_one_assertion_and_fail_the_other() -> None:
    assert_independent(app, ONE, TWO)
    with pytest.raises(AssertionError) as failed:
        assert_conflict(app, ONE, TWO)
    assert str(failed.value).startswith("independent\n")
    assert "read customer/7, write order/1, add stock/tea, write mail/1" in str(failed.value)
    assert "order/2" in str(failed.value)


def test_dependent_events_pass_one_assertion_and_fail_the_other() -> None:
    assert_conflict(app, ONE, Paid(order_id=1))
    assert_conflict(app, ONE, Paid(order_id=1), on="order/1")
    named = ("created", {"order_id": 1, "customer_id": 7, "skus": []})
    assert_conflict(app, named, Paid(order_id=1), on="mail/1/*")
    with pytest.raises(AssertionError, match=r"dependent, on order/1, mail/1\n(.|\n)*Paid"):
        assert_independent(app, ONE, Paid(order_id=1))
    with pytest.raises(AssertionError, match=r"not on customer/7: on order/1, mail/1"):
        assert_conflict(app, ONE, Paid(order_id=1), on="customer/7")


def test_everything_conflicts_with_all_but_what_has_no_footprint() -> None:
    assert_conflict(app, Audited(n=1), Paid(order_id=1), on="order/1")
    assert_conflict(app, Audited(n=1), Audited(n=1))
    assert_independent(app, Audited(n=1), Seen(n=1))
    with pytest.raises(AssertionError, match="touches nothing"):
        assert_conflict(app, Audited(n=1), Seen(n=1))


def test_a_key_that_was_misspelt_is_guessed_and_what_can_be_no_key_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"not on orders/1 \(did you mean order/1\?\)"):
        assert_conflict(app, ONE, Paid(order_id=1), on="orders/1")
    with pytest.raises(UsageError, match=r"order/\{order_id\}\" is a template"):
        assert_conflict(app, ONE, Paid(order_id=1), on="order/{order_id}")
    with pytest.raises(UsageError, match="on=1: name a key"):
        assert_conflict(app, ONE, Paid(order_id=1), on=1)  # type: ignore[arg-type]


def test_what_is_no_event_of_the_app_is_refused() -> None:
    with pytest.raises(UsageError, match='no handler of shop takes "refunded"; it takes audited, created, paid, seen'):
        assert_independent(app, ("refunded", {}), ONE)
    with pytest.raises(UsageError, match='takes "payd"; did you mean paid'):
        assert_conflict(app, ONE, ("payd", {}))
    with pytest.raises(UsageError, match=r"give an event of it, Paid\(\.\.\.\)"):
        assert_independent(app, Paid, ONE)
    with pytest.raises(UsageError, match="a dict does not say its event's type"):
        assert_independent(app, ONE, {"order_id": 1})
    with pytest.raises(UsageError, match="'shop:app' is no App: import the app"):
        assert_independent("shop:app", ONE, ONE)  # type: ignore[arg-type]
    with pytest.raises(RejectedError, match=r"\$.order_id"):
        assert_conflict(app, ("paid", {"order_id": "1"}), ONE)
