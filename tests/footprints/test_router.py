"""Registering handlers: what is recorded, what is refused at import, and with which line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import pytest

from commute.core.retry import Retry
from commute.errors import UsageError
from commute.event import Event
from commute.handler import Handler
from commute.router import Router
from tests.footprints.shop import Model, OrderCreated, PaymentProcessed, PlainClass, PlainStruct, Typed

if TYPE_CHECKING:
    from commute.context import Context

T = TypeVar("T", bound=Event)


class Other(msgspec.Struct):
    order_id: int


class Twin(Event, type="shop.order.created"):
    order_id: int


def register(function: Callable[..., Any], *events: Any, **options: Any) -> Handler:
    router: Router[Any] = Router()
    returned = router.on(*events, **options)(function)
    assert returned is function
    return router.handlers[-1]


def refused(function: Callable[..., Any], *events: Any, **options: Any) -> UsageError:
    with pytest.raises(UsageError) as error:
        register(function, *events, **options)
    return error.value


def test_a_handler_is_recorded_as_it_was_registered() -> None:
    async def reserve(event: OrderCreated, ctx: Context[None]) -> None: ...

    handler = register(reserve, OrderCreated, writes="order/{order_id}", concurrency=4, timeout_s=1.5)
    assert handler.name == "reserve"
    assert handler.function is reserve
    assert [event.type for event in handler.events] == ["shop.order.created"]
    assert handler.events[0].codec.cls is OrderCreated
    assert handler.events[0].declared.footprint(OrderCreated(order_id=1)) == (("order/1", "write"),)
    assert (handler.is_async, handler.takes_context, handler.embedded, handler.unordered) == (
        True,
        True,
        False,
        False,
    )
    assert (handler.concurrency, handler.timeout_s, handler.on_exhausted) == (4, 1.5, "park")
    assert handler.retry == Retry()
    assert handler.executor == "auto"
    assert handler.where.endswith(f"test_router.py:{reserve.__code__.co_firstlineno}")


def test_one_handler_for_several_events() -> None:
    def audit(event: OrderCreated | PaymentProcessed) -> None: ...

    handler = register(audit, OrderCreated, PaymentProcessed, reads=lambda e: f"order/{e.order_id}")
    assert [event.type for event in handler.events] == ["shop.order.created", "payment_processed"]
    assert handler.event("payment_processed") is handler.events[1]
    assert handler.event("unknown") is None
    assert not handler.is_async
    assert not handler.takes_context
    assert handler.events[1].declared.footprint(PaymentProcessed(order_id=7)) == (("order/7", "read"),)


@pytest.mark.parametrize("event", [PlainStruct, PlainClass, Typed, Model, "any.type"])
def test_every_kind_of_event(event: Any) -> None:
    def handle(event: Any) -> None: ...

    handler = register(handle, event, writes="order/{order_id}")
    data = handler.events[0].codec.decode(b'{"order_id": 42}')
    assert handler.events[0].declared.footprint(data) == (("order/42", "write"),)


def test_a_plain_class_can_be_renamed() -> None:
    def handle(event: PlainStruct) -> None: ...

    assert register(handle, PlainStruct, type="shop.plain").events[0].type == "shop.plain"
    assert refused(lambda event: None, OrderCreated, type="other").slug == "event-type"
    assert refused(lambda event: None, PlainStruct, Other, type="other").slug == "event-type"
    assert refused(lambda event: None, "a", type="other").slug == "event-type"


def test_transactions_are_seen_in_the_code() -> None:
    async def direct(event: OrderCreated, ctx: Context[None]) -> None:
        async with ctx.transaction() as tx:
            tx.execute("SELECT 1")

    def inner(event: OrderCreated, context: Context[None]) -> None:
        def run() -> None:
            with context.transaction():
                pass

        run()

    def other(event: OrderCreated, ctx: Context[None], **more: Any) -> None:
        more["db"].transaction()
        ctx.publish(event)

    def handed_on(event: OrderCreated, ctx: Context[None]) -> None:
        inner(event, ctx)

    def alone(event: Any) -> None:
        event.transaction()

    assert [register(f, OrderCreated).embedded for f in (direct, inner)] == [True, True]
    assert [register(f, OrderCreated).embedded for f in (other, handed_on, alone)] == [False, False, False]


def test_methods_can_be_handlers() -> None:
    class Service:
        def handle(self, event: OrderCreated, ctx: Context[None]) -> None:
            with ctx.transaction():
                pass

    handler = register(Service().handle, OrderCreated)
    assert handler.name == "handle"
    assert handler.takes_context
    assert handler.embedded


def annotated(annotation: Any, returns: Any = None) -> Callable[..., Any]:
    def pay(event: Any) -> None: ...

    pay.__annotations__ = {"event": annotation, "return": returns}
    return pay


@pytest.mark.parametrize(
    ("events", "annotation"),
    [
        ((OrderCreated,), OrderCreated),
        ((OrderCreated,), Event),
        ((OrderCreated,), object),
        ((OrderCreated,), Any),
        ((OrderCreated,), "OrderCreated"),
        ((OrderCreated,), OrderCreated | PaymentProcessed),
        ((OrderCreated, PaymentProcessed), OrderCreated | PaymentProcessed),
        ((OrderCreated, PaymentProcessed), Event),
        ((OrderCreated,), T),
        ((OrderCreated,), "NotImportedAtRunTime"),
        (("any",), dict),
        (("any",), dict[str, object]),
        (("any",), dict[str, Any]),
        ((Typed,), Typed),
        ((Typed,), dict[str, Any]),
        (("any", OrderCreated), dict[str, Any] | OrderCreated),
    ],
    ids=str,
)
def test_annotations_that_take_the_event(events: tuple[Any, ...], annotation: Any) -> None:
    assert register(annotated(annotation), *events)


@pytest.mark.parametrize(
    ("events", "annotation"),
    [
        ((PaymentProcessed,), OrderCreated),
        ((OrderCreated, PaymentProcessed), OrderCreated),
        ((OrderCreated,), PaymentProcessed | PlainStruct),
        ((OrderCreated,), int),
        ((OrderCreated,), dict[str, Any]),
        (("any",), OrderCreated),
        (("any",), Typed),
        ((Typed,), OrderCreated),
        ((Event,), OrderCreated),
    ],
    ids=str,
)
def test_annotations_that_do_not_are_refused(events: tuple[Any, ...], annotation: Any) -> None:
    assert refused(annotated(annotation), *events).slug == "wrong-handler"


def test_the_message_names_both_and_the_line() -> None:
    pay = annotated(OrderCreated)
    line = pay.__code__.co_firstlineno
    message, where = refused(pay, PaymentProcessed).render().rsplit("   ", 1)
    assert message == (
        "error[wrong-handler] pay is registered for PaymentProcessed, but its event is annotated OrderCreated."
    )
    assert where.endswith(f"test_router.py:{line}")


def test_what_is_no_handler_is_refused() -> None:
    async def yields(event: OrderCreated) -> AsyncIterator[int]:
        yield 1

    def no_event() -> None: ...
    def three(event: OrderCreated, ctx: Any, more: int) -> None: ...
    def needs(event: OrderCreated, *, more: int) -> None: ...
    def returns(event: OrderCreated) -> int:
        return 1

    wrong: list[Any] = [yields, no_event, three, needs, returns, 7, OrderCreated, print]
    for function in wrong:
        assert refused(function, OrderCreated).slug == "wrong-handler"
    assert "returns int" in str(refused(returns, OrderCreated))
    assert register(lambda event, *more, **rest: None, OrderCreated)


@pytest.mark.parametrize(
    "options",
    [
        *({"timeout_s": 0}, {"timeout_s": -1}, {"timeout_s": float("nan")}, {"timeout_s": float("inf")}),
        *(
            {"timeout_s": "1"},
            {"timeout_s": True},
            {"concurrency": 0},
            {"concurrency": 1.5},
            {"concurrency": True},
        ),
        *({"on_exhausted": "ignore"}, {"executor": "process"}, {"retry": 3}, {"wirtes": "x"}),
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    def handle(event: OrderCreated) -> None: ...

    error = refused(handle, OrderCreated, **options)
    assert error.slug == "handler-option"
    assert next(iter(options)) in str(error)


def test_a_coroutine_cannot_be_given_to_a_thread() -> None:
    async def handle(event: OrderCreated) -> None: ...

    error = refused(handle, OrderCreated, executor="threads")
    assert error.slug == "handler-option" and "async def" in str(error)


@pytest.mark.parametrize(
    ("executor", "good"),
    [
        *(("processes", True), ("dask://10.0.0.1:8786", True), ("dask://[::1]:8786", True)),
        *(("dask://host", False), ("dask://u:p@host:1", False), ("dask://host:1/x", False), (4, False)),
    ],
)
def test_where_a_handler_may_run(executor: Any, good: bool) -> None:
    def handle(event: OrderCreated) -> None: ...

    router: Router[None] = Router()
    if good:
        router.on(OrderCreated, executor=executor)(handle)
        assert router.handlers[0].elsewhere
    else:
        assert refused(handle, OrderCreated, executor=executor).slug == "handler-option"


def test_every_refusal_carries_the_line_of_the_handler() -> None:
    def handle(event: Any) -> None: ...

    for events, options in (
        ((OrderCreated,), {"writes": "order/{oder_id}"}),
        ((OrderCreated,), {"timeout_s": 0}),
        ((int,), {}),
        (("two words",), {}),
        ((), {}),
        ((OrderCreated, Twin), {}),
        ((OrderCreated, OrderCreated), {}),
    ):
        assert f"test_router.py:{handle.__code__.co_firstlineno}" in str(refused(handle, *events, **options))


def test_names_and_types_are_unique_in_one_app() -> None:
    def first() -> Router[Any]:
        router: Router[Any] = Router()

        @router.on(OrderCreated, writes="order/{order_id}")
        def handle(event: OrderCreated) -> None: ...

        return router

    def second() -> Router[Any]:
        router: Router[Any] = Router()

        @router.on(Twin, writes=())
        def other(event: Twin) -> None: ...

        @router.on("shop.order.created", writes=())
        def third(event: dict[str, object]) -> None: ...

        return router

    app: Router[Any] = Router()
    app.include(first())
    with pytest.raises(UsageError) as error:
        app.include(first())
    assert error.value.slug == "handler-twice"
    assert "two handlers are named handle" in str(error.value)
    with pytest.raises(UsageError) as error:
        app.include(second())
    assert error.value.slug == "type-twice"
    assert [handler.name for handler in app.handlers] == ["handle"]  # nothing was included
    alone: Router[Any] = Router()
    alone.include(second())
    assert [handler.name for handler in alone.handlers] == ["other", "third"]


def test_a_class_has_one_type_name() -> None:
    router: Router[Any] = Router()
    router.on(PlainStruct, writes=(), type="a")(annotated(PlainStruct))
    with pytest.raises(UsageError) as error:

        @router.on(PlainStruct, writes=(), type="b")
        def other(event: PlainStruct) -> None: ...

    assert error.value.slug == "type-twice"


@dataclass
class State:
    name: str


def test_included_handlers_come_after_those_before_them() -> None:
    app: Router[State] = Router()
    part: Router[State] = Router()

    @app.on(OrderCreated, writes=())
    def one(event: OrderCreated) -> None: ...

    @part.on(OrderCreated, writes=())
    def two(event: OrderCreated, ctx: Context[State]) -> None: ...

    app.include(part)

    @app.on(OrderCreated, writes=())
    def three(event: OrderCreated) -> None: ...

    assert [handler.name for handler in app.handlers] == ["one", "two", "three"]
