"""A row that a handler has added and then changes is its own, whatever number it gets; another one is not."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, StaticPool, UniqueConstraint, create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from commute import App, Event
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
