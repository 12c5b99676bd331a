"""When attempts are watched, and which: an app's side of `observe`, which is loaded when it is needed.

Invariant: where nobody asks, nothing is loaded and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from commute.errors import UsageError

if TYPE_CHECKING:
    from commute.app import App


def share_of(given: object) -> float:
    """The share of attempts that an option names, 0 for none. Raises UsageError (``option``)."""
    try:
        share = float(str(given))
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"sanitize={given!r}: give a share of all attempts, from 0 to 1", slug="option")
    return share


def sanitized(app: App[Any], share: float) -> AbstractContextManager[object]:
    """Until the end, this share of the app's attempts is held to its footprints. Raises UsageError (``no-extra``)."""
    if not share:
        return nullcontext()
    with statements_read("sanitize="):
        from commute.observe.watch import watching
    return watching(app, refuse=True, share=share)


@contextmanager
def statements_read(who: str = "watching what handlers touch") -> Iterator[None]:
    """Whoever watches imports `observe` inside of this. Raises UsageError (``no-extra``), which names `who` asks,
    where sqlglot is not installed."""
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f'{who} needs sqlglot, which is not installed: pip install "commute[derive]"', slug="no-extra"
        ) from error
