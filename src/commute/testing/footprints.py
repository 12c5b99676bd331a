"""Whether two events depend on each other, as their handlers declare it: assertions for tests.

Assert both ways. A handler that declares too little reorders what belongs together; one that declares too
much is merely slow, which no test of results can see."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from commute.app import App
from commute.core.footprint import Access, Footprint, conflicting
from commute.errors import UsageError
from commute.runtime.kinds import Kinds
from commute.verify.footprints import footprint_of, kinds_of
from commute.verify.trial import type_of


def assert_independent(app: App[Any], a: object, b: object) -> None:
    """AssertionError with both footprints if `a` and `b` must keep their log sequence.

    Events are objects, ``(type name, data)`` or `NamedEvent`, as for `run`. Raises RejectedError for one that
    is not valid, UsageError for what is no event (``event-class``), or that no handler of the app takes
    (``unknown-type``)."""
    __tracebackhide__ = True
    kinds = kinds_of_app(app)
    mine, yours = footprint_here(app, a, kinds), footprint_here(app, b, kinds)
    pairs = conflicting(mine, yours)
    if pairs:
        raise AssertionError(f"dependent, on {_shown_keys(pairs)}\n{shown(a, mine)}\n{shown(b, yours)}")


def assert_conflict(app: App[Any], a: object, b: object, on: str | None = None) -> None:
    """AssertionError with both footprints if `a` and `b` are independent, or do not conflict on the key `on`.

    `on` is a key as it stands in a footprint, ``order/1``; None: any. Otherwise as `assert_independent`. Raises
    UsageError (``option``) for an `on` that can be no key.
    """
    __tracebackhide__ = True
    kinds = kinds_of_app(app)
    mine, yours = footprint_here(app, a, kinds), footprint_here(app, b, kinds)
    pairs = conflicting(mine, yours)
    wanted = None if on is None else _key(on)
    if not pairs:
        raise AssertionError(f"independent\n{shown(a, mine)}\n{shown(b, yours)}")
    if wanted is not None and not any(wanted in (x.key, y.key) for x, y in pairs):
        meant = get_close_matches(wanted, {access.key for pair in pairs for access in pair}, 1)
        hint = f" (did you mean {meant[0]}?)" if meant else ""
        raise AssertionError(
            f"dependent, but not on {wanted}{hint}: on {_shown_keys(pairs)}\n{shown(a, mine)}\n{shown(b, yours)}"
        )


def kinds_of_app(app: App[Any]) -> Kinds:
    """As `kinds_of`. Raises UsageError (``no-app``) for what is no app."""
    if not isinstance(app, App):
        raise UsageError(f"{app!r:.100} is no App: import the app, and give it as the first argument", slug="no-app")
    return kinds_of(app)


def footprint_here(app: App[Any], event: object, kinds: Kinds) -> Footprint:
    """As `footprint_of`. Raises UsageError (``event-class``) for what is no event, (``unknown-type``) for one that no
    handler takes."""
    if isinstance(event, type):
        raise UsageError(f"{event.__name__} is a class: give an event of it, {event.__name__}(...)", slug="event-class")
    if isinstance(event, dict):
        raise UsageError(
            f'a dict does not say its event\'s type: give (type name, data), ("TYPE", {event!r:.100})',
            slug="event-class",
        )
    type_ = type_of(app, event)
    if kinds.get(type_) is None:
        like = kinds.like(type_)
        hint = f"did you mean {like}?" if like else f"it takes {', '.join(sorted(one.type for one in kinds)) or 'none'}"
        raise UsageError(f'no handler of {app.name} takes "{type_}"; {hint}', slug="unknown-type")
    return footprint_of(app, event, kinds)[1]


def shown(event: object, footprint: Footprint) -> str:
    """The event, and below it what its handlers touch."""
    touched = ", ".join(f"{access.mode} {access.key or 'EVERYTHING'}" for access in footprint)
    return f"  {event!r:.200}\n    {touched or 'touches nothing'}"


def _key(on: str) -> str:
    """The node of the tree that `on` names. Raises UsageError."""
    if not isinstance(on, str):
        raise UsageError(f'on={on!r:.100}: name a key as it stands in a footprint, on="order/1"', slug="option")
    if "{" in on:
        raise UsageError(f'on="{on}" is a template: name the key of these events, on="order/1"', slug="option")
    return on.removesuffix("/*")


def _shown_keys(pairs: list[tuple[Access, Access]]) -> str:
    keys = dict.fromkeys(max(x.key, y.key, key=len) or "everything" for x, y in pairs)
    return ", ".join(keys)
