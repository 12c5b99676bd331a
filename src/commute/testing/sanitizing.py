"""`commute.testing.sanitizing`: handlers held to what they declare, while a test runs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from commute.app import App
from commute.sanitizer import statements_read

if TYPE_CHECKING:
    from commute.observe.watch import Watch


@contextmanager
def sanitizing(app: App[Any], *, state: bool = False) -> Iterator[Watch]:
    """Until the end, handlers of `app` in this process touch only what they declare: any other access raises
    UndeclaredAccessError before it is made, and the first of them again at the end, since handlers are retried.

    Seen are ``ctx.transaction()``, clients of SQLite, PostgreSQL and Redis, and SQLAlchemy; with `state` the program's
    own dicts, lists and sets too, at the cost of twice a look at all objects of the process. Raises UsageError
    (``no-extra``) without sqlglot.
    """
    with statements_read():
        from commute.observe import watch
    with watch.sanitizing(app, state=state) as found:
        yield found
