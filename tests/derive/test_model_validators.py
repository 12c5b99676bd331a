"""Validators of pydantic's run while a model is made: what they give is kept, and what they touch is touched."""

from __future__ import annotations

import sqlite3
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationInfo, field_validator, model_validator

from commute import App, Event

connection = sqlite3.connect(":memory:", check_same_thread=False)
connection.execute("CREATE TABLE account (id TEXT PRIMARY KEY, n INTEGER)")
connection.execute("CREATE TABLE log (id TEXT PRIMARY KEY)")


class Paid(Event):
    id: str
    n: int


def noted(id: str) -> str:
    connection.execute("INSERT INTO log (id) VALUES (?)", (id,))
    return id


class Plain(BaseModel):
    id: str
    n: int = 0

    @field_validator("n")
    @classmethod
    def not_negative(cls, n: int) -> int:
        if n < 0:
            raise ValueError("negative")
        return n

    @field_validator("id", mode="before")
    @classmethod
    def cleaned(cls, id: str, info: ValidationInfo) -> str:
        return id.strip()

    @model_validator(mode="after")
    def together(self) -> Plain:
        if self.n > 5:
            self.n = 5
        return self


class OfField(BaseModel):
    id: str

    @field_validator("id")
    @classmethod
    def seen(cls, id: str) -> str:
        return noted(id)


class OfModel(BaseModel):
    id: str

    @model_validator(mode="after")
    def seen(self) -> OfModel:
        noted(self.id)
        return self


class OfDict(BaseModel):
    id: str

    @model_validator(mode="before")
    @classmethod
    def seen(cls, data: Any) -> Any:
        noted(data["id"])
        return {"id": data["id"]}


class OfType(BaseModel):
    id: Annotated[str, AfterValidator(noted)]


class OfTypeBefore(BaseModel):
    id: Annotated[str, BeforeValidator(noted)]


class Replaced(BaseModel):
    id: str

    @field_validator("id")
    @classmethod
    def other(cls, id: str) -> str:
        return id + "!"


class Around(BaseModel):
    id: str

    @field_validator("id", mode="wrap")
    @classmethod
    def seen(cls, id: Any, handler: Any) -> str:
        return noted(handler(id))


def derived(model: Any, make: Any) -> Any:
    app: App[Any] = App("shop", "memory://", derive=True)

    @app.on(Paid)
    def pay(event: Paid) -> None:
        made = make(model, event)
        connection.execute("UPDATE account SET n = 1 WHERE id = ?", (made.id,))

    found = app.derived()
    assert found is not None
    (one,) = found.found.values()
    return one


def by_name(model: Any, event: Paid) -> Any:
    return model(id=event.id)


def by_dict(model: Any, event: Paid) -> Any:
    return model(**{"id": event.id})


def validated(model: Any, event: Paid) -> Any:
    return model.model_validate({"id": event.id})


def from_object(model: Any, event: Paid) -> Any:
    return model.model_validate(event, from_attributes=True)


@pytest.mark.parametrize("make", [by_name, by_dict, validated])
@pytest.mark.parametrize("model", [OfField, OfModel, OfDict, OfType, OfTypeBefore])
def test_what_a_validator_touches_is_touched(model: Any, make: Any) -> None:
    one = derived(model, make)
    assert not one.everything
    assert {key.name[0] for key in one.keys} == {"account", "log"}


@pytest.mark.parametrize("model", [OfField, OfModel, OfDict, OfType, OfTypeBefore])
def test_so_it_is_of_a_model_that_is_made_from_an_object(model: Any) -> None:
    one = derived(model, from_object)
    assert one.everything or "log" in {key.name[0] for key in one.keys}


def test_what_touches_nothing_keeps_no_handler_from_its_rows() -> None:
    one = derived(Plain, by_name)
    assert not one.everything
    assert [(key.mode, key.name[0]) for key in one.keys] == [("write", "account")]


def test_what_a_validator_gives_is_the_key() -> None:
    one = derived(Replaced, by_name)
    assert [str(key) for key in one.keys] == ["account/add({id}, '!')"]


def test_what_is_put_around_is_not_followed() -> None:
    assert "the validators of Around are not followed" in {reason.why for reason in derived(Around, by_name).everything}
