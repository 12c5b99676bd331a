"""Whether two events depend on each other, as their handlers declare it: assertions for tests.

Assert both ways. A handler that declares too little reorders what belongs together; one that declares too
much is merely slow, which no test of results can see."""

from __future__ import annotations

from typing import Any

from commute.app import App
from commute.core.footprint import Access, Footprint, conflicting
from commute.errors import UsageError
from commute.verify.footprints import footprint_of, kinds_of
from commute.verify.trial import type_of


def assert_independent(app: App[Any], a: object, b: object) -> None:
    """AssertionError with both footprints if `a` and `b` must keep their log sequence.

    Events are objects, ``(type name, data)`` or `NamedEvent`, as for `run`. Raises RejectedError for one that
    is not valid, UsageError (``unknown-type``) for one that no handler of the app takes."""
    mine, yours = _footprint(app, a), _footprint(app, b)
    pairs = conflicting(mine, yours)
    if pairs:
        raise AssertionError(f"dependent, on {_shown_keys(pairs)}\n{_shown(a, mine)}\n{_shown(b, yours)}")


def assert_conflict(app: App[Any], a: object, b: object, on: str | None = None) -> None:
    """AssertionError with both footprints if `a` and `b` are independent, or do not conflict on the key `on`.

    `on` is a key as it stands in a footprint, ``order/1``; None: any. Otherwise as `assert_independent`.
    """
    mine, yours = _footprint(app, a), _footprint(app, b)
    pairs = conflicting(mine, yours)
    if not pairs:
        raise AssertionError(f"independent\n{_shown(a, mine)}\n{_shown(b, yours)}")
    wanted = None if on is None else on.removesuffix("/*")
    if wanted is not None and not any(wanted in (x.key, y.key) for x, y in pairs):
        raise AssertionError(
            f"dependent, but not on {wanted}: on {_shown_keys(pairs)}\n{_shown(a, mine)}\n{_shown(b, yours)}"
        )


def _footprint(app: App[Any], event: object) -> Footprint:
    """As `footprint_of`. Raises UsageError (``unknown-type``) for a type that no handler takes."""
    type_, kinds = type_of(app, event), kinds_of(app)
    if kinds.get(type_) is None:
        raise UsageError(f'no handler of {app.name} takes "{type_}"', slug="unknown-type")
    return footprint_of(app, event, kinds)[1]


def _shown_keys(pairs: list[tuple[Access, Access]]) -> str:
    keys = dict.fromkeys(max(x.key, y.key, key=len) or "everything" for x, y in pairs)
    return ", ".join(keys)


def _shown(event: object, footprint: Footprint) -> str:
    touched = ", ".join(f"{access.mode} {access.key or 'EVERYTHING'}" for access in footprint)
    return f"  {event!r:.200}\n    {touched or 'touches nothing'}"
