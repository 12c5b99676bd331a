"""Traps of the language: what runs is not what the text next to the handler seems to say."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from commute import App, Context, Event
from tests.corpus.case import Options, case
from tests.corpus.styles_sql import TABLES

F = TypeVar("F", bound=Callable[..., Any])


class Went(Event):
    order_id: int
    word: str = "x"


class Tallied(Event):
    sku: str
    kind: str = "tea"


HERE: dict[str, Any] = {"trap": True, "tables": TABLES}
SHARED = "UPDATE stock SET quantity = quantity * 2 + ? WHERE sku = 'tea'"
OWN = "UPDATE orders SET status = ? WHERE id = ?"
TWO = [(Went(order_id=1), Went(order_id=2))]


def shared(tx: Any, value: int) -> None:
    tx.execute(SHARED, (value,))


def own(tx: Any, event: Went) -> None:
    tx.execute(OWN, (event.word, event.order_id))


class Stub:
    """A base that does nothing, and what is really used."""

    def save(self, tx: Any, order_id: int) -> None: ...


class Real(Stub):
    def save(self, tx: Any, order_id: int) -> None:
        shared(tx, order_id)


STUB: Stub = Real()


@case("stub-body", **HERE, dependent=TWO, independent=[])
def stub_body(app: App[Any], options: Options) -> None:
    @app.on(Went, **options)
    async def go(event: Went, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            STUB.save(tx, event.order_id)


class Twice:
    """The second definition counts."""

    def save(self, tx: Any, event: Went) -> None:
        own(tx, event)

    def save(self, tx: Any, event: Went) -> None:  # type: ignore[no-redef]  # noqa: F811
        shared(tx, event.order_id)


@case("method-defined-twice", **HERE, dependent=TWO, independent=[])
def method_defined_twice(app: App[Any], options: Options) -> None:
    @app.on(Went, **options)
    async def go(event: Went, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            Twice().save(tx, event)


class Patched:
    def save(self, tx: Any, event: Went) -> None:
        own(tx, event)


def _other(self: Patched, tx: Any, event: Went) -> None:
    shared(tx, event.order_id)


Patched.save = _other  # type: ignore[method-assign]


@case("patched-method", **HERE, dependent=TWO, independent=[])
def patched_method(app: App[Any], options: Options) -> None:
    @app.on(Went, **options)
    async def go(event: Went, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            Patched().save(tx, event)


_made: dict[str, Any] = {}
exec("def hidden(tx, number):\n    tx.execute(SHARED, (number,))", {"SHARED": SHARED}, _made)


@case("function-without-source", **HERE, dependent=TWO, independent=[], reach="everything")
def function_without_source(app: App[Any], options: Options) -> None:
    hidden = _made["hidden"]

    @app.on(Went, **options)
    async def go(event: Went, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            own(tx, event)
            hidden(tx, event.order_id)


BOX: dict[str, Any] = {}


class Outside:
    """An unknown function that gets an id only, and has its own way to the state."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def clear(self) -> None:
        self.seen.clear()

    def look(self) -> object:
        return list(self.seen)


OUTSIDE = Outside()
exec("def tell(number):\n    seen.append(number)", {"seen": OUTSIDE.seen}, BOX)


@case(
    "unknown-function-that-gets-an-id",
    trap=True,
    clear=OUTSIDE.clear,
    look=OUTSIDE.look,
    dependent=TWO,
    independent=[],
    reach="everything",
)
def unknown_function(app: App[Any], options: Options) -> None:
    tell = BOX["tell"]

    @app.on(Went, **options)
    async def go(event: Went) -> None:
        tell(event.order_id)


