"""An event whose texts become segments when they are put into a key: for functions that spell keys
themselves.

A function without a template still writes ``f"order/{e.order_id}"``, and other handlers name the same order
by a template. Both must give one key, and an id ``a/b`` must not become two segments. So such a function is
called with a view of the event: all is as it is, but texts that are formatted or added come out encoded,
also after ``lower``, ``strip``, slicing and the like.

Not covered, and the function's own affair: ``"/".join(...)``, and what is formatted but no text; a bool, an
enum, a date or a Decimal should go through `segment`. Numbers and UUIDs are the same either way.
"""

from __future__ import annotations

from collections.abc import Callable

from commute.footprints.schema import fields_of
from commute.footprints.segment import text_segment


def view(value: object) -> object:
    """`value` with its texts as `Text`, objects followed as they are used. O(size) for lists and dicts."""
    if type(value) is str:
        return Text(value)
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)([view(part) for part in value])
    if type(value) is dict:
        return {name: view(part) for name, part in value.items()}
    cls: type = type(value)
    if fields_of(cls) is not None:
        return _View(value)
    return value


class Text(str):
    """A text that is compared and measured as it is, and formatted as a segment."""

    __slots__ = ()

    def __str__(self) -> str:
        return text_segment(str.__str__(self))

    def __format__(self, spec: str) -> str:
        return text_segment(format(str.__str__(self), spec))

    def __add__(self, other: str) -> str:
        return str(self) + str(other)

    def __radd__(self, other: str) -> str:
        return other + str(self)


class _View:
    """Stands for an object with fields."""

    __slots__ = ("_commute_value",)

    def __init__(self, value: object) -> None:
        self._commute_value = value

    @property  # type: ignore[misc]  # isinstance asks for it, and must get the event's class
    def __class__(self) -> type:
        return type(self._commute_value)

    def __getattr__(self, name: str) -> object:
        return view(getattr(self._commute_value, name))

    def __eq__(self, other: object) -> bool:
        return bool(self._commute_value == (other._commute_value if type(other) is _View else other))

    def __hash__(self) -> int:
        return hash(self._commute_value)

    def __repr__(self) -> str:
        return repr(self._commute_value)


def _lifted(name: str) -> Callable[..., object]:
    plain: Callable[..., object] = getattr(str, name)

    def method(self: Text, *args: object) -> object:
        return view(plain(self, *args))

    return method


for _name in (
    *(
        "__getitem__",
        "capitalize",
        "casefold",
        "lower",
        "lstrip",
        "partition",
        "removeprefix",
        "removesuffix",
    ),
    *(
        "replace",
        "rpartition",
        "rsplit",
        "rstrip",
        "split",
        "splitlines",
        "strip",
        "swapcase",
        "title",
        "upper",
    ),
):
    setattr(Text, _name, _lifted(_name))
