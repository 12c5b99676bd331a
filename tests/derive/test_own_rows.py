"""A row that a handler has added and then changes is its own, whatever number it gets; another one is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ForeignKey, StaticPool, UniqueConstraint, create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from commute import App, Event
from commute.core.footprint import conflicts
from commute.observe.watch import watching
from commute.testing import run


class Base(DeclarativeBase):
    pass


class Trial(Base):
    __tablename__ = "trial"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int | None]
    goals: Mapped[list[Goal]] = relationship()


class Goal(Base):
    __tablename__ = "goal"
    __table_args__ = (UniqueConstraint("trial_id", "at"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trial.id"))
    at: Mapped[int]


class Started(Event):
    number: int


class Counted(Event):
    id: int


def behind(session: Session, number: int) -> None:
    """Trusted to touch nothing, and does."""
    session.execute(text("UPDATE trial SET number = -1 WHERE id = :id"), {"id": number})


def missed(*, sneaky: bool, before: int) -> list[str]:
    """What is undeclared of a handler that numbers the trial which it adds."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Trial(number=None) for _ in range(before)])
        session.commit()
    app: App[Any] = App("trials", "memory://", derive=True)
    app.trust(f"{__name__}.behind")

    @app.on(Started)
    def start(event: Started) -> None:
        with Session(engine) as session:
            trial = Trial(number=None, goals=[Goal(at=100)])
            session.add(trial)
            session.flush()
            trial.number = event.number
            if sneaky:
                behind(session, event.number)
            session.commit()

    @app.on(Counted)
    def count(event: Counted) -> None:
        with Session(engine) as session:
            session.get_one(Trial, event.id).number = 5
            session.get_one(Goal, event.id).at = 5
            session.commit()

    with watching(app) as watch:
        run(app, [Started(number=1)])
    return [one.add for one in watch.undeclared]


def test_a_row_that_was_just_added_is_the_handlers_own_also_where_its_number_is_one_of_the_events() -> None:
    assert missed(sneaky=False, before=0) == []
    assert missed(sneaky=False, before=3) == []


def test_another_row_is_not() -> None:
    assert missed(sneaky=True, before=3) == ['writes="trial/{number}"']


class Remark(Base):
    """Whose numbers are its own, and no trial's."""

    __tablename__ = "remark"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(default="")


numbered = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


def by_its_number(_event: Started) -> None:
    with Session(numbered) as session:
        trial = Trial(number=None)
        session.add(trial)
        session.flush()
        session.add(Goal(trial_id=trial.id, at=1))
        session.execute(select(Goal).where(Goal.trial_id == trial.id)).scalars().all()
        session.commit()


def another_table_by_its_number(_event: Started) -> None:
    with Session(numbered) as session:
        trial = Trial(number=None)
        session.add(trial)
        session.flush()
        session.get(Remark, trial.id)


def test_rows_below_a_new_one_are_found_by_its_number_and_are_new_too() -> None:
    assert derived(by_its_number) == {"insert trial/+new", "insert trial/+new/goal"}


def test_the_number_of_a_row_tells_nothing_of_another_table() -> None:
    assert derived(another_table_by_its_number) == {"insert trial/+new", "read remark"}


def derived(function: Callable[[Started], None]) -> set[str]:
    """What the handler declares, held to a run."""
    Base.metadata.create_all(numbered)
    app: App[Any] = App("trials", "memory://", derive=True)
    app.on(Started)(function)
    with watching(app) as watch:
        run(app, [Started(number=1), Started(number=2)])
    assert [one.add for one in watch.undeclared] == []
    footprint = app.handlers[0].events[0].declared.footprint(Started(number=1))
    return {f"{access.mode} {access.key}" for access in footprint}


class Label(Base):
    __tablename__ = "label"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str | None] = mapped_column(unique=True)


def test_what_has_no_value_is_unique_whatever_others_have() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    app: App[Any] = App("trials", "memory://", derive=True)

    @app.on(Started)
    def start(event: Started) -> None:
        with Session(engine) as session:
            session.add(Label(code=None if event.number else "x"))
            session.commit()

    @app.on(Counted)
    def count(_event: Counted) -> None:
        with Session(engine) as session:
            session.execute(text("INSERT INTO label (code) VALUES (:code)"), {"code": None})
            session.commit()

    with watching(app, keep=True) as watch:
        run(app, [Counted(id=1)])
    assert [one.add for one in watch.undeclared] == []
    assert {f"{one.mode} {one.key}" for one in watch.observed} == {"insert label/+new"}
    footprint = app.handlers[1].events[0].declared.footprint(Counted(id=1))
    assert {f"{access.mode} {access.key}" for access in footprint} == {"insert label/+new"}


class Basket(Base):
    """One for each guest; its lines know it by its number."""

    __tablename__ = "basket"
    id: Mapped[int] = mapped_column(primary_key=True)
    guest: Mapped[str] = mapped_column(unique=True)
    lines: Mapped[list[Line]] = relationship(cascade="all, delete-orphan")


class Line(Base):
    __tablename__ = "line"
    id: Mapped[int] = mapped_column(primary_key=True)
    basket_id: Mapped[int] = mapped_column(ForeignKey("basket.id"))
    count: Mapped[int] = mapped_column(default=0)


class Filled(Event):
    guest: str


def basket_of(session: Session, guest: str) -> Basket:
    found = session.execute(select(Basket).where(Basket.guest == guest)).scalar_one_or_none()
    if found is None:
        found = Basket(guest=guest)
        session.add(found)
        session.flush()
        found = session.execute(select(Basket).where(Basket.id == found.id)).scalar_one()
    return found


def test_rows_below_one_that_is_found_or_made_are_under_its_key() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Basket(guest="b", lines=[Line()]))
        session.commit()
    app: App[Any] = App("baskets", "memory://", derive=True)

    @app.on(Filled)
    def fill(event: Filled) -> None:
        with Session(engine) as session:
            basket = basket_of(session, event.guest)
            for line in basket.lines:
                line.count += 1
            session.add(Line(basket_id=basket.id))
            session.commit()

    with watching(app) as watch:
        run(app, [Filled(guest="a"), Filled(guest="b"), Filled(guest="a")])
    assert [one.add for one in watch.undeclared] == []
    one, other = (app.handlers[0].events[0].declared.footprint(Filled(guest=guest)) for guest in "ab")
    assert not conflicts(one, other)
    assert conflicts(one, one)