@case("computed-attribute", **HERE, dependent=TWO, independent=[], reach="everything")
def computed_attribute(app: App[Any], options: Options) -> None:
    class Writer:
        def on_x(self, tx: Any, event: Went) -> None:
            shared(tx, event.order_id)

        def on_y(self, tx: Any, event: Went) -> None:
            own(tx, event)

    @app.on(Went, **options)
    async def go(event: Went, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            getattr(Writer(), f"on_{event.word}")(tx, event)


def audited(function: F) -> F:
    """A decorator with an effect of its own."""

    @functools.wraps(function)
    async def around(event: Went, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            shared(tx, event.order_id)
        await function(event, ctx)

    return around  # type: ignore[return-value]


@case("decorator-with-an-effect", **HERE, dependent=TWO, independent=[])
def decorator_with_an_effect(app: App[Any], options: Options) -> None:
    @app.on(Went, **options)
    @audited
    async def go(event: Went, ctx: Context) -> None:
        return


class Row:
    """A row whose attributes and operators run SQL."""

    def __init__(self, tx: Any, number: int) -> None:
        self._tx, self._number = tx, number

    @property
    def quantity(self) -> int:
        shared(self._tx, self._number)
        return self._number

    def __iadd__(self, value: int) -> Row:
        shared(self._tx, value)
        return self

    def __bool__(self) -> bool:
        shared(self._tx, self._number + 7)
        return True


@case("property-with-an-effect", **HERE, dependent=TWO, independent=[])
def property_with_an_effect(app: App[Any], options: Options) -> None:
    @app.on(Went, **options)
    async def go(event: Went, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            _ = Row(tx, event.order_id).quantity


@case("operator-with-an-effect", **HERE, dependent=TWO, independent=[])
def operator_with_an_effect(app: App[Any], options: Options) -> None:
    @app.on(Went, **options)
    async def go(event: Went, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            row = Row(tx, event.order_id)
            row += event.order_id


@case("truth-with-an-effect", **HERE, dependent=TWO, independent=[])
def truth_with_an_effect(app: App[Any], options: Options) -> None:
    @app.on(Went, **options)
    async def go(event: Went, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            if Row(tx, event.order_id):
                own(tx, event)


@case("effect-in-except", **HERE, dependent=TWO, independent=[])
def effect_in_except(app: App[Any], options: Options) -> None:
    @app.on(Went, **options)
    async def go(event: Went, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            try:
                int(event.word)
            except ValueError:
                shared(tx, event.order_id)
            else:
                own(tx, event)


@case("effect-in-finally", **HERE, dependent=TWO, independent=[])
def effect_in_finally(app: App[Any], options: Options) -> None:
    @app.on(Went, **options)
    async def go(event: Went, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            try:
                if event.word:
                    return
            finally:
                shared(tx, event.order_id)


@case("lambda-in-a-table", **HERE, dependent=TWO, independent=[])
def lambda_in_a_table(app: App[Any], options: Options) -> None:
    ways: dict[str, Callable[[Any, Went], None]] = {
        "x": lambda tx, event: shared(tx, event.order_id),
        "y": lambda tx, event: own(tx, event),
    }

    @app.on(Went, **options)
    async def go(event: Went, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            ways[event.word](tx, event)


@case("override-in-a-subclass", **HERE, dependent=TWO, independent=[])
def override_in_a_subclass(app: App[Any], options: Options) -> None:
    class Base:
        def run(self, tx: Any, event: Went) -> None:
            self.step(tx, event)

        def step(self, tx: Any, event: Went) -> None:
            own(tx, event)

    class Mine(Base):
        def step(self, tx: Any, event: Went) -> None:
            super().step(tx, event)
            shared(tx, event.order_id)

    @app.on(Went, **options)
    async def go(event: Went, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            Mine().run(tx, event)


COUNTER = {"last": 0}


def _clear() -> None:
    COUNTER["last"] = 0
    _GLOBAL[0] = 0


_GLOBAL = [0]


@case("mutated-global", trap=True, clear=_clear, look=lambda: dict(COUNTER), dependent=TWO, independent=[])
def mutated_global(app: App[Any], options: Options) -> None:
    @app.on(Went, **options)
    async def go(event: Went) -> None:
        COUNTER["last"] = event.order_id


@case("state-in-a-closure", trap=True, clear=_clear, look=lambda: _GLOBAL[0], dependent=TWO, independent=[])
def state_in_a_closure(app: App[Any], options: Options) -> None:
    cell = _GLOBAL

    def remember(number: int) -> None:
        cell[0] = cell[0] * 3 + number

    @app.on(Went, **options)
    async def go(event: Went) -> None:
        remember(event.order_id)


@case("state-in-a-default", trap=True, clear=_clear, look=lambda: _GLOBAL[0], dependent=TWO, independent=[])
def state_in_a_default(app: App[Any], options: Options) -> None:
    def remember(number: int, cell: list[int] = _GLOBAL) -> None:
        cell[0] = cell[0] * 3 + number

    @app.on(Went, **options)
    async def go(event: Went) -> None:
        remember(event.order_id)


@case("lazy-generator", **HERE, dependent=TWO, independent=[])
def lazy_generator(app: App[Any], options: Options) -> None:
    def steps(tx: Any, event: Went) -> Any:
        own(tx, event)
        yield 1
        shared(tx, event.order_id)
        yield 2

    @app.on(Went, **options)
    async def go(event: Went, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            for _ in steps(tx, event):
                pass


@case("partial-and-map", **HERE, dependent=TWO, independent=[])
def partial_and_map(app: App[Any], options: Options) -> None:
    @app.on(Went, **options)
    async def go(event: Went, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            list(map(functools.partial(shared, tx), [event.order_id]))


@case("cached-function", **HERE, dependent=TWO, independent=[])
def cached_function(app: App[Any], options: Options) -> None:
    def go(event: Went, ctx: Context) -> None:
        with ctx.transaction() as tx:

            @functools.lru_cache
            def once(number: int) -> int:
                shared(tx, number)
                return number

            once(event.order_id)

    app.on(Went, **options)(go)
