"""Statements that are no plain query and no plain change: what they touch, and that what is not known stays so."""

from __future__ import annotations

import pytest

from commute.sql.ddl import schema_of
from commute.sql.parse import summarize
from commute.sql.schema import Schema

POSTGRES = schema_of(
    [
        "CREATE TABLE orders(id BIGSERIAL PRIMARY KEY, status TEXT)",
        "CREATE TABLE line(id BIGSERIAL PRIMARY KEY, order_id BIGINT REFERENCES orders(id), sku TEXT)",
    ],
    dialect="postgres",
)
MYSQL = schema_of(
    [
        "CREATE TABLE orders(id INT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(9) COLLATE utf8mb4_bin UNIQUE, qty INT)",
        "CREATE TABLE line(id INT PRIMARY KEY, order_id INT, qty INT, FOREIGN KEY (order_id) REFERENCES orders(id))",
    ],
    dialect="mysql",
)
SQLITE = schema_of(
    ["CREATE TABLE orders(id INTEGER PRIMARY KEY, code TEXT UNIQUE, qty)", "CREATE TABLE kv(k, v, PRIMARY KEY(k))"]
)


def told(text: str, schema: Schema) -> set[str]:
    """``write orders.id`` for rows by a column, ``write orders`` for any of them; ``?`` for what is not known."""
    found = summarize(text, schema, schema.version)
    if found.unknown is not None:
        return {"?"}
    return {
        f"{touch.mode} {touch.table}" + "".join(sorted(f".{column}" for row in touch.rows or () for column in row))
        for touch in found.touches
        if touch.kind not in ("insert", "unique", "parent")
    }


@pytest.mark.parametrize(
    ("text", "touched"),
    [
        ("SET LOCAL lock_timeout = '2s'", set()),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", set()),
        ("SET LOCAL app.tenant = '7'", set()),
        ("SELECT set_config('app.tenant', %s, true)", set()),
        ("SELECT pg_advisory_xact_lock(hashtext(%s))", set()),
        ("SELECT pg_try_advisory_lock(%s)", {"write lock"}),
        ("SELECT nextval('public.Numbers')", {"write numbers"}),
        ("SELECT nextval('numbers'::regclass) FROM orders WHERE id = %s", {"write numbers", "read orders.id"}),
        ("SELECT pg_notify('news', %s)", {"write notify"}),
        ("NOTIFY news, 'x'", {"write notify"}),
        ("LOCK TABLE ONLY_A, public.b IN SHARE ROW EXCLUSIVE MODE NOWAIT", {"write only_a", "write public.b"}),
        ("TRUNCATE line", {"write line"}),
        ("TRUNCATE orders", {"write orders", "read line"}),
        ("TRUNCATE orders RESTART IDENTITY CASCADE", {"write orders", "write line", "read line"}),
        ("COPY line (order_id) FROM STDIN", set()),
        ("COPY line TO STDOUT", {"read line"}),
        ("COPY (SELECT * FROM orders WHERE id = 1) TO STDOUT", {"read orders.id"}),
        ("MERGE INTO line l USING orders o ON l.id = o.id WHEN MATCHED THEN DELETE", {"write line", "read orders"}),
        # What may mean other tables, or anything.
        ("SET search_path TO other", {"?"}),
        ("SET ROLE admin", {"?"}),
        ("SET app.tenant = '7'", {"?"}),
        ("SELECT set_config('search_path', %s, true)", {"?"}),
        ("SELECT set_config('app.tenant', %s, false)", {"?"}),
        ("SELECT nextval(%s)", {"?"}),
        ("SELECT pay(%s)", {"?"}),
        ("SET LOCAL lock_timeout = '2s'; SELECT pay(1)", {"?"}),
        ("CALL pay(1)", {"?"}),
    ],
)
def test_what_postgresql_is_told(text: str, touched: set[str]) -> None:
    assert told(text, POSTGRES) == touched


