"""What is told of a statement at once is what is told of it step by step; of long lists it is the table."""

from __future__ import annotations

from typing import Any

import pytest

from commute.derive.routing import KEYS_MAX, Route, with_unique
from commute.observe.naming import Spelling
from commute.sql.ddl import schema_of
from commute.sql.parse import summarize
from commute.sql.text import prepare

DDL = (
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, status TEXT)",
    "CREATE TABLE goods(sku TEXT PRIMARY KEY, stock INTEGER, depot TEXT)",
    "CREATE TABLE customer(email TEXT COLLATE NOCASE PRIMARY KEY)",
    "CREATE TABLE audit(id INTEGER PRIMARY KEY, word TEXT)",
    "CREATE TABLE parcel(id INTEGER PRIMARY KEY, orders_id INTEGER REFERENCES orders(id), "
    "stock INTEGER REFERENCES goods(stock))",
    "CREATE TABLE guest(id INTEGER PRIMARY KEY, email TEXT UNIQUE, room INTEGER, bed TEXT, UNIQUE (room, bed))",
)
ROUTES = {
    table: Route(table, (column,), table)
    for table, column in (
        ("orders", "id"),
        ("goods", "sku"),
        ("customer", "email"),
        ("audit", "id"),
        ("parcel", "id"),
        ("guest", "id"),
    )
}


def spelling(text: str) -> Spelling:
    schema = schema_of(DDL)
    return Spelling(summarize(text, schema, schema.version), prepare(text, "sqlite"), ROUTES, schema)


@pytest.mark.parametrize(
    ("text", "given", "quick"),
    [
        ("UPDATE orders SET status = ? WHERE id = ?", ("paid", 7), True),
        ("UPDATE orders SET status = :status WHERE id = :id", {"status": "paid", "id": 7}, True),
        ("UPDATE orders SET status = ? WHERE id = ?", ("paid", "07"), False),
        ("UPDATE orders SET status = ? WHERE id = ?", ("paid", True), False),
        ("UPDATE orders SET status = ? WHERE id = ?", ("paid", 1 << 70), False),
        ("UPDATE goods SET stock = stock + ? WHERE sku = ?", (1, "a/b*"), True),
        ("UPDATE goods SET stock = stock + ? WHERE sku = ?", (1, "é" * 300), False),
        ("SELECT email FROM customer WHERE email = ?", ("ANN@x",), False),
        ("SELECT status FROM orders WHERE status = ?", ("paid",), True),
        ("INSERT INTO audit(word) VALUES(?)", ("x",), True),
        ("INSERT INTO guest(email, room, bed) VALUES(?, 7, ?)", ("a@x", "b"), False),
        ("INSERT INTO guest(email, room, bed) VALUES(?, ?, ?)", ("a@x", 7, "b"), True),
        ("INSERT INTO guest(email, room, bed) VALUES(?, ?, ?)", ("a@x", 7, None), False),
        ("INSERT INTO guest(email) VALUES(:email)", {"email": "a@x"}, True),
        ("INSERT INTO guest(email) VALUES(:email)", {"email": None}, False),
        ("SELECT status FROM orders WHERE id IN (?, ?)", (1, 2), False),
    ],
)
def test_what_is_told_at_once_is_what_is_told_step_by_step(text: str, given: Any, *, quick: bool) -> None:
    one = spelling(text)
    found = one.quickly(given)
    assert (found is not None) == quick
    slowly = [access for access, _, _ in one.accesses(given)]
    assert slowly
    assert found is None or found == slowly


@pytest.mark.parametrize(("count", "keys"), [(KEYS_MAX, KEYS_MAX), (KEYS_MAX + 1, 1), (1_000, 1)])
def test_a_long_list_is_the_table(count: int, keys: int) -> None:
    one = spelling(f"SELECT status FROM orders WHERE id IN ({', '.join('?' * count)})")
    found = [access.key for access, _, _ in one.accesses(tuple(range(count)))]
    assert len(found) == keys
    assert found == (["orders"] if keys == 1 else [f"orders/{number}" for number in range(count)])


@pytest.mark.parametrize(
    ("orders_id", "stock", "parents"),
    [(7, None, ["orders/7"]), (None, 3, ["goods"]), (None, None, []), (7, 3, ["orders/7", "goods"])],
)
def test_a_foreign_key_that_is_null_has_no_parent(orders_id: int | None, stock: int | None, parents: list[str]) -> None:
    one = spelling("INSERT INTO parcel(orders_id, stock) VALUES(?, ?)")
    given = (orders_id, stock)
    assert [access.key for access, _, _ in one.accesses(given) if access.mode == "read"] == parents
    quick = one.quickly(given)
    assert quick is None or [access.key for access in quick if access.mode == "read"] == parents


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        ("UPDATE goods SET stock = stock + ? WHERE sku = ?", (1, "a"), ("goods/a", "add")),
        # Who asks for more than the key, or leaves the key open, depends on what others have added.
        ("UPDATE goods SET stock = stock + ? WHERE sku = ? AND depot = ?", (1, "a", "d"), ("goods/a", "write")),
        ("UPDATE goods SET stock = stock + ?", (1,), ("goods", "write")),
    ],
)
def test_an_addition_is_one_where_its_row_is_told_by_its_key(text: str, given: Any, expected: tuple[str, str]) -> None:
    assert next(access for access, _, _ in spelling(text).accesses(given)) == expected


