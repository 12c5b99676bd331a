"""Unique values of rows that the database numbers: which keys stand for them, where, and where the table does.

That the pairs of `tests.corpus.styles_unique` end as these keys say is held to runs by the corpus itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from sqlalchemy import Column as SaColumn
from sqlalchemy import Computed, Index, MetaData, String, Table, UniqueConstraint, func, text
from sqlalchemy import Integer as SaInteger
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from commute import App, Context, Event
from commute.derive.sqlalchemy.schema import schema_of_metadata
from commute.errors import UndeclaredAccessError
from commute.sql.ddl import schema_of
from commute.testing import run

USERS = "CREATE TABLE users(id INTEGER PRIMARY KEY, email TEXT UNIQUE, login TEXT UNIQUE, name TEXT)"
NARROW = {"insert users/+new", "write users/+email/n@x", "write users/+login/n"}
WHOLE = {"insert users/+new", "write users"}


class Joined(Event):
    email: str | None = "n@x"
    login: str = "n"


class Signed(Event):
    email: str
    login: str


class Renamed(Event):
    id: int = 7
    name: str = "new"


class Left(Event):
    id: int = 7


def join(event: Joined, ctx: Context) -> None:
    with ctx.transaction() as tx:
        tx.execute("INSERT INTO users(email, login) VALUES(?, ?)", (event.email, event.login))


def sign(event: Signed, ctx: Context) -> None:
    with ctx.transaction() as tx:
        tx.execute("INSERT INTO users(email, login) VALUES(?, ?)", (event.email, event.login))


def rename(event: Renamed, ctx: Context) -> None:
    with ctx.transaction() as tx:
        tx.execute("UPDATE users SET name = ? WHERE id = ?", (event.name, event.id))


def leave(event: Left, ctx: Context) -> None:
    with ctx.transaction() as tx:
        tx.execute("DELETE FROM users WHERE id = ?", (event.id,))


def note_left(event: Left) -> None:
    delete_user(event.id)


def delete_user(number: int) -> None:
    """Not followed: of it is said what it touches."""


def made(**options: dict[str, Any]) -> App[Any]:
    """An app with `join`, `rename` and `leave`, each with options of its own."""
    app: App[Any] = App("users", "memory://")
    app.on(Joined, **options.get("join", {"derive": True}))(join)
    app.on(Renamed, **options.get("rename", {"derive": True}))(rename)
    app.on(Left, **options.get("leave", {"derive": True}))(leave)
    return app


def keys(app: App[Any], event: object, ddl: Sequence[str] = (USERS,)) -> set[str]:
    """What the footprint of an event names."""
    app.definitions = lambda: list(ddl)  # type: ignore[method-assign]
    (found,) = [one for handler in app.handlers for one in handler.events if one.codec.cls is type(event)]
    return {f"{access.mode} {access.key}" for access in found.declared.footprint(event)}


def test_a_new_row_takes_its_values_and_no_other_row() -> None:
    assert keys(made(), Joined()) == NARROW
    assert keys(made(), Renamed()) == {"write users/7"}
    assert keys(made(), Left()) == {"write users/7", "read users/+email", "read users/+login"}


def test_a_value_that_is_none_is_nobodys() -> None:
    assert keys(made(), Joined(email=None)) == {"insert users/+new", "write users/+login/n"}


def test_a_value_that_is_too_long_is_any_value() -> None:
    app = made()
    app.on(Signed, derive=True)(sign)
    assert keys(app, Signed(email="e@x", login="n")) == NARROW - {"write users/+email/n@x"} | {"write users/+email/e@x"}
    computed = {"insert users/+new", "write users/+email", "write users/+login/n"}
    assert keys(app, Joined(email="e" * 300)) == computed
    by_template = {"write users", "write users/+email", "write users/+login"}  # all that the handler touches
    assert keys(app, Signed(email="e" * 300, login="n")) == by_template


class Stocked(Event):
    sku: str = "tea"


def stock(event: Stocked) -> None:
    with psycopg.connect("postgresql://nowhere") as connection:
        connection.execute("INSERT INTO goods(id, sku) VALUES (%s, %s)", (uuid.uuid4(), event.sku))


def test_a_value_by_chance_is_the_events_own_however_its_column_compares() -> None:
    app: App[Any] = App("goods", "memory://")
    app.on(Stocked, derive=True)(stock)
    ddl = ["CREATE TABLE goods(sku TEXT PRIMARY KEY, id UUID UNIQUE)"]
    assert keys(app, Stocked(), ddl) == {"write goods/tea", "insert goods/+id/+new"}


LOOSE = [
    ("sqlite", f"{USERS}; CREATE UNIQUE INDEX one ON users(name) WHERE name <> ''"),
    ("sqlite", f"{USERS}; CREATE UNIQUE INDEX one ON users(lower(name))"),
    ("sqlite", f"{USERS}; CREATE UNIQUE INDEX one ON users(name COLLATE NOCASE)"),
    ("sqlite", f"CREATE UNIQUE INDEX one ON users(lower(name)); {USERS}"),
    ("sqlite", f"{USERS[:-1]}, UNIQUE (name) ON CONFLICT REPLACE)"),
    ("sqlite", f"{USERS[:-1]}, UNIQUE (name COLLATE NOCASE))"),
    ("sqlite", f"{USERS[:-1]}, mark TEXT AS (lower(name)) UNIQUE)"),
    ("postgres", f"{USERS[:-1]}, mark TEXT GENERATED ALWAYS AS (lower(name)) STORED UNIQUE)"),
    ("postgres", f"{USERS[:-1]}, UNIQUE NULLS NOT DISTINCT (name))"),
    ("postgres", f"{USERS[:-1]}, CONSTRAINT one UNIQUE NULLS NOT DISTINCT (name))"),
    ("postgres", f"{USERS[:-1]}, EXCLUDE USING gist (name WITH =))"),
    ("postgres", f"{USERS}; CREATE UNIQUE INDEX one ON public.users (name) NULLS NOT DISTINCT"),
    ("postgres", f"{USERS}; ALTER TABLE ONLY users ADD CONSTRAINT one UNIQUE (name)"),
    ("mysql", f"{USERS[:-1]}, UNIQUE KEY one (name(8)))"),
    ("mysql", f"{USERS[:-1]}, at TIMESTAMP ON UPDATE CURRENT_TIMESTAMP)"),
]
STRICT = [
    ("sqlite", USERS),
    ("sqlite", f"{USERS[:-1]}, CHECK (name <> ''), FOREIGN KEY (name) REFERENCES other(name) ON DELETE SET NULL)"),
    ("sqlite", f"{USERS}; CREATE UNIQUE INDEX one ON users(name DESC); CREATE INDEX two ON users(lower(name))"),
    ("sqlite", f"{USERS}; CREATE TRIGGER t AFTER INSERT ON users BEGIN SELECT 1; END"),
    ("postgres", "CREATE TABLE users(id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email TEXT NOT NULL UNIQUE)"),
    ("postgres", "CREATE TABLE users(id SERIAL PRIMARY KEY, at DATE DEFAULT now(), UNIQUE (at) DEFERRABLE)"),
    ("mysql", f"{USERS[:-1]}, UNIQUE KEY one (name), KEY two (name))"),
]


@pytest.mark.parametrize(("dialect", "definitions"), LOOSE)
def test_a_table_whose_rows_collide_by_more_is_told(dialect: str, definitions: str) -> None:
    assert not schema_of([definitions], dialect).is_strict("users")


@pytest.mark.parametrize(("dialect", "definitions"), STRICT)
def test_so_is_one_whose_rows_do_not(dialect: str, definitions: str) -> None:
    assert schema_of([definitions], dialect).is_strict("users")


def test_a_trigger_may_change_values_unless_it_is_sqlites() -> None:
    body = "CREATE TRIGGER t BEFORE INSERT ON users BEGIN SELECT 1; END"
    assert schema_of([USERS, body], "sqlite").is_strict("users")
    assert not schema_of([USERS, body], "postgres").is_strict("users")


@pytest.mark.parametrize("definitions", [given for dialect, given in LOOSE if dialect == "sqlite"])
def test_there_a_new_row_is_the_table(definitions: str) -> None:
    assert keys(made(), Joined(), [definitions]) >= WHOLE
    assert "read users/+email" not in keys(made(), Left(), [definitions])


def of_metadata(*parts: Any) -> bool:
    metadata = MetaData()
    Table("users", metadata, SaColumn("id", SaInteger, primary_key=True), *parts)
    return schema_of_metadata(metadata, "postgres", 1).is_strict("users")


def test_a_table_of_sqlalchemy_is_told_too() -> None:
    email = SaColumn("email", String, unique=True)
    assert of_metadata(email)
    assert of_metadata(SaColumn("email", String), UniqueConstraint("email", deferrable=True))
    assert of_metadata(SaColumn("email", String), Index("one", "email", unique=True))
    assert of_metadata(SaColumn("email", String), Index("one", func.lower(SaColumn("email"))))
    for parts in (
        [SaColumn("email", String), UniqueConstraint("email", postgresql_nulls_not_distinct=True)],
        [email._copy(), SaColumn("n", String), Index("one", "n", unique=True, postgresql_where=text("n <> ''"))],
        [SaColumn("email", String), Index("one", text("lower(email)"), unique=True)],
        [SaColumn("email", String, Computed("lower(name)"), unique=True)],
        [SaColumn("email", String, unique=True, onupdate="x")],
        [SaColumn("email", String, unique=True, sqlite_on_conflict_unique="REPLACE")],
        [email._copy(), ExcludeConstraint(("email", "="))],
    ):
        assert not of_metadata(*parts), parts


BY_HAND = {"writes": "users/{id}"}
NAMED = {"writes": "users/{id}", "reads": ["users/+email", "users/+login"]}


@pytest.mark.parametrize(
    ("others", "narrow"),
    [
        ({}, True),
        ({"leave": BY_HAND}, False),
        ({"leave": {**BY_HAND, "reads": "users/+email"}}, False),
        ({"leave": NAMED}, True),
        ({"leave": {"writes": "users"}}, True),
        ({"leave": NAMED, "rename": BY_HAND}, True),  # it makes nothing free
        ({"leave": {}}, True),  # everything
        ({"leave": {"unordered": True}}, True),
    ],
)
def test_who_declares_the_table_has_to_name_them(others: dict[str, Any], narrow: bool) -> None:
    assert keys(made(**others), Joined()) == (NARROW if narrow else WHOLE)


def test_so_has_a_function_of_which_is_said_what_it_touches() -> None:
    for writes, narrow in (("users/{number}", False), ("orders/{number}", True)):
        app = made()
        app.accesses(writes=writes)(delete_user)
        app.on(Left, derive=True)(note_left)
        assert keys(app, Joined()) == (NARROW if narrow else WHOLE)


def test_what_is_derived_can_be_declared_and_is_left_in_peace() -> None:
    app = made(
        join={"adds": "users/+new", "writes": ["users/+email/{email?}", "users/+login/{login}"]},
        rename=BY_HAND,
        leave=NAMED,
    )
    events = [Joined(), Joined(email=None, login="m"), Renamed(id=1), Left(id=1)]
    result = run(app, events, tables=[USERS], sanitize=True)
    assert not result.dead
    assert result.tables["users"] == [(2, None, "m", None)]


def test_a_declared_delete_that_does_not_name_them_is_refused_as_soon_as_somebody_does() -> None:
    app = made(
        join={"adds": "users/+new", "writes": ["users/+email/{email?}", "users/+login/{login}"]},
        rename=BY_HAND,
        leave=BY_HAND,
    )
    with pytest.raises(UndeclaredAccessError, match=r'leave reads users/\+email .* declare reads="users/\+email"'):
        run(app, [Joined(), Left(id=1)], tables=[USERS], sanitize=True)
