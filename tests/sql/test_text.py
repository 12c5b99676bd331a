"""A statement's text as it is parsed: parameters by place and by name, and lists of any length as one."""

from __future__ import annotations

from typing import Any

import pytest

from commute.derive.routing import Route
from commute.observe.naming import Spelling
from commute.sql.ddl import schema_of
from commute.sql.parse import summarize
from commute.sql.text import prepare

SCHEMA = schema_of(["CREATE TABLE orders(id INTEGER PRIMARY KEY, status TEXT, owner INTEGER)"], dialect="postgres")
ROUTES = {"orders": Route("orders", ("id",), "orders")}


def keys(text: str, given: Any) -> set[str]:
    prepared = prepare(text, SCHEMA.dialect)
    one = Spelling(summarize(text, SCHEMA, SCHEMA.version), prepared, ROUTES, SCHEMA)
    quick = one.quickly(given)
    found = {access.key for access, _, _ in one.accesses(given)}
    assert quick is None or {access.key for access in quick} == found
    return found


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("id IN (%s, %s)", "id IN (%s, %s, %s)"),
        ("id IN ($1, $2)", "id IN ($1, $2, $3, $4)"),
        ("id IN (%(id_1_1)s, %(id_1_2)s)", "id IN (%(id_1_1)s, %(id_1_2)s, %(id_1_3)s)"),  # psycopg2, of SQLAlchemy
        ("id IN (%(i_1)s::INTEGER, %(i_2)s::INTEGER)", "id IN (%(i_1)s::INTEGER, %(i_2)s::INTEGER, %(i_3)s::INTEGER)"),
        ("id IN ($1::BIGINT, $2::BIGINT)", "id IN ($1::BIGINT, $2::BIGINT, $3::BIGINT)"),  # asyncpg, of SQLAlchemy
        ("status IN (:a::VARCHAR(3), :b::VARCHAR(3))", "status IN (:a::VARCHAR(3), :b::VARCHAR(3), :c::VARCHAR(3))"),
    ],
)
def test_lists_of_any_length_are_parsed_once(short: str, long: str) -> None:
    select = "SELECT owner FROM orders WHERE "
    one, other = prepare(select + short, "postgres"), prepare(select + long, "postgres")
    assert one.text == other.text
    assert summarize(select + short, SCHEMA, SCHEMA.version) is summarize(select + long, SCHEMA, SCHEMA.version)


@pytest.mark.parametrize(
    ("where", "given", "found"),
    [
        ("id IN (%s, %s, %s)", (7, 8, 9), {"orders/7", "orders/8", "orders/9"}),
        ("owner = %s AND id IN (%s, %s)", (1, 7, 8), {"orders/7", "orders/8"}),
        ("id IN (%(a)s, %(b)s)", {"a": 7, "b": 8}, {"orders/7", "orders/8"}),
        ("id IN (%(a)s::INTEGER, %(b)s::INTEGER)", {"a": 7, "b": 8}, {"orders/7", "orders/8"}),
        # A parameter that stands elsewhere too is one value there.
        ("id IN ($1, $2) AND owner = $2", (7, 8), {"orders/7", "orders/8"}),
        ("owner IN ($1, $2) AND id = $2", (7, 8), {"orders/8"}),
        ("owner IN (%(a)s, %(b)s) AND id = %(a)s", {"a": 7, "b": 8}, {"orders/7"}),
        ("id IN (%(a)s, %(a)s)", {"a": 7}, {"orders/7"}),
        # What is no list of parameters, or none at all.
        ("id IN (%s, 9)", (7,), {"orders/7", "orders/9"}),
        ("id = 7 AND status = 'IN (:a, :b)'", (), {"orders/7"}),
        # Any name may be an application's.
        ("id = :p_order", {"p_order": 7}, {"orders/7"}),
        ("id = :p_1", {"p_1": 7}, {"orders/7"}),
        ("id IN (:p_1, :p_2)", {"p_1": 7, "p_2": 8}, {"orders/7", "orders/8"}),
    ],
)
def test_each_parameter_stands_for_its_own_values(where: str, given: Any, found: set[str]) -> None:
    assert keys(f"SELECT owner FROM orders WHERE {where}", given) == found


def test_a_literal_stays_as_it_is() -> None:
    text = "UPDATE orders SET status = 'IN (:a, :b)' WHERE id = ?"
    assert "'IN (:a, :b)'" in prepare(text, "sqlite").text