def test_an_addition_to_one_of_several_rows_under_their_parent_writes_all_of_them() -> None:
    schema = schema_of(DDL)
    routes = ROUTES | {"parcel": Route("parcel", ("id",), "parcel", ROUTES["orders"], ("orders_id", "id"))}
    text = "UPDATE parcel SET stock = stock + 1 WHERE orders_id = ?"
    one = Spelling(summarize(text, schema, schema.version), prepare(text, "sqlite"), routes, schema)
    assert ("orders/7/parcel", "write") in [access for access, _, _ in one.accesses((7,))]


GUESTS = (
    "CREATE TABLE guest(id INTEGER PRIMARY KEY, email TEXT COLLATE NOCASE UNIQUE, room INTEGER, bed TEXT, name TEXT, "
    "UNIQUE (room, bed))",
)


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        (
            "INSERT INTO guest(email, room, bed) VALUES(?, ?, ?)",
            ("ANN@x", 7, "a/b"),
            ["insert guest/+new", "write guest/+email/ann@x", "write guest/+room.bed/7/a%2Fb"],
        ),
        (
            "INSERT INTO guest(email, room) VALUES(?, ?)",
            (None, 7),
            ["insert guest/+new"],
        ),
        ("UPDATE guest SET name = ? WHERE id = ?", ("n", 1), ["write guest/1"]),
        (
            "UPDATE guest SET email = ? WHERE id = ?",
            ("b@x", 1),
            ["write guest/1", "read guest/+email", "write guest/+email/b@x"],
        ),
        (
            "UPDATE guest SET email = ? WHERE id = ? AND email = ?",
            ("b@x", 1, "A@x"),
            ["write guest/1", "read guest/+email/a@x", "write guest/+email/b@x"],
        ),
        (
            "UPDATE guest SET bed = ? WHERE id = ?",
            ("b", 1),
            ["write guest/1", "read guest/+room.bed", "write guest/+room.bed"],
        ),
        (
            "DELETE FROM guest WHERE id = ?",
            (1,),
            ["write guest/1", "read guest/+email", "read guest/+room.bed"],
        ),
        ("DELETE FROM guest WHERE email = ?", ("a@x",), ["write guest"]),
        ("SELECT id FROM guest WHERE email = ?", ("a@x",), ["read guest"]),
        ("INSERT OR REPLACE INTO guest(email) VALUES(?)", ("a@x",), ["insert guest/+new", "write guest"]),
        (
            "INSERT INTO guest(email) VALUES(?) ON CONFLICT(email) DO UPDATE SET name = 'n'",
            ("a@x",),
            ["insert guest/+new", "write guest/+email/a@x", "write guest"],
        ),
        (
            "INSERT INTO guest(email) SELECT email FROM guest",
            (),
            ["insert guest/+new", "write guest/+email", "read guest"],
        ),
    ],
)
def test_unique_values_stand_beside_the_rows(text: str, given: Any, expected: list[str]) -> None:
    assert beside(text, given) == set(expected)


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        ("INSERT INTO guest(email) VALUES(?)", ("a@x",), {"insert guest/+new", "write guest"}),
        ("UPDATE guest SET email = ? WHERE id = ?", ("b@x", 1), {"write guest/1", "write guest"}),
        ("DELETE FROM guest WHERE id = ?", (1,), {"write guest/1"}),
    ],
)
def test_in_a_table_that_is_not_as_it_was_thought_to_be_they_are_any_row(
    text: str, given: Any, expected: set[str]
) -> None:
    assert beside(text, given, "CREATE UNIQUE INDEX one ON guest(lower(name))") == expected


def beside(text: str, given: Any, *more: str) -> set[str]:
    """What a statement touches by a route with unique values, at once and step by step."""
    known, schema = schema_of(GUESTS).table("guest"), schema_of((*GUESTS, *more))
    assert known is not None
    route = with_unique(Route("guest", ("id",), "guest"), known.uniques, known.columns.get)
    one = Spelling(summarize(text, schema, schema.version), prepare(text, "sqlite"), {"guest": route}, schema)
    slowly = [access for access, _, _ in one.accesses(given)]
    quickly = one.quickly(given)
    assert quickly is None or quickly == slowly
    return {f"{access.mode} {access.key}" for access in slowly}
