"""Objects of classes: their constructors followed, and the ``__new__`` of a class that hands out objects by itself."""

from __future__ import annotations

import enum
import inspect
import types

from commute.derive.models.decoding import member_of
from commute.derive.models.fields import fields_of_class, set_fields
from commute.derive.models.model_code import has_code
from commute.derive.python.attributes import class_attribute, has_method
from commute.derive.run import Arguments, Named, Run
from commute.derive.source import source_of
from commute.derive.trusted import ALONE, is_ours, module_of, touches_nothing
from commute.derive.values import Data, Items, Live, Made, Unknown, Value, compute, either, is_harmless, options

_PLAIN_META = ("type", "ABCMeta", "StructMeta", "EventMeta", "ModelMetaclass", "EnumType", "EnumMeta", "_ProtocolMeta",
               "NamedTupleMeta", "SQLModelMetaclass")  # fmt: skip


def construct(run: Run, cls: type, arguments: Arguments, named: Named, where: str) -> Value:
    """An object of the class, its constructor followed."""
    from commute.derive.python.calls import of_trusted

    missing = has_method(cls, "_missing_") if issubclass(cls, enum.Enum) else None
    if missing is not None and not touches_nothing(missing):
        return member_of(run, cls, arguments[0] if arguments else Data(), where)
    if hasattr(cls, "__is_pydantic_dataclass__") and has_code(cls):
        return run.widen(f"the validators of {cls.__name__} are not followed", where)
    if issubclass(cls, enum.Enum):
        return compute(cls.__name__, cls, list(arguments))
    if cls.__module__ == "builtins" or (touches_nothing(cls) and not is_ours(cls)):
        if issubclass(cls, BaseException):
            plain = all(map(is_harmless, (*arguments, *named.values())))
            return Data("an exception") if plain else Unknown("an exception with objects in it")
        return of_trusted(run, cls, arguments, named, where)
    if type(cls).__name__ not in _PLAIN_META:
        return run.widen(f"objects of {cls.__name__} are made by its metaclass, which is not followed", where)
    if inspect.isabstract(cls):
        return Data("an abstract class has no objects")
    if has_method(cls, "__del__") is not None:
        return run.widen(f"{cls.__name__}.__del__ runs whenever", where, "do its work in a method that is called")
    new = has_method(cls, "__new__")
    if new is not None and new.__module__ not in ("typing", "abc", "sqlmodel.main") and not hasattr(cls, "_fields"):
        return _handed_out(run, cls, new, arguments, named, where)
    made = run.made.setdefault((id(cls), hash((where, tuple(map(id, run.active[-1:]))))), Made(cls))
    if issubclass(cls, BaseException):
        note_args(made, arguments)
    return _filled(run, made, arguments, named, where)


def _filled(run: Run, made: Made, arguments: Arguments, named: Named, where: str) -> Value:
    """The object behind its constructor."""
    from commute.derive.python.calls import of_trusted

    cls = made.cls
    constructor = has_method(cls, "__init__")
    followed = constructor is not None and not touches_nothing(constructor) and not _generated(cls)
    if constructor is not None and followed and source_of(constructor.__code__) is not None:
        run.call(Live(constructor), [made, *arguments], named, where)
        return made
    if not set_fields(run, made, arguments, named, where):
        own = class_attribute(cls, "__init__")
        if module_of(cls) in ALONE and all(map(is_harmless, (*arguments, *named.values()))):
            return of_trusted(run, cls, arguments, named, where)
        if own is not None and own is not object.__init__ and not issubclass(cls, BaseException):
            return run.widen(f"{cls.__name__}.__init__ is not followed", where)
    after = has_method(cls, "__post_init__")
    if after is not None:
        run.call(Live(after), [made], {}, where)
    return made


def _handed_out(run: Run, cls: type, new: types.FunctionType, arguments: Arguments, named: Named, where: str) -> Value:
    """What ``__new__`` gives: the one object that there is, say. Python runs the constructor on it each time."""
    if source_of(new.__code__) is None:
        return run.widen(f"{cls.__name__}.__new__ is not followed", where)
    given = run.call(Live(new), [Live(cls), *arguments], named, where)
    found: list[Value] = []
    for option in options(given):
        if isinstance(option, Made) and issubclass(option.cls, cls):
            found.append(_filled(run, option, arguments, named, where))
        elif isinstance(option, Live) and isinstance(option.value, cls):
            constructor = class_attribute(type(option.value), "__init__")
            if constructor is not object.__init__:
                run.call(Live(constructor), [option, *arguments], named, where)
            found.append(option)
        else:
            found.append(option)
    return either(found) or Data()


def note_args(made: Value, arguments: Arguments) -> None:
    """What ``.args`` of an exception is: what it was made with, or what its constructor hands on."""
    if isinstance(made, Made):
        known = made.attributes.get("args")
        before = known.any() if isinstance(known, Items) else None
        made.attributes["args"] = Items("tuple", None, either([*arguments, *([] if before is None else [before])]))


def _generated(cls: type) -> bool:
    """Whether its constructor was written by a library, from its fields."""
    own = class_attribute(cls, "__init__")
    # A model of pydantic's, or of SQLModel's, has one.
    of_library = not isinstance(own, types.FunctionType) or touches_nothing(own) or own.__module__ == "sqlmodel.main"
    return "__init__" not in cls.__dict__ and fields_of_class(cls) is not None and of_library
