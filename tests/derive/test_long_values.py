"""Values that make no key: a derived footprint is the table then, and the event is run, not rejected."""

from __future__ import annotations

from typing import Any

from commute import App, Context, Event
from commute.testing import assert_conflict, assert_independent, run

TABLES = ("CREATE TABLE note(topic TEXT PRIMARY KEY, body TEXT)",)


class Noted(Event):
    topic: str


class Dropped(Event):
    topics: list[str]


def made() -> App[Any]:
    app: App[Any] = App("notes", "memory://", derive=True)

    @app.on(Noted)
    async def note(event: Noted, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("INSERT INTO note VALUES(?, 'x')", (event.topic,))

    @app.on(Dropped)
    async def drop(event: Dropped, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            for topic in event.topics:
                tx.execute("DELETE FROM note WHERE topic = ?", (topic,))

    return app


def test_a_text_that_is_too_long_for_a_key_is_the_table() -> None:
    app, long = made(), Noted(topic="x" * 5_000)
    result = run(app, [long, Noted(topic="a"), Dropped(topics=["x" * 5_000])], tables=TABLES, sanitize=True)
    assert not result.dead
    assert [row[0] for row in result.tables["note"]] == ["a"]
    assert_conflict(app, long, Noted(topic="a"), on="note")
    assert_independent(app, Noted(topic="b"), Noted(topic="a"))


def test_more_keys_than_an_event_may_have_are_the_table() -> None:
    app = made()
    many = Dropped(topics=[f"topic-{number}" for number in range(2_000)])
    result = run(app, [Noted(topic="topic-7"), many, Noted(topic="topic-7")], tables=TABLES)
    assert not result.dead
    assert [row[0] for row in result.tables["note"]] == ["topic-7"]
    assert_conflict(app, many, Noted(topic="a"), on="note")


def test_tables_that_a_function_makes_are_known() -> None:
    """Where no lifespan defines any: a test makes them with ``set_up=``, say."""
    app: App[Any] = App("filed", "memory://", derive=True)

    def set_up(app: App[Any]) -> None:
        with app.transaction() as tx:
            tx.execute("CREATE TABLE file_of_notes(topic TEXT PRIMARY KEY, body TEXT)")

    @app.on(Noted)
    async def note(event: Noted, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("INSERT INTO file_of_notes VALUES(?, 'x')", (event.topic,))

    assert set_up is not None
    assert_conflict(app, Noted(topic="a"), Noted(topic="a"), on="file_of_notes/a")
    assert_independent(app, Noted(topic="a"), Noted(topic="b"))
