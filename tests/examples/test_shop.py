"""The example of the repository works, in virtual time and with the real store."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from commute.testing import assert_conflict, assert_independent, run

FILE = Path(__file__).parents[2] / "examples" / "shop" / "shop.py"


@pytest.fixture(scope="module")
def shop() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_shop", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["example_shop"] = module  # annotations are looked up there
    spec.loader.exec_module(module)
    return module


def order(shop: ModuleType, order_id: int, *skus: str) -> Any:
    return shop.OrderCreated(order_id=order_id, customer_id=7, skus=list(skus))


def test_orders_of_the_same_goods_are_independent_and_the_steps_of_one_are_not(shop: ModuleType) -> None:
    one, two = order(shop, 1, "tea", "mug"), order(shop, 2, "tea")
    assert_independent(shop.app, one, two)
    assert_conflict(shop.app, one, shop.PaymentProcessed(order_id=1), on="order/1")
    assert_independent(shop.app, one, shop.PaymentProcessed(order_id=2))


def test_several_engines_may_share_it_by_order(shop: ModuleType) -> None:
    found = shop.app.partitioning()
    found.check("orders", 16)
    assert {found.label_of(type_, shop.OrderShipped(order_id=42)) for type_ in found.labels} == {"42"}


def test_orders_are_paid_and_shipped_in_virtual_time(shop: ModuleType) -> None:
    events = [
        order(shop, 1, "tea"),
        order(shop, 2, "tea", "mug"),
        order(shop, 3, "wine"),
        order(shop, 4, "mug"),
    ]
    events += [shop.PaymentProcessed(order_id=n) for n in (1, 2, 3)]
    result = run(shop.app, events, tables=shop.TABLES)
    assert [(one.event, one.status) for one in result.dead] == [(events[2], "parked"), (events[6], "held")]
    assert result.tables == {
        "stock": [("mug", 18), ("tea", 98)],
        "orders": [(1, "shipped"), (2, "shipped"), (4, "created")],
    }
    assert result.concurrency_max > 1


async def test_the_real_worker_does_the_same(shop: ModuleType, tmp_path: Path) -> None:
    app = shop.app
    app.override(broker=f"sqlite:///{tmp_path}/shop.db")
    async with app, app.running():
        await app.publish_many([order(shop, 1, "tea"), order(shop, 2, "tea", "mug")])
        receipt = await app.publish(shop.PaymentProcessed(order_id=1))
        assert (await receipt.outcome(timeout_s=10)) is not None
        async with asyncio.timeout(10):
            while ("shipped",) not in await rows(app, "SELECT status FROM orders"):
                await asyncio.sleep(0.01)
        assert await rows(app, "SELECT * FROM stock ORDER BY sku") == [("mug", 19), ("tea", 98)]


async def rows(app: Any, sql: str) -> list[tuple[object, ...]]:
    async with app.transaction() as tx:
        return list(tx.execute(sql))
