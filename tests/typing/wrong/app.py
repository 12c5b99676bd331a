"""Mistakes with an app that type checkers must report, each on the line marked so, and no others."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from commute import App, Context, Event, Router


class OrderCreated(Event):
    order_id: int


@asynccontextmanager
async def lifespan() -> AsyncGenerator[int, None]:
    yield 4


app = App("shop", lifespan=lifespan)
App("shop", lifespn=lifespan)  # error
App("shop", keys=7)  # error


@app.on(OrderCreated)  # error
def other_state(event: OrderCreated, ctx: Context[str]) -> None: ...


@app.on(OrderCreated, writes=lambda e: f"order/{e.oder_id}")  # error
def unknown_field(event: OrderCreated) -> None: ...


app.include(Router[str]())  # error
