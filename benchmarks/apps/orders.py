"""Orders of customers, with stock that is only added to: an app that several engines may share, by customer.

The handler numbers the orders of a customer as they come, so that a wrong sequence or a second run leaves another row
behind. A negative `sku` fails until the file BENCH_FIXED is there.
"""

from __future__ import annotations

import os
from pathlib import Path

from commute import App, Context, Event, Retry

TABLES = (
    "create table trail (customer bigint, number bigint, step bigint, pid bigint)",
    "create index trail_customer on trail (customer)",
    "create table stock (sku bigint primary key, quantity bigint)",
)
BUY = "insert into stock values (?, 1) on conflict (sku) do update set quantity = stock.quantity + 1"
FIXED = Path(os.environ.get("BENCH_FIXED", "no such file"))


class Ordered(Event):
    customer: int
    number: int
    sku: int


app: App[None] = App("orders", os.environ.get("BENCH_BROKER", "memory://"), db=os.environ.get("BENCH_DB"))


@app.on(Ordered, writes="customer/{customer}", adds="stock/{sku}", retry=Retry(attempts=1))
def order(event: Ordered, ctx: Context[None]) -> None:
    if event.sku < 0 and not FIXED.exists():
        raise ValueError("poison")
    with ctx.transaction() as tx:
        ((step,),) = tx.execute("select count(*) from trail where customer = ?", (event.customer,))
        tx.execute("insert into trail values (?, ?, ?, ?)", (event.customer, event.number, step, os.getpid()))
        tx.execute(BUY, (event.sku,))
