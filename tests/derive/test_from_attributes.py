"""Models that are made out of rows read what they have fields for, and nothing else; where that is not told, all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from sqlalchemy import ForeignKey, StaticPool, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from commute import App, Event
from commute.testing import sanitizing
from commute.verify.trial import Numbered, Scene, trial

engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


class Base(DeclarativeBase):
    pass


class Tree(Base):
    __tablename__ = "tree"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str]
    garden_id: Mapped[int] = mapped_column(ForeignKey("garden.id"))
    garden: Mapped[Garden] = relationship(back_populates="trees")
    apples: Mapped[list[Apple]] = relationship()


class Garden(Base):
    __tablename__ = "garden"
    id: Mapped[int] = mapped_column(primary_key=True)
    trees: Mapped[list[Tree]] = relationship(back_populates="garden")

    @property
    def size(self) -> int:
        return len(self.trees)


class Apple(Base):
    __tablename__ = "apple"
    id: Mapped[int] = mapped_column(primary_key=True)
    tree_id: Mapped[int] = mapped_column(ForeignKey("tree.id"))


class Seen(Event):
    id: int


class Plain(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    number: str


class AppleOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int


class WithApples(Plain):
    apples: list[AppleOut] = Field(default_factory=list)
    absent: int | None = None


class Renamed(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    fruit: list[AppleOut] = Field(validation_alias="apples")


class WithSize(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    size: int


class Loose(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int

    @model_validator(mode="before")
    @classmethod
    def look(cls, thing: Any) -> Any:
        return {"id": len(thing.apples)}


class Numbers(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    number: int  # of a text


MANY = TypeAdapter(list[WithApples])


def tree_of(session: Session, event: Seen) -> Tree:
    return session.execute(select(Tree).where(Tree.id == event.id)).scalar_one()


def plain(event: Seen) -> None:
    with Session(engine) as session:
        Plain.model_validate(tree_of(session, event))


def with_apples(event: Seen) -> None:
    with Session(engine) as session:
        WithApples.model_validate(tree_of(session, event))


def under_another_name(event: Seen) -> None:
    with Session(engine) as session:
        Renamed.model_validate(tree_of(session, event))


def each(event: Seen) -> None:
    with Session(engine) as session:
        MANY.validate_python([tree_of(session, event)])


def a_property(event: Seen) -> None:
    with Session(engine) as session:
        WithSize.model_validate(session.get(Garden, event.id))


def a_look_at_the_object(event: Seen) -> None:
    with Session(engine) as session:
        Loose.model_validate(tree_of(session, event))


def found_again(event: Seen) -> None:
    with Session(engine) as session:
        session.get(Apple, Plain.model_validate(tree_of(session, event)).id)


def found_by_a_converted_value(event: Seen) -> None:
    with Session(engine) as session:
        session.get(Apple, Numbers.model_validate(tree_of(session, event)).number)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (plain, {"read tree/1"}),
        (with_apples, {"read tree/1", "read apple/1"}),
        (under_another_name, {"read tree/1", "read apple/1"}),
        (each, {"read tree/1", "read apple/1"}),
        (a_property, {"read garden/1", "read tree/1"}),
        (found_again, {"read tree/1", "read apple/1"}),
        (found_by_a_converted_value, {"read tree/1", "read apple"}),
    ],
)
def test_what_is_read(function: Callable[[Seen], None], expected: set[str]) -> None:
    assert accesses(function) == expected


def test_a_validator_that_gets_the_object_may_read_all_of_it() -> None:
    assert accesses(a_look_at_the_object) & {"read apple", "write "}  # and sanitizing has not complained


def accesses(function: Callable[[Seen], None]) -> set[str]:
    """What the handler declares for an event, held to a run."""
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Garden(id=1), Tree(id=1, number="007", garden_id=1), Apple(id=1, tree_id=1)])
        session.commit()
    app: App[Any] = App("trees", "memory://", derive=True)
    app.on(Seen)(function)
    event = Seen(id=1)
    with sanitizing(app):  # raises at the end
        trial(app, [Numbered("event-1", event)], Scene())
    footprint = app.handlers[0].events[0].declared.footprint(event)
    return {f"{access.mode} {access.key}" for access in footprint}