@pytest.mark.parametrize(
    ("text", "touched"),
    [
        (
            "INSERT INTO orders (code, qty) VALUES (%s, 1) ON DUPLICATE KEY UPDATE qty = qty + VALUES(qty)",
            {"write orders.code"},
        ),
        ("SELECT VALUES(qty) FROM orders", {"?"}),
        # Changes of several tables: each of them is changed, and the one that is only looked at is read.
        ("DELETE o FROM orders o WHERE o.id = %s", {"write orders.id", "read line.order_id"}),
        ("DELETE l FROM orders o JOIN line l ON l.order_id = o.id WHERE o.id = %s", {"read orders.id", "write line"}),
        (
            "DELETE o, l FROM orders o JOIN line l ON l.order_id = o.id WHERE o.id = %s AND l.id = %s",
            {"write orders.id", "write line.id", "read line.order_id"},
        ),
        (
            "UPDATE orders o JOIN line l ON l.order_id = o.id SET o.qty = 1, l.qty = 2 WHERE o.id = %s",
            {"write orders.id", "read line", "write line"},
        ),
        (
            "UPDATE orders o JOIN line l ON l.order_id = o.id SET o.qty = 1 WHERE o.id = %s",
            {"write orders.id", "read line"},
        ),
        ("LOCK TABLES orders READ, line WRITE", {"write orders", "write line"}),
        ("UNLOCK TABLES", set()),
        ("SELECT GET_LOCK(%s, 10)", {"write lock"}),
        ("SELECT RELEASE_LOCK(%s)", set()),
        ("SET @counter = 1", {"?"}),
    ],
)
def test_what_mysql_is_told(text: str, touched: set[str]) -> None:
    assert told(text, MYSQL) == touched


@pytest.mark.parametrize(
    ("text", "touched"),
    [
        ("UPDATE OR IGNORE orders SET qty = ? WHERE id = ?", {"write orders.id"}),
        ("UPDATE OR REPLACE orders SET code = ? WHERE id = ?", {"?"}),  # it deletes who has the code
        ("SELECT * FROM orders INDEXED BY by_code WHERE id = $id", {"read orders.id"}),
        ("INSERT INTO kv VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v", {"write kv.k"}),
    ],
)
def test_what_sqlite_is_told(text: str, touched: set[str]) -> None:
    assert told(text, SQLITE) == touched


def test_the_next_number_of_a_new_row_is_its_own() -> None:
    found = summarize("INSERT INTO orders(id, status) VALUES (nextval('orders_id_seq'), 'new')", POSTGRES, "v")
    assert [(touch.table, touch.kind, [list(row) for row in touch.rows or ()]) for touch in found.touches] == [
        ("orders", "insert", [["status"]])
    ]


def test_rows_that_are_copied_are_not_known_and_have_parents() -> None:
    found = summarize("COPY line (order_id) FROM STDIN", POSTGRES, POSTGRES.version)
    assert {(touch.mode, touch.table, touch.kind) for touch in found.touches} == {
        ("write", "line", "insert"), ("write", "line", "unique"), ("read", "orders", "parent"),
    }  # fmt: skip
    assert all(touch.rows is None for touch in found.touches if touch.table == "line")


def test_a_merge_meets_parents_and_children() -> None:
    text = (
        "MERGE INTO line l USING (SELECT 1 AS id) s ON l.id = s.id WHEN NOT MATCHED THEN INSERT (order_id) VALUES (1)"
    )
    assert ("read", "orders", "parent") in {
        (touch.mode, touch.table, touch.kind) for touch in summarize(text, POSTGRES, POSTGRES.version).touches
    }
    text = "MERGE INTO orders o USING line l ON l.id = o.id WHEN MATCHED THEN DELETE"
    assert ("read", "line", "child") in {
        (touch.mode, touch.table, touch.kind) for touch in summarize(text, POSTGRES, POSTGRES.version).touches
    }
