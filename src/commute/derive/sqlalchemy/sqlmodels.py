"""Models of SQLModel: those without a table are pydantic's, those with one are mapped; what is particular to both.

Its own constructors and validators write behind the classes and are not read; they are known by what they set.
"""

from __future__ import annotations

from typing import Any

from commute.derive.models.dumps import chosen
from commute.derive.models.fields import fields_of_class, validates
from commute.derive.python.library import entries_of
from commute.derive.run import Arguments, Named, Run
from commute.derive.sqlalchemy.making import new_object
from commute.derive.sqlalchemy.objects import set_attribute
from commute.derive.sqlalchemy.reflection import mapped
from commute.derive.trusted import names_of
from commute.derive.values import Bound, Const, Entries, Field, Handle, Live, Made, Value, either, options

_MODEL = "sqlmodel.main.SQLModel."
_MAKES = ("model_validate", "from_orm", "parse_obj", "validate")
_DUMPS = ("model_dump", "dict")


class SqlModels:
    """See the module."""

    def wrap(self, run: Run, thing: object) -> Value | None:
        return None

    def call(self, run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
        if not isinstance(function, Bound) or not isinstance(function.function, Live):
            return None
        name = names_of(function.function.value)[0]
        if not name.startswith(_MODEL):
            return None
        name, first = name.removeprefix(_MODEL), function.first
        if name in _MAKES and isinstance(first, Live) and len(arguments) == 1 and set(named) <= {"update"}:
            return _made(run, first, arguments[0], named.get("update"), where)
        if name in _DUMPS:
            return _dumped(run, first, arguments, named, where)
        if name == "sqlmodel_update" and len(arguments) == 1 and set(named) <= {"update"}:
            return _updated(run, first, [arguments[0], *named.values()], where)
        return None

    def attribute(self, run: Run, value: Value, name: str, where: str) -> Value | None:
        return None

    def assign(self, run: Run, value: Value, name: str, new: Value, where: str) -> bool:
        return False

    def escape(self, run: Run, value: Value, where: str) -> bool:
        return False


def _names(cls: Any) -> list[str]:
    return list(cls.model_fields)


def _values(run: Run, given: Value, names: list[str], where: str) -> dict[str, Value] | None:
    """What a model takes from a dict or an object, by field; under ``**`` what is under names that are not known."""
    if isinstance(given, Entries):
        more: dict[str, Value] = {} if given.other is None else {"**": Entries({}, given.other, given.key)}
        return {**{str(key): one for key, one in given.known.items() if key in names}, **more}
    if isinstance(given, Made):
        there = given.attributes if given.complete else fields_of_class(given.cls) or names
        return {name: run.get(given, name, where) for name in names if name in there}
    if isinstance(given, Handle) and given.kind in ("entity", "new"):
        held = given.about["mapper"].attrs
        return {name: run.get(given, name, where) for name in names if name in held}
    if isinstance(given, Field):
        return {name: run.get(given, name, where) for name in names}
    return None


def _made(run: Run, cls: Live, given: Value, update: Value | None, where: str) -> Value:
    shaped = any(name.startswith("str_") and on for name, on in cls.value.model_config.items())
    if shaped or validates(cls.value):
        return run.widen(f"the validators of {cls.value.__name__} are not followed", where)
    found = []
    for option in [one for one in options(given) if one != Const(None)]:  # of None nothing is made
        values = _values(run, option, _names(cls.value), where)
        if values is None:
            return run.widen(f"what {cls.value.__name__} is made from is not followed", where)
        if update is not None and update != Const(None):
            more = entries_of(run, update, where)
            values |= {str(key): one for key, one in more.known.items()}
            if more.other is not None:
                values["**"] = more
        found.append(new_object(run, cls.value, values, [], where) if mapped(cls.value)
                     else run.call(cls, [], values, where))  # fmt: skip
    return either(found) or run.widen("nothing is made", where)


def _dumped(run: Run, value: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
    """A row as a dict; of a model without a table what pydantic makes of it."""
    if isinstance(value, Made):
        plain: Any = next(base for base in value.cls.__mro__ if base.__module__ == "pydantic.main")
        return run.call(Live(plain.model_dump), [value, *arguments], named, where)
    if not isinstance(value, Handle) or value.kind not in ("entity", "new") or arguments:
        return None
    names = chosen(_names(value.about["class"]), named)
    if names is None:
        return None
    found = {name: run.get(value, name, where) for name in names}
    if any(
        named.get(one, Const(False)) != Const(False) for one in ("exclude_unset", "exclude_none", "exclude_defaults")
    ):
        keys = either([Const(name) for name in names])
        return Entries({}, either(found.values()), keys)
    return Entries(found)


def _updated(run: Run, value: Value, given: list[Value], where: str) -> Value:
    """Each field that is in the dict or the model is set."""
    for option in options(value):
        if not isinstance(option, Handle) or option.kind not in ("entity", "new"):
            return run.widen("sqlmodel_update of what is no row is not followed", where)
        names = _names(option.about["class"])
        for one in (part for some in given if some != Const(None) for part in options(some)):
            values = _values(run, one, names, where)
            if values is None:
                return run.widen("what a row is updated with is not followed", where)
            loose = values.pop("**", None)
            for name, new in values.items():
                set_attribute(run, option, name, new, where)
            if isinstance(loose, Entries) and loose.other is not None:
                keys = options(loose.key) if loose.key is not None else ()
                known = [one.value for one in keys if isinstance(one, Const)]
                for name in known if known and len(known) == len(keys) else names:
                    set_attribute(run, option, name, loose.other, where)
    return value
