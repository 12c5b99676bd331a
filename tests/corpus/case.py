"""A handler style or a trap for inference: an app, and pairs of events of which is known whether they depend.

The ground truth is not what a person expects: `test_truth` runs each pair in both orders and together on the real
database. A dependent pair has to differ somewhere, an independent one nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Engine, MetaData, StaticPool, create_engine, text

from commute import App

Options = dict[str, Any]  # of @app.on: the footprint, or derive=True
Pair = tuple[object, object]
Reach = Literal["exact", "table", "everything"]  # the best that inference can be asked for

ALL: list[Case] = []


@dataclass(frozen=True, slots=True)
class Case:
    """One app. `reach`: what a good inference gets; an exact one lets every independent pair go together."""

    name: str
    make: Callable[[Options], App[Any]]
    dependent: Sequence[Pair]
    independent: Sequence[Pair]
    before: Sequence[object] = ()
    reach: Reach = "exact"
    trap: bool = False
    clear: Callable[[], object] | None = None
    look: Callable[[], object] | None = None
    tables: Sequence[str] = ()

    def __str__(self) -> str:
        return self.name


def case(
    name: str, **given: Any
) -> Callable[[Callable[[App[Any], Options], None]], Callable[[App[Any], Options], None]]:
    """Registers a function that puts the handlers on an app as one case."""

    def register(put: Callable[[App[Any], Options], None]) -> Callable[[App[Any], Options], None]:
        def make(options: Options) -> App[Any]:
            app: App[Any] = App("corpus", "memory://")
            put(app, options)
            return app

        ALL.append(Case(name, make, **given))
        return put

    return register


class Database:
    """A SQLite database of SQLAlchemy's, emptied and filled before each trial."""

    def __init__(
        self,
        metadata: MetaData | None = None,
        *,
        ddl: Sequence[str] = (),
        rows: Sequence[str] = (),
        numbered: Sequence[str] = (),  # tables whose first column the database makes up: not looked at
    ) -> None:
        self._numbered = numbered
        self.engine: Engine = create_engine(
            "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
        self._metadata = metadata
        self._ddl = ddl
        self._rows = rows

    def clear(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(text("PRAGMA foreign_keys=OFF"))
            names = [
                str(name) for (name,) in connection.execute(text("SELECT name FROM sqlite_schema WHERE type='table'"))
            ]
            for (view,) in connection.execute(text("SELECT name FROM sqlite_schema WHERE type='view'")).fetchall():
                connection.execute(text(f"DROP VIEW {view}"))
            for name in names:
                if not name.startswith("sqlite_"):
                    connection.execute(text(f"DROP TABLE {name}"))
            if self._metadata is not None:
                self._metadata.create_all(connection)
            for statement in (*self._ddl, *self._rows):
                connection.exec_driver_sql(statement)

    def look(self) -> object:
        with self.engine.connect() as connection:
            names = [
                str(name)
                for (name,) in connection.execute(text("SELECT name FROM sqlite_schema WHERE type='table' ORDER BY 1"))
                if not str(name).startswith("sqlite_")
            ]
            return {
                name: sorted(
                    (
                        tuple(row)[name in self._numbered :]
                        for row in connection.exec_driver_sql(f"SELECT * FROM {name}")
                    ),
                    key=repr,
                )
                for name in names
            }
