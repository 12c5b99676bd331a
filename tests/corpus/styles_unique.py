"""Tables whose rows the database numbers and that have further unique columns: who takes a value, frees it, looks."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from commute import App, Event
from tests.corpus.case import Database, Options, case


class Joined(Event):
    email: str
    login: str
    phone: str | None = None


class Renamed(Event):
    id: int
    name: str


class Moved(Event):
    id: int
    email: str


class Left(Event):
    id: int


class Sought(Event):
    email: str


class Met(Event):
    email: str
    name: str


class Disbanded(Event):
    team: int


def joined(email: str, login: str, phone: str | None = None) -> Joined:
    return Joined(email=email, login=login, phone=phone)


def moved(number: int, email: str) -> Moved:
    return Moved(id=number, email=email)


def renamed(number: int) -> Renamed:
    return Renamed(id=number, name=f"renamed {number}")


MATES = Database(
    ddl=(
        "CREATE TABLE mate(id INTEGER PRIMARY KEY, email TEXT UNIQUE COLLATE NOCASE, login TEXT NOT NULL UNIQUE, "
        "phone TEXT UNIQUE, name TEXT)",
        "CREATE TABLE sought(email TEXT PRIMARY KEY, mate INTEGER)",
    ),
    rows=("INSERT INTO mate VALUES(1, 'a@x', 'ann', NULL, ''), (2, 'b@x', 'bob', '2', ''), (3, 'c@x', 'cy', '3', '')",),
    numbered=("mate",),
)

COLLIDING = [
    (joined("n@x", "one"), joined("n@x", "two")),
    (joined("N@x", "one"), joined("n@X", "two")),
    (joined("m@x", "one"), joined("n@x", "one")),
    (joined("n@x", "one"), moved(1, "n@x")),
    (joined("a@x", "one"), moved(1, "n@x")),
    (joined("a@x", "one"), Left(id=1)),
    (joined("n@x", "ann"), Left(id=1)),
    (moved(1, "n@x"), moved(2, "n@x")),
    (moved(1, "n@x"), moved(2, "a@x")),
    (moved(2, "a@x"), Left(id=1)),
]
APART = [
    (joined("m@x", "one"), joined("n@x", "two")),
    (joined("m@x", "one"), renamed(1)),
    (renamed(1), renamed(2)),
    (renamed(2), Left(id=1)),
    (Left(id=2), Left(id=1)),
    (renamed(2), moved(1, "n@x")),
]
LOOKING = [
    (Sought(email="n@x"), joined("n@x", "one")),
    (Sought(email="n@x"), moved(1, "n@x")),
    (Sought(email="a@x"), moved(1, "n@x")),
    (Sought(email="a@x"), Left(id=1)),
]


@case(
    "unique-values",
    clear=MATES.clear,
    look=MATES.look,
    dependent=[*COLLIDING, *LOOKING, (joined("m@x", "one", "7"), joined("n@x", "two", "7"))],
    independent=[*APART, (joined("m@x", "one", "7"), joined("n@x", "two")), (joined("m@x", "one", ""), renamed(3))],
)
def unique_values(app: App[Any], options: Options) -> None:
    @app.on(Joined, **options)
    def join(event: Joined) -> None:
        row = {"email": event.email, "login": event.login, "phone": event.phone}
        with suppress(IntegrityError), MATES.engine.begin() as connection:
            connection.execute(text("INSERT INTO mate(email, login, phone) VALUES (:email, :login, :phone)"), row)

    @app.on(Renamed, **options)
    def rename(event: Renamed) -> None:
        with MATES.engine.begin() as connection:
            connection.execute(text("UPDATE mate SET name = :n WHERE id = :id"), {"n": event.name, "id": event.id})

    @app.on(Moved, **options)
    def move(event: Moved) -> None:
        with suppress(IntegrityError), MATES.engine.begin() as connection:
            connection.execute(text("UPDATE mate SET email = :e WHERE id = :id"), {"e": event.email, "id": event.id})

    @app.on(Left, **options)
    def leave(event: Left) -> None:
        with MATES.engine.begin() as connection:
            connection.execute(text("DELETE FROM mate WHERE id = :id"), {"id": event.id})

    @app.on(Sought, **options)
    def seek(event: Sought) -> None:
        with MATES.engine.begin() as connection:
            found = connection.execute(text("SELECT id FROM mate WHERE email = :e"), {"e": event.email}).scalar()
            connection.execute(text("INSERT INTO sought VALUES (:e, :found)"), {"e": event.email, "found": found})


@case(
    "unique-values-that-nothing-is-done-for",
    clear=MATES.clear,
    look=MATES.look,
    dependent=[
        (joined("n@x", "one"), joined("n@x", "two")),
        (joined("m@x", "one"), joined("n@x", "one")),
        (joined("a@x", "one"), Left(id=1)),
    ],
    independent=[(joined("m@x", "one"), joined("n@x", "two")), (joined("a@x", "one"), renamed(1))],
)
def unique_values_that_nothing_is_done_for(app: App[Any], options: Options) -> None:
    @app.on(Joined, **options)
    def join(event: Joined) -> None:
        sql = "INSERT INTO mate(email, login) VALUES (:email, :login) ON CONFLICT DO NOTHING"
        with MATES.engine.begin() as connection:
            connection.execute(text(sql), {"email": event.email, "login": event.login})

    @app.on(Renamed, **options)
    def rename(event: Renamed) -> None:
        with MATES.engine.begin() as connection:
            connection.execute(text("UPDATE mate SET name = :n WHERE id = :id"), {"n": event.name, "id": event.id})

    @app.on(Left, **options)
    def leave(event: Left) -> None:
        with MATES.engine.begin() as connection:
            connection.execute(text("DELETE FROM mate WHERE id = :id"), {"id": event.id})


@case(
    "unique-value-of-a-row-that-is-changed",
    trap=True,
    clear=MATES.clear,
    look=MATES.look,
    dependent=[
        (joined("n@x", "one"), Met(email="n@x", name="met")),
        (joined("n@x", "met"), Met(email="m@x", name="met")),
        (Met(email="a@x", name="met"), renamed(1)),
    ],
    independent=[],
    reach="table",
)
def unique_value_of_a_row_that_is_changed(app: App[Any], options: Options) -> None:
    @app.on(Joined, **options)
    def join(event: Joined) -> None:
        row = {"email": event.email, "login": event.login}
        with suppress(IntegrityError), MATES.engine.begin() as connection:
            connection.execute(text("INSERT INTO mate(email, login) VALUES (:email, :login)"), row)

    @app.on(Met, **options)
    def meet(event: Met) -> None:
        sql = (
            "INSERT INTO mate(email, login, name) VALUES (:email, 'met', :name) "
            "ON CONFLICT (email) DO UPDATE SET name = excluded.name"
        )
        with suppress(IntegrityError), MATES.engine.begin() as connection:
            connection.execute(text(sql), {"email": event.email, "name": event.name})

    @app.on(Renamed, **options)
    def rename(event: Renamed) -> None:
        with MATES.engine.begin() as connection:
            connection.execute(text("UPDATE mate SET name = :n WHERE id = :id"), {"n": event.name, "id": event.id})


@case(
    "unique-values-beside-the-key",
    clear=MATES.clear,
    look=MATES.look,
    dependent=[
        (joined("n@x", "one"), joined("n@x", "two")),
        (joined("m@x", "one"), joined("n@x", "one")),
        (joined("n@x", "ann"), Sought(email="a@x")),
        (joined("a@x", "one"), Sought(email="a@x")),
    ],
    independent=[(joined("m@x", "one"), joined("n@x", "two")), (Sought(email="b@x"), Sought(email="a@x"))],
)
def unique_values_beside_the_key(app: App[Any], options: Options) -> None:
    """All rows are found by their e-mail address, so that is the key; the login is what they have besides."""

    @app.on(Joined, **options)
    def join(event: Joined) -> None:
        with suppress(IntegrityError), MATES.engine.begin() as connection:
            sql = "INSERT INTO mate(email, login) VALUES (:email, :login)"
            connection.execute(text(sql), {"email": event.email, "login": event.login})

    @app.on(Sought, **options)
    def strike(event: Sought) -> None:
        with MATES.engine.begin() as connection:
            connection.execute(text("DELETE FROM mate WHERE email = :email"), {"email": event.email})


class Booked(Event):
    room: str
    hour: int
    who: str


class Shifted(Event):
    id: int
    hour: int


DESKS = Database(
    ddl=("CREATE TABLE desk(id INTEGER PRIMARY KEY, room TEXT, hour INTEGER, who TEXT, UNIQUE (room, hour))",),
    rows=("INSERT INTO desk VALUES(1, 'red', 8, 'A'), (2, 'red', 9, 'B'), (3, 'blue', 8, 'C')",),
    numbered=("desk",),
)


def booked(room: str, hour: int, who: str = "new") -> Booked:
    return Booked(room=room, hour=hour, who=who)


@case(
    "unique-pairs",
    clear=DESKS.clear,
    look=DESKS.look,
    dependent=[
        (booked("red", 10, "x"), booked("red", 10, "y")),
        (booked("red", 10), Shifted(id=1, hour=10)),
        (booked("red", 8), Shifted(id=1, hour=10)),
        (Shifted(id=1, hour=10), Shifted(id=2, hour=8)),
        (booked("red", 8), Left(id=1)),
        (Shifted(id=2, hour=8), Left(id=1)),
    ],
    independent=[
        (booked("red", 10), booked("red", 11)),
        (booked("red", 10), booked("blue", 10)),
        (booked("red", 12), renamed(1)),
        (Shifted(id=1, hour=10), renamed(2)),
    ],
)
def unique_pairs(app: App[Any], options: Options) -> None:
    @app.on(Booked, **options)
    def book(event: Booked) -> None:
        with suppress(IntegrityError), DESKS.engine.begin() as connection:
            row = {"room": event.room, "hour": event.hour, "who": event.who}
            connection.execute(text("INSERT INTO desk(room, hour, who) VALUES (:room, :hour, :who)"), row)

    @app.on(Shifted, **options)
    def shift(event: Shifted) -> None:
        with suppress(IntegrityError), DESKS.engine.begin() as connection:
            connection.execute(text("UPDATE desk SET hour = :h WHERE id = :id"), {"h": event.hour, "id": event.id})

    @app.on(Renamed, **options)
    def rename(event: Renamed) -> None:
        with DESKS.engine.begin() as connection:
            connection.execute(text("UPDATE desk SET who = :n WHERE id = :id"), {"n": event.name, "id": event.id})

    @app.on(Left, **options)
    def leave(event: Left) -> None:
        with DESKS.engine.begin() as connection:
            connection.execute(text("DELETE FROM desk WHERE id = :id"), {"id": event.id})


class Base(DeclarativeBase):
    pass


class Club(Base):
    __tablename__ = "club"
    id: Mapped[int] = mapped_column(primary_key=True)


class Fellow(Base):
    __tablename__ = "fellow"
    __table_args__ = (UniqueConstraint("club_id", "seat"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String, unique=True)
    login: Mapped[str | None] = mapped_column(String, unique=True)
    name: Mapped[str] = mapped_column(default="")
    club_id: Mapped[int | None] = mapped_column(ForeignKey("club.id", ondelete="CASCADE"))
    seat: Mapped[int | None]


CLUB = Database(
    Base.metadata,
    rows=(
        "INSERT INTO club VALUES(1), (2)",
        "INSERT INTO fellow VALUES(1, 'a@x', 'ann', '', 1, 1), (2, 'b@x', 'bob', '', 1, 2), (3, 'c@x', 'cy', '', 2, 1)",
    ),
    numbered=("fellow",),
)


@case(
    "unique-values-of-objects",
    clear=CLUB.clear,
    look=CLUB.look,
    dependent=[*COLLIDING[:1], *COLLIDING[2:], (joined("a@x", "one"), Disbanded(team=1))],
    independent=APART,
)
def unique_values_of_objects(app: App[Any], options: Options) -> None:
    @app.on(Joined, **options)
    def join(event: Joined) -> None:
        with suppress(IntegrityError), Session(CLUB.engine) as session:
            session.add(Fellow(email=event.email, login=event.login))
            session.commit()

    @app.on(Renamed, **options)
    def rename(event: Renamed) -> None:
        with Session(CLUB.engine) as session:
            found = session.get(Fellow, event.id)
            if found is not None:
                found.name = event.name
            session.commit()

    @app.on(Moved, **options)
    def move(event: Moved) -> None:
        with suppress(IntegrityError), Session(CLUB.engine) as session:
            found = session.get(Fellow, event.id)
            if found is not None:
                found.email = event.email
            session.commit()

    @app.on(Left, **options)
    def leave(event: Left) -> None:
        with Session(CLUB.engine) as session:
            found = session.get(Fellow, event.id)
            if found is not None:
                session.delete(found)
            session.commit()

    @app.on(Disbanded, **options)
    def disband(event: Disbanded) -> None:
        with CLUB.engine.connect() as connection:
            connection.execute(text("PRAGMA foreign_keys=ON"))
            connection.execute(text("DELETE FROM club WHERE id = :id"), {"id": event.team})
            connection.commit()
            connection.execute(text("PRAGMA foreign_keys=OFF"))


# -- where a value is no resource of its own: the table is ------------------------------------------------------------

TABLES = {
    "unique-value-of-rows-that-are-there": (
        "CREATE TABLE crew(id INTEGER PRIMARY KEY, email TEXT, name TEXT, left INTEGER NOT NULL DEFAULT 0)",
        "CREATE UNIQUE INDEX crew_email ON crew(email) WHERE left = 0",
    ),
    "unique-value-of-an-expression": (
        "CREATE TABLE hand(id INTEGER PRIMARY KEY, email TEXT, name TEXT, left INTEGER NOT NULL DEFAULT 0)",
        "CREATE UNIQUE INDEX hand_email ON hand(email || left)",
    ),
    "unique-value-that-is-computed": (
        "CREATE TABLE help(id INTEGER PRIMARY KEY, email TEXT, name TEXT, left INTEGER NOT NULL DEFAULT 0, "
        "mark TEXT AS (email || left) UNIQUE, other TEXT UNIQUE)",
    ),
}  # fmt: skip


def put_partly(app: App[Any], options: Options, table: str, base: Database) -> None:
    @app.on(Joined, **options)
    def join(event: Joined) -> None:
        with suppress(IntegrityError), base.engine.begin() as connection:
            connection.execute(
                text(f"INSERT INTO {table}(email, name) VALUES (:email, :name)"),
                {"email": event.email, "name": event.login},
            )

    @app.on(Left, **options)
    def leave(event: Left) -> None:
        with base.engine.begin() as connection:
            connection.execute(text(f"UPDATE {table} SET left = 1 WHERE id = :id"), {"id": event.id})


for name, ddl in TABLES.items():
    made = ddl[0].split("(")[0].split()[-1]
    partly = Database(
        ddl=ddl, rows=(f"INSERT INTO {made}(id, email, name) VALUES(1, 'a@x', 'A'), (2, 'b@x', 'B')",), numbered=(made,)
    )

    def put(app: App[Any], options: Options, table: str = made, base: Database = partly) -> None:
        put_partly(app, options, table, base)

    case(
        name,
        trap=True,
        clear=partly.clear,
        look=partly.look,
        dependent=[(joined("a@x", "one"), Left(id=1)), (joined("n@x", "one"), joined("n@x", "two"))],
        independent=[],
        reach="table",
    )(put)


PLACES = Database(
    ddl=(
        "CREATE TABLE place(id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT)",
        "CREATE TABLE spot(id INTEGER PRIMARY KEY, email TEXT, name TEXT, UNIQUE (email) ON CONFLICT REPLACE)",
        "CREATE TABLE noted(id INTEGER PRIMARY KEY, email TEXT)",
    ),
    rows=(
        "INSERT INTO place VALUES(1, 'a@x', 'A'), (2, 'b@x', 'B')",
        "INSERT INTO spot VALUES(1, 'a@x', 'A'), (2, 'b@x', 'B')",
    ),
    numbered=("place", "spot"),
)


@case(
    "insert-that-takes-the-place-of-a-row",
    trap=True,
    clear=PLACES.clear,
    look=PLACES.look,
    dependent=[(joined("a@x", "one"), renamed(1))],
    independent=[],
    reach="table",
)
def insert_that_takes_the_place_of_a_row(app: App[Any], options: Options) -> None:
    @app.on(Joined, **options)
    def join(event: Joined) -> None:
        row = {"email": event.email, "name": event.login}
        with PLACES.engine.begin() as connection:
            connection.execute(text("INSERT OR REPLACE INTO place(email, name) VALUES (:email, :name)"), row)

    @app.on(Renamed, **options)
    def rename(event: Renamed) -> None:
        with PLACES.engine.begin() as connection:
            connection.execute(text("INSERT INTO noted SELECT id, email FROM place WHERE id = :id"), {"id": event.id})


@case(
    "constraint-that-takes-the-place-of-a-row",
    trap=True,
    clear=PLACES.clear,
    look=PLACES.look,
    dependent=[(joined("a@x", "one"), renamed(1))],
    independent=[],
    reach="table",
)
def constraint_that_takes_the_place_of_a_row(app: App[Any], options: Options) -> None:
    @app.on(Joined, **options)
    def join(event: Joined) -> None:
        row = {"email": event.email, "name": event.login}
        with PLACES.engine.begin() as connection:
            connection.execute(text("INSERT INTO spot(email, name) VALUES (:email, :name)"), row)

    @app.on(Renamed, **options)
    def rename(event: Renamed) -> None:
        with PLACES.engine.begin() as connection:
            connection.execute(text("INSERT INTO noted SELECT id, email FROM spot WHERE id = :id"), {"id": event.id})
