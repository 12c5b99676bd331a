"""What a column holds is nobody's when it is copied."""

from __future__ import annotations

import copy
from typing import Any

from sqlalchemy import JSON, StaticPool, create_engine
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from commute import App, Event

engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


class Base(DeclarativeBase):
    pass


class Talk(Base):
    __tablename__ = "talk"
    id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[dict[str, Any]] = mapped_column(JSON)
    watched: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSON))


class Asked(Event):
    id: str


def derived(change: Any) -> Any:
    app: App[Any] = App("talks", "memory://", derive=True)

    @app.on(Asked)
    def ask(event: Asked) -> None:
        with Session(engine) as session:
            talk = session.get(Talk, event.id)
            if talk is not None:
                change(talk)
            session.commit()

    found = app.derived()
    assert found is not None
    (one,) = found.found.values()
    return one


def test_a_copy_of_a_column_can_be_filled() -> None:
    def change(talk: Talk) -> None:
        merged = copy.deepcopy(talk.state)
        for key in talk.state:
            merged["app:" + key] = talk.state[key]

    one = derived(change)
    assert not one.everything
    assert [f"{key.mode} {key}" for key in one.keys] == ["read talk/{id}"]


def test_the_column_itself_is_not() -> None:
    def change(talk: Talk) -> None:
        talk.watched["seen"] = 1

    one = derived(change)
    assert one.everything or "write" in {key.mode for key in one.keys}
