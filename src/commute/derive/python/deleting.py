"""``del value.name``: what the class of the object has for it, or the attribute is not known from then on."""

from __future__ import annotations

from commute.derive.python.attributes import class_attribute, has_method
from commute.derive.run import Run
from commute.derive.values import Const, Data, Either, Live, Made, Value


def delete_attribute(run: Run, value: Value, name: str, where: str) -> None:
    """``del value.name``."""
    from commute.derive.python.setting import set_attribute

    for option in value.options if isinstance(value, Either) else (value,):
        cls = option.cls if isinstance(option, Made) else type(option.value) if isinstance(option, Live) else None
        found = None if cls is None else class_attribute(cls, name)
        deleter = None if cls is None else has_method(cls, "__delattr__")
        descriptor = has_method(type(found), "__delete__")
        if deleter is not None:
            run.call(Live(deleter), [option, Const(name)], {}, where)
        elif isinstance(found, property) and found.fdel is not None:
            run.call(Live(found.fdel), [option], {}, where)
        elif descriptor is not None:
            run.call(Live(descriptor), [Live(found), option], {}, where)
        else:
            set_attribute(run, option, name, Data(), where)
