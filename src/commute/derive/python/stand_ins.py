"""What some classes of the standard library do, in Python that can be followed: their own works by threads, queues and
weak references, of which nothing can be seen.

    with ThreadPoolExecutor() as pool: pool.map(store, rows)     store(row) for each row, in whatever sequence
    with ExitStack() as stack: stack.enter_context(opened())     opened() is left where the stack is
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed, wait
from typing import Any


class Result:
    """A `Future` that is done."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def result(self, timeout: float | None = None) -> Any:
        del timeout
        return self.value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        try:
            self.result(timeout)
        except BaseException as error:  # noqa: BLE001 - whatever the function has raised
            return error
        return None

    def done(self) -> bool:
        return bool(self.value)

    def cancel(self) -> bool:
        return bool(self.value)

    def add_done_callback(self, function: Callable[[Any], object]) -> None:
        function(self)


class Pool:
    """A pool of threads, whose functions are run where they are handed in."""

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        del max_workers, thread_name_prefix
        if initializer is not None:
            initializer(*initargs)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *details: object) -> None: ...

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Result:
        return Result(function(*arguments, **named))

    def map(
        self, function: Callable[..., Any], *several: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> list[Any]:
        del timeout, chunksize
        return [function(*each) for each in zip(*several, strict=False)]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None: ...


def completed(futures: Iterable[Any], timeout: float | None = None) -> list[Any]:
    del timeout
    return list(futures)


def waited(futures: Iterable[Any], timeout: float | None = None, return_when: str = "") -> tuple[list[Any], list[Any]]:
    del timeout, return_when
    return list(futures), list(futures)


class Stack:
    """An `ExitStack`."""

    def __init__(self) -> None:
        self.exits: list[Callable[..., object]] = []

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *details: object) -> bool:
        swallowed = False
        for leave in reversed(self.exits):
            swallowed = bool(leave(*details)) or swallowed
        return swallowed

    def enter_context(self, context: Any) -> Any:
        value = context.__enter__()
        self.exits.append(context.__exit__)
        return value

    def callback(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Callable[..., Any]:
        def leave(*details: object) -> None:
            del details
            function(*arguments, **named)

        self.exits.append(leave)
        return function

    def close(self) -> None:
        self.__exit__(None, None, None)


class Writer:
    """A ``csv.writer``: it writes texts to what it is given."""

    def __init__(self, csvfile: Any, dialect: Any = "excel", **details: Any) -> None:
        del dialect, details
        self.file = csvfile

    def writerow(self, row: Iterable[Any]) -> Any:
        return self.file.write(",".join([str(one) for one in row]))

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        for row in rows:
            self.writerow(row)


def reader(csvfile: Iterable[str], dialect: Any = "excel", **details: Any) -> Iterable[list[str]]:
    del dialect, details
    for line in csvfile:
        yield line.split(",")


# What stands for a class, and for functions that are called with an object that was there before the handler; by id,
# since a class may have no hash.
STAND_INS: dict[int, Any] = {
    id(thing): other
    for thing, other in (
        (ThreadPoolExecutor, Pool), (ThreadPoolExecutor.submit, Pool.submit), (Executor.map, Pool.map),
        (ThreadPoolExecutor.shutdown, Pool.shutdown), (Executor.__enter__, Pool.__enter__),
        (Executor.__exit__, Pool.__exit__), (Future.result, Result.result), (as_completed, completed), (wait, waited),
        (contextlib.ExitStack, Stack), (csv.writer, Writer), (csv.reader, reader),
    )
}  # fmt: skip
# What they are given runs without the variables of the handler's context, and later.
IN_THREADS = (Pool.submit, Pool.map, Result.add_done_callback)
