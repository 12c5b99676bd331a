"""Traps in what writes without being assigned or called: values that SQLAlchemy watches, versions of rows in two
tables, listeners of engines, handlers of logs."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import JSON, ForeignKey, event, select, text, update
from sqlalchemy.ext.mutable import MutableDict, MutableList
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.orm.attributes import flag_modified

from commute import App, Event
from tests.corpus.case import Database, Options, case


class Base(DeclarativeBase):
    pass


class Doc(Base):
    __tablename__ = "doc"

    id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int] = mapped_column(default=0)
    kind: Mapped[str] = mapped_column(default="doc")
    version: Mapped[int] = mapped_column(default=1)
    data: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSON), default=dict)
    words: Mapped[list[Any]] = mapped_column(MutableList.as_mutable(JSON), default=list)
    plain: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "doc", "version_id_col": version}  # noqa: RUF012


class Letter(Doc):
    __tablename__ = "letter"

    id: Mapped[int] = mapped_column(ForeignKey("doc.id"), primary_key=True)
    pages: Mapped[int] = mapped_column(default=0)

    __mapper_args__ = {"polymorphic_identity": "letter"}  # noqa: RUF012


class Seen(Base):
    __tablename__ = "seen"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(default="")
    n: Mapped[int] = mapped_column(default=1)


HOME = Database(
    Base.metadata,
    rows=(
        "INSERT INTO doc(id, n, kind, version, data, words, plain) VALUES"
        "(1, 1, 'doc', 1, '{}', '[]', '{}'), (2, 1, 'letter', 1, '{}', '[]', '{}')",
        "INSERT INTO letter VALUES(2, 1)",
        "INSERT INTO seen VALUES(1, '', 1), (2, '', 1)",
    ),
)
LOUD = HOME.engine.execution_options()  # one of its own, so that others are not heard
sessions: sessionmaker[Session] = sessionmaker(HOME.engine)
loud: sessionmaker[Session] = sessionmaker(LOUD)
HERE: dict[str, Any] = {"clear": HOME.clear, "look": HOME.look, "trap": True}


@event.listens_for(LOUD, "after_cursor_execute")
def noted(connection: Any, _cursor: Any, statement: str, _given: Any, _context: Any, _many: bool) -> None:
    if statement.startswith("UPDATE doc"):
        connection.execute(update(Seen).where(Seen.id == 1).values(n=Seen.n * 3 + 1))


class ToTheDatabase(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        with HOME.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE seen SET n = n * 3 + 1 WHERE id = 1")


logger = logging.getLogger("tests.corpus.traps_watched")
logger.addHandler(ToTheDatabase())
logger.setLevel("INFO")
logger.propagate = False


class First(Event):
    a: int
    s: str = ""


class Second(Event):
    a: int


def copies(app: App[Any], options: Options, column: str) -> None:
    """What stands in a column of a document is noted."""

    @app.on(Second, **options)
    def copy(event: Second) -> None:
        with sessions.begin() as session:
            found = session.execute(text(f"SELECT {column} FROM doc WHERE id = :id"), {"id": event.a}).scalar()
            session.get_one(Seen, event.a).text = str(found)


PAIRS: dict[str, Any] = {
    "dependent": [(First(a=1, s="x"), Second(a=1))],
    "independent": [(First(a=1, s="x"), Second(a=2))],
}


@case("watched-dict", **HERE, **PAIRS)
def watched_dict(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def put(event: First) -> None:
        with sessions.begin() as session:
            doc = session.get_one(Doc, event.a)
            doc.data.update(k=event.s)

    copies(app, options, "data")


@case("entry-of-a-watched-dict", **HERE, **PAIRS)
def entry_of_a_watched_dict(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def put(event: First) -> None:
        with sessions.begin() as session:
            doc = session.scalars(select(Doc).where(Doc.id == event.a)).one()
            data = doc.data
            data["k"] = event.s

    copies(app, options, "data")


@case("watched-list", **HERE, **PAIRS)
def watched_list(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def put(event: First) -> None:
        with sessions.begin() as session:
            doc = session.get_one(Doc, event.a)
            doc.words.append(event.s)

    copies(app, options, "words")


@case("attribute-that-is-said-to-have-changed", **HERE, **PAIRS)
def attribute_that_is_said_to_have_changed(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def put(event: First) -> None:
        with sessions.begin() as session:
            doc = session.get_one(Doc, event.a)
            doc.plain["k"] = event.s
            flag_modified(doc, "plain")

    copies(app, options, "plain")


@case(
    "version-in-another-table", **HERE, dependent=[(First(a=2), Second(a=2))], independent=[(First(a=2), Second(a=1))]
)
def version_in_another_table(app: App[Any], options: Options) -> None:
    """A change of the table below counts up the version in the one above."""

    @app.on(First, **options)
    def put(event: First) -> None:
        with sessions.begin() as session:
            session.get_one(Letter, event.a).pages += 1

    copies(app, options, "version")


@case("rows-in-parts", **HERE, **PAIRS)
def rows_in_parts(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def put(event: First) -> None:
        with sessions.begin() as session:
            for part in session.scalars(select(Doc).where(Doc.id == event.a)).partitions(2):
                for doc in part:
                    doc.n += 5

    copies(app, options, "n")


@case("listener-of-an-engine", **HERE, reach="everything", dependent=[(First(a=2), Second(a=1))], independent=[])
def listener_of_an_engine(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def put(event: First) -> None:
        with loud.begin() as session:
            session.execute(update(Doc).where(Doc.id == event.a).values(n=5))

    @app.on(Second, **options)
    def double(event: Second) -> None:
        with sessions.begin() as session:
            session.execute(update(Seen).where(Seen.id == event.a).values(n=Seen.n * 2))


@case("handler-of-logs", **HERE, dependent=[(First(a=2), Second(a=1))], independent=[(First(a=2), Second(a=2))])
def handler_of_logs(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    def put(event: First) -> None:
        logger.info("document %s", event.a)

    @app.on(Second, **options)
    def double(event: Second) -> None:
        with sessions.begin() as session:
            session.execute(update(Seen).where(Seen.id == event.a).values(n=Seen.n * 2))
