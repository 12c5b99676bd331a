"""Keys from a function of the event that has no template: it is called for every event.

Such a function spells whole keys, so what it formats into them is its own affair; `view` makes the common
forms safe by encoding text where it is put into a key. What comes back is read strictly: an empty segment
stands for the empty value, a ``*`` anywhere but at the end coarsens to the subtree above it (which can only
cost speed), and what is not text, too long or too deep rejects the event.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from commute.errors import RejectedError
from commute.footprints.segment import DEPTH_MAX, EMPTY, check_length
from commute.footprints.template import ACCESSES_MAX, too_many
from commute.footprints.view import Text, view


@dataclass(frozen=True, slots=True)
class Computed:
    """A function that is called per event; `why` says why it has no template. Its modes: its one, or
    ``any``. `whole`: it encodes values itself, and takes the event as it is.
    """

    function: Callable[[Any], object]
    modes: tuple[str, ...]
    argument: str
    why: str
    whole: bool = False


def computed_keys(computed: Computed, event: object, accesses_max: int = ACCESSES_MAX) -> list[str]:
    """The keys that the function gives for `event`. Raises RejectedError: ``key-function`` if it raises or
    gives anything but text, and the limits' slugs.
    """
    given = _call(computed, event)
    found: dict[str, None] = {}
    for text in (given,) if isinstance(given, str) else _items(computed, given):
        if not isinstance(text, str):
            raise _not_a_key(computed, text)
        found[key_path(text)] = None
        if len(found) > accesses_max:
            raise too_many(accesses_max)
    return list(found)


def computed_accesses(computed: Computed, event: object, accesses_max: int) -> list[tuple[str, str]]:
    """As `computed_keys`, with the mode of each key."""
    if computed.argument != "accesses":
        return [(key, computed.modes[0]) for key in computed_keys(computed, event, accesses_max)]
    found: dict[tuple[str, str], None] = {}
    for access in _items(computed, _call(computed, event)):
        if not is_access(access):
            raise _not_a_key(computed, access)
        key, mode = access
        found[key_path(key), mode] = None
        if len(found) > 2 * accesses_max:  # a key may come in several modes; the joined ones are counted later
            raise too_many(accesses_max)
    return list(found)


def is_access(value: object) -> bool:
    """Whether `value` is an Access, or a pair like it: a key and the name of a mode."""
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(part, str) for part in value)
        and value[1].isidentifier()
    )


def key_path(text: str) -> str:
    """The key that a spelled-out text means: NFC, ``/*`` taken off, empty segments as ``%``.

    Raises RejectedError: ``key-too-deep``, ``key-too-long``, ``key-value`` for control characters.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if any(unicodedata.category(char) == "Cc" for char in text):
        raise RejectedError(f"{text!r} has control characters: it cannot be a key", slug="key-value")
    segments = text.split("/")
    if "*" in segments:
        del segments[segments.index("*") :]
    if len(segments) > DEPTH_MAX:
        raise RejectedError(
            f"a key of {len(segments)} segments is too deep, {DEPTH_MAX} are allowed", slug="key-too-deep"
        )
    for part in segments:
        check_length(part)
    return "/".join(part or EMPTY for part in segments)


def _call(computed: Computed, event: object) -> object:
    try:
        if computed.whole:
            return _listed(computed.function(event))
        try:
            return _listed(computed.function(view(event)))
        except (
            TypeError,
            AttributeError,
            ValueError,
        ):  # the view may have met code that wants the real thing
            return _listed(computed.function(event))
    except RejectedError:
        raise
    except Exception as error:
        raise RejectedError(
            f"{computed.argument}= failed for this event: {type(error).__name__}: {error}",
            slug="key-function",
        ) from error


def _listed(given: Any) -> object:
    """What was given, generators run to their end; a bare value of the event is one segment."""
    if isinstance(given, str):
        return str(given)
    return [str(item) if type(item) is Text else item for item in given]


def _items(computed: Computed, given: object) -> Iterable[Any]:
    if isinstance(given, str):
        raise _not_a_key(computed, given)
    return given  # type: ignore[return-value]  # a list: see _call


def _not_a_key(computed: Computed, value: object) -> RejectedError:
    wanted = "Access(key, mode)" if computed.argument == "accesses" else "text"
    return RejectedError(
        f"{computed.argument}= gave {type(value).__name__}, not {wanted}, for this event", slug="key-function"
    )
