"""Rows that are found by lists written into a statement: VALUES and unnest in the place of a table."""

from __future__ import annotations

import pytest

from commute.sql.ddl import schema_of
from commute.sql.parse import summarize
from commute.sql.statement import Const, Many, Operand, Param

SCHEMA = schema_of(
    [
        "CREATE TABLE stock(sku TEXT, depot TEXT, qty INT, PRIMARY KEY (sku, depot))",
        "CREATE TABLE orders(id BIGINT PRIMARY KEY, x INT)",
    ],
    dialect="postgres",
)
Found = tuple[dict[str, tuple[Operand, ...]], ...] | None
FIRST, SECOND = (Param(0), Param(1))
EACH: Found = ({"id": (Many(FIRST),)},)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (
            "UPDATE stock SET qty = v.q FROM (VALUES (%s, %s, 1), (%s, %s, 2)) AS v(sku, depot, q)"
            " WHERE stock.sku = v.sku AND v.depot = stock.depot",
            ({"sku": (FIRST, Param(2)), "depot": (SECOND, Param(3))},),
        ),
        ("UPDATE orders SET x = v.x FROM (VALUES (%s, 1), (7, 2)) AS v(id, x) WHERE orders.id = v.id",
         ({"id": (FIRST, Const(7))},)),
        ("UPDATE orders o SET x = d.x FROM unnest(%s::bigint[], %s::int[]) AS d(id, x) WHERE o.id = d.id", EACH),
        ("WITH v(id, x) AS (VALUES (%s, %s)) UPDATE orders SET x = v.x FROM v WHERE orders.id = v.id",
         ({"id": (FIRST,)},)),
        ("SELECT o.x FROM orders o JOIN (VALUES (%s), (%s)) AS v(id) ON v.id = o.id", ({"id": (FIRST, SECOND)},)),
        ("SELECT o.x FROM (VALUES (%s), (%s)) AS v(id) LEFT JOIN orders o ON v.id = o.id", ({"id": (FIRST, SECOND)},)),
        ("SELECT x FROM orders WHERE id IN (SELECT unnest(%s::bigint[]))", EACH),
        ("DELETE FROM orders USING (VALUES (%s)) v(id) WHERE orders.id = v.id OR orders.x = 1",
         ({"id": (FIRST,)}, {"x": (Const(1),)})),
        # What is kept all the same, what depends on rows, what is not in the list.
        ("SELECT o.x FROM orders o LEFT JOIN (VALUES (%s)) AS v(id) ON v.id = o.id", None),
        ("SELECT x FROM orders WHERE id NOT IN (SELECT unnest(%s::bigint[]))", None),
        ("UPDATE orders SET x = v.x FROM (VALUES (%s, 1), (x, 2)) AS v(id, x) WHERE orders.id = v.id", None),
        ("UPDATE orders SET x = v.x FROM (VALUES (%s, 1)) AS v(id, x) WHERE orders.x = v.x OR true", None),
        ("SELECT o.x FROM orders o, unnest(%s::bigint[]) WITH ORDINALITY AS k(id, at) WHERE o.id = k.at", None),
        ("UPDATE orders SET x = v.x FROM (VALUES (lower(%s), 1)) AS v(id, x) WHERE orders.id = v.id", None),
    ],
)  # fmt: skip
def test_rows_are_those_of_the_list(text: str, rows: Found) -> None:
    found = summarize(text, SCHEMA, SCHEMA.version)
    assert found.unknown is None
    touches = [touch for touch in found.touches if touch.kind in ("select", "update", "delete")]
    assert [touch.rows for touch in touches] == [rows]
