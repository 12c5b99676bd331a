"""A function that is run inside the group transaction, and the future that tells how it went.

Invariants: the future is resolved once, after the commit that includes the function's writes, or refused with
the reason why they do not count; a function that raises undoes its own writes alone.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

import apsw

from commute.embedded.database import TAG, store_error

R = TypeVar("R")

_SAVEPOINT = f"savepoint commute_job {TAG}"
_ROLLBACK_TO = f"rollback to commute_job {TAG}"
_RELEASE = f"release commute_job {TAG}"


class Job(Generic[R]):
    """One function in the queue of a `Writer`; made by `Writer.submit`."""

    __slots__ = ("_error", "_function", "_future", "_result")

    def __init__(self, function: Callable[[apsw.Connection], R], future: Future[R]) -> None:
        self._function = function
        self._future = future
        self._result: list[R] = []  # Invariant: one element once the function has returned
        self._error: BaseException | None = None

    def run(self, connection: apsw.Connection, name: str) -> None:
        """Run in a savepoint; an error of the function undoes it alone, one of the storage is raised."""
        if not self._future.set_running_or_notify_cancel():
            return  # cancelled before it began: nothing is written
        connection.execute(_SAVEPOINT)
        try:
            self._result.append(self._function(connection))
        except Exception as error:
            if store_error(error, name) is not None or not connection.in_transaction:
                raise
            connection.execute(_ROLLBACK_TO)
            self._error = error
        connection.execute(_RELEASE)

    def resolve(self) -> None:
        if self._error is not None:
            self._future.set_exception(self._error)
        elif self._result:
            self._future.set_result(self._result[0])

    def refuse(self, error: BaseException) -> None:
        if self._future.running() or self._future.set_running_or_notify_cancel():
            self._future.set_exception(error)
